-- The barrier of a participant: what to do of a step, whatever order the calls come in.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_saga_barrier;
SET search_path = idem_test_saga_barrier, public;
\set SHOW_CONTEXT never

-- It lets the work of its transaction begin.
BEGIN;
SELECT idem_barrier('test-b1', 1);
COMMIT;
BEGIN;
SELECT idem_barrier('test-b1', 1);
SELECT idem_barrier('test-b1', 1, undo => true);
COMMIT;
BEGIN;
SELECT idem_barrier('test-b1', 1, undo => true);
-- an action that has been done is a duplicate, undone or not: its report is refused
SELECT idem_barrier('test-b1', 1);
COMMIT;

-- The undo of what never began is empty, and from then on it never begins.
BEGIN;
SELECT idem_barrier('test-b1', 2, true);
COMMIT;
BEGIN;
SELECT idem_barrier('test-b1', 2, true);
SELECT idem_barrier('test-b1', 2);
SELECT idem_barrier('test-b1', 2);
COMMIT;

-- What rolls back has not been.
BEGIN;
SELECT idem_barrier('test-b1', 3);
ROLLBACK;
BEGIN;
SELECT idem_barrier('test-b1', 3, true);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT idem_barrier('test-b1', 3, true);
ROLLBACK TO s;
SELECT idem_barrier('test-b1', 3);
COMMIT;

-- Steps, sagas and scopes are apart; the setting names the scope, too.
BEGIN;
SELECT idem_barrier('test-b2', 3);
SELECT idem_barrier('test-b1', 4);
SELECT idem_barrier('test-b1', 3, scope => 'test other');
SET LOCAL idem.scope = 'test other';
SELECT idem_barrier('test-b1', 3);
COMMIT;

-- In the ledger's own database it is in the way of nothing.
SELECT * FROM idem_saga_start('test-b3', '[{"do": "test-pay", "undo": "test-refund"}]');
BEGIN;
SELECT saga, step, work, idem_barrier(saga, step, undo) FROM idem_saga_claim('{test-pay}');
COMMIT;
SELECT idem_saga_done(idem_derive_key('', 'test-b3', '1', 'do'), 1);

-- It is no barrier where the transaction ends with it.
SELECT idem_barrier('test-b4', 1);
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE stock (left_over int);
INSERT INTO stock VALUES (10);
UPDATE stock SET left_over = left_over - 1 WHERE idem_barrier('test-b4', 1) = 'run' RETURNING left_over;
UPDATE stock SET left_over = left_over - 1 WHERE idem_barrier('test-b4', 1) = 'run' RETURNING left_over;

-- What is refused.
\set VERBOSITY terse
BEGIN;
SAVEPOINT s;
SELECT idem_barrier(NULL, 1);
ROLLBACK TO s;
SELECT idem_barrier('', 1);
ROLLBACK TO s;
SELECT idem_barrier('test-b4', NULL);
ROLLBACK TO s;
SELECT idem_barrier('test-b4', 0);
ROLLBACK TO s;
SELECT idem_barrier('test-b4', 1, NULL);
ROLLBACK TO s;
SELECT idem_barrier('test-b4', 1, scope => 'idem.barrier');
ROLLBACK TO s;
SELECT idem_barrier('test-b4', 1, scope => repeat('s', 256));
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_barrier('test-b4', 1);
ROLLBACK;
-- its keys are nobody else's to end
SELECT idem_forget(idem_derive_key('', 'test-b4', '1', 'do'), 'idem.barrier');
SELECT idem_claim(idem_derive_key('', 'test-b9', '1', 'do'), lease => '1 hour', scope => 'idem.barrier');
\set VERBOSITY default

-- A step is its role's, and a scope that a role has defined is for its members.
CREATE ROLE regress_idem_stock;
CREATE ROLE regress_idem_mallory;
GRANT INSERT (scope) ON idem_scope TO regress_idem_stock;
SET ROLE regress_idem_stock;
SELECT idem_scope_define('test stock');
BEGIN;
SELECT idem_barrier('test-b5', 1);
SELECT idem_barrier('test-b5', 1, scope => 'test stock');
COMMIT;
SET ROLE regress_idem_mallory;
BEGIN;
SELECT idem_barrier('test-b5', 1);
ROLLBACK;
BEGIN;
SELECT idem_barrier('test-b5', 1, true);
ROLLBACK;
BEGIN;
SELECT idem_barrier('test-b6', 1, scope => 'test stock');
ROLLBACK;
RESET ROLE;
SET ROLE regress_idem_stock;
SELECT idem_scope_drop('test stock');
RESET ROLE;
REVOKE INSERT (scope) ON idem_scope FROM regress_idem_stock;

-- Keys are kept for so long after each call that claims one, as no saga takes.
SHOW idem.barrier_retention;
SELECT count(*), min(expires_at - created_at), max(expires_at - created_at) FROM idem_key
WHERE scope = 'idem.barrier' AND key = idem_derive_key('', 'test-b1', '1', 'do');
SET idem.barrier_retention = -1;
BEGIN;
SELECT idem_barrier('test-b7', 1);
COMMIT;
SELECT expires_at FROM idem_key WHERE scope = 'idem.barrier' AND key = idem_derive_key('', 'test-b7', '1', 'do');
RESET idem.barrier_retention;
-- an action is late as long as its undo is remembered, though its own key has gone
UPDATE idem_key SET expires_at = now() - interval '1 day', created_at = now() - interval '31 days'
WHERE scope = 'idem.barrier' AND key = idem_derive_key('', 'test-b1', '1', 'do');
SELECT idem_purge() > 0 AS purged;
BEGIN;
SELECT idem_barrier('test-b1', 1);
COMMIT;
BEGIN;
SELECT idem_barrier('test-b1', 1);
COMMIT;

DELETE FROM idem_key WHERE scope = 'idem.barrier';
SET client_min_messages = warning;
DROP SCHEMA idem_test_saga_barrier CASCADE;
DROP ROLE regress_idem_stock, regress_idem_mallory;
