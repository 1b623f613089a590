-- How long what a transaction returns may be, where it has a key.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_size;
SET search_path = idem_test_session_size, public;
\set SHOW_CONTEXT never
SET idem.scope = 'session-size';

CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v int);
CREATE FUNCTION add(many int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t (v) VALUES (many);
	RETURN QUERY SELECT pg_catalog.repeat('z', 1000) FROM generate_series(1, many);
END $$;
\o /dev/null

-- What cannot be kept at all is an error at once, long before memory ends.
BEGIN; SELECT idem_begin('big-1');
INSERT INTO t (v) SELECT n FROM generate_series(1, 1100) AS n RETURNING pg_catalog.repeat('x', 1000000);
\echo :SQLSTATE
COMMIT;
-- So is one value that is, and what a function returns that has written.
BEGIN; SELECT idem_begin('big-2');
INSERT INTO t (v) VALUES (1) RETURNING pg_catalog.repeat('x', 150000000);
\echo :SQLSTATE
COMMIT;
BEGIN; SELECT idem_begin('big-3');
SELECT add(150000);
\echo :SQLSTATE
COMMIT;
-- Values have their price, even where they are null.
BEGIN; SELECT idem_begin('big-4');
INSERT INTO t (v) SELECT n FROM generate_series(1, 100000) AS n
	RETURNING NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;
\echo :SQLSTATE
COMMIT;
-- A long query is not kept: it runs again.
BEGIN; SELECT idem_begin('big-5');
INSERT INTO t (v) VALUES (5);
SELECT pg_catalog.repeat('x', 150000000);
\echo :SQLSTATE
COMMIT;
\o
SELECT v, count(*) FROM t GROUP BY v;

-- idem.max_response allows less.
SET idem.max_response = '100kB';
\o /dev/null
BEGIN; SELECT idem_begin('less-1');
INSERT INTO t (v) VALUES (6) RETURNING pg_catalog.repeat('x', 60000);
INSERT INTO t (v) VALUES (6) RETURNING pg_catalog.repeat('x', 60000);
\echo :SQLSTATE
COMMIT;
-- Queries count as far as they are kept.
BEGIN; SELECT idem_begin('less-2');
INSERT INTO t (v) VALUES (7);
SELECT pg_catalog.repeat('x', 60000);
SELECT pg_catalog.repeat('x', 200000);
SELECT pg_catalog.repeat('y', 60000);
\echo :SQLSTATE
COMMIT;
BEGIN; SELECT idem_begin('less-3');
SET LOCAL idem.key_reads = '50kB';
INSERT INTO t (v) VALUES (8);
SELECT pg_catalog.repeat('x', 60000);
SELECT pg_catalog.repeat('y', 60000);
\echo :SQLSTATE
COMMIT;
\o

-- What a savepoint took back that was too long leaves space for others, and a retry fails at
-- the same place.
\t on
BEGIN; SELECT idem_begin('less-4');
SAVEPOINT s;
INSERT INTO t (v) SELECT 9 FROM generate_series(1, 3) RETURNING pg_catalog.length(pg_catalog.repeat('x', v)), pg_catalog.repeat('x', 50000);
\echo :SQLSTATE
ROLLBACK TO s;
INSERT INTO t (v) VALUES (10) RETURNING v, pg_catalog.left(pg_catalog.repeat('x', 90000), 3);
COMMIT;
BEGIN; SELECT idem_begin('less-4');
SAVEPOINT s;
INSERT INTO t (v) SELECT 9 FROM generate_series(1, 3) RETURNING pg_catalog.length(pg_catalog.repeat('x', v)), pg_catalog.repeat('x', 50000);
\echo :SQLSTATE
ROLLBACK TO s;
INSERT INTO t (v) VALUES (10) RETURNING v, pg_catalog.left(pg_catalog.repeat('x', 90000), 3);
COMMIT;
\t off
RESET idem.max_response;
SELECT v, count(*) FROM t GROUP BY v ORDER BY v;

-- Rows that were kept before they were too many for a query do not count afterwards.
SET idem.max_response = '100kB';
\o /dev/null
BEGIN; SELECT idem_begin('less-5');
INSERT INTO t (v) VALUES (11);
SELECT pg_catalog.repeat('x', 30000) FROM generate_series(1, 3);
SELECT pg_catalog.repeat('x', 30000) FROM generate_series(1, 4);
SELECT pg_catalog.repeat('x', 60000);
\echo :SQLSTATE
COMMIT;
\o
-- Nor does what a savepoint sent that a lock which was not to be had ended: nothing of it is kept.
\o /dev/null
BEGIN; SELECT idem_begin('less-6');
SAVEPOINT s;
INSERT INTO t (v) VALUES (12) RETURNING pg_catalog.repeat('x', 60000);
DO 'BEGIN RAISE lock_not_available; END';
ROLLBACK TO s;
INSERT INTO t (v) VALUES (12) RETURNING pg_catalog.repeat('x', 60000);
\echo :SQLSTATE
DO 'BEGIN RAISE lock_not_available; END';
ROLLBACK TO s;
INSERT INTO t (v) VALUES (12) RETURNING pg_catalog.repeat('x', 60000);
\echo :SQLSTATE
COMMIT;
\o
RESET idem.max_response;
SELECT key, pg_catalog.length(response::text) > 60000 AS long FROM idem_key WHERE scope = 'session-size' ORDER BY key;
DROP SCHEMA idem_test_session_size CASCADE;
