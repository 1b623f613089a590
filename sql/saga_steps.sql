-- Sagas: steps that are claimed, done, and fail.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET idem.scope = 'saga steps';
\set VERBOSITY terse
\set SHOW_CONTEXT never

-- What a saga's steps are, in short.
CREATE VIEW saga_steps AS
	SELECT saga, step, status, due, attempts, start_no, output,
		CASE jsonb_typeof(error) WHEN 'object' THEN error - 'at' ELSE error END AS error FROM idem_saga_step
	WHERE scope = 'saga steps' ORDER BY saga, step;
-- Claims, reports, and says what came of it.
CREATE FUNCTION claim(VARIADIC works text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s%s fence %s input %s prior %s', saga, step, work, CASE WHEN undo THEN ' (undo)' END,
		fence, input, prior), E'\n') FROM idem_saga_claim(works, max => 10) $$;
CREATE FUNCTION key_of(saga text, step int, what text DEFAULT 'do') RETURNS text LANGUAGE sql AS $$
	SELECT idem_derive_key('saga steps', saga, step::text, what) $$;
CREATE FUNCTION done(saga text, step int, fence int DEFAULT 1, what text DEFAULT 'do', output jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT idem_saga_done(key_of(saga, step, what), fence, output) $$;
CREATE FUNCTION fail(saga text, step int, fence int DEFAULT 1, what text DEFAULT 'do', retry boolean DEFAULT true, after interval DEFAULT '0') RETURNS text LANGUAGE sql AS $$
	SELECT idem_saga_fail(key_of(saga, step, what), fence, '"no"', retry, after) $$;
-- As if the lease had run out.
CREATE FUNCTION lapse(saga text, step int, what text DEFAULT 'do') RETURNS void LANGUAGE sql AS $$
	UPDATE idem_key SET lease_until = clock_timestamp() - interval '1 s' WHERE key = key_of(saga, step, what) AND scope = 'idem.saga';
	UPDATE idem_saga_step SET next_at = clock_timestamp() - interval '1 s' WHERE saga = lapse.saga AND step = lapse.step AND scope = 'saga steps' $$;
CREATE FUNCTION now_due(saga text) RETURNS void LANGUAGE sql AS $$
	UPDATE idem_saga_step SET next_at = clock_timestamp() - interval '1 s' WHERE saga = now_due.saga AND due IS NOT NULL AND scope = 'saga steps' $$;

-- The good way.
SELECT status FROM idem_saga_start('good', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b", "input": {"x": 1}}, {"do": "c"}]', '{"all": true}');
SELECT claim('b', 'c', '-a');
SELECT claim('b', 'a', 'a');
SELECT claim('a');
SELECT idem_checkpoint(key_of('good', 1), 1, 'half', '1', 'idem.saga');
SELECT idem_extend(key_of('good', 1), 1, '1 hour', 'idem.saga') > clock_timestamp() + interval '59 min' AS extended;
SELECT outcome, response, fence, request FROM idem_lookup(key_of('good', 1), 'idem.saga');
SELECT name, data FROM idem_checkpoints(key_of('good', 1), 'idem.saga');
SELECT saga_status, status, work, undo, attempts, held_by::text = current_user AS mine, fence, lease_until > now() AS held FROM idem_saga_work WHERE scope = 'saga steps';
-- The extended lease counts, whatever the row of the step says.
SELECT now_due('good'), claim('a') IS NULL AS held;
SELECT next_at > clock_timestamp() + interval '50 min' AS known FROM idem_saga_step WHERE saga = 'good' AND step = 1;
SELECT done('good', 1, output => '{"receipt": 9}');
SELECT done('good', 1, output => '{"receipt": 10}');
SELECT fail('good', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT claim('a', 'b', 'c');
SELECT done('good', 2, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_saga_done(key_of('good', 2)::uuid, 1);
SELECT claim('c');
SELECT done('good', 3), done('good', 3), done('good', 2) AS before;
SELECT * FROM saga_steps;
SELECT status, steps, done, undone, failed, stuck, ended_at IS NOT NULL AS ended, expires_at - ended_at AS kept FROM idem_saga_status WHERE scope = 'saga steps';
SELECT saga, work FROM idem_saga_work WHERE scope = 'saga steps';
SELECT version, from_state, to_state, scope, key = key_of('good', 1) AS by_key FROM idem_history('idem_saga_step', '{"saga": "good", "scope": "saga steps", "step": 1}');
SELECT bool_and(expires_at = 'infinity') AS kept FROM idem_key WHERE scope = 'idem.saga';

-- A worker dies: the next one takes over, with the same key and what it left.
SELECT status FROM idem_saga_start('takeover', '[{"do": "a", "undo": "-a", "attempts": 3}]');
SELECT claim('a');
SELECT idem_checkpoint(key_of('takeover', 1), 1, 'sent', '"tx9"', 'idem.saga');
SELECT lapse('takeover', 1);
SELECT step, fence, checkpoint FROM idem_saga_claim(ARRAY['a']);
SELECT done('takeover', 1, 1);
\echo :LAST_ERROR_SQLSTATE
-- The lease is over, but nobody has taken over: the report counts.
SELECT lapse('takeover', 1);
SELECT done('takeover', 1, 2);

-- Failures that may pass: again, later, up to so many times.
SELECT status FROM idem_saga_start('retry', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b", "attempts": 4, "backoff": "10s", "cap": "25s"}]');
SELECT claim('a'), done('retry', 1);
SELECT claim('b');
SELECT fail('retry', 2, after => NULL), fail('retry', 2, after => NULL);
SELECT round(extract(epoch FROM next_at - clock_timestamp())) AS s, status, attempts, error FROM idem_saga_step WHERE saga = 'retry' AND step = 2;
SELECT claim('b') IS NULL AS waits;
SELECT now_due('retry'), claim('b');
SELECT fail('retry', 2, 2, after => NULL);
SELECT round(extract(epoch FROM next_at - clock_timestamp())) AS s FROM idem_saga_step WHERE saga = 'retry' AND step = 2;
SELECT now_due('retry'), claim('b');
SELECT fail('retry', 2, 3, after => '1 day');
SELECT round(extract(epoch FROM next_at - clock_timestamp())) AS s FROM idem_saga_step WHERE saga = 'retry' AND step = 2;
SELECT done('retry', 2, 3);
\echo :LAST_ERROR_SQLSTATE
SELECT now_due('retry'), claim('b');
-- The last one: nobody knows whether its effect is there, so it is undone, too; the last started first.
SELECT fail('retry', 2, 4), fail('retry', 2, 4);
SELECT * FROM saga_steps WHERE saga = 'retry';
SELECT claim('b', '-a');
SELECT claim('-a', '-b');
SELECT fail('retry', 2, 1, 'undo');
SELECT claim('-a', '-b');
SELECT done('retry', 2, 2, 'undo'), done('retry', 2, 2, 'undo');
SELECT claim('-a', '-b');
SELECT done('retry', 1, 1, 'undo');
SELECT status, error FROM idem_saga_status WHERE saga = 'retry';
SELECT version, from_state, to_state, note FROM idem_history('idem_saga_step', '{"saga": "retry", "scope": "saga steps", "step": 2}');

-- A refusal: the step had no effect, and is not undone.  What never began is skipped.
SELECT status FROM idem_saga_start('refusal', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b"}, {"do": "c", "undo": "-c"}]');
SELECT claim('a'), done('refusal', 1);
SELECT claim('b');
SELECT fail('refusal', 2, retry => false), fail('refusal', 2, retry => false);
SELECT done('refusal', 2);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM saga_steps WHERE saga = 'refusal';
SELECT claim('-a', '-b', '-c'), done('refusal', 1, 1, 'undo');
-- The very first step fails.
SELECT status FROM idem_saga_start('first', '[{"do": "a", "undo": "-a"}, {"do": "b"}]');
SELECT claim('a'), fail('first', 1, retry => false);

-- Attempts that are lost count: after the last the saga goes back, and its key is taken over.
SELECT status FROM idem_saga_start('lost', '[{"do": "a", "undo": "-a", "attempts": 2}]');
SELECT claim('a'), lapse('lost', 1);
SELECT claim('a'), lapse('lost', 1);
SELECT claim('a');
SELECT status, error->>'reason' AS reason FROM idem_saga_status WHERE saga = 'lost';
-- Until the undo begins, a late report is welcome.
BEGIN;
SELECT done('lost', 1, 2);
SELECT * FROM saga_steps WHERE saga = 'lost';
ROLLBACK;
SELECT claim('-a');
SELECT done('lost', 1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT done('lost', 1, 1, 'undo');

-- A step without undo, lost while the saga goes back: its lease is waited for, no more.
SELECT status FROM idem_saga_start('no undo', '[{"do": "a", "undo": "-a"}, {"do": "b"}]');
SELECT claim('a'), done('no undo', 1);
SELECT claim('b');
SELECT idem_saga_cancel('no undo');
SELECT claim('b', '-a') IS NULL AS waits;
SELECT lapse('no undo', 2);
SELECT claim('b', '-a');
SELECT claim('b', '-a');
SELECT done('no undo', 2);
\echo :LAST_ERROR_SQLSTATE
SELECT done('no undo', 1, 1, 'undo');
SELECT * FROM saga_steps WHERE saga = 'no undo';

-- The deadline passes: found by whoever looks for work.
SELECT status FROM idem_saga_start('deadline', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b"}]', deadline => '1 hour');
SELECT claim('a'), done('deadline', 1);
UPDATE idem_saga SET deadline = clock_timestamp() - interval '1 s' WHERE saga = 'deadline';
SELECT claim('b'), claim('-a');
SELECT done('deadline', 1, 1, 'undo');
SELECT status, error->>'reason' AS reason FROM idem_saga_status WHERE saga = 'deadline';
-- A step that waits to be repeated is looked at then at the latest.
SELECT status FROM idem_saga_start('deadline 2', '[{"do": "a", "undo": "-a", "backoff": "1h", "cap": "1h"}]', deadline => '1 min');
SELECT claim('a'), fail('deadline 2', 1, after => '1 h');
SELECT s.deadline = k.next_at AS looked_at FROM idem_saga s JOIN idem_saga_step k USING (saga, scope) WHERE saga = 'deadline 2';

-- A time that no timestamp reaches is never, and does not spoil the view for others.
SELECT status FROM idem_saga_start('never', '[{"do": "never", "backoff": "296520 years", "cap": "296520 years"}]');
SELECT claim('never'), fail('never', 1, after => NULL);
SELECT claim('never');
SELECT next_at FROM idem_saga_work WHERE saga = 'never';

-- Past the pivot there is no way back: stuck instead, also for the pivot itself.
SELECT status FROM idem_saga_start('pivot', '[{"do": "a", "undo": "-a"}, {"do": "p", "pivot": true, "attempts": 1}, {"do": "z", "attempts": 1}]', deadline => '1 hour');
SELECT claim('a'), done('pivot', 1);
BEGIN;
SELECT claim('p'), fail('pivot', 2, retry => false) AS refused;
ROLLBACK;
BEGIN;
SELECT claim('p'), fail('pivot', 2) AS unknown;
ROLLBACK;
SELECT claim('p'), done('pivot', 2);
UPDATE idem_saga SET deadline = clock_timestamp() - interval '1 s' WHERE saga = 'pivot';
SELECT claim('z'), fail('pivot', 3, retry => false), fail('pivot', 3, retry => false);
SELECT * FROM saga_steps WHERE saga = 'pivot';
SELECT work, status, saga_status, next_at FROM idem_saga_work WHERE saga = 'pivot';

-- An undo that is used up is stuck, never called compensated; a late report of it counts.
SELECT status FROM idem_saga_start('stuck', '[{"do": "a", "undo": "-a", "attempts": 1}, {"do": "b"}]');
SELECT claim('a'), done('stuck', 1), idem_saga_cancel('stuck');
SELECT claim('-a'), lapse('stuck', 1, 'undo');
SELECT claim('-a');
SELECT status, stuck, ended_at FROM idem_saga_status WHERE saga = 'stuck';
BEGIN;
SELECT fail('stuck', 1, 1, 'undo'), fail('stuck', 1, 1, 'undo');
ROLLBACK;
SELECT done('stuck', 1, 1, 'undo');

-- The oldest first, whatever the work, and no more than wanted.
SELECT idem_saga_start('q' || i, jsonb_build_array(jsonb_build_object('do', CASE i % 2 WHEN 0 THEN 'even' ELSE 'odd' END))) FROM generate_series(1, 5) AS i;
SELECT saga FROM idem_saga_claim(ARRAY['odd', 'even'], max => 3);
SELECT saga FROM idem_saga_claim(ARRAY['odd', 'even'], max => 3);
SELECT saga FROM idem_saga_claim(ARRAY['odd', 'even'], max => 3, scope => 'saga steps 2');

-- Without the index it takes longer.
BEGIN;
DROP INDEX idem_saga_step_due_idx;
SELECT status FROM idem_saga_start('slow', '[{"do": "slow"}]');
SELECT claim('slow'), done('slow', 1);
ROLLBACK;

-- What will not do.
\set VERBOSITY terse
SELECT * FROM idem_saga_claim(NULL);
SELECT * FROM idem_saga_claim('{}');
SELECT * FROM idem_saga_claim('{a,NULL}');
SELECT * FROM idem_saga_claim('{{a},{b}}');
SELECT * FROM idem_saga_claim(ARRAY['']);
SELECT * FROM idem_saga_claim('{a}', NULL);
SELECT * FROM idem_saga_claim('{a}', '0');
SELECT * FROM idem_saga_claim('{a}', max => 0);
SELECT * FROM idem_saga_claim('{a}', max => 1001);
SELECT * FROM idem_saga_claim('{a}', max => NULL);
SELECT idem_saga_done(NULL::text, 1);
SELECT idem_saga_done('x', NULL);
SELECT idem_saga_done('x', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_saga_fail('x', 1, NULL);
SELECT idem_saga_fail(key_of('pivot', 3), 1, NULL, NULL);
SELECT idem_saga_fail(key_of('pivot', 3), 1, NULL, true, '-1 s');
BEGIN READ ONLY;
SELECT * FROM idem_saga_claim('{a}');
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_saga_done('x', 1);
ROLLBACK;

DROP FUNCTION claim, done, fail, lapse, now_due, key_of;
DROP VIEW saga_steps;
DELETE FROM idem_saga_step WHERE scope = 'saga steps';
DELETE FROM idem_saga WHERE scope = 'saga steps';
DELETE FROM idem_key WHERE scope = 'idem.saga';
