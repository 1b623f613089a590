-- Sagas: cancelled, and stuck ones that a person decides about.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET idem.scope = 'saga resolve';
\set VERBOSITY terse
\set SHOW_CONTEXT never

CREATE VIEW saga_steps AS
	SELECT saga, step, status, due, attempts FROM idem_saga_step WHERE scope = 'saga resolve' ORDER BY saga, step;
CREATE FUNCTION claim(VARIADIC works text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s fence %s', saga, step, work, fence), E'\n') FROM idem_saga_claim(works, max => 10) $$;
CREATE FUNCTION key_of(saga text, step int, what text DEFAULT 'do') RETURNS text LANGUAGE sql AS $$
	SELECT idem_derive_key('saga resolve', saga, step::text, what) $$;
CREATE FUNCTION done(saga text, step int, fence int DEFAULT 1, what text DEFAULT 'do') RETURNS text LANGUAGE sql AS $$
	SELECT idem_saga_done(key_of(saga, step, what), fence) $$;
CREATE FUNCTION fail(saga text, step int, fence int DEFAULT 1, what text DEFAULT 'do', retry boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
	SELECT idem_saga_fail(key_of(saga, step, what), fence, '"no"', retry, '0') $$;

-- Nothing has begun: nothing is to be undone.
SELECT status FROM idem_saga_start('early', '[{"do": "a", "undo": "-a"}, {"do": "b"}]');
SELECT idem_saga_cancel('early', '{"by": "ann"}'), idem_saga_cancel('early', '{"by": "bob"}');
SELECT * FROM saga_steps WHERE saga = 'early';
SELECT version, from_state, to_state, note FROM idem_history('idem_saga', '{"saga": "early", "scope": "saga resolve"}');
SELECT claim('a', 'b', '-a');

-- A step is running: it may be done yet, and is undone then.
SELECT status FROM idem_saga_start('running', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b"}]');
SELECT claim('a'), done('running', 1);
SELECT claim('b'), idem_saga_cancel('running');
SELECT claim('-a', '-b') IS NULL AS waits;
BEGIN;
SELECT fail('running', 2), claim('-a', '-b');
ROLLBACK;
BEGIN;
-- nobody knows: it is undone, at once
SELECT fail('running', 2, retry => true), claim('-a', '-b');
SELECT done('running', 2);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT done('running', 2), claim('-a', '-b');
-- Cancelling does not cancel compensations.
SELECT idem_saga_cancel('running');
SELECT done('running', 2, 1, 'undo'), claim('-a', '-b'), done('running', 1, 1, 'undo');
SELECT idem_saga_cancel('running');

-- A step waits to be tried again: its key is taken over before it is undone.
SELECT status FROM idem_saga_start('waiting', '[{"do": "a", "undo": "-a"}]');
SELECT claim('a'), fail('waiting', 1, retry => true), idem_saga_cancel('waiting');
SELECT * FROM saga_steps WHERE saga = 'waiting';
SELECT claim('a', '-a');
SELECT outcome, fence FROM idem_lookup(key_of('waiting', 1), 'idem.saga');
SELECT from_state, to_state FROM idem_history('idem_saga_step', '{"saga": "waiting", "scope": "saga resolve", "step": 1}');
SELECT done('waiting', 1, 1, 'undo');

-- Too late: past the pivot, from the moment that it is claimed, or after the end.
SELECT status FROM idem_saga_start('pivot', '[{"do": "a", "undo": "-a"}, {"do": "p", "pivot": true}]');
SELECT claim('a'), done('pivot', 1), claim('p');
SELECT idem_saga_cancel('pivot');
\echo :LAST_ERROR_SQLSTATE
-- a pivot that was refused is none
BEGIN;
SELECT fail('pivot', 2), idem_saga_cancel('pivot');
ROLLBACK;
SELECT done('pivot', 2);
SELECT idem_saga_cancel('pivot');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_saga_cancel('none');
\echo :LAST_ERROR_SQLSTATE

-- Stuck past the pivot.
SELECT status FROM idem_saga_start('forward', '[{"do": "p", "pivot": true}, {"do": "y", "attempts": 1}, {"do": "z"}]');
SELECT claim('p'), done('forward', 1), claim('y'), fail('forward', 2);
SELECT idem_saga_cancel('forward');
SELECT claim('y', 'z');
SELECT idem_saga_resolve('forward', 2, 'undone', '"?"');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT idem_saga_resolve('forward', 2, 'retry', '"the carrier is back"');
SELECT claim('y', 'z'), done('forward', 2, 2), claim('z'), done('forward', 3);
SELECT version, from_state, to_state, note FROM idem_history('idem_saga_step', '{"saga": "forward", "scope": "saga resolve", "step": 2}');
ROLLBACK;
BEGIN;
SELECT idem_saga_resolve('forward', 2, 'done', '"by hand"');
SELECT done('forward', 2, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT idem_saga_resolve('forward', 2, 'skip', '"not needed"');
SELECT * FROM saga_steps WHERE saga = 'forward';
SELECT claim('z'), done('forward', 3);

-- Stuck on its way back.
SELECT status FROM idem_saga_start('back', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b", "attempts": 1}]');
SELECT claim('a'), done('back', 1), claim('b'), done('back', 2);
SELECT idem_saga_cancel('back');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM idem_saga_start('back 2', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b", "attempts": 1}, {"do": "c"}]');
SELECT claim('a'), done('back 2', 1), claim('b'), done('back 2', 2), idem_saga_cancel('back 2');
SELECT claim('-b'), fail('back 2', 2, 1, 'undo', true);
SELECT status, stuck FROM idem_saga_status WHERE saga = 'back 2';
SELECT idem_saga_cancel('back 2');
SELECT idem_saga_resolve('back 2', 2, 'done', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_saga_resolve('back 2', 1, 'retry', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_saga_resolve('back 2', 4, 'retry', NULL);
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT idem_saga_resolve('back 2', 2, 'retry', NULL), claim('-a', '-b'), done('back 2', 2, 2, 'undo'), claim('-a', '-b');
ROLLBACK;
BEGIN;
SELECT idem_saga_resolve('back 2', 2, 'undone', NULL), claim('-a', '-b'), done('back 2', 1, 1, 'undo');
ROLLBACK;
SELECT idem_saga_resolve('back 2', 2, 'skip', NULL);
SELECT idem_saga_resolve('back 2', 2, 'skip', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT claim('-a', '-b'), done('back 2', 1, 1, 'undo');
SELECT * FROM saga_steps WHERE saga = 'back 2';

-- The last holder of a stuck step is at it again.
SELECT status FROM idem_saga_start('again 2', '[{"do": "a", "undo": "-a", "attempts": 1}, {"do": "b"}]');
SELECT claim('a'), done('again 2', 1), idem_saga_cancel('again 2'), claim('-a');
UPDATE idem_key SET lease_until = now() - interval '1 s' WHERE key = key_of('again 2', 1, 'undo');
UPDATE idem_saga_step SET next_at = now() - interval '1 s' WHERE saga = 'again 2' AND step = 1;
SELECT claim('-a');
SELECT idem_extend(key_of('again 2', 1, 'undo'), 1, '1 h', 'idem.saga') > now() AS extended;
SELECT idem_saga_resolve('again 2', 1, 'skip', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT done('again 2', 1, 1, 'undo');

-- What will not do.
\set VERBOSITY terse
SELECT idem_saga_cancel(NULL);
SELECT idem_saga_cancel('x', scope => repeat('x', 256));
SELECT idem_saga_resolve('forward', 2, 'maybe', NULL);
SELECT idem_saga_resolve('forward', 2, NULL, NULL);
SELECT idem_saga_resolve('forward', NULL, 'done', NULL);
SELECT idem_saga_resolve('forward', 2, 'done', NULL);
SELECT idem_saga_resolve('none', 2, 'done', NULL);
BEGIN READ ONLY;
SELECT idem_saga_cancel('x');
ROLLBACK;

DROP FUNCTION claim, done, fail, key_of;
DROP VIEW saga_steps;
DELETE FROM idem_saga_step WHERE scope = 'saga resolve';
DELETE FROM idem_saga WHERE scope = 'saga resolve';
DELETE FROM idem_key WHERE scope = 'idem.saga';
