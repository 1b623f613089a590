-- Messages by offset: how far a consumer has come in a log, one row a partition.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_advance;
SET search_path = idem_test_advance, public;
\set SHOW_CONTEXT never

CREATE VIEW come AS
SELECT consumer, topic, partition, next_offset, previous_offset, first_offset, epoch
FROM idem_offset WHERE consumer LIKE 'test-advance%';

-- Nobody has read here: the first range tells where the log begins.
SELECT idem_offset('test-advance', 'log', 0);
SELECT idem_advance('test-advance', 'log', 0, 100, 109);
SELECT idem_offset('test-advance', 'log', 0);
-- The next range, and the same once more: nothing is left to apply.
SELECT idem_advance('test-advance', 'log', 0, 110, 119);
SELECT idem_advance('test-advance', 'log', 0, 110, 119);
SELECT idem_advance('test-advance', 'log', 0, 100, 100);
-- What precedes the first range was never applied, and is not said to be, unless
-- it may be left out.
SELECT idem_advance('test-advance', 'log', 0, 0, 50);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_advance('test-advance', 'log', 0, 99, 129);
SELECT idem_advance('test-advance', 'log', 0, 99, 105, epoch => 1);
SELECT idem_advance('test-advance', 'log', 0, 0, 50, allow_gaps => true);
-- Of a range of which a part was applied, the rest is left.
SELECT idem_advance('test-advance', 'log', 0, 115, 124);
SELECT idem_advance('test-advance', 'log', 0, 100, 125);
TABLE come;

-- Other partitions, topics and consumers stand for themselves.
SELECT idem_advance('test-advance', 'log', 1, 0, 0);
SELECT idem_advance('test-advance', 'log 2', 0, 7, 8);
SELECT idem_advance('test-advance 2', 'log', 0, 9, 9);
SELECT idem_advance('test-advance', 'log', -1, 10, 19);
TABLE come ORDER BY 1, 2, 3;

-- It is remembered with the work, and forgotten with it.
CREATE TABLE effect (n bigint);
BEGIN;
INSERT INTO effect SELECT generate_series(idem_advance('test-advance', 'log', 1, 1, 5), 5);
ROLLBACK;
BEGIN;
SAVEPOINT s;
INSERT INTO effect SELECT generate_series(idem_advance('test-advance', 'log', 1, 1, 5), 5);
ROLLBACK TO s;
SELECT idem_offset('test-advance', 'log', 1);
INSERT INTO effect SELECT generate_series(idem_advance('test-advance', 'log', 1, 0, 3), 3);
SELECT idem_offset('test-advance', 'log', 1);
COMMIT;
INSERT INTO effect SELECT generate_series(idem_advance('test-advance', 'log', 1, 0, 5), 5);
SELECT array_agg(n ORDER BY n) FROM effect;

-- What lies between must not be passed over
SELECT idem_advance('test-advance', 'log', 1, 10, 12);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_offset('test-advance', 'log', 1);
-- unless the log has gaps.
SELECT idem_advance('test-advance', 'log', 1, 10, 12, allow_gaps => true);
SELECT idem_advance('test-advance', 'log', 1, 9, 12, true);
SELECT idem_advance('test-advance', 'log', 1, 11, 20, true);
TABLE come ORDER BY 1, 2, 3;

--
-- Epochs: who is the latest to whom a partition was assigned
--

SELECT idem_advance('test-advance', 'fenced', 0, 0, 9, epoch => 5);
SELECT idem_advance('test-advance', 'fenced', 0, 10, 19, epoch => 5);
-- A newer one fences the older off, even if nothing is left to apply.
SELECT idem_advance('test-advance', 'fenced', 0, 10, 19, epoch => 6);
SELECT idem_advance('test-advance', 'fenced', 0, 20, 29, epoch => 5);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_advance('test-advance', 'fenced', 0, 10, 19, epoch => 5);
SELECT idem_advance('test-advance', 'fenced', 0, 15, 29, epoch => 6);
-- Of a stale one it does not matter what else is wrong.
SELECT idem_advance('test-advance', 'fenced', 0, 100, 109, epoch => 5);
SELECT idem_advance('test-advance', 'fenced', 0, 100, 109, epoch => 7);
-- Who tells none is not fenced, and fences nobody.
SELECT idem_advance('test-advance', 'fenced', 0, 30, 39);
SELECT next_offset, epoch FROM come WHERE topic = 'fenced';
-- One can begin to tell at any time.
SELECT idem_advance('test-advance', 'log 2', 0, 7, 8, epoch => -1);
SELECT idem_advance('test-advance', 'log 2', 0, 7, 8, epoch => -2);
SELECT next_offset, epoch FROM come WHERE topic = 'log 2';

-- However many messages pass, there is one row.
DO $$ BEGIN
	FOR i IN 1 .. 1000 LOOP
		PERFORM idem_advance('test-advance', 'long', 0, i, i);
	END LOOP;
END $$;
SELECT count(*), min(next_offset) FROM come WHERE topic = 'long';

-- The largest offset there is room for.
SELECT idem_advance('test-advance', 'end', 0, 9223372036854775806, 9223372036854775806);
SELECT idem_offset('test-advance', 'end', 0);

-- In a read-only transaction one can ask, but not advance.
BEGIN READ ONLY;
SELECT idem_offset('test-advance', 'log', 1);
SELECT idem_advance('test-advance', 'log', 1, 21, 30);
ROLLBACK;

-- At the higher levels the answer is what is committed now, and our own.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT idem_offset('test-advance', 'log', 1);
SELECT idem_advance('test-advance', 'log', 1, 21, 30);
SELECT idem_advance('test-advance', 'log', 1, 21, 35);
SELECT idem_advance('test-advance', 'log', 1, 21, 35);
SELECT idem_offset('test-advance', 'log', 1);
COMMIT;

DELETE FROM idem_offset WHERE consumer LIKE 'test-advance%';
DROP SCHEMA idem_test_advance CASCADE;
