-- The state that a row begins in, as the history tells it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_begin;
SET search_path = test_begin, public;
\set SHOW_CONTEXT never

CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1, item text);
SELECT idem_attach('orders', 'order', history => true);
CREATE VIEW told AS SELECT row_key, version, from_state, to_state, key, note, status_column FROM idem_history
WHERE target = 'orders'::regclass ORDER BY id;

-- by whatever statement it is inserted
INSERT INTO orders VALUES (1, DEFAULT), (2, 'PENDING');
INSERT INTO orders VALUES (101, 'PENDING', 7);
INSERT INTO orders SELECT generate_series(3, 4);
COPY orders (id) FROM stdin;
5
\.
MERGE INTO orders o USING (VALUES (5), (6)) v (id) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET item = 'tea' WHEN NOT MATCHED THEN INSERT VALUES (v.id);
-- by an upsert only if it does insert
INSERT INTO orders VALUES (6), (7) ON CONFLICT DO NOTHING;
INSERT INTO orders VALUES (7), (8) ON CONFLICT (id) DO UPDATE SET item = 'cup';
SELECT outcome FROM idem_upsert('u8', 'orders', '{"id": 8, "item": "pot"}', scope => 'test_begin');
SELECT outcome, replayed FROM idem_upsert('u9', 'orders', '{"id": 9}', scope => 'test_begin');
SELECT outcome, replayed FROM idem_upsert('u9', 'orders', '{"id": 9}', scope => 'test_begin');
SELECT outcome FROM idem_execute('e', 'INSERT INTO orders VALUES (10)', scope => 'test_begin');
TABLE told;
-- in one transaction with what follows, undone with it
BEGIN;
INSERT INTO orders VALUES (20);
UPDATE orders SET status = 'PROCESSING' WHERE id = 20;
SELECT version, from_state, to_state FROM idem_history('orders', 20);
ROLLBACK;
INSERT INTO orders VALUES (21, 'SHIPPED');
INSERT INTO orders VALUES (21), (1);
SELECT count(*) FROM told WHERE row_key IN ('{"id": 20}', '{"id": 21}');
-- before what a trigger makes of it
CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE orders SET status = 'PROCESSING' WHERE id = NEW.id;
	RETURN NULL;
END $$;
CREATE TRIGGER hurry AFTER INSERT ON orders FOR EACH ROW WHEN (NEW.item = 'hurry') EXECUTE FUNCTION hurry();
INSERT INTO orders (id, item) VALUES (22, 'hurry'), (23, 'hurry');
SELECT id, version, from_state, to_state FROM generate_series(22, 23) AS id, idem_history('orders', id);
-- a row that is deleted and comes again begins again
DELETE FROM orders WHERE id = 22;
INSERT INTO orders VALUES (22);
UPDATE orders SET status = 'PROCESSING' WHERE id = 22;
SELECT version, from_state, to_state FROM idem_history('orders', 22);
-- not where a replica or a restore brings it, nor where no history is kept
SET session_replication_role = replica;
INSERT INTO orders VALUES (24);
RESET session_replication_role;
DROP TRIGGER "!idem_lifecycle_history" ON orders;
INSERT INTO orders VALUES (25);
SELECT idem_attach('orders', 'order', history => true);
ALTER TABLE orders DISABLE TRIGGER "!idem_lifecycle_history";
INSERT INTO orders VALUES (26);
ALTER TABLE orders ENABLE TRIGGER "!idem_lifecycle_history";
SELECT count(*) FROM told WHERE row_key IN ('{"id": 24}', '{"id": 25}', '{"id": 26}');
-- by a role that may insert, and no more
CREATE ROLE regress_idem_clerk;
GRANT USAGE ON SCHEMA test_begin TO regress_idem_clerk;
GRANT INSERT ON orders TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
INSERT INTO orders VALUES (30);
SELECT * FROM idem_history('orders', 30);
RESET ROLE;
SELECT to_state, changed_by FROM idem_history('orders', 30);
REVOKE ALL ON orders FROM regress_idem_clerk;
REVOKE ALL ON SCHEMA test_begin FROM regress_idem_clerk;
DROP ROLE regress_idem_clerk;

-- a key of generated columns, and a table without one
CREATE TABLE computed (n int, id int GENERATED ALWAYS AS (n * 2) STORED PRIMARY KEY, status text DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('computed', 'order', history => true);
INSERT INTO computed (n) VALUES (4);
SELECT version, from_state, to_state FROM idem_history('computed', 8);
ALTER TABLE computed DROP CONSTRAINT computed_pkey;
INSERT INTO computed (n) VALUES (5);

-- of partitions, once: rows that move do not begin again
CREATE TABLE parted (id int, place int, status text DEFAULT 'PENDING', version int NOT NULL DEFAULT 1, PRIMARY KEY (id, place))
	PARTITION BY LIST (place);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
SELECT idem_attach('parted', 'order', history => true);
INSERT INTO parted VALUES (1, 1), (2, 2);
UPDATE parted SET place = 2 WHERE id = 1;
UPDATE parted SET place = 1, status = 'PROCESSING' WHERE id = 2;
INSERT INTO parted_1 VALUES (3, 1);
SELECT row_key, version, from_state, to_state, partition FROM idem_history WHERE target = 'parted'::regclass ORDER BY id;

DELETE FROM idem_history WHERE target IN
	(SELECT oid FROM pg_class WHERE relnamespace = 'test_begin'::regnamespace);
DELETE FROM idem_key WHERE scope = 'test_begin';
SET client_min_messages = warning;
DROP SCHEMA test_begin CASCADE;
