-- What idem_check() refuses, and which errors of a run it raises.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_check_errors;
SET search_path = idem_test_check_errors, public;
\set SHOW_CONTEXT never
\pset null (null)

CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 0);

-- Arguments.
SELECT idem_check(NULL);
SELECT idem_check('SELECT 1', NULL);
SELECT idem_check('SELECT 1', '{}');
\set VERBOSITY sqlstate
SELECT idem_check('SELECT $1::int', '[]');
SELECT idem_check('SELECT $1::int', '["x"]');
\set VERBOSITY default

-- A command is one statement that can be planned.  What the server refuses in a
-- function, it refuses here.
SELECT idem_check('');
SELECT idem_check('SELECT 1; SELECT 2');
SELECT idem_check('VACUUM t');
SELECT idem_check('TRUNCATE t');
CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
SELECT idem_check('CALL commits()');
CREATE FUNCTION commits_too() RETURNS void LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
SELECT idem_check('SELECT commits_too()');

-- Not where nothing can be written.
BEGIN READ ONLY;
SELECT idem_check('SELECT 1');
ROLLBACK;

-- An error of the first run comes as it is; a position is one in the command.
SELECT idem_check('UPDATE t SET n = n WHERE x = 1');
SELECT idem_check('UPDATE t SET n = 1 / n');

-- An error that only the second run meets, with the SQLSTATE given.
CREATE FUNCTION fail_next(code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT n FROM t) > 0 THEN
		RAISE EXCEPTION 'second "run"' USING ERRCODE = code, DETAIL = E'back\\slash';
	END IF;
	UPDATE t SET n = n + 1;
END $$;
SELECT * FROM idem_check('SELECT fail_next($1)', '["P0001"]');

-- One that says nothing about the command is raised.
\set VERBOSITY terse
SELECT idem_check('SELECT fail_next($1)', '["40001"]');
SELECT idem_check('SELECT fail_next($1)', '["40P01"]');
SELECT idem_check('SELECT fail_next($1)', '["53200"]');
SELECT idem_check('SELECT fail_next($1)', '["55P03"]');
SELECT idem_check('SELECT fail_next($1)', '["57014"]');
SELECT idem_check('SELECT fail_next($1)', '["58030"]');
SELECT idem_check('SELECT fail_next($1)', '["08006"]');
SELECT idem_check('SELECT fail_next($1)', '["XX000"]');
SELECT idempotent FROM idem_check('SELECT fail_next($1)', '["ID001"]');

-- Whichever it was: the transaction goes on as if nothing had been.
CREATE FUNCTION state(code text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT idempotent FROM idem_check('SELECT fail_next($1)', jsonb_build_array(code)));
EXCEPTION WHEN OTHERS OR query_canceled THEN
	RETURN SQLSTATE;
END $$;
BEGIN;
UPDATE t SET n = 0;
SELECT code, state(code) FROM unnest('{P0001,40001,57014,XX000}'::text[]) AS code;
SELECT * FROM t;
UPDATE t SET n = 7;
SELECT idempotent FROM idem_check('UPDATE t SET n = 1');
COMMIT;
SELECT * FROM t;

-- A time limit that the second run exceeds is not an answer.
CREATE FUNCTION slow_next() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	WHILE (SELECT n FROM t) = 1 LOOP
	END LOOP;
	UPDATE t SET n = 1;
END $$;
BEGIN;
SET LOCAL statement_timeout = '200ms';
SELECT idem_check('SELECT slow_next()');
ROLLBACK;

DROP SCHEMA idem_test_check_errors CASCADE;
