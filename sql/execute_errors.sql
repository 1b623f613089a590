-- What idem_execute() refuses: each with the right SQLSTATE, nothing changed,
-- and the key still free.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_execute_errors;
SET search_path = idem_test_execute_errors, public;
\set SHOW_CONTEXT never

CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE DOMAIN present AS text NOT NULL;
CREATE DOMAIN even AS int CHECK (value % 2 = 0);
CREATE TYPE pair AS (a int, b text);

-- What became of a call: its outcome, or the SQLSTATE and, where idem worded
-- it, the message.
CREATE FUNCTION try(command text, params jsonb DEFAULT '[]', key text DEFAULT 'execute-errors', OUT answer text)
LANGUAGE plpgsql AS $$
DECLARE
	message text;
BEGIN
	SELECT concat_ws(' ', outcome, CASE WHEN replayed THEN 'replayed' END) INTO answer
	FROM idem_execute(key, command, params);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
	-- the server's own words differ between versions
	answer := concat_ws(' ', SQLSTATE, CASE WHEN SQLSTATE ~ '^(22004|22023|42601|0A000|ID)' THEN message END);
END $$;

-- NULL arguments.
SELECT idem_execute(NULL, 'SELECT 1');
SELECT try(NULL);
SELECT try('SELECT 1', NULL);

-- A command is one statement.
SELECT command, try(command) FROM unnest(ARRAY['', ' ;; ', '-- nothing', '/* nothing */']) AS c (command);
SELECT command, try(command) FROM unnest(ARRAY['SELECT 1; SELECT 2', 'INSERT INTO t VALUES (1); COMMIT',
	'CREATE TABLE n (); DROP TABLE n']) AS c (command);
SELECT idem_execute('execute-errors', 'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)');
SELECT idem_execute('execute-errors', '');

-- It is one that can be planned: no transaction control, no utility command.
SELECT command, try(command) FROM unnest(ARRAY['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s',
	'PREPARE TRANSACTION ''x''', 'COPY t TO STDOUT', 'COPY t FROM STDIN', 'COPY t TO PROGRAM ''true''',
	'CREATE TABLE n (a int)', 'CREATE TABLE n AS SELECT 1', 'DROP TABLE t', 'TRUNCATE t', 'LOCK t',
	'SELECT 1 AS a INTO n', 'SELECT 1 AS a INTO TEMP n UNION SELECT 2', 'EXPLAIN ANALYZE INSERT INTO t VALUES (1)',
	'DECLARE c CURSOR FOR SELECT 1', 'FETCH c', 'PREPARE p AS SELECT 1', 'EXECUTE p', 'DO ''BEGIN END''',
	'SET work_mem = ''1MB''', 'SHOW work_mem', 'VACUUM t', 'LISTEN x', 'NOTIFY x', 'DISCARD ALL',
	'REFRESH MATERIALIZED VIEW m', 'ALTER SYSTEM SET work_mem = 1']) AS c (command);
CREATE PROCEDURE p() LANGUAGE sql AS 'INSERT INTO t VALUES (1)';
SELECT idem_execute('execute-errors', 'CALL p()');

-- Errors of the command come as they are; a position is one in the command.
SELECT idem_execute('execute-errors', 'SELEC 1');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_execute('execute-errors', 'SELECT * FROM t WHERE nmae = $1', '["x"]');
\echo :LAST_ERROR_SQLSTATE
SELECT command, try(command) FROM unnest(ARRAY['SELECT ''open', 'SELECT 1 +', 'SELECT * FROM nowhere', 'SELECT nothing()',
	'INSERT INTO t VALUES (NULL)', 'SELECT 1/0', 'UPDATE t SET id = ''x''', 'SELECT $0', 'SELECT 1 FROM t WHERE CURRENT OF c']) AS c (command);

-- Parameters come as an array.
SELECT params, try('SELECT 1', params) FROM unnest('{"{}", "1", "\"x\"", "null", "true"}'::jsonb[]) AS c (params);
SELECT idem_execute('execute-errors', 'SELECT $1::int', '{"$1": 1}');

