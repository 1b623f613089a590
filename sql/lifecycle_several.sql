-- Several machines on one table, each with a column of its own, and one version
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_several;
SET search_path = test_several, public;
\set SHOW_CONTEXT never

SELECT idem_machine_define('test several pay', 'UNPAID',
	'{"UNPAID": ["AUTHORIZED", "PAID"], "AUTHORIZED": ["PAID", "UNPAID"], "PAID": ["REFUNDED"]}');
CREATE TABLE orders (
	id int PRIMARY KEY,
	item text,
	status order_status NOT NULL DEFAULT 'PENDING',
	payment_status text NOT NULL DEFAULT 'UNPAID',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order', history => true);
SELECT idem_attach('orders', 'test several pay', status => 'payment_status', history => true);
SELECT tgname, encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY tgname COLLATE "C";

--
-- One version, raised once by each update
--

INSERT INTO orders (id) VALUES (1), (2), (3);
UPDATE orders SET item = 'tea' WHERE id = 1 RETURNING *;
UPDATE orders SET status = 'PROCESSING' WHERE id = 1 RETURNING *;
UPDATE orders SET payment_status = 'PAID' WHERE id = 1 RETURNING *;
UPDATE orders SET status = 'SHIPPED', payment_status = 'REFUNDED' WHERE id = 1 RETURNING *;
-- each machine looks after its own column
UPDATE orders SET payment_status = 'REFUNDED' WHERE id = 2;
UPDATE orders SET status = 'PROCESSING', payment_status = 'REFUNDED' WHERE id = 2;
UPDATE orders SET status = 'SHIPPED', payment_status = 'PAID' WHERE id = 2;
INSERT INTO orders (id, payment_status) VALUES (4, 'PAID');
INSERT INTO orders (id, status) VALUES (4, 'SHIPPED');
UPDATE orders SET payment_status = 'SHIPPED' WHERE id = 2;
SELECT version, from_state, to_state, status_column FROM idem_history('orders', 1);
SELECT * FROM orders WHERE id = 2;
MERGE INTO orders o USING (VALUES (2)) v (id) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET payment_status = 'AUTHORIZED';
INSERT INTO orders VALUES (2, 'cup', 'PROCESSING', 'PAID')
	ON CONFLICT (id) DO UPDATE SET status = excluded.status, payment_status = excluded.payment_status;
TABLE orders ORDER BY id;

--
-- Transitions: the machine that has the state is meant
--

SELECT * FROM idem_transition('orders', 3, 'AUTHORIZED', 1);
SELECT * FROM idem_transition('orders', 3, 'PROCESSING', 2, key => 'k', scope => 'test_several', note => '"go"');
SELECT * FROM idem_transition('orders', 3, 'PROCESSING', 2, key => 'k', scope => 'test_several', note => '"go"');
SELECT * FROM order_transition('orders', 3, 'SHIPPED');
SELECT * FROM idem_transition_batch('orders', '{3, 2}', 'PAID', '{4, null}');
-- the one version tells of what another machine did
SELECT * FROM idem_transition('orders', 3, 'REFUNDED', 4);
SELECT * FROM idem_transition('orders', 3, 'PAID', 4);
SELECT version, from_state, to_state, key, note, status_column FROM idem_history('orders', 3);
-- no machine has it, or the one meant has not
SELECT * FROM idem_transition('orders', 3, 'LOST');
SELECT * FROM idem_transition('orders', 3, 'PAID', status => 'status');
SELECT * FROM idem_transition('orders', 3, 'PAID', status => 'item');
SELECT * FROM idem_transition('orders', 3, 'PAID', status => 'payment');
SELECT * FROM order_transition('orders', 3, 'SHIPPED', status => 'payment_status');
SELECT * FROM order_transition('orders', 3, 'SHIPPED', status => 'status');
-- where it may go
SELECT * FROM idem_allowed('orders', 3);
SELECT * FROM idem_allowed('orders', 3, status => 'payment_status');
SELECT * FROM idem_allowed('orders', 3, status => 'item');

-- the same machine by two columns, and two machines with a state of one name
CREATE TABLE pairs (
	id int PRIMARY KEY,
	"Left" text NOT NULL DEFAULT 'PENDING',
	"the right" order_status NOT NULL DEFAULT 'PENDING',
	revision smallint NOT NULL DEFAULT 1
);
SELECT idem_attach('pairs', 'order', 'Left', 'revision');
SELECT idem_attach('pairs', 'order', 'the right', 'revision', true);
INSERT INTO pairs VALUES (1);
SELECT * FROM idem_transition('pairs', 1, 'PROCESSING');
SELECT * FROM order_transition('pairs', 1, 'PROCESSING');
SELECT * FROM idem_transition('pairs', 1, 'PROCESSING', status => 'the right');
SELECT * FROM order_transition('pairs', 1, 'PROCESSING', status => 'Left');
SELECT * FROM order_transition('pairs', 1, 'SHIPPED', 3, status => 'Left', key => 'l', scope => 'test_several');
SELECT * FROM order_transition('pairs', 1, 'SHIPPED', 3, status => 'Left', key => 'l', scope => 'test_several');
\set VERBOSITY sqlstate
SELECT * FROM order_transition('pairs', 1, 'SHIPPED', 3, status => 'the right', key => 'l', scope => 'test_several');
\set VERBOSITY default
SELECT * FROM idem_transition_batch('pairs', '{1}', 'SHIPPED', status => 'the right');
TABLE pairs;
SELECT idem_allowed('pairs', 1), idem_allowed('pairs', 1, status => 'Left');
SELECT version, from_state, to_state, status_column FROM idem_history('pairs', 1);

-- What a trigger of the user's does by the way is a transition of its own.
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.payment_status = 'PAID' AND NEW.status = 'PENDING' THEN
		NEW.status := 'PROCESSING';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER follow BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION follow();
INSERT INTO orders (id) VALUES (5);
SELECT * FROM idem_transition('orders', 5, 'PAID', note => '"cash"');
SELECT version, from_state, to_state, note, status_column FROM idem_history('orders', 5);
-- after ours, it has the last word, and where a history is kept that is validated
ALTER TRIGGER follow ON orders RENAME TO "zzz follow";
INSERT INTO orders (id) VALUES (6);
SELECT * FROM idem_transition('orders', 6, 'PAID');
SELECT version, from_state, to_state, status_column FROM idem_history('orders', 6);
-- between ours
ALTER TRIGGER "zzz follow" ON orders RENAME TO zz_idem_lifecycle_update_a;
INSERT INTO orders (id) VALUES (7);
SELECT * FROM idem_transition('orders', 7, 'PAID');
SELECT version, from_state, to_state, status_column FROM idem_history('orders', 7);
DROP TRIGGER zz_idem_lifecycle_update_a ON orders;

-- A state that leads to itself: only a call that means the column makes that.
SELECT idem_machine_define('test several note', 'a', '{"a": ["a", "b"]}');
CREATE TABLE noted (id int PRIMARY KEY, one text DEFAULT 'a', two text DEFAULT 'a', version int NOT NULL DEFAULT 1);
SELECT idem_attach('noted', 'test several note', c, history => true) FROM unnest('{one, two}'::name[]) c;
INSERT INTO noted VALUES (1);
SELECT * FROM idem_transition('noted', 1, 'a', status => 'two');
SELECT * FROM idem_transition('noted', 1, 'b', status => 'one');
SELECT version, from_state, to_state, status_column FROM idem_history('noted', 1);

--
-- Guards: each sees the row as it is to be
--

CREATE FUNCTION is_paid(orders, note jsonb) RETURNS boolean LANGUAGE sql
AS $$SELECT $1.payment_status = 'PAID' OR $2 ->> 'by' = 'boss'$$;
CREATE FUNCTION is_open(orders, note jsonb) RETURNS boolean LANGUAGE sql
AS $$SELECT $1.status < 'SHIPPED'$$;
SELECT idem_machine_define('test several ship', 'PENDING',
	'{"PENDING": ["PROCESSING"], "PROCESSING": [{"to": "SHIPPED", "guard": "is_paid"}]}');
SELECT idem_machine_define('test several pay', 'UNPAID',
	'{"UNPAID": ["AUTHORIZED", "PAID"], "AUTHORIZED": ["PAID", {"to": "UNPAID", "guard": "is_open"}], "PAID": ["REFUNDED"]}');
SELECT idem_detach('orders', 'status');
SELECT idem_attach('orders', 'test several ship', history => true);
SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY tgname COLLATE "C";
INSERT INTO orders (id, item) VALUES (10, 'pot'), (11, 'pot'), (12, 'pot');
UPDATE orders SET status = 'PROCESSING', payment_status = 'AUTHORIZED' WHERE item = 'pot';
UPDATE orders SET status = 'SHIPPED' WHERE id = 10;
UPDATE orders SET status = 'SHIPPED', payment_status = 'PAID' WHERE id = 10 RETURNING *;
SELECT * FROM idem_transition('orders', 11, 'SHIPPED');
SELECT * FROM idem_transition('orders', 11, 'SHIPPED', note => '{"by": "boss"}');
SELECT * FROM idem_transition('orders', 11, 'UNPAID');
-- with the note, and by one column
SELECT * FROM idem_allowed('orders', 12);
SELECT * FROM idem_allowed('orders', 12, '{"by": "boss"}');
SELECT * FROM idem_allowed('orders', 12, note => '{"by": "boss"}', status => 'status');
SELECT * FROM idem_allowed('orders', 11);

--
-- Attaching and detaching
--

SELECT idem_attach('orders', 'test several pay', status => 'payment_status');
SELECT idem_attach('orders', 'order', status => 'payment_status');
CREATE TABLE more (id int PRIMARY KEY, a text DEFAULT 'PENDING', b text DEFAULT 'PENDING', c text,
	v int NOT NULL DEFAULT 1, version int NOT NULL DEFAULT 1);
SELECT idem_attach('more', 'order', 'a', 'v');
SELECT idem_attach('more', 'order', 'b');
SELECT idem_attach('more', 'order', 'v', 'v');
SELECT idem_attach('more', 'order', 'c', 'v');
INSERT INTO more VALUES (1);
SELECT idem_attach('more', 'order', 'b', 'v');
SELECT idem_detach('more', 'c');
ALTER TABLE more ADD COLUMN d text NOT NULL DEFAULT 'lost';
SELECT idem_attach('more', 'order', 'd', 'v');
-- the history of one only, later
SELECT idem_attach('more', 'order', 'b', 'v', history => true);
SELECT tgname FROM pg_trigger WHERE tgrelid = 'more'::regclass ORDER BY tgname COLLATE "C";
UPDATE more SET c = 'PENDING';
INSERT INTO more (id) VALUES (2);
INSERT INTO more (id, d) VALUES (2, 'PENDING');
UPDATE more SET a = 'PROCESSING', b = 'PROCESSING', version = 9 WHERE id = 2 RETURNING *;
SELECT version, to_state, status_column FROM idem_history('more', 2);
SELECT idem_detach('more', 'a');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'more'::regclass ORDER BY tgname COLLATE "C";
UPDATE more SET a = 'lost' WHERE id = 2 RETURNING *;
SELECT idem_machine_drop('test several pay');
SELECT idem_detach('more');
SELECT idem_detach('more');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'more'::regclass;
SELECT idem_attach(NULL, 'order');
SELECT idem_detach(NULL, 'a');
-- columns whose names are long, and alike
CREATE TABLE long (id int PRIMARY KEY, version int NOT NULL DEFAULT 1,
	a text DEFAULT 'PENDING',
	abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abc_1 text DEFAULT 'PENDING',
	abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abc_2 text DEFAULT 'PENDING',
	"abcdefghijklmnopqrstuvwxyz ""3"" abcdefghijklmnopqrstuvwxyz" text DEFAULT 'PENDING');
SELECT idem_attach('long', 'order', attname, history => true) FROM pg_attribute
WHERE attrelid = 'long'::regclass AND attnum > 2 ORDER BY attnum;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'long'::regclass ORDER BY tgname COLLATE "C";
INSERT INTO long VALUES (1);
UPDATE long SET a = 'PROCESSING', abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abc_2 = 'PROCESSING';
SELECT version, to_state, status_column FROM idem_history('long', 1);
SELECT idem_detach('long', 'abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abc_1');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'long'::regclass;

-- by plain DDL; the order of their names is the order of the machines
CREATE TABLE plain (LIKE orders INCLUDING ALL);
CREATE TRIGGER b BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
CREATE TRIGGER a BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('test several note', 'payment_status', 'version');
INSERT INTO plain VALUES (1, 'tea', 'PENDING', 'a');
SELECT * FROM idem_transition('plain', 1, 'b');
SELECT * FROM order_transition('plain', 1, 'PROCESSING', 2);
SELECT * FROM idem_allowed('plain', 1);
-- that name two versions
ALTER TABLE plain ADD COLUMN revision int NOT NULL DEFAULT 1;
DROP TRIGGER a ON plain;
CREATE TRIGGER a BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('test several note', 'payment_status', 'revision');
UPDATE plain SET item = 'pot' RETURNING *;
SELECT * FROM order_transition('plain', 1, 'SHIPPED');
SELECT * FROM idem_update('plain', 1, '{"item": "cup"}');
SELECT * FROM idem_allowed('plain', 1);
-- one that names a machine there is none of
DROP TRIGGER a ON plain;
CREATE TRIGGER a BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('test several none', 'payment_status', 'version');
SELECT * FROM order_transition('plain', 1, 'SHIPPED');
SELECT * FROM idem_transition('plain', 1, 'DELIVERED');
SELECT * FROM idem_allowed('plain', 1, status => 'status');
SELECT * FROM idem_allowed('plain', 1);
UPDATE plain SET payment_status = 'c';
-- disabled, one is out of the question
ALTER TABLE plain DISABLE TRIGGER a;
SELECT * FROM idem_transition('plain', 1, 'DELIVERED', status => 'payment_status');

--
-- Upserts and updates
--

SELECT * FROM idem_upsert('u', 'orders', '{"id": 20, "item": "jar"}', scope => 'test_several');
SELECT * FROM idem_upsert('v', 'orders', '{"id": 20, "status": "PROCESSING", "payment_status": "PAID"}',
	expected_version => 1, scope => 'test_several');
SELECT * FROM idem_update('orders', 20, '{"payment_status": "REFUNDED", "item": "lid"}', 2);
SELECT * FROM idem_update('orders', 20, '{"payment_status": "REFUNDED", "item": "lid"}', 2);
SELECT * FROM idem_update('orders', 20, '{"status": "PENDING"}');
SELECT version, from_state, to_state, key, status_column FROM idem_history('orders', 20);
SELECT idempotent, same_answer FROM idem_check($$SELECT * FROM idem_transition('orders', 20, 'PAID')$$);
SELECT idempotent, same_answer, jsonb_array_length(differences) FROM
	idem_check($$SELECT to_state FROM idem_transition('orders', 12, 'PAID')$$);
SELECT idempotent FROM idem_check($$UPDATE orders SET payment_status = 'REFUNDED' WHERE id = 20$$);

--
-- Partitions, and rows that move between them
--

CREATE TABLE parted (
	id int,
	status order_status NOT NULL DEFAULT 'PENDING',
	payment_status text NOT NULL DEFAULT 'UNPAID',
	version bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (id, status, payment_status)
) PARTITION BY LIST (status);
CREATE TABLE parted_open PARTITION OF parted FOR VALUES IN ('PENDING', 'PROCESSING');
CREATE TABLE parted_done (gone int, payment_status text NOT NULL, version bigint NOT NULL, status order_status NOT NULL, id int NOT NULL);
ALTER TABLE parted_done DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_done DEFAULT;
SELECT idem_attach('parted', 'order', history => true);
SELECT idem_attach('parted', 'test several note', 'payment_status');
ALTER TABLE parted ALTER payment_status SET DEFAULT 'a';
SELECT idem_detach('parted', 'status');
SELECT idem_attach('parted', 'order', history => true);
INSERT INTO parted SELECT generate_series(1, 4);
UPDATE parted SET status = 'PROCESSING';
UPDATE parted SET status = 'SHIPPED' WHERE id < 4;
UPDATE parted SET status = 'SHIPPED', payment_status = 'b' WHERE id = 4;
SELECT tableoid::regclass, * FROM parted ORDER BY id;
SELECT version, from_state, to_state, status_column FROM idem_history('parted', '{"id": 4, "status": "SHIPPED", "payment_status": "b"}'::jsonb);
SELECT idem_attach('parted', 'test several note', 'payment_status', history => true);
SELECT * FROM idem_transition('parted', '{"id": 3, "status": "SHIPPED", "payment_status": "a"}'::jsonb, 'b');
SELECT version, from_state, to_state, status_column FROM idem_history('parted', '{"id": 3, "status": "SHIPPED", "payment_status": "b"}'::jsonb);
SELECT row_key, count(*) FROM idem_history WHERE target = 'parted'::regclass GROUP BY 1 ORDER BY 1;
-- what it recorded under a key without a column that is no state any more
SELECT idem_detach('parted', 'payment_status');
SELECT version, from_state, to_state, status_column FROM idem_history('parted', '{"id": 3, "status": "SHIPPED", "payment_status": "b"}'::jsonb);
SELECT idem_attach('parted', 'test several note', 'payment_status', history => true);
-- none of the two is taken for a new row, and both have to arrive
INSERT INTO parted VALUES (9, 'SHIPPED', 'a', 1);
INSERT INTO parted VALUES (9, 'PENDING', 'b', 1);
INSERT INTO parted VALUES (9);
UPDATE parted SET payment_status = 'b' WHERE id = 9;
UPDATE parted SET status = 'PROCESSING' WHERE id = 9;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'parted_done'::regclass ORDER BY tgname COLLATE "C";
ALTER TABLE parted_done DISABLE TRIGGER "!idem_lifecycle_insert_payment_status";
UPDATE parted SET status = 'SHIPPED' WHERE id = 9;
ALTER TABLE parted_done ENABLE TRIGGER "!idem_lifecycle_insert_payment_status";
UPDATE parted SET status = 'SHIPPED' WHERE id = 9 RETURNING tableoid::regclass, *;
ALTER TABLE parted_done DISABLE TRIGGER zz_idem_lifecycle_update_payment_status;
SELECT * FROM idem_transition('parted', '{"id": 2, "status": "SHIPPED", "payment_status": "a"}'::jsonb, 'b');
SELECT * FROM idem_transition('parted', '{"id": 2, "status": "SHIPPED", "payment_status": "a"}'::jsonb, 'DELIVERED');

--
-- Tables that inherit
--

CREATE TABLE parent (id int PRIMARY KEY, one text DEFAULT 'PENDING', two text DEFAULT 'a', version int NOT NULL DEFAULT 1);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT idem_attach('child', 'order', 'one');
SELECT idem_attach('parent', 'order', 'one');
SELECT idem_attach('parent', 'test several note', 'two');
SELECT idem_attach('child', 'order', 'two');
INSERT INTO child VALUES (1);
ALTER TABLE child ALTER two SET DEFAULT 'PENDING';
SELECT idem_attach('child', 'order', 'two');
SELECT idem_attach('parent', 'test several note', 'two');
SELECT idem_detach('child', 'two');
SELECT idem_attach('child', 'test several note', 'two');
SELECT idem_attach('parent', 'test several note', 'two');
INSERT INTO parent VALUES (2);
SELECT * FROM idem_transition('parent', 2, 'b');
SELECT idem_detach('child', 'two');
SELECT * FROM idem_transition('parent', 2, 'PROCESSING');
SELECT * FROM idem_transition('parent', 2, 'b');

--
-- Who may do what: by the columns that it takes
--

CREATE ROLE regress_idem_clerk;
CREATE ROLE regress_idem_cashier;
GRANT USAGE ON SCHEMA test_several TO regress_idem_clerk, regress_idem_cashier;
GRANT SELECT (id, status, version), UPDATE (status) ON orders TO regress_idem_clerk;
GRANT SELECT (id, payment_status, version), UPDATE (payment_status) ON orders TO regress_idem_cashier;
INSERT INTO orders (id) VALUES (30), (31);
SET ROLE regress_idem_clerk;
SELECT * FROM idem_transition('orders', 30, 'PROCESSING', key => 'clerk', scope => 'test_several');
SELECT * FROM idem_transition('orders', 30, 'PAID');
SELECT * FROM idem_allowed('orders', 30, status => 'status', note => '{"by": "boss"}');
SELECT * FROM idem_allowed('orders', 30);
SELECT version, to_state, changed_by = current_user AS mine, status_column FROM idem_history('orders', 30);
SELECT idem_attach('orders', 'order', 'item');
SELECT idem_detach('orders', 'status');
SET ROLE regress_idem_cashier;
SELECT * FROM idem_transition('orders', 30, 'PAID', expected_state => 'UNPAID');
SELECT * FROM idem_transition('orders', 30, 'SHIPPED');
SELECT * FROM idem_allowed('orders', 31, status => 'payment_status');
SELECT version, to_state, status_column FROM idem_history('orders', 30);
RESET ROLE;
-- a column that follows no machine any more is as secret as before
SELECT idem_detach('orders', 'payment_status');
SET ROLE regress_idem_clerk;
SELECT version, to_state, status_column FROM idem_history('orders', 30);
SET ROLE regress_idem_cashier;
SELECT version, to_state, status_column FROM idem_history('orders', 30);
RESET ROLE;
SELECT idem_attach('orders', 'test several pay', 'payment_status', history => true);
ALTER TABLE orders RENAME item TO thing;
REVOKE ALL ON orders FROM regress_idem_cashier;
GRANT SELECT (id, version) ON orders TO regress_idem_cashier;
SET ROLE regress_idem_cashier;
SELECT * FROM idem_history('orders', 30);
RESET ROLE;
REVOKE ALL ON orders FROM regress_idem_clerk, regress_idem_cashier;
REVOKE ALL ON SCHEMA test_several FROM regress_idem_clerk, regress_idem_cashier;
DROP ROLE regress_idem_clerk, regress_idem_cashier;
ALTER TABLE orders RENAME thing TO item;

--
-- Columns that are renamed or dropped
--

ALTER TABLE orders RENAME payment_status TO payment;
UPDATE orders SET item = 'x' WHERE id = 20;
SELECT * FROM idem_transition('orders', 20, 'DELIVERED');
SELECT idem_detach('orders', 'payment');
SELECT idem_detach('orders', 'payment_status');
SELECT idem_machine_define('test several pay', 'UNPAID',
	'{"UNPAID": ["AUTHORIZED", "PAID"], "AUTHORIZED": ["PAID"], "PAID": ["REFUNDED"]}');
SELECT idem_attach('orders', 'test several pay', 'payment', history => true);
SELECT * FROM idem_transition('orders', 12, 'PAID');
SELECT version, from_state, to_state, status_column FROM idem_history('orders', 12);
SELECT idem_detach('orders', 'payment');
ALTER TABLE orders DROP COLUMN payment;
DROP FUNCTION is_paid;
CREATE FUNCTION is_paid(orders, note jsonb) RETURNS boolean LANGUAGE sql AS $$SELECT $2 ->> 'by' = 'boss'$$;
SELECT * FROM idem_transition('orders', 20, 'SHIPPED', note => '{"by": "boss"}');
SELECT version, from_state, to_state, status_column FROM idem_history('orders', 12);

DELETE FROM idem_history WHERE target IN
	(SELECT oid FROM pg_class WHERE relnamespace = 'test_several'::regnamespace);
DELETE FROM idem_key WHERE scope = 'test_several';
SET client_min_messages = warning;
DROP SCHEMA test_several CASCADE;
SELECT idem_machine_drop(name) FROM idem_machine WHERE name LIKE 'test several%' ORDER BY name;
