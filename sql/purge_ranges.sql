-- What purging notes of the ranges of blocks of idem_key: a hint, that nothing hangs on.
--
-- Each part stands in one transaction, so that a background worker, which may be
-- running, does not see it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_purge_ranges;
SET search_path = idem_test_purge_ranges, public;
\set SHOW_CONTEXT never

CREATE FUNCTION use_keys(n int, expires_at timestamptz) RETURNS void LANGUAGE sql AS $$
INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
SELECT 'purge_ranges', gen_random_uuid(), 'inserted', 1, current_user::text::idem_role, '1999-01-01', $2
FROM generate_series(1, n) AS i
$$;
CREATE VIEW range AS SELECT range, blocks, purge_at,
	visited_at BETWEEN now() AND clock_timestamp() AS visited_now,
	file = (SELECT relfilenode FROM pg_class WHERE oid = 'idem_key'::regclass) AS of_this_file
FROM idem_key_range;
-- All whom no other session sees begin with a file that is theirs.
CREATE FUNCTION begin_anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE idem_key;
	PERFORM idem_purge();
END $$;

-- A range is worth a visit once a hundred rows of it may go; where there are fewer, once
-- all may.
BEGIN;
SELECT begin_anew();
SELECT count(*) FROM range;
SELECT use_keys(3, '2900-01-01'), use_keys(2, '2800-01-01'), use_keys(1, '2000-01-01');
SELECT idem_purge();
SELECT * FROM range;
SELECT use_keys(99, '2800-01-02'), use_keys(1, '2800-01-03'), use_keys(1, '2700-01-01');
SELECT idem_purge();
SELECT * FROM range ORDER BY blocks;
ROLLBACK;

-- None, where nothing ever will.
BEGIN;
SELECT begin_anew();
SELECT use_keys(1, 'infinity');
SELECT idem_purge();
SELECT * FROM range;
ROLLBACK;

-- Each range of 128 blocks has a row; all that is past its time goes from all of them.
BEGIN;
SELECT begin_anew();
SELECT use_keys(20000, '2900-01-01'), use_keys(5000, '2000-01-01'), use_keys(5000, '2900-01-01');
SELECT idem_purge(1000), idem_purge(1000);
SELECT idem_purge();
SELECT count(*) FROM idem_key;
SELECT count(*) = ceil(pg_relation_size('idem_key') / 8192.0 / 128) AS all_ranges,
	sum(blocks) * 8192 = pg_relation_size('idem_key') AS all_blocks,
	bool_and(visited_now AND of_this_file AND purge_at = '2900-01-01') AS visited
FROM (SELECT DISTINCT ON (range) * FROM range ORDER BY range) AS range;
ROLLBACK;

-- Who says that there is nothing is not believed for long.
BEGIN;
SELECT begin_anew();
SELECT use_keys(3, '2900-01-01');
SELECT idem_purge();
UPDATE idem_key SET expires_at = '2000-01-01';
UPDATE idem_key_range SET purge_at = 'infinity', visited_at = clock_timestamp();
SELECT idem_purge();
ROLLBACK;

-- Nor is one who tells of another file, of blocks that are not there, or of the future.
BEGIN;
SELECT begin_anew();
SELECT use_keys(3, '2000-01-01');
INSERT INTO idem_key_range (visited_at, purge_at, file, range, blocks)
SELECT v, 'infinity', f, r, 128 FROM
	(VALUES (timestamptz '2000-01-01'), ('2900-01-01')) AS t (v),
	(SELECT 0::oid UNION ALL SELECT relfilenode FROM pg_class WHERE oid = 'idem_key'::regclass) AS file (f),
	(VALUES (-1), (0), (7), (2147483647)) AS number (r);
SELECT idem_purge();
SELECT idem_purge();
SELECT DISTINCT of_this_file, range FROM range;
ROLLBACK;

