-- Claims: what is refused, and what the refusal says.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_claim_errors;
SET search_path = idem_test_claim_errors, public;
\set SHOW_CONTEXT never

-- What became of a call: its result, or the SQLSTATE and message of its error.
CREATE FUNCTION try(call text, OUT answer text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	answer := SQLSTATE || ' ' || answer;
	detail := regexp_replace(detail, 'at \d{4}-.*\.$', 'at TIME.');
	detail := replace(detail, format('role "%s"', session_user), 'role ME');
END $$;

-- Keys and scopes are as everywhere.
SELECT call, answer FROM unnest(ARRAY[
	$$idem_claim(NULL)$$,
	$$idem_claim('')$$,
	$$idem_claim(repeat('k', 256))$$,
	$$idem_claim('e', scope => repeat('s', 256))$$,
	$$idem_complete(NULL, '1')$$,
	$$idem_fail('', '1')$$,
	$$idem_release(NULL)$$,
	$$idem_extend(NULL, 1, '1 hour')$$,
	$$idem_checkpoint(NULL, 1, 'a')$$,
	$$idem_lookup(NULL)$$,
	$$idem_lookup('')$$,
	$$idem_lookup('e', repeat('s', 256))$$]) AS call, try(call);

-- Times are positive.
SELECT call, answer FROM unnest(ARRAY[
	$$idem_claim('claim-e', lease => '0')$$,
	$$idem_claim('claim-e', lease => '-1 second')$$,
	$$idem_claim('claim-e', lease => '1 day -25 hours')$$,
	$$idem_claim('claim-e', ttl => '0')$$,
	$$idem_claim('claim-e', lease => '1 hour', ttl => '-1 hour')$$,
	$$idem_complete('claim-e', '1', 1, ttl => '0')$$,
	$$idem_fail('claim-e', '1', 1, ttl => '-1 day')$$,
	$$idem_extend('claim-e', 1, '0')$$,
	$$idem_extend('claim-e', 1, '-1 second')$$,
	$$idem_claim('claim-e', wait => NULL)$$]) AS call, try(call);
SELECT count(*) FROM idem_key WHERE key = 'claim-e';

-- A claim that is kept to the end of time can be completed, all the same.
SELECT (idem_claim('claim-e1', lease => '1 hour', ttl => '292000 years')).outcome;
SELECT idem_complete('claim-e1', '1', 1);

-- What ends or prolongs a claim under a lease needs its fence.
SELECT (idem_claim('claim-e2', lease => '1 hour')).fence;
SELECT call, try.* FROM unnest(ARRAY[
	$$idem_complete('claim-e2', '1')$$,
	$$idem_fail('claim-e2', '1')$$,
	$$idem_release('claim-e2')$$,
	$$idem_extend('claim-e2', NULL, '1 hour')$$,
	$$idem_checkpoint('claim-e2', NULL, 'a')$$]) AS call, try(call);

-- And the lease, or the name.
SELECT call, answer FROM unnest(ARRAY[
	$$idem_extend('claim-e2', 1, NULL)$$,
	$$idem_checkpoint('claim-e2', 1, NULL)$$]) AS call, try(call);

-- Any other fence is refused, older or not.
SELECT call, try.* FROM unnest(ARRAY[
	$$idem_complete('claim-e2', '1', 2)$$,
	$$idem_fail('claim-e2', '1', 0)$$,
	$$idem_release('claim-e2', -1)$$,
	$$idem_extend('claim-e2', 9223372036854775807, '1 hour')$$,
	$$idem_checkpoint('claim-e2', 2, 'a')$$]) AS call, try(call);

-- So is a holder whose lease ran out and was taken over, in whatever state the
-- claim is by then.
CREATE VIEW stale AS
SELECT call, answer FROM unnest(ARRAY[
	$$idem_complete('claim-e3', '"stale"', 1)$$,
	$$idem_fail('claim-e3', '"stale"', 1)$$,
	$$idem_release('claim-e3', 1)$$,
	$$idem_extend('claim-e3', 1, '1 hour')$$,
	$$idem_checkpoint('claim-e3', 1, 'stale')$$]) AS call, try(call);
SELECT (idem_claim('claim-e3', lease => '1 microsecond')).fence;
SELECT (idem_claim('claim-e3', lease => '1 hour')).fence;
SELECT * FROM stale;
SELECT idem_release('claim-e3', 2);
SELECT * FROM stale;
SELECT (idem_claim('claim-e3', lease => '1 hour')).fence;
SELECT * FROM stale;
SELECT idem_complete('claim-e3', '"done"', 3);
SELECT * FROM stale;
SELECT outcome, response, fence FROM idem_lookup('claim-e3');
-- Or has failed.
SELECT (idem_claim('claim-e4', lease => '1 microsecond')).fence;
SELECT (idem_claim('claim-e4', lease => '1 hour')).fence;
SELECT idem_fail('claim-e4', '"no"', 2);
SELECT answer FROM try($$idem_fail('claim-e4', '"no"', 1)$$);

-- In the transaction of its last writes, it undoes them with that.
CREATE TABLE work (what text);
\set VERBOSITY terse
BEGIN;
INSERT INTO work VALUES ('stale');
SELECT idem_complete('claim-e3', '"stale"', 2);
\echo :LAST_ERROR_SQLSTATE
COMMIT;
SELECT * FROM work;
\set VERBOSITY default

-- A claim that has ended is not prolonged, and takes no checkpoint; neither
-- does one that has no lease.
SELECT call, try.* FROM unnest(ARRAY[
	$$idem_extend('claim-e3', 3, '1 hour')$$,
	$$idem_checkpoint('claim-e3', 3, 'a')$$]) AS call, try(call);
BEGIN;
SELECT (idem_claim('claim-e5')).fence;
SELECT answer, detail FROM try($$idem_extend('claim-e5', 1, '1 hour')$$);
SELECT answer, detail FROM try($$idem_checkpoint('claim-e5', 1, 'a')$$);
SELECT answer, detail FROM try($$idem_complete('claim-e5', '1', 2)$$);
SELECT answer, detail FROM try($$idem_complete('claim-e5', '1', 1)$$);
ROLLBACK;

-- Of a key that nobody claimed, whose claim is undone or has expired, nothing
-- is held.
BEGIN;
SELECT (idem_claim('claim-e6', lease => '1 microsecond', ttl => '1 microsecond')).fence;
SELECT call, try.* FROM unnest(ARRAY[
	$$idem_complete('claim-e5', '1')$$,
	$$idem_complete('claim-e6', '1', 1)$$]) AS call, try(call);
SELECT call, answer FROM unnest(ARRAY[
	$$idem_fail('claim-e6', '1', 1)$$,
	$$idem_release('claim-e6', 1)$$,
	$$idem_release('claim-e7')$$,
	$$idem_extend('claim-e6', 1, '1 hour')$$,
	$$idem_checkpoint('claim-e6', 1, 'a')$$]) AS call, try(call);
ROLLBACK;

-- Keys of other operations are not those of claims, nor the other way round.
CREATE TABLE t (id int PRIMARY KEY);
SELECT outcome FROM idem_upsert('claim-e8', 't', '{"id": 1}');
SELECT call, answer FROM unnest(ARRAY[
	$$idem_claim('claim-e8')$$,
	$$idem_claim('claim-e8', '{"id": 1}', '1 hour')$$,
	$$idem_complete('claim-e8', '1')$$,
	$$idem_fail('claim-e8', '1', 1)$$,
	$$idem_release('claim-e8', 1)$$,
	$$idem_extend('claim-e8', 1, '1 hour')$$,
	$$idem_checkpoint('claim-e8', 1, 'a')$$,
	$$idem_upsert('claim-e2', 't', '{"id": 2}')$$,
	$$idem_upsert('claim-e3', 't', '{"id": 2}')$$]) AS call, try(call);
SELECT (idem_claim('claim-e9', lease => '1 microsecond')).outcome;
SELECT answer FROM try($$idem_upsert('claim-e9', 't', '{"id": 2}')$$);
SELECT * FROM t;

-- Within the work of a key, that key is not claimed.
CREATE FUNCTION claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_claim('claim-e10', wait => false);
	RETURN NEW;
END $$;
CREATE TRIGGER claim BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION claim();
SELECT answer FROM try($$idem_upsert('claim-e10', 't', '{"id": 3}')$$);

-- A read-only transaction may look, and nothing else.
BEGIN READ ONLY;
SELECT call, answer FROM unnest(ARRAY[
	$$idem_claim('claim-e2')$$,
	$$idem_complete('claim-e2', '1', 1)$$,
	$$idem_fail('claim-e2', '1', 1)$$,
	$$idem_release('claim-e2', 1)$$,
	$$idem_extend('claim-e2', 1, '1 hour')$$,
	$$idem_checkpoint('claim-e2', 1, 'a')$$,
	$$(idem_lookup('claim-e2')).outcome$$]) AS call, try(call);
SELECT * FROM try($$idem_claim('claim-e2')$$);
ROLLBACK;

--
-- Rights.  A claim is that of the role that made it, and of its members.
--
CREATE ROLE regress_idem_cat;
CREATE ROLE regress_idem_dog;
CREATE ROLE regress_idem_kitten INHERIT IN ROLE regress_idem_cat;
GRANT USAGE ON SCHEMA idem_test_claim_errors TO regress_idem_cat, regress_idem_dog;
SET ROLE regress_idem_cat;
SELECT (idem_claim('claim-e20', '{"secret": 1}', lease => '1 hour')).fence;
SELECT (idem_claim('claim-e21', '{"secret": 1}', lease => '1 microsecond')).fence;
BEGIN;
SELECT (idem_claim('claim-e22')).outcome;
COMMIT;
SET ROLE regress_idem_dog;
SELECT * FROM try($$idem_claim('claim-e20', '{"secret": 1}')$$);
SELECT call, answer FROM unnest(ARRAY[
	$$idem_claim('claim-e20', '{"guess": 1}', wait => false)$$,
	$$idem_claim('claim-e21', '{"secret": 1}', '1 hour')$$,
	$$idem_claim('claim-e22')$$,
	$$idem_complete('claim-e20', '1', 1)$$,
	$$idem_complete('claim-e20', '1', 7)$$,
	$$idem_complete('claim-e20', '1')$$,
	$$idem_fail('claim-e21', '1', 1)$$,
	$$idem_release('claim-e20', 1)$$,
	$$idem_extend('claim-e21', 1, '1 hour')$$,
	$$idem_checkpoint('claim-e20', 1, 'a')$$,
	$$idem_lookup('claim-e20')$$,
	$$idem_lookup('claim-e21')$$,
	$$idem_lookup('claim-e22')$$]) AS call, try(call);
SELECT (idem_claim('claim-e20', scope => 'claim dog', lease => '1 hour')).outcome;

-- A member works on it, and takes it over; from then on it is the member's.
SET ROLE regress_idem_kitten;
SELECT idem_extend('claim-e20', 1, '2 hours') > clock_timestamp() AS held;
SELECT (idem_claim('claim-e21', '{"secret": 1}', lease => '1 hour')).fence;
SELECT answer, detail FROM try($$idem_complete('claim-e21', '1', 1)$$);
SET ROLE regress_idem_cat;
SELECT answer FROM try($$idem_complete('claim-e21', '1', 1)$$);
SELECT idem_complete('claim-e20', '1', 1);
RESET ROLE;
SELECT key, claimed_by FROM idem_key WHERE key LIKE 'claim-e2_' ORDER BY scope, key;

-- None of this takes, or gives, a privilege on the table.
SET ROLE regress_idem_cat;
SELECT * FROM idem_key;
RESET ROLE;

-- What the caller's search path finds does not matter, nor do its settings.
CREATE FUNCTION lie(xid, xid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION lie(tid, tid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR = (FUNCTION = lie, LEFTARG = xid, RIGHTARG = xid);
CREATE OPERATOR = (FUNCTION = lie, LEFTARG = tid, RIGHTARG = tid);
SET search_path = idem_test_claim_errors, pg_catalog, public;
SET enable_tidscan = off;
SELECT (idem_claim('claim-e30', lease => '1 microsecond')).fence;
SELECT (idem_claim('claim-e30', lease => '1 hour', wait => false)).fence;
SELECT idem_complete('claim-e30', '1', 2);
SHOW enable_tidscan;
RESET enable_tidscan;
SET search_path = idem_test_claim_errors, public;

DROP OWNED BY regress_idem_cat, regress_idem_dog, regress_idem_kitten;
DROP ROLE regress_idem_kitten, regress_idem_cat, regress_idem_dog;
DELETE FROM idem_key WHERE key LIKE 'claim-e%';
DROP SCHEMA idem_test_claim_errors CASCADE;
