-- A trigger or a rule that the owner of idem_key has made keeps rows from being
-- written.  The call fails, and soon; nothing is done that no key remembers.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_key_prevented;
SET search_path = idem_test_key_prevented, public;
SET statement_timeout = '60s';	-- a call that tries for ever would be canceled
\set SHOW_CONTEXT never

CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';

-- What became of a call: its result, or the SQLSTATE of its error.
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE VIEW calls AS SELECT call FROM unnest(ARRAY[
	$$outcome FROM idem_upsert('prevented-new', 't', '{"id": 1, "v": 1}')$$,
	$$outcome FROM idem_execute('prevented-new', 'SELECT 1')$$,
	$$outcome FROM idem_claim('prevented-new', lease => '1 hour')$$,
	$$outcome FROM idem_upsert('prevented-expired', 't', '{"id": 1, "v": 1}')$$,
	$$outcome FROM idem_claim('prevented-expired', lease => '1 hour')$$,
	$$outcome FROM idem_claim('prevented-expired', lease => '1 hour', wait => false)$$,
	$$outcome FROM idem_claim('prevented-lapsed', lease => '1 hour')$$,
	$$idem_complete('prevented-held', '1', 1)$$,
	$$idem_fail('prevented-held', '1', 1)$$,
	$$idem_extend('prevented-held', 1, '2 hours') > now()$$,
	$$idem_checkpoint('prevented-held', 1, 'a')$$,
	$$idem_release('prevented-held', 1)$$,
	$$idem_release('prevented-ours')$$]) AS call;

SELECT outcome FROM idem_claim('prevented-held', lease => '1 hour');
SELECT outcome FROM idem_claim('prevented-lapsed', lease => '1 us');
SELECT outcome FROM idem_claim('prevented-expired', lease => '1 us', ttl => '1 us');

-- Triggers.
BEGIN;
SELECT outcome FROM idem_claim('prevented-ours');
CREATE TRIGGER nothing BEFORE INSERT OR UPDATE OR DELETE ON idem_key
	FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT call, try(call) FROM calls;
SELECT count(*) FROM t;
ROLLBACK;

-- Rules.  Where there are any, PostgreSQL refuses the statement that renews an
-- expired key.
BEGIN;
SELECT outcome FROM idem_claim('prevented-ours');
CREATE RULE nothing AS ON INSERT TO idem_key DO INSTEAD NOTHING;
SELECT call, try(call) FROM calls WHERE call ~ '-new';
DROP RULE nothing ON idem_key;
CREATE RULE nothing AS ON UPDATE TO idem_key DO INSTEAD NOTHING;
SELECT call, try(call) FROM calls WHERE call !~ '-new|-ours';
DROP RULE nothing ON idem_key;
CREATE RULE nothing AS ON DELETE TO idem_key DO INSTEAD NOTHING;
SELECT call, try(call) FROM calls WHERE call ~ '-ours';
SELECT count(*) FROM t;
ROLLBACK;

-- A rule that does something else besides is heeded.
BEGIN;
CREATE TABLE seen (key text);
CREATE RULE see AS ON INSERT TO idem_key DO ALSO INSERT INTO idem_test_key_prevented.seen VALUES (NEW.key);
SELECT outcome, replayed FROM idem_upsert('prevented-seen', 't', '{"id": 1, "v": 1}');
SELECT outcome, replayed FROM idem_upsert('prevented-seen', 't', '{"id": 1, "v": 1}');
SELECT * FROM seen;
ROLLBACK;

-- Work that makes the transaction read-only is not remembered, and not done.
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN SET LOCAL transaction_read_only = on; RETURN NULL; END';
CREATE TRIGGER forbid AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION forbid();
SELECT outcome FROM idem_upsert('prevented-read', 't', '{"id": 1, "v": 1}');
SELECT count(*) FROM t;
SELECT outcome FROM idem_lookup('prevented-read');

DELETE FROM idem_key WHERE starts_with(key, 'prevented-');
DROP SCHEMA idem_test_key_prevented CASCADE;
