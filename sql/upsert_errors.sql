--
-- What idem_upsert() refuses: each with the right SQLSTATE, and nothing changed.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_errors;
SET search_path = idem_test_errors, public;
\set SHOW_CONTEXT never

-- What became of a call in a subtransaction, which is what a client's savepoint
-- is: its outcome, or the SQLSTATE and, where idem worded it, the message.
CREATE FUNCTION try(target text, data text, conflict text[] DEFAULT NULL,
					key text DEFAULT 'errors', OUT answer text)
LANGUAGE plpgsql AS $$
DECLARE
	message text;
BEGIN
	SELECT concat_ws(' ', outcome, CASE WHEN replayed THEN 'replayed' END) INTO answer
	FROM idem_upsert(key, target::regclass, data::jsonb, conflict);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
	-- the server's own words differ between versions
	answer := concat_ws(' ', SQLSTATE, CASE WHEN SQLSTATE ~ '^(22004|22023|ID|42703|42P10)' THEN message END);
END $$;

CREATE TABLE t (
	id int PRIMARY KEY,
	name text NOT NULL DEFAULT 'none',
	age int CHECK (age >= 0),
	email text UNIQUE,
	boss int REFERENCES t,
	twice int GENERATED ALWAYS AS (age * 2) STORED,
	n int GENERATED ALWAYS AS IDENTITY
);
INSERT INTO t VALUES (1, 'one', 1, 'one@example.com');

