-- Stores: keys in a schema of the user's, chosen by idem.store.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_store_keys;
SET search_path = idem_test_store_keys, public;
\set SHOW_CONTEXT never

CREATE TABLE store_orders (id int PRIMARY KEY, total numeric);
SELECT idem_store_create('store_a');
SELECT idem_store_create('store b', 'bigint');

-- The same calls, the same answers; the keys are in the store.
SET idem.store = 'store_a';
SELECT * FROM idem_upsert('k1', 'store_orders', '{"id": 1, "total": 10}');
SELECT * FROM idem_upsert('k1', 'store_orders', '{"id": 1, "total": 10}');
\set VERBOSITY terse
SELECT * FROM idem_upsert('k1', 'store_orders', '{"id": 1, "total": 11}');
SELECT * FROM idem_execute('k2', 'UPDATE store_orders SET total = total + 1 RETURNING *');
SELECT * FROM idem_execute('k2', 'UPDATE store_orders SET total = total + 1 RETURNING *');
SELECT * FROM idem_update('store_orders', 1, '{"total": 5}', key => 'k3');
SELECT * FROM idem_update('store_orders', 1, '{"total": 5}', key => 'k3');
SELECT outcome, replayed, result->>'sqlstate'
FROM idem_execute('k4', 'INSERT INTO store_orders VALUES (1, 0)', remember_errors => '{23505}');
SELECT outcome, replayed, result->>'sqlstate'
FROM idem_execute('k4', 'INSERT INTO store_orders VALUES (1, 0)', remember_errors => '{23505}');
SELECT ordinal, key, outcome, replayed FROM idem_upsert_batch('{b1,k1,b1}', 'store_orders',
	ARRAY['{"id": 2, "total": 1}', '{"id": 1, "total": 10}', '{"id": 2, "total": 1}']::jsonb[]);
SELECT scope, key, outcome, fence FROM store_a.idem_key ORDER BY key;
SELECT count(*) FROM idem_key WHERE key IN ('k1', 'k2', 'k3', 'k4', 'b1');
-- a set where rows keep being new
SELECT count(*) FROM generate_series(101, 106) AS n, idem_upsert('n' || n, 'store_orders', jsonb_build_object('id', n, 'total', n));
SELECT key, outcome, replayed FROM idem_upsert_batch('{n1,n2,n101}', 'store_orders',
	ARRAY['{"id": 111, "total": 1}', '{"id": 112, "total": 2}', '{"id": 101, "total": 101}']::jsonb[]);
SELECT outcome, replayed FROM idem_upsert('n2', 'store_orders', '{"id": 112, "total": 2}');
SELECT count(*) FROM idem_key WHERE key ~ '^n[0-9]+$';
DELETE FROM store_a.idem_key WHERE key LIKE 'n%';
DELETE FROM store_orders WHERE id > 100;

-- Claims, with a lease and without.
SELECT outcome, fence, lease_until IS NULL FROM idem_claim('c1', '{"a": 1}', '1 min');
SELECT outcome, fence, lease_until IS NULL FROM idem_claim('c1', '{"a": 1}', '1 min');
SELECT idem_checkpoint('c1', 1, 'sent', '{"n": 1}');
SELECT outcome, response, request FROM idem_lookup('c1');
SELECT idem_extend('c1', 1, '2 min') > now() + interval '1 min';
SELECT idem_release('c1', 1);
SELECT outcome, response, fence FROM idem_claim('c1', '{"a": 1}', '1 min');
SELECT idem_complete('c1', '{"done": true}', 1);
SELECT idem_complete('c1', '{"done": true}', 2);
SELECT idem_complete('c1', '{"done": false}', 2);
SELECT outcome, response, fence FROM idem_claim('c1', '{"a": 1}', '1 min');
BEGIN;
SELECT outcome, fence FROM idem_claim('c2');
SELECT idem_complete('c2', '1');
COMMIT;
SELECT outcome, response FROM idem_claim('c2', lease => '1 min');
BEGIN;
SELECT outcome, fence FROM idem_claim('c3');
SELECT idem_release('c3');
COMMIT;
SELECT outcome FROM idem_lookup('c3');
-- one that was committed without another word is over, also for a later transaction
BEGIN;
SELECT outcome, fence FROM idem_claim('c4');
COMMIT;
SELECT idem_complete('c4', '1');
-- what a cursor has claimed stays claimed where its next row fails in a savepoint
BEGIN;
DECLARE c CURSOR FOR
	SELECT outcome, fence FROM generate_series(1, 2) AS n, idem_claim('c5', to_jsonb(1 / (2 - n)));
FETCH c;
SAVEPOINT s;
FETCH c;
ROLLBACK TO s;
SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT idem_complete('c5', '"by the same transaction"');
COMMIT;
SELECT outcome, response FROM idem_lookup('c5');