-- There are as many as the command takes.
SELECT command, params, try(command, params) FROM (VALUES
	('SELECT 1', '[1]'::jsonb),
	('SELECT $1::int', '[]'),
	('SELECT $1::int', '[1, 2]'),
	('INSERT INTO t VALUES ($1, $2)', '[1]'),
	('INSERT INTO t VALUES ($1, $2)', '[[1, 2]]'),
	('SELECT $2::int', '[1, 2]'),
	('SELECT $1::int, $3::int', '[1, 2, 3]')) AS c (command, params);
SELECT idem_execute('execute-errors', 'INSERT INTO t VALUES ($1, $2)', '[1, "a", "b"]');

-- Their types are to be told from the command.
SELECT command, try(command, '[1]') FROM unnest(ARRAY['SELECT $1 IS NULL', 'SELECT pg_typeof($1)',
	'SELECT $1::int + $1::text', 'SELECT id + $1 FROM t WHERE v = $1']) AS c (command);

-- Values are read strictly, and the error tells which it was.
SELECT type, param, try('SELECT $1::' || type, jsonb_build_array(param), 'execute-errors-' || type || param) FROM (VALUES
	('int', '"x"'::jsonb), ('int', '1.5'), ('int', '1e10'), ('int', 'true'), ('int', '""'), ('int', '[1]'), ('int', '{"a": 1}'),
	('bool', '2'), ('text', '[1]'), ('text', '{}'), ('uuid', '"1"'), ('date', '"2024-02-30"'), ('int4range', '[1, 2]'),
	('point', '[1, 2]'), ('int[]', '1'), ('int[]', '{"a": 1}'), ('int[]', '["x"]'), ('int[]', '[[1], [2, 3]]'), ('int[]', '"1,2"'),
	('pair', '1'), ('pair', '[1]'), ('pair', '{"a": "x"}'), ('record', '{"a": 1}'), ('json', '[1]'),
	('even', '1'), ('even', '[2]'), ('even', '2'), ('present', 'null')) AS c (type, param);
\set SHOW_CONTEXT always
SELECT idem_execute('execute-errors', 'INSERT INTO t VALUES ($2, $1)', '["a", "b"]');
SELECT idem_execute('execute-errors', 'INSERT INTO t VALUES ($2, $1::int[])', '[{"a": 1}, 1]');
-- also where the server does not say in which place
SELECT idem_execute('execute-errors', 'SELECT count(*) FROM t FOR UPDATE');
\set SHOW_CONTEXT never
SELECT idem_execute('execute-errors', 'SELECT $1::int4range', '[[1, 2]]');

-- A column that cannot be written down as JSON is an error after the fact, so
-- the fact is undone.
SELECT left(try('INSERT INTO t VALUES (1) RETURNING ''{"a": "\u0000"}''::json AS j'), 5) AS sqlstate;
SELECT left(try('INSERT INTO t SELECT 1 RETURNING (SELECT jsonb_agg(1.0::numeric / 0))'), 5) AS sqlstate;

-- Read-only transactions write no key.
BEGIN READ ONLY;
SELECT idem_execute('execute-errors', 'SELECT 1');
ROLLBACK;

-- After all this nothing is there, and the key is free.
SELECT * FROM t;
SELECT try('INSERT INTO t VALUES (1)');
SELECT try('INSERT INTO t VALUES (1)');
SELECT try('INSERT INTO t VALUES (1) ');
SELECT try('INSERT INTO t VALUES (1)', '[1]');

-- A key that somebody has tampered with is told to be one.
CREATE FUNCTION tampered(answer jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_key SET response = answer WHERE key = 'execute-errors';
	RETURN try('INSERT INTO t VALUES (1)');
END $$;
SELECT answer, tampered(answer) FROM unnest('{NULL,1,"[]","{}","{\"processed\": \"x\"}","{\"rows\": 1, \"processed\": 7}"}'::jsonb[]) AS t (answer);
UPDATE idem_key SET response = NULL WHERE key = 'execute-errors';
SELECT idem_execute('execute-errors', 'INSERT INTO t VALUES (1)');

DELETE FROM idem_key WHERE starts_with(key, 'execute-errors');
DROP SCHEMA idem_test_execute_errors CASCADE;
