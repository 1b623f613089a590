-- Sagas: a step that is one statement, done and recorded in one transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET idem.scope = 'saga do';
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE saga_do_stock (item text PRIMARY KEY, n int CHECK (n >= 0));
INSERT INTO saga_do_stock VALUES ('x', 2);

SELECT status FROM idem_saga_start('s', '[{"do": "take", "undo": "give"}, {"do": "look"}, {"do": "pay", "undo": "refund"}]');
SELECT * FROM idem_saga_do('s', 'take', 'UPDATE saga_do_stock SET n = n - $1 WHERE item = $2 RETURNING item, n', '[1, "x"]');
SELECT * FROM idem_saga_do('s', 'take', 'UPDATE saga_do_stock SET n = n - $1 WHERE item = $2 RETURNING item, n', '[1, "x"]');
SELECT * FROM saga_do_stock;
SELECT * FROM idem_saga_do('s', 'take', 'UPDATE saga_do_stock SET n = n - $1 WHERE item = $2 RETURNING item, n', '[2, "x"]');
\echo :LAST_ERROR_SQLSTATE
-- Not its turn; not one of its works.
SELECT * FROM idem_saga_do('s', 'give', 'SELECT 1');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_saga_do('s', 'pay', 'SELECT 1');
SELECT * FROM idem_saga_do('s', 'other', 'SELECT 1');
-- An error of the statement leaves the step as it was.
SELECT * FROM idem_saga_do('s', 'look', 'SELECT 1/0');
SELECT status, attempts FROM idem_saga_step WHERE saga = 's' AND step = 2 AND scope = 'saga do';
SELECT * FROM idem_saga_do('s', 'look', 'DELETE FROM saga_do_stock WHERE false');
SELECT step, status, output FROM idem_saga_step WHERE saga = 's' AND scope = 'saga do' ORDER BY step;
-- Held by another.
SELECT work FROM idem_saga_claim(ARRAY['pay']);
SELECT * FROM idem_saga_do('s', 'pay', 'SELECT 1');
SELECT idem_saga_fail(idem_derive_key('saga do', 's', '3', 'do'), 1, '"broke"', retry => false);
-- The way back, and the answers of before.
SELECT * FROM idem_saga_do('s', 'give', 'UPDATE saga_do_stock SET n = n + 1 WHERE item = $1 RETURNING n', '["x"]');
SELECT * FROM idem_saga_do('s', 'give', 'UPDATE saga_do_stock SET n = n + 1 WHERE item = $1 RETURNING n', '["x"]');
SELECT * FROM idem_saga_do('s', 'take', 'UPDATE saga_do_stock SET n = n - $1 WHERE item = $2 RETURNING item, n', '[1, "x"]');
SELECT * FROM saga_do_stock;

-- A work that two steps have cannot be told apart in a call that is sent again.
SELECT status FROM idem_saga_start('twice', '[{"do": "take"}, {"do": "take"}]');
SELECT * FROM idem_saga_do('twice', 'take', 'SELECT 1');
-- A command that calls idem for its own saga.
SELECT status FROM idem_saga_start('self', '[{"do": "take", "undo": "give"}, {"do": "pay"}]');
SELECT * FROM idem_saga_do('self', 'take', 'SELECT idem_saga_cancel(''self'')');
SELECT status FROM idem_saga_status WHERE saga = 'self';
SELECT * FROM idem_saga_do('self', 'give', 'SELECT * FROM idem_saga_do(''self'', ''give'', ''SELECT 1'')');
SELECT * FROM idem_saga_do('self', 'give', 'SELECT idem_saga_done(idem_derive_key(''saga do'', ''self'', ''1'', ''undo''), 1)');
SELECT * FROM idem_saga_do('self', 'give', 'SELECT idem_saga_fail(idem_derive_key(''saga do'', ''self'', ''1'', ''undo''), 1, NULL, after => ''0'')');
SELECT * FROM idem_saga_do('self', 'give', 'SELECT 1 AS one');
-- What a statement may be, execute/ says.
SELECT status FROM idem_saga_start('bad', '[{"do": "a"}]');
SELECT * FROM idem_saga_do('bad', 'a', 'SELECT 1; SELECT 2');
SELECT * FROM idem_saga_do('bad', 'a', 'COMMIT');
SELECT * FROM idem_saga_do('bad', 'a', NULL);
SELECT * FROM idem_saga_do('bad', 'a', 'SELECT 1', NULL);
SELECT * FROM idem_saga_do('bad', 'a', 'SELECT 1', '{}');
SELECT * FROM idem_saga_do('bad', NULL, 'SELECT 1');
SELECT * FROM idem_saga_do('none', 'a', 'SELECT 1');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_saga_do('bad', 'a', 'SELECT $1::int', '[7]');

DROP TABLE saga_do_stock;
DELETE FROM idem_saga_step WHERE scope = 'saga do';
DELETE FROM idem_saga WHERE scope = 'saga do';
DELETE FROM idem_key WHERE scope = 'idem.saga';