-- An expired key counts as none, and its fence is not used again.
SELECT outcome FROM idem_claim('e1', lease => '1 microsecond', ttl => '1 microsecond');
SELECT outcome FROM idem_lookup('e1');
SELECT outcome, fence FROM idem_claim('e1', lease => '1 min');
SELECT outcome FROM idem_execute('e2', 'SELECT 1', ttl => '1 microsecond');
SELECT outcome, replayed FROM idem_execute('e2', 'SELECT 1');
SELECT key, outcome, fence FROM store_a.idem_key WHERE key LIKE 'e%' ORDER BY key;
SELECT idem_forget('e2'), idem_forget('e2');

-- A savepoint takes its keys back.
BEGIN;
SAVEPOINT a;
SELECT outcome FROM idem_execute('s1', 'SELECT 1');
ROLLBACK TO a;
SELECT outcome, replayed FROM idem_execute('s1', 'SELECT 1');
SELECT outcome, replayed FROM idem_execute('s1', 'SELECT 1');
COMMIT;

-- A call that has the key refuses another inside of it.
SELECT idem_execute('n1', $$SELECT idem_execute('n1', 'SELECT 1')$$);

-- A store that work switches to is not the one of the call.
SELECT outcome FROM idem_execute('w1', $$SELECT set_config('idem.store', '', false)$$);
SHOW idem.store;
SET idem.store = 'store_a';
SELECT outcome, replayed FROM idem_execute('w1', $$SELECT set_config('idem.store', '', false)$$);

-- A transaction under a key has it there, too; another store has another key.
SET idem.store = 'store_a';
BEGIN;
SELECT idem_begin('x1');
INSERT INTO store_orders VALUES (7, 7);
SELECT idem_begin('x1');
COMMIT;
BEGIN;
SELECT idem_begin('x1');
INSERT INTO store_orders VALUES (7, 7);
COMMIT;
BEGIN;
SET LOCAL idem.key = 'x2';
INSERT INTO store_orders VALUES (8, 8);
COMMIT;
SELECT key, outcome FROM store_a.idem_key WHERE key LIKE 'x%' ORDER BY key;
SELECT count(*) FROM idem_key WHERE key LIKE 'x%';
BEGIN;
SELECT idem_begin('x3');
SELECT set_config('idem.store', '', true);
SELECT idem_begin('x3');
ROLLBACK;

-- What is idem's own is in no store.
SELECT status FROM idem_saga_start('store-saga', '[{"do": "store-pay"}]');
SELECT key, fence FROM idem_saga_claim('{store-pay}') \gset
SELECT idem_extend(:'key', :fence, '1 hour', scope => 'idem.saga') > now();
SELECT idem_checkpoint(:'key', :fence, 'packed', scope => 'idem.saga');
SELECT outcome, response FROM idem_lookup(:'key', scope => 'idem.saga');
SELECT name FROM idem_checkpoints(:'key', scope => 'idem.saga');
SELECT idem_execute('k1', 'SELECT 1', scope => 'idem.saga');
SELECT idem_saga_done(:'key', :fence);

-- The scope has the tenants' type; however it is spelled, it is the same.
SET idem.store = 'store b';
SELECT outcome, replayed FROM idem_execute('k1', 'SELECT 1', scope => '7');
SELECT outcome, replayed FROM idem_execute('k1', 'SELECT 1', scope => ' 007');
SELECT outcome, replayed FROM idem_execute('k1', 'SELECT 1', scope => '8');
SELECT scope, key FROM "store b".idem_key ORDER BY scope;
SELECT idem_execute('k1', 'SELECT 1');
SELECT idem_execute('k1', 'SELECT 1', scope => 'seven');

-- What a store cannot be made of.
SELECT idem_store_create('store_c', 'numeric');
SELECT idem_store_create(NULL);
SELECT idem_store_create('store_c', '-'::regtype);
SELECT idem_store_create('store_c', 4000000000::regtype);
SELECT idem_store_create('store_c', NULL);
SELECT idem_store_create('store_a');

-- What there is no store in.
SET idem.store = 'store_none';
SELECT idem_lookup('k1');
SET idem.store = 'public';
SELECT outcome FROM idem_lookup('k1');
SET idem.store = 'store_a';
DROP TABLE store_a.idem_key;
SELECT idem_lookup('k1');
SELECT idem_forget_scope('');

RESET idem.store;
SELECT outcome FROM idem_lookup('k1');
DELETE FROM idem_key WHERE key = 'w1';
DROP SCHEMA store_a, "store b" CASCADE;
DROP SCHEMA idem_test_store_keys CASCADE;
