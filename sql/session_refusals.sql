-- What a transaction that has a key refuses: each with its SQLSTATE, nothing changed.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_refusals;
SET search_path = idem_test_session_refusals, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

CREATE TABLE t (id serial PRIMARY KEY, v text);
CREATE FUNCTION put(text) RETURNS int LANGUAGE sql AS $$ INSERT INTO t (v) VALUES ($1) RETURNING id $$;
CREATE FUNCTION put_late(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF n = 200 THEN PERFORM put('late'); END IF;
	RETURN repeat('x', 1000);
END $$;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;

-- Keys that are none, and a second one.
BEGIN; SELECT idem_begin(NULL); ROLLBACK;
BEGIN; SELECT idem_begin(''); ROLLBACK;
BEGIN; SELECT idem_begin(repeat('k', 256)); ROLLBACK;
BEGIN; SELECT idem_begin('session-r', scope => repeat('k', 256)); ROLLBACK;
BEGIN; SELECT idem_begin('session-r', ttl => '-1 s'); ROLLBACK;
SET idem.key = 'much too long a key: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789';
BEGIN; SELECT idem_begin('session-r'); SELECT idem_begin('session-r'); SELECT idem_begin('session-r2'); ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); SELECT idem_begin('session-r', scope => 'other'); ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); SET LOCAL idem.key = 'session-r2'; SELECT 1; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- Outside a block, after a write, beside one.
SELECT idem_begin('session-r');
\echo :LAST_ERROR_SQLSTATE
BEGIN; INSERT INTO t (v) VALUES ('before'); SELECT idem_begin('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT idem_begin('session-r'), put('beside'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT put('beside'), idem_begin('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; DO $$ BEGIN PERFORM idem_begin('session-r'); PERFORM put('inside'); END $$; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY; SELECT idem_begin('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
-- the same by the very call that loads the library, which is not seen from its beginning
CREATE TABLE begins (v int);
CREATE FUNCTION begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_begin('session-r');
	RETURN NEW;
END $$;
CREATE TRIGGER begins BEFORE INSERT ON begins FOR EACH ROW EXECUTE FUNCTION begins();
\c -
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET search_path = idem_test_session_refusals, public;
BEGIN; DO $$ BEGIN PERFORM idem_begin('session-r'); PERFORM put('inside'); END $$; COMMIT;
\echo :LAST_ERROR_SQLSTATE
\c -
SET search_path = idem_test_session_refusals, public;
BEGIN; INSERT INTO begins VALUES (1); COMMIT;
\echo :LAST_ERROR_SQLSTATE
\c -
SET search_path = idem_test_session_refusals, public;
BEGIN; SELECT idem_begin('session-r'), put('beside'); COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM begins;
SET client_min_messages = warning;

-- A key for the whole session, a role or a database is that of no transaction.
SET idem.key = 'session-r';
SELECT count(*) FROM t;
INSERT INTO t (v) VALUES ('outside');
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE outside ();
\echo :LAST_ERROR_SQLSTATE
RESET idem.key;
ALTER ROLE CURRENT_USER SET idem.key = 'session-r';
\echo :LAST_ERROR_SQLSTATE

-- Commands that cannot be recorded.
BEGIN; SELECT idem_begin('session-r'); CREATE TABLE ddl (); ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); CREATE TEMP TABLE ctas AS SELECT 1; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); SELECT 1 AS one INTO ctas; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); COPY t FROM '/dev/null'; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); COPY (DELETE FROM t RETURNING id) TO stdout; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); COPY (SELECT put('copied')) TO stdout; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); EXPLAIN ANALYZE DELETE FROM t; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT put('explained'); ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); GRANT SELECT ON t TO PUBLIC; ROLLBACK;
BEGIN; SELECT idem_begin('session-r'); CALL commits(); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT idem_begin('session-r')\; CALL commits();
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT idem_begin('session-r'); DO $$ BEGIN COMMIT; END $$; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- Queries that write, and cannot be recorded.
BEGIN; SELECT idem_begin('session-r'); DECLARE c SCROLL CURSOR FOR SELECT put('scroll'); FETCH c; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT idem_begin('session-r'); SELECT ROW(put('row')); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT idem_begin('session-r'); SELECT count(*) FROM (SELECT put_late(n) FROM generate_series(1, 300) AS n OFFSET 0) AS late; ROLLBACK;
\o /dev/null
BEGIN; SELECT idem_begin('session-r'); SELECT put_late(n) FROM generate_series(1, 300) AS n; ROLLBACK;
\o
\echo :LAST_ERROR_SQLSTATE

-- What is read or concerns the session is as ever.
BEGIN;
SELECT idem_begin('session-r');
EXPLAIN (COSTS off) DELETE FROM t;
COPY (SELECT 1) TO stdout;
SHOW idem.key_match;
LOCK TABLE t IN SHARE MODE;
SET LOCAL work_mem = '1MB';
LISTEN x;
ROLLBACK;

-- A record that idem has not written, and one of another version: nothing is lost.
SET idem.scope = 'session-r';
BEGIN; SELECT idem_begin('session-r'); INSERT INTO t (v) VALUES ('once') RETURNING v; COMMIT;
CREATE TABLE kept AS SELECT * FROM idem_key WHERE scope = 'session-r';
CREATE FUNCTION tamper(change jsonb) RETURNS void LANGUAGE sql AS $$
	UPDATE idem_key SET response = (SELECT response FROM kept) || change WHERE scope = 'session-r'
