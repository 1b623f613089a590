-- The key under which a transition came about, as the history has it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_history_keys;
SET search_path = test_history_keys, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

CREATE TABLE orders (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order', history => true);

--
-- The key is that of the innermost call that has one
--

INSERT INTO orders SELECT generate_series(40, 49);
SELECT outcome FROM idem_update('orders', 40, '{"status": "PROCESSING"}', key => 'update', scope => 'test_history_keys');
SELECT outcome FROM idem_upsert('upsert', 'orders', '{"id": 40, "status": "SHIPPED"}', scope => 'test_history_keys');
SELECT outcome FROM idem_execute('execute', $$UPDATE orders SET status = 'DELIVERED' WHERE id = 40$$, scope => 'test_history_keys');
SELECT version, to_state, scope, key FROM idem_history('orders', 40);
-- also of a call within its work, and of what triggers do
CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_transition('orders', NEW.id + 1, NEW.status, note => '"without a key"');
	PERFORM idem_transition('orders', NEW.id + 2, NEW.status, key => 'inner', scope => 'test_history_keys');
	UPDATE orders SET status = NEW.status WHERE id = NEW.id + 3;
	RETURN NULL;
END $$;
CREATE TRIGGER nested AFTER UPDATE ON orders
	FOR EACH ROW WHEN (NEW.id = 41) EXECUTE FUNCTION nested();
SELECT outcome FROM idem_transition('orders', 41, 'PROCESSING', key => 'outer', scope => 'test_history_keys', note => '"asked for"');
SELECT id, version, to_state, key, note FROM generate_series(41, 44) AS id, idem_history('orders', id);
-- work that fails leaves nothing behind
CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_execute('failing', command, scope => 'test_history_keys');
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	UPDATE orders SET status = 'PROCESSING' WHERE id = 45;
	RETURN SQLSTATE;
END $$;
SELECT attempt($$UPDATE orders SET status = 'DELIVERED' WHERE id = 45$$);
SELECT version, to_state, key FROM idem_history('orders', 45);
SELECT outcome FROM idem_execute('around', $$SELECT attempt('SELECT 1/0'), status FROM orders WHERE id = 45$$, scope => 'test_history_keys');
SELECT outcome FROM idem_execute('around 2', $$SELECT attempt('SELECT 1/0'), idem_transition('orders', 46, 'PROCESSING')$$, scope => 'test_history_keys');
SELECT version, to_state, key FROM idem_history('orders', 46);
BEGIN;
SAVEPOINT s;
SELECT idem_execute('undone', 'SELECT 1/0', scope => 'test_history_keys');
ROLLBACK TO s;
UPDATE orders SET status = 'PROCESSING' WHERE id = 47;
COMMIT;
SELECT idem_execute('undone', 'SELECT 1/0', scope => 'test_history_keys');
UPDATE orders SET status = 'PROCESSING' WHERE id = 48;
SELECT id, version, to_state, key FROM generate_series(47, 48) AS id, idem_history('orders', id);
-- a replay is no transition
SELECT outcome, replayed FROM idem_update('orders', 40, '{"status": "PROCESSING"}', key => 'update', scope => 'test_history_keys');
UPDATE orders SET status = 'PROCESSING' WHERE id = 49;
SELECT version, key FROM idem_history('orders', 49);

DELETE FROM idem_history WHERE target = 'orders'::regclass;
DELETE FROM idem_key WHERE scope = 'test_history_keys';
SET client_min_messages = warning;
DROP SCHEMA test_history_keys CASCADE;
