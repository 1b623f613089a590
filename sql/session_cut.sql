-- Cursors that a savepoint cuts short, and what ends one: in a transaction that has a key.
SET client_min_messages = warning;
SET lc_monetary = 'C';
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_cut;
GRANT USAGE, CREATE ON SCHEMA idem_test_session_cut TO PUBLIC;
CREATE ROLE idem_test_session_cut;
SET SESSION AUTHORIZATION idem_test_session_cut;
SET search_path = idem_test_session_cut, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

CREATE TABLE t (v int);
CREATE TABLE stock (item int PRIMARY KEY, pieces int);
INSERT INTO stock SELECT i, 100 FROM generate_series(1, 3) i;
-- Writes, and raises an error of the given kind at 2.
CREATE FUNCTION pay(v int, state text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	IF v = 2 AND state <> '' THEN
		RAISE EXCEPTION 'no two' USING ERRCODE = state;
	END IF;
	INSERT INTO t VALUES (v);
	RETURN v;
END $$;

-- What a cursor wrote before its error stays written, once; the error is the same.
BEGIN;
SELECT idem_begin('session-cut-1');
DECLARE c CURSOR FOR SELECT pay(i, 'P0001') FROM generate_series(1, 3) i;
FETCH 1 FROM c;
SAVEPOINT a;
FETCH 2 FROM c;
ROLLBACK TO a;
COMMIT;
SELECT v FROM t ORDER BY v;
BEGIN;
SELECT idem_begin('session-cut-1');
DECLARE c CURSOR FOR SELECT pay(i, 'P0001') FROM generate_series(1, 3) i;
FETCH 1 FROM c;
SAVEPOINT a;
FETCH 2 FROM c;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
COMMIT;
SELECT v FROM t ORDER BY v;

-- The same with an error of the moment, which is not kept.
TRUNCATE t;
BEGIN;
SELECT idem_begin('session-cut-2');
DECLARE c CURSOR FOR SELECT pay(i, '55P03') FROM generate_series(1, 3) i;
FETCH 1 FROM c;
SAVEPOINT a;
FETCH 1 FROM c;
ROLLBACK TO a;
COMMIT;
BEGIN;
SELECT idem_begin('session-cut-2');
DECLARE c CURSOR FOR SELECT pay(i, '55P03') FROM generate_series(1, 3) i;
FETCH 1 FROM c;
SAVEPOINT a;
FETCH 1 FROM c;
ROLLBACK TO a;
COMMIT;
SELECT v FROM t ORDER BY v;

-- A query that fails with its first row.
BEGIN;
SELECT idem_begin('session-cut-3');
INSERT INTO t VALUES (0);
DECLARE c CURSOR FOR SELECT 1 / (pieces - 100) FROM stock ORDER BY item;
SAVEPOINT a;
FETCH 1 FROM c;
ROLLBACK TO a;
COMMIT;
UPDATE stock SET pieces = 101;
BEGIN;
SELECT idem_begin('session-cut-3');
INSERT INTO t VALUES (0);
DECLARE c CURSOR FOR SELECT 1 / (pieces - 100) FROM stock ORDER BY item;
SAVEPOINT a;
FETCH 1 FROM c;
ROLLBACK TO a;
COMMIT;

-- Cursors that are open as their savepoint rolls back, one of which has written.
TRUNCATE t;
BEGIN;
SELECT idem_begin('session-cut-4');
INSERT INTO t VALUES (0);
SAVEPOINT a;
DECLARE c CURSOR FOR SELECT pieces FROM stock ORDER BY item;
FETCH 1 FROM c;
DECLARE d CURSOR FOR SELECT pay(item, '') FROM stock ORDER BY item;
FETCH 1 FROM d;
ROLLBACK TO a;
COMMIT;
UPDATE stock SET pieces = 102;
BEGIN;
SELECT idem_begin('session-cut-4');
INSERT INTO t VALUES (0);
SAVEPOINT a;
DECLARE c CURSOR FOR SELECT pieces FROM stock ORDER BY item;
FETCH 1 FROM c;
DECLARE d CURSOR FOR SELECT pay(item, '') FROM stock ORDER BY item;
FETCH 1 FROM d;
ROLLBACK TO a;
COMMIT;
SELECT v FROM t ORDER BY v;

-- No row is asked for; then some are, by a cursor of another name; rows without columns.
BEGIN;
SELECT idem_begin('session-cut-5');
DECLARE c CURSOR FOR SELECT item, pieces FROM stock ORDER BY item;
FETCH 0 FROM c;
FETCH 1 FROM c;
FETCH ALL FROM c;
FETCH 0 FROM c;
WITH new AS (INSERT INTO t VALUES (1), (2) RETURNING v) SELECT FROM new;
COMMIT;
UPDATE stock SET pieces = 103;
BEGIN;
SELECT idem_begin('session-cut-5');
DECLARE d_2 CURSOR FOR SELECT item, pieces FROM stock ORDER BY item;
FETCH 0 FROM d_2;
FETCH 1 FROM d_2;
FETCH ALL FROM d_2;
FETCH 0 FROM d_2;
WITH new AS (INSERT INTO t VALUES (1), (2) RETURNING v) SELECT FROM new;
COMMIT;

-- An error of the moment ends a savepoint in a savepoint, and both roll back: neither
-- is a retry's to take.
TRUNCATE t;
BEGIN;
SELECT idem_begin('session-cut-6');
SAVEPOINT a;
INSERT INTO t VALUES (1);
SAVEPOINT b;
SELECT pay(2, '40P01');
ROLLBACK TO a;
INSERT INTO t VALUES (2);
SAVEPOINT c;
INSERT INTO t VALUES (3);
DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '55P03'; END $$;
ROLLBACK TO c;
COMMIT;
BEGIN;
SELECT idem_begin('session-cut-6');
INSERT INTO t VALUES (2);
COMMIT;
SELECT v FROM t ORDER BY v;

-- A retry notifies, or empties a table, as the first did not.
CREATE FUNCTION note() RETURNS void LANGUAGE plpgsql AS 'BEGIN NOTIFY idem_test; END';
CREATE FUNCTION clear() RETURNS void LANGUAGE plpgsql AS 'BEGIN TRUNCATE t; END';
BEGIN;
SELECT idem_begin('session-cut-6');
SELECT pg_notify('idem_test', '');
ROLLBACK;
BEGIN;
SELECT idem_begin('session-cut-6');
SELECT note();
ROLLBACK;
BEGIN;
SELECT idem_begin('session-cut-6');
SELECT clear() FROM stock FOR UPDATE;
ROLLBACK;

-- A notification that a cursor sends which may go backward is refused at once.
BEGIN;
SELECT idem_begin('session-cut-7');
DECLARE c SCROLL CURSOR FOR SELECT pg_notify('idem_test', '');
FETCH 1 FROM c;
ROLLBACK;

-- SET CONSTRAINTS checks nothing in a retry: the error comes from the record.
CREATE TABLE late (item int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late VALUES (1);
BEGIN;
SELECT idem_begin('session-cut-8');
SAVEPOINT a;
INSERT INTO late VALUES (1);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO a;
SET CONSTRAINTS ALL IMMEDIATE;
INSERT INTO late VALUES (2);
COMMIT;
BEGIN;
SELECT idem_begin('session-cut-8');
SAVEPOINT a;
INSERT INTO late VALUES (1);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO a;
SET CONSTRAINTS ALL IMMEDIATE;
INSERT INTO late VALUES (2);
COMMIT;

-- A query outside a transaction block, which calls what writes; queries that do not may run.
TRUNCATE t;
SET idem.key = 'session-cut-9';
SELECT pay(1, '');
SELECT item FROM stock ORDER BY item FOR UPDATE LIMIT 1;
SELECT count(*) FROM t;
RESET idem.key;

-- A retry rolls back what the first did not, and sends it again.
TRUNCATE t;
BEGIN;
SELECT idem_begin('session-cut-13');
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (2);
COMMIT;
BEGIN;
SELECT idem_begin('session-cut-13');
SAVEPOINT a;
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (2);
ROLLBACK TO a;
INSERT INTO t VALUES (2);
INSERT INTO t VALUES (1);
COMMIT;
SELECT v FROM t ORDER BY v;

-- Columns change places between the first and the retry: its rows are not those of then.
CREATE TABLE price (item int, amount int, fee int);
BEGIN;
SELECT idem_begin('session-cut-11');
INSERT INTO price VALUES (1, 100, 3) RETURNING *;
SELECT * FROM price;
COMMIT;
ALTER TABLE price RENAME amount TO old;
ALTER TABLE price RENAME fee TO amount;
ALTER TABLE price RENAME old TO fee;
BEGIN;
SELECT idem_begin('session-cut-11');
SELECT * FROM price;
INSERT INTO price VALUES (1, 100, 3) RETURNING *;
ROLLBACK;

RESET SESSION AUTHORIZATION;
-- Money is kept as the integer that it is: lc_monetary may be another one by then.
BEGIN;
SELECT idem_begin('session-cut-12');
INSERT INTO t VALUES (1) RETURNING 1234.56::numeric::money;
COMMIT;
SELECT response #> '{statements,0,values}' AS kept FROM idem_key WHERE key = 'session-cut-12';
BEGIN;
SELECT idem_begin('session-cut-12');
INSERT INTO t VALUES (1) RETURNING 1234.56::numeric::money;
COMMIT;

-- The history has the key, although the savepoint that it was named in is no more.
CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order', history => true);
BEGIN;
SAVEPOINT a;
SELECT idem_begin('session-cut-10');
RELEASE a;
SAVEPOINT b;
ROLLBACK TO b;
INSERT INTO orders VALUES (1);
COMMIT;
SELECT row_key, key FROM idem_history WHERE target = 'orders'::regclass;

DROP SCHEMA idem_test_session_cut CASCADE;
DROP OWNED BY idem_test_session_cut;
DROP ROLE idem_test_session_cut;
