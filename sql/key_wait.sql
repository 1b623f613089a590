-- Waiting for a key: what one session sees.  What is waited for, t/key_wait.pl ends.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_wait;
SET search_path = idem_test_wait, public;
SET idem.scope = 'wait';
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_idem_bob;

-- A wait that would never end fails the test by this.
SET statement_timeout = '50s';

-- What is not in progress is returned at once, as idem_lookup does.
CREATE TABLE t (id int PRIMARY KEY);
CREATE FUNCTION same(key text, OUT same boolean, OUT outcome idem_outcome) LANGUAGE sql AS $$
	SELECT w IS NOT DISTINCT FROM l, w.outcome FROM idem_wait($1, '1 minute') AS w, idem_lookup($1) AS l
$$;
SELECT * FROM idem_wait('never', '1 minute');
SELECT outcome FROM idem_claim('done', '{"order": 1}', lease => '1 hour');
SELECT idem_checkpoint('done', 1, 'half'), idem_complete('done', '{"paid": true}', 1);
SELECT outcome, response, fence, lease_until, request FROM idem_wait('done', '1 minute');
SELECT outcome FROM idem_claim('refused', lease => '1 hour');
SELECT idem_fail('refused', '"card declined"', 1);
SELECT outcome FROM idem_claim('released', '"r"', lease => '1 hour');
SELECT idem_checkpoint('released', 1, 'half'), idem_release('released', 1);
SELECT outcome, response, request FROM idem_wait('released', '1 minute');
SELECT outcome FROM idem_claim('ran out', lease => '1 microsecond');
SELECT outcome FROM idem_claim('expired', lease => '1 microsecond', ttl => '1 microsecond');
SELECT outcome FROM idem_upsert('upsert', 't', '{"id": 1}');
SELECT key, same.* FROM unnest(ARRAY['done', 'refused', 'released', 'ran out', 'expired', 'upsert']) AS key, same(key);

-- A lease ends by itself, and the wait with it.
SELECT outcome FROM idem_claim('short', lease => '0.3 s');
SELECT outcome, lease_until <= clock_timestamp() AS over FROM idem_wait('short', '1 minute');

-- What is still in progress when the time is over is returned so.
SELECT outcome FROM idem_claim('long', '"r"', lease => '1 hour');
SELECT idem_checkpoint('long', 1, 'half');
SELECT outcome, response, fence, lease_until > clock_timestamp() AS held, request FROM idem_wait('long', '0');
SELECT clock_timestamp() AS before \gset
SELECT outcome, response, fence, lease_until > clock_timestamp() AS held, request FROM idem_wait('long', '0.2 s');
SELECT clock_timestamp() - :'before' >= '0.2 s' AS waited;

-- Arguments.
CREATE FUNCTION try(call text, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	answer := coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
	answer := SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT call, answer FROM unnest(ARRAY[
	$$idem_wait(NULL, '1 s')$$,
	$$idem_wait('', '1 s')$$,
	$$idem_wait('long', NULL)$$,
	$$idem_wait('long', '-1 microsecond')$$,
	$$idem_wait('long', '-178000000 years')$$,
	$$idem_wait('long', '178000000 years')$$,
	$$idem_wait('long', '1 minute 1 microsecond')$$,
	$$outcome FROM idem_wait('done', '1 minute')$$,
	$$outcome FROM idem_wait('long', '1 microsecond')$$,
	$$outcome FROM idem_wait(key => 'done', timeout => '1 s', scope => 'wait')$$,
	$$outcome FROM idem_wait('done', '1 s', 'another scope')$$,
	$$outcome FROM idem_wait('done', interval '1 s', repeat('s', 256))$$]) AS call, try(call);
\set VERBOSITY default
SELECT idem_wait('long', '2 minutes');
\set VERBOSITY terse

-- A session does not wait for itself.
\set VERBOSITY default
BEGIN;
SELECT outcome FROM idem_claim('mine', lease => '1 hour');
SELECT outcome FROM idem_wait('mine', '0');
SELECT outcome FROM idem_wait('mine', '1 minute');
ROLLBACK;
\set VERBOSITY terse
BEGIN;
SELECT idem_extend('long', 1, '2 hours') > clock_timestamp() AS held;
SELECT outcome FROM idem_wait('long', '1 minute');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING '%', try($q$outcome FROM idem_wait('nested', '1 minute')$q$);
	RETURN NEW;
END $$;
CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wait();
SELECT outcome FROM idem_upsert('nested', 't', '{"id": 2}');
-- A claim without a lease is what it will be when the transaction commits.
BEGIN;
SELECT outcome FROM idem_claim('mine');
SELECT outcome, response FROM idem_wait('mine', '1 minute');
SELECT idem_complete('mine', '1');
SELECT outcome, response FROM idem_wait('mine', '1 minute');
ROLLBACK;

-- Time limits end it.
SET statement_timeout = '100ms';
SELECT outcome FROM idem_wait('long', '1 minute');
\echo :LAST_ERROR_SQLSTATE
SET statement_timeout = '50s';

-- It takes no more than a transaction that only reads, at any level.
BEGIN READ ONLY;
SELECT outcome FROM idem_wait('long', '10 ms');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outcome FROM idem_wait('long', '10 ms');
SELECT outcome FROM idem_wait('done', '10 ms');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT outcome FROM idem_wait('long', '10 ms');
SELECT outcome FROM idem_wait('done', '10 ms');
COMMIT;

-- Keys of another role are not waited for.
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_wait('long', '1 minute');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_wait('done', '1 minute');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_claim('of bob', lease => '0.1 s');
SELECT outcome FROM idem_wait('of bob', '1 minute');
SELECT outcome FROM idem_wait('expired', '1 minute');
RESET ROLE;
SELECT idem_scope_define('wait');
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_wait('of bob', '1 minute');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT idem_scope_drop('wait');

DELETE FROM idem_key WHERE scope = 'wait';
DROP SCHEMA idem_test_wait CASCADE;
DROP ROLE regress_idem_bob;
