-- idem_execute(): any one statement, once per key.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_execute;
SET search_path = idem_test_execute, public;
\set SHOW_CONTEXT never

CREATE TABLE account (id int PRIMARY KEY, balance numeric(10,2) NOT NULL DEFAULT 0);
INSERT INTO account VALUES (1, 100), (2, 50);

-- A statement that would do harm when sent twice.  The retry does nothing, and
-- is answered like the first.
SELECT * FROM idem_execute('execute-1',
	'UPDATE account SET balance = balance - $2 WHERE id = $1 RETURNING *', '[1, 10.5]');
SELECT * FROM idem_execute('execute-1',
	'UPDATE account SET balance = balance - $2 WHERE id = $1 RETURNING *', '[1, 10.5]');
SELECT * FROM account ORDER BY id;

-- The first answer stays, whatever has become of the rows, or of the table.
UPDATE account SET balance = 0 WHERE id = 1;
ALTER TABLE account RENAME TO moved;
SELECT * FROM idem_execute('execute-1',
	'UPDATE account SET balance = balance - $2 WHERE id = $1 RETURNING *', '[1, 10.50]');
ALTER TABLE moved RENAME TO account;

-- A number counts by its value, the command by its text.
\set VERBOSITY terse
SELECT * FROM idem_execute('execute-1',
	'UPDATE account SET balance = balance - $2 WHERE id = $1 RETURNING *', '[1, 11]');
SELECT * FROM idem_execute('execute-1',
	'UPDATE account SET balance = balance - $2 WHERE id = $1  RETURNING *', '[1, 10.5]');
SELECT * FROM idem_upsert('execute-1', 'account', '{"id": 1, "balance": 1}');

\set VERBOSITY default

-- A scope of one's own, a time of one's own.
SELECT outcome, replayed FROM idem_execute('execute-1', 'SELECT 1', scope => 'execute');
SELECT outcome, replayed FROM idem_execute('execute-2', 'SELECT 1', ttl => '1 hour');
SELECT key, scope, outcome, response, expires_at - created_at AS kept FROM idem_key
WHERE key LIKE 'execute-%' ORDER BY key, scope;
SELECT outcome, replayed FROM idem_execute('execute-3', 'SELECT 1', ttl => '1 microsecond');
SELECT outcome, replayed FROM idem_execute('execute-3', 'SELECT 1');
DELETE FROM idem_key WHERE key LIKE 'execute-%';

--
-- Results
--

-- No set of rows, a set that is empty, and what was processed.
SELECT * FROM idem_execute('execute-10', 'UPDATE account SET balance = 7');
SELECT * FROM idem_execute('execute-11', 'UPDATE account SET balance = 7 WHERE id = 3');
SELECT * FROM idem_execute('execute-12', 'UPDATE account SET balance = 7 WHERE id = 3 RETURNING *');
SELECT * FROM idem_execute('execute-13', 'SELECT * FROM account WHERE false');
SELECT * FROM idem_execute('execute-14', 'SELECT FROM account');
SELECT n, e.* FROM generate_series(10, 14) AS n, idem_execute('execute-' || n,
	(ARRAY['UPDATE account SET balance = 7',
		   'UPDATE account SET balance = 7 WHERE id = 3',
		   'UPDATE account SET balance = 7 WHERE id = 3 RETURNING *',
		   'SELECT * FROM account WHERE false',
		   'SELECT FROM account'])[n - 9]) AS e;

-- Each kind of statement that can be planned.
SELECT * FROM idem_execute('execute-15', 'INSERT INTO account VALUES (3), (4)');
SELECT * FROM idem_execute('execute-16', 'INSERT INTO account VALUES (4), (5) ON CONFLICT DO NOTHING RETURNING id');
SELECT * FROM idem_execute('execute-17', 'DELETE FROM account WHERE id = 5 RETURNING id AS gone, balance * 2');
SELECT * FROM idem_execute('execute-18', 'MERGE INTO account AS a USING (VALUES (4), (5)) AS v (id) ON a.id = v.id
	WHEN MATCHED THEN UPDATE SET balance = 1 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 2)');