-- NULL arguments.
SELECT idem_upsert(NULL, 't', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT try(NULL, '{"id": 1}');
SELECT try('t', NULL);
SELECT try('t', '{"id": 1}', '{id,NULL}');

-- Data that is not a JSON object.
SELECT idem_upsert('errors', 't', '[{"id": 1}]');
\echo :LAST_ERROR_SQLSTATE
SELECT data, try('t', data) FROM unnest(ARRAY['[]', '1', '"id"', 'true', 'null',
	'', '{', '{"id": 1', '{"id": }', '{''id'': 1}', '{"id": "\u0000"}',
	'{"a\u0000b": 1}', '{"id": "\ud800"}', '{"id": NaN}']) AS d(data);

-- Unknown fields are never ignored, nor are names taken for others.
SELECT idem_upsert('errors', 't', '{"id": 1, "nmae": "x"}');
\echo :LAST_ERROR_SQLSTATE
SELECT data, try('t', data) FROM unnest(ARRAY['{"ID": 1}', '{"id ": 1}', '{"": 1}',
	'{"id": 1, "ctid": "(0,1)"}', '{"id": 1, "tableoid": 1}', '{"id": 1, "t": 1}',
	'{"id": 1, "........pg.dropped.1........": 1}', '{"id": 1, "name) --": 1}']) AS d(data);
SELECT try('t', jsonb_build_object('id', 1, repeat('n', 100), 1)::text) ~ '^42703';

-- Values of the wrong type.
SELECT data, try('t', data) FROM unnest(ARRAY['{"id": "x"}', '{"id": 1.5}', '{"id": 1e10}',
	'{"id": [1]}', '{"id": {"x": 1}}', '{"id": 1, "age": true}']) AS d(data);

-- Constraints of the table.
SELECT data, try('t', data) FROM unnest(ARRAY['{"id": null}', '{"name": "x"}', '{}',
	'{"id": 2, "name": null}', '{"id": 2, "age": -1}', '{"id": 1, "age": -1}',
	'{"id": 2, "boss": 7}', '{"id": 2, "email": "one@example.com"}',
	'{"id": 1, "twice": 2}', '{"id": 2, "n": 2}']) AS d(data);

-- Conflict columns: they must be there, be given, and be unique together.
SELECT c, try('t', '{"id": 2, "name": "x", "email": "e"}', c) FROM (VALUES
	('{}'::text[]), ('{no}'), ('{boss}'), ('{name}'), ('{id,email}'), ('{ctid}')) AS v(c);
SELECT idem_upsert('errors', 't', '{"id": 2, "name": "x"}', '{name}');
\echo :LAST_ERROR_SQLSTATE

-- Indexes that cannot say which row is the same.
CREATE TABLE loose (a int, b int, c int, d int, e int, UNIQUE (c) DEFERRABLE,
	EXCLUDE USING btree (d WITH =));
CREATE UNIQUE INDEX ON loose (a) WHERE a > 0;
CREATE UNIQUE INDEX ON loose ((b + 1));
CREATE INDEX ON loose (e);
SELECT idem_upsert('errors', 'loose', '{"a": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT c, try('loose', '{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}', ARRAY[c])
FROM unnest('{a,b,c,d,e}'::text[]) AS c;
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
SELECT try('late', '{"id": 1}');

-- What is not a table to keep.
CREATE VIEW v AS SELECT * FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id;
CREATE SEQUENCE s;
CREATE TYPE c AS (id int);
CREATE FOREIGN DATA WRAPPER idem_test_fdw;
CREATE SERVER idem_test_server FOREIGN DATA WRAPPER idem_test_fdw;
CREATE FOREIGN TABLE ft (id int) SERVER idem_test_server;
CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY);
SELECT target, left(try(target, '{"id": 1}'), 5) AS sqlstate
FROM unnest('{v,mv,s,c,ft,temporary,t_pkey,pg_class,pg_catalog.pg_authid,nowhere,0,4294967295,-}'::text[]) AS target;
SELECT idem_upsert('errors', 'v', '{"id": 1}');
SELECT idem_upsert('errors', 'temporary', '{"id": 1}');
DROP TABLE temporary;

-- Rules take ON CONFLICT away, as from any INSERT.
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE RULE nothing AS ON INSERT TO ruled DO INSTEAD NOTHING;
SELECT left(try('ruled', '{"id": 1}'), 5);

-- No partition for the row.
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
SELECT left(try('parted', '{"id": 10}'), 5);

-- JSON that is deep: refused by the server's own limit, here or where it is
-- read, but never a crash.
SELECT try('t', repeat('[', 100000) || repeat(']', 100000));
CREATE TABLE deep (id int PRIMARY KEY, j jsonb, t text);
SELECT try('deep', '{"id": 1, "t": ' || repeat('{"a":[', 1000) || repeat(']}', 1000) || '}', key => 'errors-deep-1');
SELECT try('deep', '{"id": 1, "j": ' || repeat('{"a":[', 1000) || repeat(']}', 1000) || '}', key => 'errors-deep-2');
SELECT try('deep', '{"id": 1, "j": ' || repeat('{"a":[', 1000) || repeat(']}', 1000) || '}', key => 'errors-deep-2');
SELECT try('deep', '{"id": 1, "j": ' || repeat('{"a":[', 1000) || '1' || repeat(']}', 1000) || '}', key => 'errors-deep-2');

-- JSON that is huge is stored, remembered and replayed.
SELECT try('deep', jsonb_build_object('id', 2, 't', repeat('x', 10000000))::text, key => 'errors-huge');
SELECT try('deep', jsonb_build_object('id', 2, 't', repeat('x', 10000000))::text, key => 'errors-huge');
SELECT octet_length(response ->> 't') FROM idem_key WHERE key = 'errors-huge';

-- More fields than a table can have.
SELECT left(try('t', (SELECT jsonb_object_agg('f' || n, n) FROM generate_series(1, 2000) AS n)::text), 5);

-- After all this the table is as it was, and no key is in use.
SELECT * FROM t;
SELECT count(*) FROM idem_key WHERE key = 'errors';

-- In a transaction that may not write.
BEGIN READ ONLY;
SELECT idem_upsert('errors', 't', '{"id": 1}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- An error ends the transaction, as usual; from a savepoint on, the same key
-- serves for the corrected request.
BEGIN;
SAVEPOINT s;
SELECT try('t', '{"id": 2, "age": 5}', key => 'errors-retry');
\set VERBOSITY sqlstate
SELECT idem_upsert('errors', 't', '{"id": 2, "age": -5}');
SELECT 'not reached';
\set VERBOSITY default
ROLLBACK TO s;
SELECT outcome, replayed FROM idem_upsert('errors', 't', '{"id": 2, "age": 5}');
COMMIT;
SELECT outcome, replayed FROM idem_upsert('errors', 't', '{"id": 2, "age": 5}');

-- A constraint that is checked at commit takes the key with it, too.
CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
BEGIN;
SELECT outcome FROM idem_upsert('errors-deferred', 'child', '{"id": 1, "t": 9}');
\set VERBOSITY sqlstate
COMMIT;
\set VERBOSITY default
SELECT outcome, replayed FROM idem_upsert('errors-deferred', 'child', '{"id": 1, "t": 2}');

DELETE FROM idem_key WHERE starts_with(key, 'errors');
DROP SCHEMA idem_test_errors CASCADE;
DROP FOREIGN DATA WRAPPER idem_test_fdw CASCADE;
