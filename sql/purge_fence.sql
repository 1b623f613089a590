-- A purge keeps the key of a claim under a lease for idem.fence_retention, so that a
-- former holder that comes back is told from the new one.
--
-- What expires stands in one transaction, so that a background worker, which may
-- be running, does not purge it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET search_path = public;
SET idem.scope = 'purge-fence';
\set SHOW_CONTEXT never
\set VERBOSITY terse

-- The library is there from the first call on.
SELECT outcome FROM idem_lookup('none');
SELECT unit, context, vartype, min_val, boot_val FROM pg_settings WHERE name = 'idem.fence_retention';

-- All keys of the scope have expired so long ago.
CREATE FUNCTION pg_temp.expire(ago interval) RETURNS void LANGUAGE sql AS $$
	UPDATE idem_key SET created_at = clock_timestamp() - ago - interval '1 hour',
		expires_at = clock_timestamp() - ago,
		lease_until = CASE WHEN lease_until > '-infinity' THEN clock_timestamp() - ago
			ELSE lease_until END
	WHERE scope = 'purge-fence'
$$;
-- The keys that a purge leaves.
CREATE FUNCTION pg_temp.purged() RETURNS TABLE (key text, outcome idem_outcome, fence bigint)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_purge();
	RETURN QUERY SELECT k.key, k.outcome, k.fence FROM idem_key AS k
		WHERE k.scope = 'purge-fence' ORDER BY k.key;
END
$$;
CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT ' || call INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

-- One that never ended, one that did, one that was refused, one that was released.
BEGIN;
SELECT key, outcome, fence FROM unnest(ARRAY['left', 'done', 'no', 'again']) AS key,
	idem_claim(key, '{"of": "A"}', lease => '1 hour');
SELECT idem_complete('done', '"A"', 1), idem_fail('no', '"A"', 1), idem_release('again', 1);
SELECT key, lease_until FROM idem_key WHERE scope = 'purge-fence' AND key IN ('done', 'no') ORDER BY key;
SELECT outcome, response, lease_until FROM idem_lookup('done');
SELECT pg_temp.expire('23 hours');
SELECT * FROM pg_temp.purged();
-- They count as never used, and what is claimed anew is not A's to write.
SELECT key, l.outcome FROM unnest(ARRAY['left', 'done', 'no', 'again']) AS key, idem_lookup(key) AS l;
SELECT key, outcome, fence, response FROM unnest(ARRAY['left', 'done', 'no', 'again']) AS key,
	idem_claim(key, '{"of": "B"}', lease => '1 hour');
SELECT key, pg_temp.try(format('idem_complete(%L, ''"A"'', 1)', key)) AS complete,
	pg_temp.try(format('idem_extend(%L, 1, ''1 hour'')', key)) AS extend,
	pg_temp.try(format('idem_release(%L, 1)', key)) AS release
FROM unnest(ARRAY['left', 'done', 'no', 'again']) AS key;
SELECT key, idem_complete(key, '"B"', 2) FROM unnest(ARRAY['left', 'done', 'no', 'again']) AS key;
-- Past that they go.
SELECT pg_temp.expire('25 hours');
SELECT * FROM pg_temp.purged();
ROLLBACK;

-- Also where calls without a lease have used the key meanwhile.
BEGIN;
SELECT outcome, fence FROM idem_claim('mixed', lease => '1 hour');
SELECT pg_temp.expire('23 hours');
SELECT outcome, replayed FROM idem_execute('mixed', 'SELECT 1');
SELECT fence, lease_until FROM idem_key WHERE scope = 'purge-fence';
SELECT pg_temp.expire('23 hours');
SELECT * FROM pg_temp.purged();
SELECT outcome, fence FROM idem_claim('mixed', '1');
SELECT idem_complete('mixed', '1');
SELECT pg_temp.expire('23 hours');
SELECT * FROM pg_temp.purged();
SELECT outcome, fence FROM idem_claim('mixed', lease => '1 hour');
SELECT pg_temp.try($$idem_complete('mixed', '"A"', 1)$$);
ROLLBACK;

-- What no session can come back to goes at once.
BEGIN;
SELECT outcome FROM idem_execute('done', 'SELECT 1');
SELECT outcome, fence FROM idem_claim('claimed', '1');
SELECT idem_complete('claimed', '1');
SELECT pg_temp.expire('1 second');
SELECT * FROM pg_temp.purged();
ROLLBACK;

-- How long, is for superusers to say: not at all, or for ever.
BEGIN;
SELECT outcome, fence FROM idem_claim('left', lease => '1 hour');
SELECT pg_temp.expire('1 second');
SAVEPOINT s;
SET LOCAL idem.fence_retention = 0;
SELECT * FROM pg_temp.purged();
ROLLBACK TO s;
SET LOCAL idem.fence_retention = -1;
SELECT pg_temp.expire('1000 years');
SELECT * FROM pg_temp.purged();
ROLLBACK;
BEGIN;
SET LOCAL ROLE pg_monitor;
SET idem.fence_retention = 0;
ROLLBACK;
