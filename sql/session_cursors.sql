-- Cursors in a transaction that has a key: only some of the rows may be asked for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_cursors;
SET search_path = idem_test_session_cursors, public;

CREATE TABLE item (id int PRIMARY KEY, n int);
INSERT INTO item SELECT i, 10 * i FROM generate_series(1, 5) AS i;

-- A cursor that does not say whether it scrolls goes forward only.
BEGIN;
SELECT idem_begin('cursor');
INSERT INTO item VALUES (6, 60);
DECLARE c CURSOR FOR SELECT id, n FROM item ORDER BY id;
FETCH 2 FROM c;
MOVE 1 IN c;
FETCH 1 FROM c;
CLOSE c;
DECLARE d CURSOR FOR SELECT id, n FROM item ORDER BY id;
FETCH ALL FROM d;
COMMIT;
UPDATE item SET n = -n;

-- Sent again, it is answered as the first time.
BEGIN;
SELECT idem_begin('cursor');
INSERT INTO item VALUES (6, 60);
DECLARE c CURSOR FOR SELECT id, n FROM item ORDER BY id;
FETCH 2 FROM c;
MOVE 1 IN c;
FETCH 1 FROM c;
CLOSE c;
DECLARE d CURSOR FOR SELECT id, n FROM item ORDER BY id;
FETCH ALL FROM d;
COMMIT;

-- More rows than then are not there.
BEGIN;
SELECT idem_begin('cursor');
DECLARE c CURSOR FOR SELECT id, n FROM item ORDER BY id;
FETCH 2 FROM c;
FETCH 3 FROM c;
ROLLBACK;

-- Backward it does not go, not even the first time.
BEGIN;
SELECT idem_begin('backward');
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;

-- One that says that it scrolls does, and runs again.
BEGIN;
SELECT idem_begin('scroll');
DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;

-- The key is the transaction's, whatever first takes it: a cursor that stays open, too.
BEGIN;
SET LOCAL idem.key = 'first';
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id FOR UPDATE;
FETCH c;
UPDATE item SET n = n + 1 WHERE CURRENT OF c;
COMMIT;

-- Without a key a cursor is as ever, and so is one of a function's.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;
CREATE FUNCTION some_ids() RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'DECLARE e CURSOR FOR SELECT id FROM item ORDER BY id';
	RETURN QUERY EXECUTE 'FETCH 2 FROM e';
	RETURN QUERY EXECUTE 'FETCH BACKWARD 1 FROM e';
	EXECUTE 'CLOSE e';
END $$;
BEGIN;
SELECT idem_begin('inside');
SELECT * FROM some_ids();
ROLLBACK;

SELECT idem_forget('cursor');
DROP SCHEMA idem_test_session_cursors CASCADE;
