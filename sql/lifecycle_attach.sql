-- Tables that follow a state machine: idem_attach, idem_detach, and the
-- triggers that they make and drop
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_lifecycle;
SET search_path = test_lifecycle, public;
\set SHOW_CONTEXT never

-- the machine that comes with idem
SELECT idem_machine_graph('order');
SELECT unnest(enum_range(NULL::order_status)) AS state;

CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	item text
);
SELECT idem_attach('orders', 'order');
SELECT tgname, pg_get_triggerdef(oid) LIKE
	'% EXECUTE FUNCTION %idem_lifecycle(''order'', ''status'', ''version'')' AS calls
FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY 1;

-- What comes after the update is told of before any trigger with an ordinary name
-- goes on from there.
CREATE TABLE hurried (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('hurried', 'order', history => true);
CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status = 'PROCESSING' THEN
		UPDATE hurried SET status = 'SHIPPED' WHERE id = NEW.id;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER "0 Hurry" AFTER UPDATE ON hurried FOR EACH ROW EXECUTE FUNCTION hurry();
INSERT INTO hurried VALUES (1);
UPDATE hurried SET status = 'PROCESSING';
SELECT from_state, to_state, version FROM idem_history WHERE target = 'hurried'::regclass ORDER BY id;
DROP TABLE hurried;

-- a row begins in the initial state
INSERT INTO orders VALUES (1, DEFAULT, DEFAULT), (2, 'PENDING', 7);
INSERT INTO orders VALUES (3, 'SHIPPED');
INSERT INTO orders VALUES (3, 'DELIVERED', 4);

-- each update raises the version, by one, whatever it says of it
UPDATE orders SET item = 'tea' WHERE id = 1 RETURNING *;
UPDATE orders SET version = 99 WHERE id = 1 RETURNING *;
UPDATE orders SET version = NULL WHERE id = 1 RETURNING *;

-- a change of state is validated, whatever statement makes it
UPDATE orders SET status = 'PROCESSING' WHERE id = 1 RETURNING *;
UPDATE orders SET status = 'DELIVERED' WHERE id = 1;
UPDATE orders SET status = 'PENDING' WHERE id = 1;
MERGE INTO orders o USING (VALUES (1)) v (id) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET status = 'PENDING';
INSERT INTO orders VALUES (1, 'PENDING')
	ON CONFLICT (id) DO UPDATE SET status = excluded.status;
-- an upsert that ends as an update may carry a later state
INSERT INTO orders VALUES (1, 'SHIPPED')
	ON CONFLICT (id) DO UPDATE SET status = excluded.status RETURNING *;
SELECT * FROM idem_upsert('u', 'orders', '{"id": 1, "status": "DELIVERED"}', scope => 'test_lifecycle');
SELECT * FROM idem_upsert('v', 'orders', '{"id": 3, "status": "DELIVERED"}', scope => 'test_lifecycle');
-- of many rows one will not do
UPDATE orders SET status = 'PROCESSING';
TABLE orders ORDER BY id;

-- an upsert finds the version by the lifecycle, which raises it
CREATE TABLE revised (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'PENDING',
	revision int NOT NULL DEFAULT 1,
	version text
);
SELECT idem_attach('revised', 'order', version => 'revision');
INSERT INTO revised VALUES (1);
SELECT * FROM idem_upsert('w', 'revised', '{"id": 1, "version": "second"}', expected_version => 1, scope => 'test_lifecycle');
SELECT * FROM idem_upsert('x', 'revised', '{"id": 1, "version": "third"}', expected_version => 1, scope => 'test_lifecycle');

-- states are text of any kind, versions integers of any size
CREATE TYPE mood AS ENUM ('DELIVERED', 'PENDING', 'PROCESSING', 'SHIPPED', 'LOST');
CREATE DOMAIN feeling AS mood;
CREATE DOMAIN word AS text CHECK (VALUE <> '');
CREATE DOMAIN count AS smallint CHECK (VALUE < 3);
CREATE TABLE a (id int PRIMARY KEY, status feeling NOT NULL DEFAULT 'PENDING', version smallint NOT NULL DEFAULT 32766);
CREATE TABLE b (id int PRIMARY KEY, status varchar(12), version int NOT NULL DEFAULT 2147483646);
CREATE TABLE c (id int PRIMARY KEY, status word, version bigint NOT NULL DEFAULT 9223372036854775806);
CREATE TABLE d (id int PRIMARY KEY, status text, version count NOT NULL DEFAULT 1);
SELECT idem_attach(t, 'order') FROM unnest('{a, b, c, d}'::regclass[]) t;
INSERT INTO a VALUES (1);
INSERT INTO b VALUES (1, 'PENDING');
INSERT INTO c VALUES (1, 'PENDING');
INSERT INTO d VALUES (1, 'PENDING');
UPDATE a SET status = 'PROCESSING' RETURNING *;
UPDATE b SET status = 'PROCESSING' RETURNING *;
UPDATE c SET status = 'PROCESSING' RETURNING *;
UPDATE a SET status = 'SHIPPED';
UPDATE b SET status = 'SHIPPED';
UPDATE c SET status = 'SHIPPED';
UPDATE d SET status = 'PROCESSING' RETURNING *;
UPDATE d SET status = 'SHIPPED';
-- a state there is none of, and no state at all
UPDATE revised SET status = 'lost';
INSERT INTO b VALUES (2, 'pending');
INSERT INTO b VALUES (2, NULL);
UPDATE revised SET status = NULL;
-- nor without a version, though the column would take it
BEGIN;
ALTER TABLE revised ALTER revision DROP NOT NULL;
SAVEPOINT s;
INSERT INTO revised (id, revision) VALUES (40, NULL);
ROLLBACK TO s;
ALTER TABLE revised DISABLE TRIGGER USER;
UPDATE revised SET revision = NULL;
ALTER TABLE revised ENABLE TRIGGER USER;
UPDATE revised SET status = 'PROCESSING';
ROLLBACK;
-- one that has none, since the triggers were off, may still begin
BEGIN;
ALTER TABLE b DISABLE TRIGGER USER;
INSERT INTO b VALUES (40, NULL, 1);
ALTER TABLE b ENABLE TRIGGER USER;
SELECT * FROM order_transition('b', 40, 'PENDING', key => 'begins', scope => 'test_lifecycle');
SELECT * FROM order_transition('b', 40, 'PENDING', key => 'begins', scope => 'test_lifecycle');
ROLLBACK;

-- A restore or a replica brings rows as they are.
ALTER TABLE b DISABLE TRIGGER USER;
INSERT INTO b VALUES (3, 'SHIPPED', 3), (4, NULL, 1), (5, 'lost', 1);
ALTER TABLE b ENABLE TRIGGER USER;
UPDATE b SET status = 'DELIVERED' WHERE id = 3 RETURNING *;
-- one without a state may be given the first, one in an unknown state is stuck
UPDATE b SET status = 'SHIPPED' WHERE id = 4;
UPDATE b SET status = 'PENDING' WHERE id = 4 RETURNING *;
UPDATE b SET status = 'PENDING' WHERE id = 5;
SET session_replication_role = replica;
UPDATE b SET status = 'SHIPPED' WHERE id = 5 RETURNING *;
SELECT * FROM order_transition('b', 5, 'DELIVERED');
RESET session_replication_role;
SELECT * FROM order_transition('b', 5, 'DELIVERED');

-- the triggers may be made by plain DDL
CREATE TABLE plain (LIKE orders INCLUDING ALL);
CREATE TRIGGER zz_update BEFORE UPDATE ON plain
	FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
CREATE TRIGGER zz_insert AFTER INSERT ON plain
	FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
INSERT INTO plain VALUES (1);
SELECT * FROM order_transition('plain', 1, 'PROCESSING');
SELECT idem_detach('plain');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'plain'::regclass;

-- a table that no longer follows a machine goes where it is told
SELECT idem_detach('orders');
UPDATE orders SET status = 'PENDING', version = 1 WHERE id = 1 RETURNING *;

-- Partitioned tables: rows may move between partitions in any state.
CREATE TABLE parted (
	id int,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (id, status)
) PARTITION BY LIST (status);
CREATE TABLE parted_open PARTITION OF parted FOR VALUES IN ('PENDING', 'PROCESSING');
CREATE TABLE parted_done (gone text, version bigint NOT NULL DEFAULT 1, status order_status NOT NULL, id int NOT NULL);
ALTER TABLE parted_done DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_done DEFAULT;
SELECT idem_attach('parted', 'order');
INSERT INTO parted SELECT generate_series(1, 4);
UPDATE parted SET status = 'PROCESSING';
UPDATE parted SET status = 'SHIPPED' WHERE id < 4;
SELECT * FROM order_transition('parted', '{"id": 4, "status": "PROCESSING"}'::jsonb, 'SHIPPED');
UPDATE parted SET status = 'DELIVERED' WHERE id = 1;
UPDATE parted SET status = 'PENDING' WHERE id = 2;
SELECT tableoid::regclass, * FROM parted ORDER BY id;
-- the move does not open the door to rows that begin there
INSERT INTO parted VALUES (5, 'SHIPPED', 3);
INSERT INTO parted_done VALUES (3, 'SHIPPED', 5);
WITH moved AS (UPDATE parted SET id = id RETURNING 1)
INSERT INTO parted VALUES (5, 'SHIPPED', 4);
BEGIN;
INSERT INTO parted VALUES (5), (6);
UPDATE parted SET status = 'PROCESSING' WHERE id IN (5, 6);
WITH moved AS (UPDATE parted SET status = 'SHIPPED' WHERE id = 5 RETURNING 1)
INSERT INTO parted VALUES (7, 'SHIPPED', 3);
ROLLBACK;

-- a change that a savepoint undid is no departure
BEGIN;
INSERT INTO parted VALUES (5);
UPDATE parted SET status = 'PROCESSING' WHERE id = 5;
SAVEPOINT s;
UPDATE parted SET status = 'SHIPPED' WHERE id IN (4, 5) RETURNING 1 / (id - 5);
ROLLBACK TO s;
INSERT INTO parted VALUES (6, 'SHIPPED', 3);
ROLLBACK;

-- partitions of partitions, of the same table
CREATE TABLE deep (
	id int, place int,
	status text NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1,
	PRIMARY KEY (id, place)
) PARTITION BY RANGE (place);
CREATE TABLE deep_low PARTITION OF deep FOR VALUES FROM (0) TO (10) PARTITION BY HASH (id);
CREATE TABLE deep_low_0 PARTITION OF deep_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE deep_low_1 PARTITION OF deep_low FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE deep_high PARTITION OF deep FOR VALUES FROM (10) TO (20);
SELECT idem_attach('deep', 'order');
INSERT INTO deep VALUES (1, 1), (2, 2), (3, 3), (4, 4);
UPDATE deep SET status = 'PROCESSING';
UPDATE deep SET place = place + 10;
SELECT tableoid::regclass, * FROM deep ORDER BY id;
UPDATE deep SET place = 5, id = id + 10, status = 'SHIPPED';
UPDATE deep_low SET id = 30 - id;
SELECT tableoid::regclass = 'deep_high'::regclass AS high, * FROM deep ORDER BY id;
SELECT * FROM order_transition('deep', '{"id": 19, "place": 5}'::jsonb, 'DELIVERED');
SELECT idem_detach('deep');
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'idem_lifecycle'::regproc
	AND tgrelid::regclass::text LIKE 'deep%';

DELETE FROM idem_key WHERE scope = 'test_lifecycle';
SET client_min_messages = warning;
DROP SCHEMA test_lifecycle CASCADE;
