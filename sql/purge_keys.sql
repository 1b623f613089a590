-- Purging: which keys go, how many, who may do it.
--
-- Each part stands in one transaction, so that a background worker, which may
-- be running, does not see the keys.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_purge;
SET search_path = idem_test_purge, public;
\set SHOW_CONTEXT never

CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE VIEW purge_key AS
SELECT key, fence, response ->> 'v' AS v FROM idem_key WHERE scope = 'purge';

-- Whatever other tests left behind.
SELECT idem_purge() >= 0 AS purged;

-- Expired keys go, live ones stay; what was written under them is not touched.
BEGIN;
SELECT key, outcome FROM unnest(ARRAY['a', 'b', 'c']) WITH ORDINALITY AS k (key, id),
	idem_upsert(key, 't', jsonb_build_object('id', id, 'v', key), scope => 'purge',
				ttl => CASE key WHEN 'b' THEN interval '1 hour' ELSE '1 microsecond' END);
SELECT idem_purge();
SELECT idem_purge();
SELECT * FROM purge_key;
SELECT * FROM t ORDER BY id;

-- A purged key counts as never used.
SELECT outcome, replayed, result FROM idem_upsert('a', 't', '{"id": 1, "v": "again"}', scope => 'purge');
SELECT * FROM purge_key ORDER BY key;
ROLLBACK;

-- Those of the first blocks go first, and no more than asked for.
BEGIN;
TRUNCATE idem_key;
SELECT count(outcome) FROM generate_series(1, 5) AS id,
	idem_upsert('k' || id, 't', jsonb_build_object('id', id), scope => 'purge', ttl => '1 microsecond');
SELECT idem_purge(2);
SELECT key FROM purge_key ORDER BY key;
SELECT idem_purge(max_rows => 1);
SELECT key FROM purge_key ORDER BY key;
SELECT idem_purge(100);
SELECT key FROM purge_key ORDER BY key;
ROLLBACK;

-- Many keys, in batches.
BEGIN;
SELECT count(outcome) FROM generate_series(1, 2500) AS id,
	idem_upsert('k' || id, 't', jsonb_build_object('id', id), scope => 'purge', ttl => '1 microsecond');
SELECT idem_purge(2400);
SELECT idem_purge(NULL);
SELECT count(*) FROM purge_key;
ROLLBACK;

-- Keys that expired at the same instant.
BEGIN;
SELECT count(outcome) FROM generate_series(1, 2500) AS id,
	idem_upsert('k' || id, 't', jsonb_build_object('id', id), scope => 'purge', ttl => '1 microsecond');
UPDATE idem_key SET expires_at = '2000-01-01' WHERE scope = 'purge';
SELECT idem_purge();
ROLLBACK;

-- A claim under a lease that has not run out is alive, though past its expiry.
BEGIN;
SET LOCAL idem.fence_retention = 0;
SELECT count(outcome) FROM generate_series(1, 3) AS id,
	idem_upsert('k' || id, 't', jsonb_build_object('id', id), scope => 'purge', ttl => '1 microsecond');
UPDATE idem_key SET lease_until = CASE key WHEN 'k2' THEN 'infinity' ELSE created_at END
WHERE scope = 'purge' AND key > 'k1';
SELECT idem_purge();
SELECT key FROM purge_key;
ROLLBACK;

-- A rollback brings purged keys back.
BEGIN;
SELECT outcome FROM idem_upsert('k', 't', '{"id": 1}', scope => 'purge', ttl => '1 microsecond');
SAVEPOINT s;
SELECT idem_purge();
ROLLBACK TO s;
SELECT key FROM purge_key;
ROLLBACK;

-- Errors.
SELECT idem_purge(0);
SELECT idem_purge(-1);
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- Purging, and starting and stopping the worker, is for roles that may delete keys.
-- It takes no other privilege.
CREATE ROLE regress_idem_purge;
SET ROLE regress_idem_purge;
SELECT idem_purge();
SELECT idem_worker_start();
SELECT idem_worker_stop();
RESET ROLE;
BEGIN;
SELECT outcome FROM idem_upsert('k', 't', '{"id": 1}', scope => 'purge', ttl => '1 microsecond');
GRANT DELETE ON idem_key TO regress_idem_purge;
SET ROLE regress_idem_purge;
SELECT idem_purge();
SELECT count(*) FROM idem_key;
ROLLBACK;
DROP ROLE regress_idem_purge;

-- What the caller's search path finds does not matter to it, and what it asks of
-- the planner ends with it.
BEGIN;
SELECT outcome FROM idem_upsert('k', 't', '{"id": 1}', scope => 'purge', ttl => '1 microsecond');
CREATE FUNCTION idem_test_purge.older(timestamptz, timestamptz) RETURNS boolean
LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR idem_test_purge.<= (FUNCTION = idem_test_purge.older, LEFTARG = timestamptz, RIGHTARG = timestamptz);
SET LOCAL search_path = idem_test_purge, pg_catalog, public;
SET LOCAL enable_seqscan = on;
SELECT idem_purge();
SHOW enable_seqscan;
ROLLBACK;

-- What the worker does is set for the whole server.
SET idem.purge_delay = 0;
SELECT name, unit, context, vartype, min_val, max_val, boot_val FROM pg_settings
WHERE name LIKE 'idem.purge%' OR name = 'idem.worker' ORDER BY name COLLATE "C";

DROP SCHEMA idem_test_purge CASCADE;
