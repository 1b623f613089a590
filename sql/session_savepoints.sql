-- Savepoints in a transaction that has a key: a retry takes the same way.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_savepoints;
SET search_path = idem_test_session_savepoints, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

CREATE TABLE t (id serial PRIMARY KEY, v text UNIQUE);

-- Get or create: the error is given again, although the row is gone by then.
INSERT INTO t (v) VALUES ('there');
BEGIN;
SELECT idem_begin('session-s1');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('there');
ROLLBACK TO a;
SELECT v FROM t WHERE v = 'there';
INSERT INTO t (v) VALUES ('new');
COMMIT;
DELETE FROM t WHERE v = 'there';
BEGIN;
SELECT idem_begin('session-s1');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('there');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT v FROM t WHERE v = 'there';
INSERT INTO t (v) VALUES ('new');
COMMIT;
SELECT v FROM t;

-- Nested: part of it is rolled back, and sent again with another answer.
BEGIN;
SELECT idem_begin('session-s2');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('one') RETURNING id;
SAVEPOINT b;
INSERT INTO t (v) VALUES ('two') RETURNING id;
ROLLBACK TO b;
INSERT INTO t (v) VALUES ('two') RETURNING id;
RELEASE b;
RELEASE a;
SAVEPOINT c;
INSERT INTO t (v) VALUES ('three') RETURNING id;
ROLLBACK TO c;
SELECT count(*) FROM t;
COMMIT;
DELETE FROM t;
BEGIN;
SELECT idem_begin('session-s2');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('one') RETURNING id;
SAVEPOINT b;
INSERT INTO t (v) VALUES ('two') RETURNING id;
ROLLBACK TO b;
INSERT INTO t (v) VALUES ('two') RETURNING id;
RELEASE b;
RELEASE a;
SAVEPOINT c;
INSERT INTO t (v) VALUES ('three') RETURNING id;
ROLLBACK TO c;
SELECT count(*) FROM t;
COMMIT;
SELECT count(*) FROM t;

-- A retry that keeps what was undone, or undoes what was kept.
BEGIN;
SELECT idem_begin('session-s2');
INSERT INTO t (v) VALUES ('one') RETURNING id;
INSERT INTO t (v) VALUES ('two') RETURNING id;
INSERT INTO t (v) VALUES ('two') RETURNING id;
COMMIT;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT idem_begin('session-s2');
SAVEPOINT b;
INSERT INTO t (v) VALUES ('two') RETURNING id;
ROLLBACK TO b;
SAVEPOINT a;
INSERT INTO t (v) VALUES ('one') RETURNING id;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('two') RETURNING id;
COMMIT;
\echo :LAST_ERROR_SQLSTATE

-- A retry may undo on its way, and send again, what the first kept.
BEGIN;
SELECT idem_begin('session-s3');
INSERT INTO t (v) VALUES ('again') RETURNING v;
COMMIT;
BEGIN;
SELECT idem_begin('session-s3');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('again') RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('again') RETURNING v;
COMMIT;

-- The key is claimed in a savepoint that rolls back: the transaction keeps its key,
-- and claims it anew.
BEGIN;
SAVEPOINT a;
SELECT idem_begin('session-s4');
INSERT INTO t (v) VALUES ('lost') RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('found') RETURNING v;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
BEGIN;
SAVEPOINT a;
SELECT idem_begin('session-s4');
INSERT INTO t (v) VALUES ('lost') RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('found') RETURNING v;
COMMIT;
SELECT v FROM t WHERE v IN ('lost', 'found');
BEGIN;
SET LOCAL idem.key = 'session-s5';
SAVEPOINT a;
INSERT INTO t (v) VALUES ('lost') RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('set') RETURNING v;
COMMIT;
BEGIN;
SET LOCAL idem.key = 'session-s5';
SAVEPOINT a;
INSERT INTO t (v) VALUES ('lost') RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('set') RETURNING v;
COMMIT;

-- So it is with one that the server meets before a statement runs, such as the lock of its table.
CREATE FUNCTION busy() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE lock_not_available; END $$;
BEGIN;
SELECT idem_begin('session-s16');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('planned') RETURNING v;
INSERT INTO t (v) VALUES (busy()) RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('planned') RETURNING v;
COMMIT;
BEGIN;
SELECT idem_begin('session-s16');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('planned') RETURNING v;
COMMIT;
-- One that is caught as a statement is planned is none.
CREATE FUNCTION catches() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM busy();
EXCEPTION WHEN lock_not_available THEN
	RETURN 'caught';
END $$;
BEGIN;
SELECT idem_begin('session-s17');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('first') RETURNING v;
INSERT INTO t (v) VALUES (catches()) RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('kept') RETURNING v;
COMMIT;
BEGIN;
SELECT idem_begin('session-s17');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('first') RETURNING v;
INSERT INTO t (v) VALUES (catches()) RETURNING v;
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('kept') RETURNING v;
COMMIT;
SELECT v, count(*) FROM t WHERE v IN ('planned', 'kept') GROUP BY v ORDER BY v;

-- An error of the moment: what it ended is not kept, whichever savepoint it ended, so
-- that a retry that does not meet it is the same.
CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$;
BEGIN;
SELECT idem_begin('session-s7');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('moment') RETURNING v;
SAVEPOINT b;
SELECT fails();
ROLLBACK TO a;
INSERT INTO t (v) VALUES ('moment') RETURNING v;
SAVEPOINT c;
INSERT INTO t (v) VALUES ('undone') RETURNING v;
ROLLBACK TO c;
COMMIT;
BEGIN;
SELECT idem_begin('session-s7');
SAVEPOINT a;
INSERT INTO t (v) VALUES ('moment') RETURNING v;
RELEASE a;
SAVEPOINT c;
INSERT INTO t (v) VALUES ('undone') RETURNING v;
ROLLBACK TO c;
COMMIT;

-- A cursor that was opened before the savepoint, and rows asked for in parts.
BEGIN;
SELECT idem_begin('session-s6');
DECLARE c NO SCROLL CURSOR FOR SELECT v FROM t WHERE v IN ('found', 'set') ORDER BY v;
SAVEPOINT a;
FETCH 1 FROM c;
INSERT INTO t (v) VALUES ('cursor');
ROLLBACK TO a;
FETCH 2 FROM c;
INSERT INTO t (v) VALUES ('cursor');
COMMIT;
DELETE FROM t WHERE v = 'set';
BEGIN;
SELECT idem_begin('session-s6');
DECLARE c NO SCROLL CURSOR FOR SELECT v FROM t WHERE v IN ('found', 'set') ORDER BY v;
SAVEPOINT a;
FETCH 1 FROM c;
INSERT INTO t (v) VALUES ('cursor');
ROLLBACK TO a;
FETCH 2 FROM c;
INSERT INTO t (v) VALUES ('cursor');
COMMIT;
SELECT v FROM t ORDER BY v;
DROP SCHEMA idem_test_session_savepoints CASCADE;
