-- Claims: without a lease, for work in one transaction, and under a lease, for
-- work that leaves the database; takeover, checkpoints, heartbeats, look-up.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_claim;
SET search_path = idem_test_claim, public;
\set SHOW_CONTEXT never

-- Without a lease, and without a transaction block, from where that is let be.
CREATE FUNCTION claim(key text, request jsonb = NULL, ttl interval = NULL, wait boolean = true)
RETURNS idem_claim_result LANGUAGE sql AS 'SELECT * FROM idem_claim($1, $2, ttl => $3, wait => $4)';
\set VERBOSITY terse

--
-- Without a lease.  The claim ends with its transaction: the work is done, if
-- the transaction commits, and its response is what idem_complete said.
--
BEGIN;
SELECT outcome, response, fence, lease_until FROM idem_claim('claim-1', '{"order": 1}');
SELECT idem_complete('claim-1', '{"paid": true}');
COMMIT;
SELECT outcome, response, fence, lease_until FROM claim('claim-1', '{"order": 1}');
SELECT outcome, response, fence, lease_until FROM idem_lookup('claim-1');

-- Its time counts from the claim, and completing it touches no index.
SELECT expires_at - created_at = current_setting('idem.ttl')::interval AS from_the_claim FROM idem_key WHERE key = 'claim-1';

