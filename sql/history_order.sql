-- History in the order of its rows' versions, however it was written
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_history_order;
SET search_path = test_history_order, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

CREATE TABLE orders (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order', history => true);

--
-- A trigger that brings on another row of the same statement, which has that
-- recorded first
--

CREATE FUNCTION carry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE orders SET status = TG_ARGV[1] WHERE id = NEW.id + 1 AND status = TG_ARGV[0];
	RETURN NULL;
END $$;
CREATE TRIGGER carry AFTER UPDATE ON orders
	FOR EACH ROW WHEN (NEW.status = 'PROCESSING') EXECUTE FUNCTION carry('PROCESSING', 'SHIPPED');
CREATE TRIGGER carry_on AFTER UPDATE ON orders
	FOR EACH ROW WHEN (NEW.status = 'SHIPPED') EXECUTE FUNCTION carry('SHIPPED', 'DELIVERED');
INSERT INTO orders SELECT generate_series(1, 4);
UPDATE orders SET status = 'PROCESSING';
SELECT version FROM idem_history WHERE target = 'orders'::regclass AND row_key = '{"id": 4}' ORDER BY id;
SELECT id, version, from_state, to_state FROM generate_series(1, 4) AS id, idem_history('orders', id);
-- after others that came before
INSERT INTO orders VALUES (11), (12);
UPDATE orders SET status = 'PROCESSING' WHERE id IN (11, 12);
DROP TRIGGER carry ON orders;
DROP TRIGGER carry_on ON orders;
SELECT version, from_state, to_state FROM idem_history('orders', 12);

--
-- Another row under the same key comes after it, wherever its versions begin
--

DELETE FROM orders WHERE id = 2;
INSERT INTO orders VALUES (2);
UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
UPDATE orders SET status = 'SHIPPED' WHERE id = 2;
DELETE FROM orders WHERE id = 2;
INSERT INTO orders VALUES (2, 'PENDING', 2);
UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
SELECT version, from_state, to_state FROM idem_history('orders', 2);
-- in one transaction, and where the former one never had that version
BEGIN;
INSERT INTO orders VALUES (20, 'PENDING', 4);
UPDATE orders SET status = 'PROCESSING' WHERE id = 20;
DELETE FROM orders WHERE id = 20;
INSERT INTO orders VALUES (20);
UPDATE orders SET status = 'PROCESSING' WHERE id = 20;
UPDATE orders SET status = 'SHIPPED' WHERE id = 20;
COMMIT;
SELECT version, from_state, to_state FROM idem_history('orders', 20);

--
-- The clock goes back, or is another server's; ids begin anew
--

INSERT INTO orders VALUES (30);
UPDATE orders SET status = 'PROCESSING' WHERE id = 30;
UPDATE idem_history SET changed_at = changed_at + interval '5 s' WHERE target = 'orders'::regclass AND row_key = '{"id": 30}';
UPDATE orders SET status = 'SHIPPED' WHERE id = 30;
UPDATE orders SET status = 'DELIVERED' WHERE id = 30;
SELECT version, from_state, to_state FROM idem_history('orders', 30);
-- by any amount
UPDATE idem_history SET changed_at = changed_at + CASE version WHEN 2 THEN interval '5 s' WHEN 3 THEN interval '15 s' ELSE '8 s' END
WHERE target = 'orders'::regclass AND row_key = '{"id": 30}';
SELECT version FROM idem_history WHERE target = 'orders'::regclass AND row_key = '{"id": 30}' ORDER BY changed_at;
SELECT version, from_state, to_state FROM idem_history('orders', 30);
UPDATE idem_history SET changed_at = changed_at + CASE version WHEN 2 THEN interval '30 s' WHEN 3 THEN interval '10 s' ELSE interval '0' END
WHERE target = 'orders'::regclass AND row_key = '{"id": 30}';
SELECT version FROM idem_history WHERE target = 'orders'::regclass AND row_key = '{"id": 30}' ORDER BY changed_at;
SELECT version, from_state, to_state FROM idem_history('orders', 30);
INSERT INTO orders VALUES (31);
SELECT setval('idem_history_id_seq', 1000000);
UPDATE orders SET status = 'PROCESSING' WHERE id = 31;
SELECT setval('idem_history_id_seq', 500000);
UPDATE orders SET status = 'SHIPPED' WHERE id = 31;
SELECT version, from_state, to_state FROM idem_history('orders', 31);
SELECT setval('idem_history_id_seq', 1000001);

--
-- A hundred transitions of a row, of which the later half seems to be the earlier
--

CREATE TABLE lamp (id int PRIMARY KEY, status text NOT NULL DEFAULT 'off', version bigint NOT NULL DEFAULT 1);
SELECT idem_machine_define('test order lamp', 'off', '{"off": ["on"], "on": ["off"]}');
SELECT idem_attach('lamp', 'test order lamp', history => true);
INSERT INTO lamp VALUES (1);
DO $$
BEGIN
	FOR n IN 1 .. 50 LOOP
		UPDATE lamp SET status = 'on';
		UPDATE lamp SET status = 'off';
	END LOOP;
END $$;
UPDATE idem_history SET changed_at = changed_at - interval '1 hour'
WHERE target = 'lamp'::regclass AND version > 51;
SELECT count(*), array_agg(version) = array_agg(version ORDER BY version) AS in_order,
	min(version) AS first, max(version) AS last
FROM idem_history('lamp', 1);

DELETE FROM idem_history WHERE target = 'lamp'::regclass;
DELETE FROM idem_history WHERE target = 'orders'::regclass;
SET client_min_messages = warning;
DROP SCHEMA test_history_order CASCADE;
SELECT idem_machine_drop('test order lamp');