-- The latest counts, and the others go.
BEGIN;
SELECT begin_anew();
SELECT use_keys(3, '2900-01-01');
SELECT idem_purge();
INSERT INTO idem_key_range SELECT r.* FROM idem_key_range AS r, generate_series(1, 3);
SELECT idem_purge();
SELECT idem_purge();
SELECT count(*) < 3 AS few FROM range;
ROLLBACK;

-- What is rolled back has not been purged, and is not said to be.
BEGIN;
SELECT begin_anew();
SELECT use_keys(3, '2000-01-01');
SAVEPOINT s;
SELECT idem_purge();
SELECT purge_at FROM range;
ROLLBACK TO s;
SELECT count(*) FROM range;
SELECT idem_purge();
ROLLBACK;

-- A claim that is held is looked at again when its fence need be remembered no more.
BEGIN;
SELECT begin_anew();
SET LOCAL idem.fence_retention = '1d';
SELECT use_keys(1, '2800-01-01');
UPDATE idem_key SET lease_until = '-infinity';
SELECT idem_purge();
SELECT purge_at FROM range;
UPDATE idem_key SET lease_until = '2850-01-01';
SELECT idem_purge();
SELECT max(purge_at) FROM range;
SET LOCAL idem.fence_retention = -1;
SELECT idem_purge();
SELECT max(purge_at) FROM range;
ROLLBACK;

-- The open claim whose lease ends first is noted with it.
BEGIN;
SELECT begin_anew();
SELECT outcome FROM idem_claim('a', scope => 'purge_ranges', lease => '1 hour');
SELECT outcome FROM idem_claim('b', scope => 'purge_ranges', lease => '10 minutes');
SELECT outcome, idem_complete('c', '1', fence, scope => 'purge_ranges')
FROM idem_claim('c', scope => 'purge_ranges', lease => '1 minute');
SELECT idem_purge();
SELECT r.lease_until = k.lease_until AS noted, r.lease_since = k.created_at AS since
FROM idem_key_range AS r, idem_key AS k WHERE key = 'b';
ROLLBACK;

-- An index that its owner has added is kept; another column, or a trigger, is not what
-- was made.
BEGIN;
SELECT begin_anew();
CREATE INDEX ON idem_key_range (visited_at);
SELECT use_keys(1, '2900-01-01');
SELECT idem_purge();
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM range WHERE visited_now;
ROLLBACK;
BEGIN;
SELECT begin_anew();
SELECT use_keys(1, '2000-01-01');
SAVEPOINT s;
ALTER TABLE idem_key_range ADD COLUMN more int DEFAULT 1;
SELECT idem_purge();
ROLLBACK TO s;
DROP VIEW range;
ALTER TABLE idem_key_range ALTER range TYPE text;
SELECT idem_purge();
ROLLBACK TO s;
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stop BEFORE INSERT ON idem_key_range FOR EACH ROW EXECUTE FUNCTION stop();
SELECT idem_purge();
ROLLBACK TO s;
SELECT idem_purge();
ROLLBACK;

-- It is nobody's but its owner's; a role that may purge needs no right to it.
CREATE ROLE regress_idem_purge_ranges;
GRANT USAGE ON SCHEMA idem_test_purge_ranges TO regress_idem_purge_ranges;
SET ROLE regress_idem_purge_ranges;
SELECT count(*) FROM idem_key_range;
DELETE FROM idem_key_range;
SELECT idem_purge();
RESET ROLE;
BEGIN;
SELECT begin_anew();
SELECT use_keys(2, '2000-01-01');
GRANT DELETE ON idem_key TO regress_idem_purge_ranges;
SET LOCAL ROLE regress_idem_purge_ranges;
SELECT idem_purge();
ROLLBACK;
DROP OWNED BY regress_idem_purge_ranges;
DROP ROLE regress_idem_purge_ranges;
DROP SCHEMA idem_test_purge_ranges CASCADE;
