-- Sagas: starting one, once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET idem.scope = 'saga start';
\set VERBOSITY default
\set SHOW_CONTEXT never

SELECT * FROM idem_saga_start('s1', '[{"do": "charge", "undo": "refund", "attempts": 3, "backoff": "2s", "cap": "1 min"},
	{"do": "ship", "pivot": true, "input": {"to": "x"}}, {"do": "mail", "undo": null, "input": null}]', '{"order": 7}', deadline => '1 hour');
SELECT step, work, undo, pivot, status, version, input, max_attempts, attempts, backoff, cap, due, next_at IS NOT NULL AS timed, start_no
FROM idem_saga_step WHERE saga = 's1' AND scope = 'saga start' ORDER BY step;
SELECT status, compensates, version, input, error, deadline - started_at AS deadline, ttl, ended_at, expires_at, owner::text = current_user AS mine
FROM idem_saga WHERE saga = 's1' AND scope = 'saga start';

-- Again: the same answer.  Neither deadline nor ttl count, and equal JSON is equal.
SELECT * FROM idem_saga_start('s1', '[{"undo": "refund", "do": "charge", "attempts": 3, "backoff": "2s", "cap": "1 min"},
	{"do": "ship", "pivot": true, "input": {"to": "x"}}, {"do": "mail", "undo": null, "input": null}]', '{"order": 7}', ttl => '1 day');
-- Other steps, or another input: an error.
\set VERBOSITY terse
SELECT * FROM idem_saga_start('s1', '[{"do": "charge"}]', '{"order": 7}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
-- Another scope is another saga; the name may be any.
SELECT * FROM idem_saga_start('s1', '[{"do": "a"}]', scope => 'saga start 2');
SELECT * FROM idem_saga_start(repeat('x', 255), '[{"do": "a"}]');
SELECT * FROM idem_saga_start('Wär''s "möglich" \', '[{"do": "tüt"}]');
SELECT saga, scope, work, input, key = idem_derive_key(scope, saga, '1', 'do') AS derived
FROM idem_saga_claim(ARRAY['tüt']);

-- Each begins with a history.
SELECT version, from_state, to_state, note FROM idem_history('idem_saga', '{"saga": "s1", "scope": "saga start"}');
SELECT version, from_state, to_state, note FROM idem_history('idem_saga_step', '{"saga": "s1", "scope": "saga start", "step": 2}');

-- A start that rolls back has not been.
BEGIN;
SELECT * FROM idem_saga_start('s2', '[{"do": "a"}]');
ROLLBACK;
SELECT * FROM idem_saga_start('s2', '[{"do": "b"}]');

-- What will not do.
SELECT * FROM idem_saga_start(NULL, '[{"do": "a"}]');
SELECT * FROM idem_saga_start('', '[{"do": "a"}]');
SELECT * FROM idem_saga_start(repeat('x', 256), '[{"do": "a"}]');
SELECT * FROM idem_saga_start('e', NULL);
SELECT * FROM idem_saga_start('e', '[]');
SELECT * FROM idem_saga_start('e', '1');
SELECT * FROM idem_saga_start('e', '{"do": "a"}');
SELECT * FROM idem_saga_start('e', '["a"]');
SELECT * FROM idem_saga_start('e', '[{"do": "a"}, {}]');
SELECT * FROM idem_saga_start('e', '[{"do": 1}]');
SELECT * FROM idem_saga_start('e', '[{"do": ""}]');
SELECT * FROM idem_saga_start('e', jsonb_build_array(jsonb_build_object('do', repeat('x', 256))) - 1);
SELECT * FROM idem_saga_start('e', '[{"do": "a", "Undo": "b"}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "undo": []}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "attempts": 0}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "attempts": 1.5}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "attempts": 1e300}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "attempts": "NaN"}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "backoff": "soon"}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "cap": "-1s"}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "cap": 1}]');
SELECT * FROM idem_saga_start('e', '[{"do": "a", "pivot": "yes"}]');
SELECT * FROM idem_saga_start('e', (SELECT jsonb_agg('{"do": "a"}'::jsonb) FROM generate_series(1, 1001)));
SELECT * FROM idem_saga_start('e', '[{"do": "a"}]', deadline => '0');
SELECT * FROM idem_saga_start('e', '[{"do": "a"}]', ttl => '-1 s');
SELECT * FROM idem_saga_start('e', '[{"do": "a"}]', scope => repeat('x', 256));
BEGIN READ ONLY;
SELECT * FROM idem_saga_start('e', '[{"do": "a"}]');
ROLLBACK;
SELECT count(*) FROM idem_saga WHERE saga = 'e';

-- The ledger's machines are its own.
SELECT idem_machine_graph('saga') ~ 'compensating', idem_machine_graph('saga_step') ~ 'undoing';
SELECT idem_machine_define('saga', 'a', '{"a": ["b"]}', force => true);
SELECT idem_machine_define('saga_step', 'a', '{"a": ["b"]}');
SELECT idem_machine_drop('saga');
-- A row written by hand is validated like any other.
\set VERBOSITY terse
UPDATE idem_saga SET status = 'completed' WHERE saga = 's2' AND scope = 'saga start';
UPDATE idem_saga SET status = 'running' WHERE saga = 's2' AND scope = 'saga start';
UPDATE idem_saga_step SET status = 'undone' WHERE saga = 's1' AND scope = 'saga start';

DELETE FROM idem_saga_step WHERE scope LIKE 'saga start%';
DELETE FROM idem_saga WHERE scope LIKE 'saga start%';
DELETE FROM idem_key WHERE scope = 'idem.saga';