SELECT * FROM idem_execute('execute-19', 'WITH moved AS (UPDATE account SET balance = balance - $3 WHERE id = $1)
	UPDATE account SET balance = balance + $3 WHERE id = $2 RETURNING id', '[1, 2, 5]');
SELECT * FROM idem_execute('execute-20', 'WITH gone AS (DELETE FROM account WHERE id > $1 RETURNING id)
	SELECT count(*) FROM gone', '[3]');
SELECT * FROM idem_execute('execute-21', 'VALUES (1, ''a''), (2, NULL);');
SELECT * FROM idem_execute('execute-22', '/* all */ TABLE account ORDER BY id; -- of them');
SELECT * FROM idem_execute('execute-23', 'SELECT balance FROM account WHERE id = 1 FOR UPDATE');

-- Rows are as to_jsonb() makes them of a record.  So of two columns with the
-- same name the later one counts, and values without a type in JSON are text.
SELECT * FROM idem_execute('execute-24', 'SELECT 1 AS a, 2 AS a, 3, 4');
\pset format unaligned
SELECT jsonb_pretty(result) FROM idem_execute('execute-25', $$SELECT 9223372036854775807 AS big,
	0.10::numeric AS scale, 'NaN'::float8 AS nan, 1e300::float8 AS huge, true AS yes, NULL AS nothing,
	date '2024-02-29' AS day, interval '1 day' AS span, '{{1,2},{3,4}}'::int[] AS grid,
	ROW(1, 'x') AS pair, '{"a": [1]}'::json AS j, '{"b": null}'::jsonb AS jb, '\xff00'::bytea AS raw,
	E'quote " backslash \\ newline \n' AS hard, a AS row, int4range(1, 5) AS span2
	FROM account AS a WHERE id = 3$$);
\pset format aligned
SELECT * FROM idem_execute('execute-29', 'SELECT id AS renamed, balance AS too FROM account WHERE id = 3');

-- Many rows.
CREATE TABLE many (n int, filler text);
SELECT outcome, replayed, jsonb_array_length(result) AS length, result -> 99999 AS last, processed
FROM idem_execute('execute-26', 'INSERT INTO many SELECT n, repeat(''x'', 20) FROM generate_series(1, $1) AS n RETURNING *', '[100000]');
SELECT outcome, replayed, jsonb_array_length(result) AS length, result -> 99999 AS last, processed
FROM idem_execute('execute-26', 'INSERT INTO many SELECT n, repeat(''x'', 20) FROM generate_series(1, $1) AS n RETURNING *', '[100000]');
SELECT count(*) FROM many;
DELETE FROM idem_key WHERE key LIKE 'execute-%';

-- Rules change what a statement comes to, as they do without a key.
CREATE TABLE ruled (id int);
CREATE TABLE copied (id int);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO copied VALUES (new.id), (-new.id);
SELECT * FROM idem_execute('execute-27', 'INSERT INTO ruled VALUES ($1) RETURNING id', '[1]');
SELECT * FROM idem_execute('execute-27', 'INSERT INTO ruled VALUES ($1) RETURNING id', '[1]');
SELECT id FROM copied ORDER BY id;
CREATE RULE instead AS ON UPDATE TO ruled DO INSTEAD NOTHING;
SELECT * FROM idem_execute('execute-28', 'UPDATE ruled SET id = 0');
SELECT * FROM idem_execute('execute-28', 'UPDATE ruled SET id = 0');

--
-- Parameters: of the types that the statement takes them to have
--
CREATE DOMAIN percent AS int CHECK (value BETWEEN 0 AND 100);
CREATE DOMAIN present AS text NOT NULL;
CREATE DOMAIN tags AS text[] CHECK (cardinality(value) < 3);
CREATE DOMAIN document AS jsonb CHECK (value ? 'title');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE point3 AS (x int, y int, z float8);
CREATE TABLE typed (n bigint, f float8, d numeric, t text, v varchar(3), b bool, u uuid, at timestamptz,
	r int4range, m mood, p percent, a int[], g text[], dt tags, c point3, cs point3[], j json, jb jsonb, doc document);
SET timezone = 'UTC';

-- Scalars, by their text.
SELECT result FROM idem_execute('execute-30', 'INSERT INTO typed (n, f, d, t, v, b, u, at, r, m, p)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING n, f, d, t, v, b, u, at, r, m, p',
	'[9223372036854775807, 1e-5, 12345678901234567890.123456789, "10", "abc", true,
	  "00000000-0000-0000-0000-000000000001", "2024-02-29 12:00+02", "[1,5)", "happy", 100]');
SELECT result FROM idem_execute('execute-31', 'INSERT INTO typed (n, f, d, t, v, b, p)
	VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING n, f, d, t, v, b, p',
	'["-1", "Infinity", "0.50", 1.50, 1.5, "f", "0"]');
SELECT result FROM idem_execute('execute-32', 'INSERT INTO typed (n, t, a, c, jb, p) VALUES ($1, $2, $3, $4, $5, $6)
	RETURNING n, t, a, c, jb, p', '[null, null, null, null, null, null]');

-- Arrays and composites: as JSON, or as literals.
SELECT result FROM idem_execute('execute-33', 'INSERT INTO typed (a, g, dt, c, cs) VALUES ($1, $2, $3, $4, $5)
	RETURNING a, g, dt, c, cs',
	'[[1, null, 3], ["a", "b c", "{\"", null], ["x"], {"x": 1, "z": 2.5}, [{"x": 1}, null, {"y": 2}]]');
SELECT result FROM idem_execute('execute-34', 'INSERT INTO typed (a, g, dt, c) VALUES ($1, $2, $3, $4)
	RETURNING a, g, dt, c', '["{1,NULL}", "{a,\"b c\"}", "{}", "(1,,2.5)"]');
SELECT result FROM idem_execute('execute-35', 'SELECT id FROM account WHERE id = ANY ($1) ORDER BY id', '[[1, 3]]');
SELECT result FROM idem_execute('execute-36', 'SELECT $1::int[] AS grid, $2::text AS same', '[[[1, 2], [3, 4]], 1.10]');

-- json and jsonb take any value as it is, a string too.
SELECT result FROM idem_execute('execute-37', 'INSERT INTO typed (j, jb, doc) VALUES ($1, $2, $3) RETURNING j, jb, doc',
	'[{"b": 1, "a": [true, null]}, ["x", 1.10], {"title": "t"}]');
SELECT result FROM idem_execute('execute-38', 'SELECT $1::json AS j, $2::jsonb AS jb, $3::jsonb AS n, $4::jsonb AS null',
	'["{\"not\": \"parsed\"}", "{}", 1.50, null]');

-- One parameter may be used often, and a parameter may stand anywhere.
SELECT result FROM idem_execute('execute-39', 'SELECT id, $1 AS label FROM account WHERE id > $2 AND id < $2 + 2 ORDER BY id LIMIT $3',
	'["label", 1, 5]');

-- A SELECT does what its functions do.
CREATE SEQUENCE counter;
SELECT result FROM idem_execute('execute-40', 'SELECT nextval($1)', '["counter"]');
SELECT result FROM idem_execute('execute-40', 'SELECT nextval($1)', '["counter"]');
SELECT last_value FROM counter;
DELETE FROM idem_key WHERE key LIKE 'execute-%';

--
-- Plans are kept, and it does not show
--

-- The same text leads to another table when search_path does, with parameters
-- of other types, and back.
CREATE SCHEMA idem_test_execute_2;
CREATE TABLE idem_test_execute.place (id int);
CREATE TABLE idem_test_execute_2.place (id text);
SELECT result FROM idem_execute('execute-50', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SET search_path = idem_test_execute_2, public;
SELECT result FROM idem_execute('execute-51', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SET search_path = idem_test_execute, public;
SELECT result FROM idem_execute('execute-52', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
CREATE TEMPORARY TABLE place (id float8);
INSERT INTO place VALUES (7);
SELECT result FROM idem_execute('execute-53', 'SELECT id, pg_typeof(id) AS type FROM place WHERE id = $1', '["7"]');
-- which may be read, but not be written to under a key
SELECT idem_execute('execute-53-2', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SELECT idem_execute('execute-53-3', 'WITH gone AS (DELETE FROM place RETURNING id) SELECT count(*) FROM gone');
DROP TABLE pg_temp.place;
SELECT result FROM idem_execute('execute-54', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SELECT (SELECT count(*) FROM idem_test_execute.place) AS first, (SELECT count(*) FROM idem_test_execute_2.place) AS second;

-- The schemas in which names are looked for are part of the request, unless they
-- are not there or a session's own.
\set VERBOSITY terse
SET search_path = idem_test_execute_2, public;
SELECT result, replayed FROM idem_execute('execute-50', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SET search_path = idem_test_execute, idem_test_execute_2, public;
SELECT result, replayed FROM idem_execute('execute-50', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
\set VERBOSITY default
SET search_path = idem_test_nowhere, pg_temp, idem_test_execute, public;
SELECT result, replayed FROM idem_execute('execute-50', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');
SET search_path = idem_test_execute, public;
SELECT result, replayed FROM idem_execute('execute-50', 'INSERT INTO place VALUES ($1) RETURNING id, pg_typeof($1) AS type', '["1"]');

-- A view is read by its plan, too, also once it is made anew.
CREATE VIEW seen AS SELECT 1 AS a;
CREATE VIEW seen_twice AS SELECT s.a, t.a AS b FROM seen AS s, seen AS t;
SELECT result FROM idem_execute('execute-54-1', 'SELECT * FROM seen');
SELECT result FROM idem_execute('execute-54-2', 'SELECT * FROM seen');
SELECT result FROM idem_execute('execute-54-3', 'SELECT * FROM seen_twice, seen AS c WHERE c.a = $1', '[1]');
CREATE OR REPLACE VIEW seen AS SELECT 2 AS a, 3 AS added;
SELECT result FROM idem_execute('execute-54-4', 'SELECT * FROM seen');
SELECT result FROM idem_execute('execute-54-5', 'SELECT * FROM seen_twice, seen AS c WHERE c.a = $1', '[2]');
DROP VIEW seen_twice, seen;

-- The table is altered, or made anew.
ALTER TABLE place ALTER id TYPE text, ADD note text DEFAULT 'new';
SELECT result FROM idem_execute('execute-55', 'INSERT INTO place VALUES ($1) RETURNING *', '["x"]');
ALTER TABLE place ADD more int;
SELECT result FROM idem_execute('execute-56', 'INSERT INTO place VALUES ($1) RETURNING *', '["x"]');
DROP TABLE place;
CREATE TABLE place (id date);
SELECT result FROM idem_execute('execute-57', 'INSERT INTO place VALUES ($1) RETURNING *', '["2024-01-01"]');

-- A literal means what the settings of the call, and its time, make of it.
SELECT result FROM idem_execute('execute-58', 'SELECT timestamptz ''2024-01-01 12:00'' AT TIME ZONE ''UTC'' AS at, date ''1/2/2024'' AS day, $1::int', '[1]');
SET timezone = 'Asia/Tokyo';
SET datestyle = 'ISO, DMY';
SELECT result FROM idem_execute('execute-59', 'SELECT timestamptz ''2024-01-01 12:00'' AT TIME ZONE ''UTC'' AS at, date ''1/2/2024'' AS day, $1::int', '[1]');
RESET timezone;
RESET datestyle;
CREATE FUNCTION read(key text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT result FROM idem_execute(key, 'SELECT extract(epoch FROM interval ''-1 2:03'') AS seconds,
		''{NULL}''::text[] AS array, 1 = NULL AS equal, $1::int', '[1]')
$$;
SELECT read('execute-59-0');
SET intervalstyle = 'sql_standard';
SELECT read('execute-59-1');
SET array_nulls = off;
SELECT read('execute-59-2');
SET transform_null_equals = on;
SELECT read('execute-59-3');
RESET intervalstyle;
RESET array_nulls;
RESET transform_null_equals;
SELECT read('execute-59-4');
SELECT (result -> 0 ->> 'at')::timestamptz = now() AS now FROM idem_execute('execute-60', 'SELECT timestamptz ''now'' AS at');
SELECT (result -> 0 ->> 'at')::timestamptz = now() AS now FROM idem_execute('execute-61', 'SELECT timestamptz ''now'' AS at');

-- However the literal is written, and whatever else is found by a name.
SELECT (result -> 0 ->> 'at')::timestamptz = now() AS now FROM idem_execute('execute-61-1', $$SELECT E'n\x6fw'::timestamptz AS at$$);
SELECT (result -> 0 ->> 'at')::timestamptz = now() AS now FROM idem_execute('execute-61-2', $$SELECT E'n\x6fw'::timestamptz AS at$$);
CREATE FUNCTION gg(numeric) RETURNS text LANGUAGE sql AS 'SELECT ''numeric''::text';
CREATE FUNCTION named() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE idem_test_execute_2.shadow (place text);
INSERT INTO idem_test_execute_2.shadow VALUES ('second');
SET search_path = idem_test_execute, idem_test_execute_2, public;
CREATE FUNCTION find(key text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT result FROM public.idem_execute('execute-find-' || key,
		'SELECT place, gg(1) AS overload, ''named''::regproc::oid = $1::regproc::oid AS function FROM shadow', '["named"]'));
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END $$;
SELECT find('1'), find('2');
-- a table earlier in an unchanged search_path
CREATE TABLE shadow (place text);
INSERT INTO shadow VALUES ('first');
SELECT find('3');
-- a temporary one
CREATE TEMPORARY TABLE shadow (place text);
INSERT INTO shadow VALUES ('temporary');
SELECT find('4');
DROP TABLE pg_temp.shadow;
SELECT find('5');
DROP TABLE shadow;
SELECT find('6');
-- a function that fits better
CREATE FUNCTION gg(int) RETURNS text LANGUAGE sql AS 'SELECT ''int''::text';
SELECT find('7');
DROP FUNCTION gg(int);
SELECT find('8');
-- a function made anew
DROP FUNCTION named();
SELECT find('9');
CREATE FUNCTION named() RETURNS int LANGUAGE sql AS 'SELECT 2';
SELECT find('10');
-- and code that runs while the text is read may run commands of its own
CREATE FUNCTION reenter(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.idem_execute(public.idem_new_key(), format('SELECT %s AS reentered', n))
	FROM generate_series(1, 300) AS n;
	RETURN true;
END $$;
CREATE DOMAIN reentering AS text CHECK (reenter(value));
SELECT result FROM idem_execute('execute-reenter-1', 'SELECT ''x''::reentering AS x');
SELECT result FROM idem_execute('execute-reenter-2', 'SELECT ''x''::reentering AS x');
SELECT result FROM idem_execute('execute-reenter-3', 'SELECT ''x''::reentering AS x');
SET search_path = idem_test_execute, public;

-- They are kept up to a limit, also under a statement that uses more of them.
SELECT count(DISTINCT result) FROM generate_series(1, 400) AS n,
	LATERAL idem_execute('execute-62-' || n, format('SELECT %s AS probe, $1::int', n), '[1]');
SELECT count(*) BETWEEN 100 AND 256 AS bounded FROM pg_backend_memory_contexts
WHERE name = 'CachedPlanSource' AND ident LIKE '%AS probe%';
SELECT result FROM idem_execute('execute-63', 'SELECT count(DISTINCT result) FROM generate_series(1, 400) AS n,
	LATERAL idem_execute(''execute-64-'' || n, format(''SELECT %s AS nested, $1::int'', n), ''[1]'')');
SELECT count(*) BETWEEN 100 AND 256 AS bounded FROM pg_backend_memory_contexts
WHERE name = 'CachedPlanSource' AND ident ~ 'AS (probe|nested)';
SELECT count(DISTINCT length(result::text)) FROM generate_series(1, 40) AS n,
	LATERAL idem_execute('execute-65-' || n, 'SELECT ''' || repeat('x', 100000 + n) || ''' AS long');
-- nor long ones at all, which take much more room than their texts
SELECT count(*) = 0 AS bounded FROM pg_backend_memory_contexts
WHERE name = 'CachedPlanSource' AND ident LIKE '%xxxxxxxx%';

--
-- Transactions
--

-- An error leaves the key free, and a savepoint takes it along.
SELECT * FROM idem_execute('execute-70', 'INSERT INTO account VALUES ($1)', '[1]');
SELECT outcome, replayed FROM idem_execute('execute-70', 'INSERT INTO account VALUES ($1)', '[10]');
BEGIN;
SAVEPOINT s;
SELECT outcome, replayed FROM idem_execute('execute-71', 'INSERT INTO account VALUES ($1)', '[11]');
ROLLBACK TO s;
SELECT outcome, replayed FROM idem_execute('execute-71', 'INSERT INTO account VALUES ($1)', '[11]');
SELECT outcome, replayed FROM idem_execute('execute-71', 'INSERT INTO account VALUES ($1)', '[11]');
COMMIT;
BEGIN;
SELECT outcome, replayed FROM idem_execute('execute-72', 'INSERT INTO account VALUES ($1)', '[12]');
ROLLBACK;
SELECT id FROM account WHERE id >= 10 ORDER BY id;
SELECT key FROM idem_key WHERE key LIKE 'execute-7%' ORDER BY key;

-- A deferred constraint that fails at the end takes the key along as well.
CREATE TABLE child (id int, parent int REFERENCES account DEFERRABLE INITIALLY DEFERRED);
SELECT outcome, replayed FROM idem_execute('execute-73', 'INSERT INTO child VALUES (1, $1)', '[99]');
SELECT outcome, replayed FROM idem_execute('execute-73', 'INSERT INTO child VALUES (1, $1)', '[10]');

-- What a statement sets off may have keys of its own, but not this one.
CREATE TABLE entry (id int PRIMARY KEY, account int, amount numeric);
CREATE FUNCTION note_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_upsert('execute-entry-' || new.id, 'entry', jsonb_build_object('id', new.id, 'amount', new.balance));
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON account FOR EACH ROW EXECUTE FUNCTION note_entry();
SELECT processed FROM idem_execute('execute-80', 'UPDATE account SET balance = 1 WHERE id <= $1', '[2]');
SELECT processed, replayed FROM idem_execute('execute-80', 'UPDATE account SET balance = 1 WHERE id <= $1', '[2]');
SELECT * FROM entry ORDER BY id;
SELECT result FROM idem_execute('execute-81', 'SELECT e.result AS inner FROM idem_execute(''execute-82'', ''SELECT $1 + 1 AS n'', $1) AS e', '[[41]]');
SELECT result, replayed FROM idem_execute('execute-82', 'SELECT $1 + 1 AS n', '[41]');
SELECT * FROM idem_execute('execute-83', 'SELECT idem_execute(''execute-83'', ''SELECT 1'')');
\echo :LAST_ERROR_SQLSTATE

DELETE FROM idem_key WHERE key LIKE 'execute-%';
DROP SCHEMA idem_test_execute CASCADE;
DROP SCHEMA idem_test_execute_2 CASCADE;
