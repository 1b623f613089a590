-- A key may be given as a UUID, and is kept as its text
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_key_uuid;
SET search_path = test_key_uuid, public;
SET idem.scope = 'test_key_uuid';
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE t (id int PRIMARY KEY, a int);

-- By each function, in each spelling of the UUID, and in the UUID's own as text.
SELECT outcome, replayed FROM idem_upsert(uuid 'ABCDEF01-2345-6789-abcd-ef0123456701', 't', '{"id": 1, "a": 1}');
SELECT outcome, replayed FROM idem_upsert(uuid '{abcdef01-23456789-abcd-ef0123456701}', 't', '{"id": 1, "a": 1}');
SELECT outcome, replayed FROM idem_upsert('abcdef01-2345-6789-abcd-ef0123456701', 't', '{"id": 1, "a": 1}');
SELECT outcome, replayed FROM idem_upsert(key => uuid 'abcdef01-2345-6789-abcd-ef0123456701', target => 't', data => '{"id": 1, "a": 1}');
SELECT outcome, replayed, result FROM idem_execute(uuid 'ABCDEF01-2345-6789-abcd-ef0123456702', 'SELECT $1::int AS n', '[1]');
SELECT outcome, replayed, result FROM idem_execute('abcdef01-2345-6789-abcd-ef0123456702', 'SELECT $1::int AS n', '[1]');
SELECT outcome, fence FROM idem_claim(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', lease => '1 hour');
SELECT idem_extend(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', 1, '2 hours') > now() AS extended;
SELECT idem_checkpoint(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', 1, 'half');
SELECT outcome, response FROM idem_lookup(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703');
SELECT name FROM idem_checkpoints(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703');
SELECT outcome FROM idem_wait(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', '1 ms');
SELECT idem_release(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', 1);
SELECT outcome, fence FROM idem_claim('abcdef01-2345-6789-abcd-ef0123456703', lease => '1 hour');
SELECT idem_complete(uuid 'ABCDEF01-2345-6789-abcd-ef0123456703', '"done"', 2);
SELECT outcome, response FROM idem_lookup('abcdef01-2345-6789-abcd-ef0123456703');
SELECT outcome FROM idem_claim(uuid 'abcdef01-2345-6789-abcd-ef0123456704', lease => '1 hour');
SELECT idem_fail(uuid 'abcdef01-2345-6789-abcd-ef0123456704', '"refused"', 1);
SELECT outcome FROM idem_execute(uuid 'abcdef01-2345-6789-abcd-ef0123456705', 'SELECT 1');
SELECT idem_forget(uuid 'ABCDEF01-2345-6789-abcd-ef0123456705'), idem_forget('abcdef01-2345-6789-abcd-ef0123456705');
-- A claim by itself, outside a transaction block, would be over at once.
SELECT * FROM idem_claim(uuid 'abcdef01-2345-6789-abcd-ef0123456705');
SELECT idem_claim(uuid 'abcdef01-2345-6789-abcd-ef0123456705'), idem_claim('abcdef01-2345-6789-abcd-ef0123456706');
-- A key that is text is what it is, byte for byte.
SELECT outcome, replayed FROM idem_upsert('ABCDEF01-2345-6789-abcd-ef0123456701', 't', '{"id": 2, "a": 1}');
SELECT outcome, replayed FROM idem_upsert(text '{abcdef01-2345-6789-abcd-ef0123456701}', 't', '{"id": 3, "a": 1}');
SELECT key, outcome FROM idem_key WHERE scope = 'test_key_uuid' ORDER BY key;

-- As programs give it: from columns, variables, domains, parameters without a type.
CREATE DOMAIN request_id AS uuid CHECK (VALUE <> '00000000-0000-0000-0000-000000000000');
CREATE TABLE request (id request_id, n int);
INSERT INTO request SELECT ('abcdef01-2345-6789-abcd-ef01234568' || n)::uuid, n FROM generate_series(10, 12) AS n;
SELECT n, outcome, replayed FROM request, idem_upsert(id, 't', jsonb_build_object('id', n)) ORDER BY n;
SELECT n, outcome, replayed FROM request, idem_upsert(id::uuid, 't', jsonb_build_object('id', n)) ORDER BY n;
SELECT n, outcome, replayed FROM request, idem_upsert(id::text, 't', jsonb_build_object('id', n)) ORDER BY n;
SELECT n, (idem_lookup(CASE WHEN n > 10 THEN id END)).outcome FROM request ORDER BY n;
\echo :LAST_ERROR_SQLSTATE
DO $$
DECLARE
	key uuid := 'abcdef01-2345-6789-abcd-ef0123456810';
	answer record;
BEGIN
	answer := idem_upsert(key, 't', '{"id": 10}');
	RAISE WARNING '%', answer;
END $$;
PREPARE untyped AS SELECT replayed FROM idem_upsert($1, 't', $2);
EXECUTE untyped ('abcdef01-2345-6789-abcd-ef0123456810', '{"id": 10}');
PREPARE typed (uuid) AS SELECT replayed FROM idem_upsert($1, 't', $2);
EXECUTE typed ('ABCDEF01-2345-6789-abcd-ef0123456810', '{"id": 10}');
SELECT parameter_types FROM pg_prepared_statements ORDER BY name;
DEALLOCATE ALL;
-- Set-wise, through a plan that orders, and from a function of one's own.
SELECT count(*) FILTER (WHERE replayed) AS replayed, count(*) FROM
	(SELECT gen_random_uuid() AS key FROM generate_series(1, 100)) AS k,
	LATERAL idem_upsert(k.key, 't', '{"id": 50}') ORDER BY 1;
CREATE FUNCTION own(key uuid) RETURNS boolean LANGUAGE sql AS
$$SELECT replayed FROM idem_upsert($1, 't', '{"id": 60}')$$;
SELECT own('abcdef01-2345-6789-abcd-ef0123456860'), own('ABCDEF01-2345-6789-abcd-ef0123456860');

-- No key is none, whatever its type.
SELECT idem_upsert(NULL::uuid, 't', '{"id": 1}');
SELECT idem_lookup(NULL::uuid);
SELECT outcome FROM idem_upsert(NULL::uuid, 't', '{"id": 1, "a": 7}', merge => '{"a": "max"}');
SELECT idem_claim(NULL::uuid, lease => '1 hour');

-- Made into other things, by anybody.
CREATE OPERATOR ?> (LEFTARG = uuid, RIGHTARG = text, FUNCTION = idem_lookup);
SELECT (uuid 'ABCDEF01-2345-6789-abcd-ef0123456703' ?> 'test_key_uuid').outcome;
SELECT (NULL::uuid ?> 'test_key_uuid').outcome;
SELECT (id ?> 'test_key_uuid').outcome FROM request WHERE n = 10;
CREATE OPERATOR ?> (LEFTARG = text, RIGHTARG = text, FUNCTION = idem_lookup);
SELECT ('abcdef01-2345-6789-abcd-ef0123456703' ?> 'test_key_uuid').outcome;
CREATE FUNCTION sole(uuid) RETURNS idem_lookup_result LANGUAGE sql AS 'SELECT idem_lookup($1, NULL)';
CREATE CAST (uuid AS idem_lookup_result) WITH FUNCTION sole(uuid);
SELECT (uuid 'abcdef01-2345-6789-abcd-ef0123456703'::idem_lookup_result).outcome;
DROP CAST (uuid AS idem_lookup_result);
\set VERBOSITY sqlstate
CREATE CAST (uuid AS idem_lookup_result) WITH FUNCTION idem_lookup(uuid, text);
CREATE AGGREGATE last(text) (SFUNC = idem_lookup, STYPE = uuid);
CREATE AGGREGATE last(bigint, text, boolean) (SFUNC = idem_release, STYPE = uuid);
CREATE AGGREGATE last(int) (SFUNC = int4larger, STYPE = int, FINALFUNC = idem_lookup, FINALFUNC_EXTRA);
CREATE INDEX ON request ((idem_lookup(id)));
CREATE DOMAIN met AS uuid CHECK (idem_release(VALUE));
SELECT 'abcdef01-2345-6789-abcd-ef0123456799'::met;
\set VERBOSITY terse

DELETE FROM idem_key WHERE scope = 'test_key_uuid';
DROP SCHEMA test_key_uuid CASCADE;