$$;
CREATE FUNCTION tamper_statement(change jsonb) RETURNS void LANGUAGE sql AS $$
	SELECT tamper(jsonb_build_object('statements', jsonb_build_array((SELECT response -> 'statements' -> 0 FROM kept) || change)))
$$;
\t on
SELECT tamper('{"version": 2}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT tamper('{"version": "1"}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT tamper('{"statements": 1}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper('{"statements": [1]}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper('{"statements": [{}]}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"kind": "q"}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"exact": "q"}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"values": 1}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"values": ["a", "b"]}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"values": [[]]}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"columns": -1}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"columns": 1e100}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"count": 4000000000, "columns": 0}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"kind": "f"}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"kind": "f", "sqlstate": "00000", "message": "none"}');
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper_statement('{"kind": "a"}');
BEGIN; SELECT idem_begin('session-r'); INSERT INTO t (v) VALUES ('once') RETURNING v; ROLLBACK;
SELECT tamper_statement('{"kind": "r"}');
BEGIN; SELECT idem_begin('session-r'); INSERT INTO t (v) VALUES ('once') RETURNING v; ROLLBACK;
SELECT tamper_statement('{"count": 0, "columns": 0, "values": []}');
BEGIN; SELECT idem_begin('session-r'); INSERT INTO t (v) VALUES ('once') RETURNING v; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
UPDATE idem_key SET response = NULL WHERE scope = 'session-r';
BEGIN; SELECT idem_begin('session-r'); ROLLBACK;
SELECT tamper('{}');
BEGIN; SELECT idem_begin('session-r'); INSERT INTO t (v) VALUES ('once') RETURNING v; COMMIT;
\t off

-- Writes that are in no statement of the transaction's: of a cursor that a function left open or that is
-- older than the key, and of the arguments of EXECUTE.  They would be done again.
CREATE FUNCTION open_put() RETURNS refcursor LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
BEGIN
	OPEN c FOR SELECT put('cursor');
	RETURN c;
END $$;
PREPARE value(int) AS SELECT $1 > 0 AS is_id;
BEGIN; SELECT idem_begin('session-r5'); SELECT open_put(); FETCH ALL FROM c; COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN; DECLARE d CURSOR FOR SELECT put('cursor'); SELECT idem_begin('session-r5'); FETCH ALL FROM d; COMMIT;
BEGIN; DECLARE d CURSOR FOR SELECT put('cursor') FROM t LIMIT 1 FOR UPDATE; SELECT idem_begin('session-r5'); FETCH ALL FROM d; COMMIT;
BEGIN; DECLARE d CURSOR FOR SELECT pg_notify('session_r', 'cursor'); SELECT idem_begin('session-r5'); FETCH ALL FROM d; COMMIT;
BEGIN; DECLARE d CURSOR FOR SELECT put('cursor'); SET LOCAL idem.key = 'session-r5'; FETCH ALL FROM d; COMMIT;
BEGIN; SELECT idem_begin('session-r5'); EXECUTE value(put('argument')); COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SET LOCAL idem.key = 'session-r5'; EXECUTE value(put('argument')); COMMIT;
BEGIN; SELECT idem_begin('session-r5'); EXECUTE value(length(pg_notify('session_r', 'argument')::text)); COMMIT;
BEGIN; SELECT idem_begin('session-r5'); EXPLAIN (COSTS off) EXECUTE value(put('argument')); COMMIT;
BEGIN; SELECT idem_begin('session-r7'); EXPLAIN (COSTS off) EXECUTE value(1); COMMIT;
SET idem.key = 'session-r5';
EXECUTE value(put('argument'));
EXECUTE value(1);
RESET idem.key;
-- In a savepoint, and in a replay of that, too.
BEGIN; SELECT idem_begin('session-r6'); INSERT INTO t (v) VALUES ('around'); SAVEPOINT a; SELECT open_put(); FETCH c; ROLLBACK TO a; EXECUTE value(put('argument')); ROLLBACK TO a; COMMIT;
BEGIN; SELECT idem_begin('session-r6'); INSERT INTO t (v) VALUES ('around'); SAVEPOINT a; SELECT open_put(); FETCH c; ROLLBACK TO a; EXECUTE value(put('argument')); ROLLBACK TO a; COMMIT;
-- Those that only read are as ever.
BEGIN; DECLARE d CURSOR FOR SELECT v FROM t LIMIT 1 FOR UPDATE; SELECT idem_begin('session-r5'); FETCH ALL FROM d; EXECUTE value(1); ROLLBACK;

-- A key of another call's, and another call under the key of a transaction.
SELECT outcome FROM idem_execute('session-r3', 'SELECT 1');
BEGIN; SELECT idem_begin('session-r3'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_execute('session-r', 'SELECT 1');
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT outcome FROM idem_claim('session-r'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- The columns have changed since.
BEGIN; SELECT idem_begin('session-r4'); INSERT INTO t (v) VALUES ('star') RETURNING *; COMMIT;
ALTER TABLE t ADD COLUMN more int;
BEGIN; SELECT idem_begin('session-r4'); INSERT INTO t (v) VALUES ('star') RETURNING *; ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
RESET idem.scope;
SELECT v FROM t ORDER BY v;
DELETE FROM idem_key WHERE scope = 'session-r';
DROP SCHEMA idem_test_session_refusals CASCADE;
