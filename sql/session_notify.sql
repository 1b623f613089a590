-- Notifications of a transaction that has a key: each is sent once, or refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_notify;
SET search_path = idem_test_session_notify, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET idem.scope = 'session-notify';
CREATE TABLE t (v int);
CREATE FUNCTION by_query(v int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_notify('idem_test', 'q'); RETURN v; END $$;
CREATE FUNCTION by_command(v int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN NOTIFY idem_test, 'c'; RETURN v; END $$;
CREATE FUNCTION by_expression(v int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE nothing text;
BEGIN
	nothing := pg_catalog.pg_notify('idem_test', 'e');
	RETURN v;
END $$;
CREATE FUNCTION kinds(of text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(s ->> 'kind', '' ORDER BY n)
	FROM idem_key, jsonb_array_elements(response -> 'statements') WITH ORDINALITY AS a (s, n) WHERE key = of
$$;

-- A query that notifies is kept as one that writes, whichever way it does.
\t on
BEGIN; SELECT idem_begin('n-1'); SELECT pg_notify('idem_test', 'd'); SELECT by_query(1); SELECT by_command(2); COMMIT;
BEGIN; SELECT idem_begin('n-2'); SELECT by_expression(3); COMMIT;
BEGIN; SELECT idem_begin('n-1'); SELECT pg_notify('idem_test', 'd'); SELECT by_query(1); SELECT by_command(2); COMMIT;
BEGIN; SELECT idem_begin('n-2'); SELECT by_expression(3); COMMIT;
SELECT kinds('n-1'), kinds('n-2');
-- What is only explained notifies nobody.
BEGIN; SELECT idem_begin('n-3'); EXPLAIN (COSTS off) SELECT pg_notify('idem_test', 'd'); INSERT INTO t VALUES (3); COMMIT;
BEGIN; SELECT idem_begin('n-3'); EXPLAIN (COSTS off) SELECT pg_notify('idem_test', 'd'); INSERT INTO t VALUES (3); COMMIT;
SELECT kinds('n-3');
-- EXPLAIN ANALYZE and COPY run again in a retry, so that they may not.
BEGIN; SELECT idem_begin('n-4'); EXPLAIN (ANALYZE, COSTS off) SELECT pg_notify('idem_test', 'd'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
BEGIN; SELECT idem_begin('n-4'); EXPLAIN (ANALYZE, COSTS off) SELECT by_query(1); ROLLBACK;
BEGIN; SELECT idem_begin('n-4'); EXPLAIN (ANALYZE, COSTS off) SELECT by_command(1); ROLLBACK;
BEGIN; SELECT idem_begin('n-4'); EXPLAIN (ANALYZE, COSTS off) SELECT by_expression(1); ROLLBACK;
BEGIN; SELECT idem_begin('n-4'); COPY (SELECT pg_notify('idem_test', 'd')) TO stdout; ROLLBACK;
BEGIN; SELECT idem_begin('n-4'); COPY (SELECT by_query(1)) TO stdout; ROLLBACK;
BEGIN; SELECT idem_begin('n-4'); COPY (SELECT by_command(1)) TO stdout; ROLLBACK;
\set VERBOSITY sqlstate
BEGIN; SELECT idem_begin('n-4'); COPY (SELECT by_expression(1)) TO stdout; ROLLBACK;
\set VERBOSITY terse
-- In a savepoint, too: what comes after is as ever.
BEGIN; SELECT idem_begin('n-5'); SAVEPOINT s; COPY (SELECT by_expression(1)) TO stdout; ROLLBACK TO s;
INSERT INTO t VALUES (5); COPY (SELECT 1) TO stdout; SELECT by_query(5); COMMIT;
BEGIN; SELECT idem_begin('n-5'); SAVEPOINT s; COPY (SELECT by_expression(1)) TO stdout; ROLLBACK TO s;
INSERT INTO t VALUES (5); COPY (SELECT 1) TO stdout; SELECT by_query(5); COMMIT;
-- What a constraint's trigger sends belongs to the statement that it is of.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM by_expression(1); RETURN NEW; END $$;
CREATE TABLE told (v int);
CREATE CONSTRAINT TRIGGER tell AFTER INSERT ON told DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell();
BEGIN; SELECT idem_begin('n-6'); INSERT INTO told VALUES (6); SET CONSTRAINTS ALL IMMEDIATE; COMMIT;
BEGIN; SELECT idem_begin('n-6'); INSERT INTO told VALUES (6); SET CONSTRAINTS ALL IMMEDIATE; COMMIT;
BEGIN; SELECT idem_begin('n-7'); INSERT INTO told VALUES (7); COMMIT;
SELECT kinds('n-6'), kinds('n-7'), (SELECT count(*) FROM told);
-- So do the commands that it runs at the commit.
CREATE PROCEDURE note(told) LANGUAGE sql AS $$ INSERT INTO t VALUES ($1.v) $$;
CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NOTIFY session_n, 'late';
	CALL note(NEW);
	DO 'BEGIN PERFORM 1; END';
	CREATE TEMPORARY TABLE late_work AS SELECT NEW.v;
	DROP TABLE late_work;
	RETURN NEW;
END $$;
BEGIN; SELECT idem_begin('n-9'); INSERT INTO told VALUES (9); COMMIT;
BEGIN; SELECT idem_begin('n-9'); INSERT INTO told VALUES (9); COMMIT;
SELECT kinds('n-9'), (SELECT count(*) FROM told WHERE v = 9), (SELECT count(*) FROM t WHERE v = 9);
-- PL/pgSQL asks for an expression's function once in a transaction: a second query that notifies so
-- is not known for one that writes, and a retry is refused rather than sent twice.
BEGIN; SELECT idem_begin('n-8'); SELECT by_expression(1); SELECT by_expression(2); COMMIT;
BEGIN; SELECT idem_begin('n-8'); SELECT by_expression(1); SELECT by_expression(2); COMMIT;
\echo :LAST_ERROR_SQLSTATE

-- A constraint that a domain has since been given: values of the domain are answered, arrays of them are an
-- error that says so.
\set VERBOSITY default
\set SHOW_CONTEXT errors
CREATE DOMAIN small AS int;
CREATE TABLE d (v small, many small[]);
BEGIN; SELECT idem_begin('d-1'); INSERT INTO d SELECT n FROM generate_series(8, 9) AS n RETURNING v; COMMIT;
BEGIN; SELECT idem_begin('d-2'); INSERT INTO d SELECT n, ARRAY[n] FROM generate_series(8, 9) AS n RETURNING many; COMMIT;
ALTER DOMAIN small ADD CHECK (VALUE < 5) NOT VALID;
BEGIN; SELECT idem_begin('d-1'); INSERT INTO d SELECT n FROM generate_series(8, 9) AS n RETURNING v; COMMIT;
BEGIN; SELECT idem_begin('d-2'); INSERT INTO d SELECT n, ARRAY[n] FROM generate_series(8, 9) AS n RETURNING many; COMMIT;
\t off
DROP SCHEMA idem_test_session_notify CASCADE;