-- The request is that of the claim, and only compared where it is given.
SELECT outcome FROM claim('claim-1', '{"order": 1.0}');
SELECT outcome FROM claim('claim-1');
SELECT outcome FROM claim('claim-1', '{"order": 2}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM claim('claim-2');
SELECT outcome FROM claim('claim-2', '{"order": 2}');

-- Any JSON is a request.
CREATE VIEW request AS
SELECT * FROM (VALUES ('claim-j1', 'null'::jsonb), ('claim-j2', '[]'), ('claim-j3', '"x"'),
					  ('claim-j4', '{"a": [1, {"b": null}]}')) AS v (key, request);
SELECT key, outcome FROM request, claim(key, request);
SELECT key, outcome FROM request, claim(key, request);

-- These were made by version 1.0, and must never change.
SELECT key, fingerprint FROM idem_key
WHERE key IN ('claim-1', 'claim-2') OR key LIKE 'claim-j_' ORDER BY key;

-- However long a request is, every bit of it counts.
SELECT outcome FROM idem_claim('claim-l1', to_jsonb(repeat('long', 10000)), lease => '1 hour');
SELECT outcome FROM idem_claim('claim-l1', to_jsonb(repeat('long', 10000)), lease => '1 hour');
SELECT outcome FROM idem_claim('claim-l1', to_jsonb(repeat('long', 9999) || 'Long'), lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT fingerprint FROM idem_key WHERE key = 'claim-l1';

-- Without a response there is none; a failure is an end like any other.
SELECT outcome, response FROM claim('claim-2');
BEGIN;
SELECT outcome FROM idem_claim('claim-3');
SELECT idem_fail('claim-3', '{"reason": "no such order"}');
COMMIT;
SELECT outcome, response FROM claim('claim-3');

-- What has ended stays as it is: the first response, within the transaction
-- and after it.  SQL's null is a response too, and kept as JSON's.
BEGIN;
SELECT outcome FROM idem_claim('claim-4');
SELECT idem_complete('claim-4', NULL), idem_complete('claim-4', '1'), idem_fail('claim-4', '2'), idem_release('claim-4');
COMMIT;
SELECT idem_complete('claim-4', '3'), idem_fail('claim-4', '4'), idem_release('claim-4');
SELECT outcome, response FROM claim('claim-4');
SELECT idem_complete('claim-2', '3');
SELECT outcome, response FROM claim('claim-2');

-- A second claim in the transaction gets what the row says.
BEGIN;
SELECT outcome, response, fence FROM idem_claim('claim-5');
SELECT outcome, response, fence FROM idem_claim('claim-5');
SELECT idem_complete('claim-5', '"done"', fence => 1);
SELECT outcome, response FROM idem_claim('claim-5');
-- No lock outlives a call.
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
ROLLBACK;
SELECT outcome FROM idem_lookup('claim-5');

-- A savepoint takes the claim with it, and what was said of it.
BEGIN;
SAVEPOINT s;
SELECT outcome FROM idem_claim('claim-5');
ROLLBACK TO s;
SELECT outcome FROM idem_claim('claim-5');
SAVEPOINT s;
SELECT idem_complete('claim-5', '"undone"');
ROLLBACK TO s;
SAVEPOINT s;
SELECT idem_release('claim-5');
SELECT outcome FROM idem_lookup('claim-5');
ROLLBACK TO s;
SELECT idem_complete('claim-5', '"done"');
COMMIT;
SELECT outcome, response FROM claim('claim-5');

-- Released, the key is as it was before: free,
BEGIN;
SELECT outcome FROM idem_claim('claim-6');
SELECT idem_release('claim-6');
SELECT count(*) FROM idem_key WHERE key = 'claim-6';
SELECT outcome, fence FROM idem_claim('claim-6');
ROLLBACK;
-- or expired.
BEGIN;
SELECT outcome, fence FROM idem_claim('claim-6', '1', ttl => '1 microsecond');
SELECT outcome, fence FROM idem_claim('claim-6', '2');
SELECT idem_release('claim-6');
SELECT outcome FROM idem_lookup('claim-6');
SELECT outcome, fence FROM idem_claim('claim-6', '3');
ROLLBACK;

--
-- Under a lease.  The claim is committed, then the work is done elsewhere.
--
SELECT outcome, response, fence, expires_at - lease_until AS kept_longer
FROM idem_claim('claim-10', '{"card": 1}', lease => '1 hour', ttl => '3 hours');

-- Others, and we ourselves, learn that somebody is at it, and until when.
SELECT outcome, response, fence, lease_until > clock_timestamp() AS held, expires_at > lease_until AS kept
FROM idem_claim('claim-10', '{"card": 1}', lease => '1 hour');
SELECT outcome, fence FROM claim('claim-10', '{"card": 1}');
SELECT outcome, response, fence, lease_until - created_at AS lease, expires_at - created_at AS kept
FROM idem_lookup('claim-10');
SELECT outcome FROM idem_claim('claim-10', '{"card": 2}', lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE

-- A session with the fence ends it.  The result is kept for its time from then on.
SELECT idem_complete('claim-10', '{"charge": "ch_1"}', 1);
SELECT outcome, response, fence, lease_until, expires_at > clock_timestamp() + interval '2 hours 59 minutes' AS anew
FROM idem_claim('claim-10', '{"card": 1}', lease => '1 hour');
SELECT idem_complete('claim-10', '{"charge": "ch_2"}', 1), idem_fail('claim-10', '{}', 1), idem_release('claim-10', 1);
SELECT outcome, response FROM idem_lookup('claim-10');

-- Or for the time that is given with it.
SELECT outcome FROM idem_claim('claim-11', lease => '1 hour');
SELECT idem_fail('claim-11', '{"declined": true}', 1, ttl => '10 hours');
SELECT outcome, response, round(extract(epoch FROM expires_at - clock_timestamp()) / 3600) AS hours
FROM claim('claim-11');

-- A live lease is never past its expiry.
SELECT outcome, expires_at = lease_until AS kept_for_the_lease
FROM idem_claim('claim-12', lease => '1 hour', ttl => '1 minute');
SELECT lease_until = idem_extend('claim-12', 1, '2 hours') AS as_before FROM idem_lookup('claim-12');
SELECT expires_at = lease_until AS kept_for_the_lease, lease_until > created_at + interval '2 hours' AS from_now_on
FROM idem_lookup('claim-12');

--
-- A lease that ran out.
--
-- The next claim takes over, with the next fence and a new lease.
SELECT outcome, fence FROM idem_claim('claim-20', '1', lease => '1 microsecond');
SELECT outcome, fence, lease_until > clock_timestamp() AS held FROM idem_claim('claim-20', '1', lease => '1 hour');
SELECT outcome, fence FROM idem_lookup('claim-20');
-- It is still a claim for that request.
SELECT outcome FROM idem_claim('claim-21', '1', lease => '1 microsecond');
SELECT outcome FROM idem_claim('claim-21', '2', lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, fence FROM idem_claim('claim-21', lease => '1 microsecond');
SELECT outcome FROM idem_claim('claim-21', '2', lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE

-- Nobody took over: it is still ours to complete,
SELECT outcome FROM idem_claim('claim-22', lease => '1 microsecond');
SELECT idem_complete('claim-22', '"late"', 1);
SELECT outcome, response FROM idem_claim('claim-22', lease => '1 hour');
-- or to extend.
SELECT outcome FROM idem_claim('claim-23', lease => '1 microsecond');
SELECT idem_extend('claim-23', 1, '1 hour') > clock_timestamp() AS held;
SELECT outcome FROM idem_claim('claim-23', lease => '1 hour');

-- An extension never makes a lease shorter.
SELECT idem_extend('claim-23', 1, '1 second') > clock_timestamp() + interval '50 minutes' AS held;
-- A lease that ran out is told from one that is held.
SELECT outcome FROM idem_claim('claim-25', lease => '1 microsecond');
SELECT outcome, fence, lease_until <= clock_timestamp() AS ran_out FROM idem_lookup('claim-25');

-- A released claim is the next one's at once, and with the next fence, so that
-- a holder who was given up for dead does not pass for the new one.
SELECT idem_release('claim-23', 1);
SELECT outcome, fence, lease_until <= clock_timestamp() AS ran_out FROM idem_lookup('claim-23');
-- The session that released it holds it no more, whether another has come or not.
SELECT idem_extend('claim-23', 1, '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_checkpoint('claim-23', 1, 'late');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_complete('claim-23', '"late"', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_fail('claim-23', '"late"', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_release('claim-23', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, fence FROM idem_claim('claim-23', lease => '1 hour');
SELECT idem_complete('claim-23', '"stale"', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_complete('claim-23', '"fresh"', 2);

-- A released key is for a retry of the request that was claimed, or, where that is
-- to be forgotten, for any; its fences go on all the same.
SELECT outcome, fence FROM idem_claim('claim-26', '{"try": 1}', lease => '1 hour');
SELECT idem_checkpoint('claim-26', 1, 'half');
SELECT outcome, request, response ->> 'name' AS checkpoint FROM idem_lookup('claim-26');
SELECT idem_release('claim-26', 1);
SELECT outcome, request, response ->> 'name' AS checkpoint FROM idem_lookup('claim-26');
SELECT outcome FROM idem_claim('claim-26', '{"try": 2}', lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, fence, response ->> 'name' AS checkpoint FROM idem_claim('claim-26', '{"try": 1}', lease => '1 hour');
SELECT idem_release('claim-26', 2, forget => true);
SELECT outcome, request, response ->> 'name' AS checkpoint FROM idem_lookup('claim-26');
SELECT outcome, fence, response FROM idem_claim('claim-26', '{"try": 2}', lease => '1 hour');
SELECT outcome, request FROM idem_lookup('claim-26');
SELECT idem_complete('claim-26', '"done"', 3);
SELECT outcome, request, response FROM idem_lookup('claim-26');
SELECT idem_release('claim-26', 3, forget => NULL);
\echo :LAST_ERROR_SQLSTATE

-- A claim that expired is as good as none.
BEGIN;
SELECT outcome, fence FROM idem_claim('claim-24', '1', lease => '1 microsecond', ttl => '1 microsecond');
SELECT outcome FROM idem_lookup('claim-24');
SELECT outcome, response, fence FROM idem_claim('claim-24', '2', lease => '1 hour');
ROLLBACK;

--
-- Checkpoints: how far a holder came is there for its successor.
--
SELECT outcome, response FROM idem_claim('claim-30', lease => '1 microsecond');
SELECT idem_checkpoint('claim-30', 1, 'reserved', '{"seat": "12A"}');
SELECT idem_checkpoint('claim-30', 1, 'charged "by card"', '[1, "two", null]');
SELECT outcome, response ->> 'name' AS name FROM idem_lookup('claim-30');
SELECT outcome, response, fence FROM idem_claim('claim-30', lease => '1 hour');
SELECT idem_checkpoint('claim-30', 2, 'printed');
SELECT idem_release('claim-30', 2);
SELECT outcome, response, fence FROM idem_claim('claim-30', lease => '1 hour');
-- The response takes its place.
SELECT idem_complete('claim-30', '"boarded"', 3);
SELECT outcome, response, fence FROM idem_claim('claim-30', lease => '1 hour');

-- One stands or falls with the writes of its step.
CREATE TABLE step (name text);
SELECT outcome FROM idem_claim('claim-31', lease => '1 hour');
BEGIN;
INSERT INTO step VALUES ('a');
SELECT idem_checkpoint('claim-31', 1, 'a');
COMMIT;
BEGIN;
INSERT INTO step VALUES ('b');
SELECT idem_checkpoint('claim-31', 1, 'b');
ROLLBACK;
SELECT step.name, response ->> 'name' AS checkpoint FROM step, idem_lookup('claim-31');

-- A long one stays as it is while the lease is prolonged.
SELECT idem_checkpoint('claim-31', 1, 'long', to_jsonb(string_agg(md5(i::text), ''))) FROM generate_series(1, 10000) AS i;
SELECT idem_extend('claim-31', 1, '1 hour') > clock_timestamp() AS held;
SELECT length(response ->> 'data'), md5(response ->> 'data') FROM idem_lookup('claim-31');

-- A claim without a lease may take over as well.  It is told the checkpoint,
-- has no response until it is answered, and leaves the checkpoint when released.
SELECT outcome FROM idem_claim('claim-32', lease => '1 microsecond');
SELECT idem_checkpoint('claim-32', 1, 'half');
BEGIN;
SELECT outcome, response, fence, lease_until FROM idem_claim('claim-32');
SELECT outcome, response, fence, lease_until FROM idem_claim('claim-32', lease => '1 hour');
SELECT outcome, response, lease_until FROM idem_lookup('claim-32');
SELECT idem_release('claim-32');
COMMIT;
SELECT outcome, response, fence FROM idem_claim('claim-32', lease => '1 microsecond');
BEGIN;
SELECT outcome, fence FROM idem_claim('claim-32');
COMMIT;
SELECT idem_complete('claim-32', '"too late"');
SELECT outcome, response, fence, lease_until FROM idem_claim('claim-32', lease => '1 hour');
SELECT outcome FROM idem_claim('claim-33', lease => '1 microsecond');
BEGIN;
SELECT outcome, fence FROM idem_claim('claim-33');
SELECT idem_complete('claim-33', '"done"'), idem_complete('claim-33', '"again"');
COMMIT;
SELECT outcome, response FROM claim('claim-33');

--
-- Look-up.
--
-- Of a key that was never used, or has expired; it is free for a read-only
-- transaction.
BEGIN;
SELECT outcome FROM idem_claim('claim-41', ttl => '1 microsecond');
SET TRANSACTION READ ONLY;
SELECT * FROM idem_lookup('claim-40');
SELECT * FROM idem_lookup('claim-41');
SELECT outcome FROM idem_lookup('claim-1');
ROLLBACK;
-- Of one that belongs to something else.
CREATE TABLE t (id int PRIMARY KEY);
SELECT outcome, replayed FROM idem_upsert('claim-42', 't', '{"id": 1}');
SELECT outcome, response, fence, lease_until FROM idem_lookup('claim-42');
-- Of one at work, from within.
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING '%', (SELECT outcome FROM idem_lookup('claim-43'));
	RETURN NEW;
END $$;
CREATE TRIGGER look BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION look();
SELECT outcome FROM idem_upsert('claim-43', 't', '{"id": 2}');

-- Scopes keep keys apart.
SELECT outcome FROM idem_claim('claim-50', lease => '1 hour', scope => 'claim a');
SELECT outcome FROM idem_claim('claim-50', lease => '1 hour', scope => 'claim b');
SELECT idem_checkpoint('claim-50', 1, 'x', scope => 'claim a');
SELECT idem_extend('claim-50', 1, '1 hour', scope => 'claim b') > clock_timestamp() AS held;
SELECT idem_complete('claim-50', '"a"', 1, 'claim a'), idem_release('claim-50', 1, 'claim b');
SELECT outcome, response FROM idem_lookup('claim-50', 'claim a');
SELECT outcome, response FROM idem_lookup('claim-50', 'claim b');

-- Of many keys in one statement.
SELECT outcome, count(*) FROM generate_series(1, 1000) AS i, idem_claim('claim-60-' || i, lease => '1 hour')
GROUP BY outcome;
SELECT count(*) FILTER (WHERE idem_complete('claim-60-' || i, to_jsonb(i), 1)) FROM generate_series(1, 1000) AS i;
SELECT outcome, sum(response::int) FROM generate_series(1, 1000) AS i, idem_claim('claim-60-' || i, lease => '1 hour')
GROUP BY outcome;

DELETE FROM idem_key WHERE key LIKE 'claim-%';
DROP SCHEMA idem_test_claim CASCADE;
