-- idem_upsert(): a row is written once per key, and a retry gets the answer
-- of the first call.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_upsert;
SET search_path = idem_test_upsert, public;
\set SHOW_CONTEXT never

CREATE TABLE account (
	id int PRIMARY KEY,
	owner text,
	balance numeric(10,2) DEFAULT 0
);

-- A new key inserts; sent again, it replays: same outcome, same result.
SELECT * FROM idem_upsert('upsert-1', 'account', '{"id": 1, "owner": "ann"}');
SELECT * FROM idem_upsert('upsert-1', 'account', '{"id": 1, "owner": "ann"}');

-- Another key meets the row, and sets the columns that it names, no others.
SELECT * FROM idem_upsert('upsert-2', 'account', '{"id": 1, "balance": 12.5}');
SELECT * FROM idem_upsert('upsert-2', 'account', '{"id": 1, "balance": 12.5}');

-- The first key still has its first answer, whatever became of the row.
SELECT * FROM idem_upsert('upsert-1', 'account', '{"id": 1, "owner": "ann"}');

-- Equal data changes nothing: it is the same row version that stays.
SELECT ctid AS old_ctid, xmin AS old_xmin FROM account \gset
SELECT * FROM idem_upsert('upsert-3', 'account', '{"id": 1, "balance": 12.50}');
SELECT ctid = :'old_ctid' AND xmin = :'old_xmin' AS same_version FROM account;

-- So does data that names nothing but the key columns.
SELECT * FROM idem_upsert('upsert-4', 'account', '{"id": 1}');
SELECT * FROM idem_upsert('upsert-5', 'account', '{"id": 2}');

-- JSON null sets a column to NULL; a column left out keeps what it has.
SELECT * FROM idem_upsert('upsert-6', 'account', '{"id": 1, "owner": null}');

-- The same key in another scope is another key.
SELECT * FROM idem_upsert('upsert-1', 'account', '{"id": 3, "owner": "cat"}',
						  scope => 'tenant 3');
SELECT * FROM idem_upsert('upsert-1', 'account', '{"id": 1, "owner": "ann"}');

-- What is remembered of a key.
SELECT scope, key, outcome, response, fence, claimed_by::text = current_user AS mine,
	   lease_until
FROM idem_key WHERE key = 'upsert-1' ORDER BY scope;

-- Rolling back, also to a savepoint, forgets the row and the key together.
BEGIN;
SAVEPOINT before;
SELECT * FROM idem_upsert('upsert-7', 'account', '{"id": 4, "owner": "dan"}');
ROLLBACK TO before;
SELECT * FROM idem_upsert('upsert-7', 'account', '{"id": 4, "owner": "eve"}');
SELECT * FROM idem_upsert('upsert-7', 'account', '{"id": 4, "owner": "eve"}');
ROLLBACK;
SELECT * FROM idem_upsert('upsert-7', 'account', '{"id": 4, "owner": "fay"}');

-- Many in one statement, one of them twice.
SELECT n, r.*
FROM (VALUES (10), (11), (10)) AS v(n),
	 LATERAL idem_upsert('upsert-8-' || n, 'account',
						 jsonb_build_object('id', n, 'owner', 'many')) AS r;
DROP TABLE account;

-- Conflict columns: any unique index will do, and the order does not matter.
CREATE TABLE price (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	shop text,
	item text,
	cents int,
	UNIQUE (shop, item) INCLUDE (cents)
);
SELECT * FROM idem_upsert('upsert-10', 'price', '{"shop": "a", "item": "x", "cents": 5}',
						  conflict => '{item,shop}');
SELECT * FROM idem_upsert('upsert-11', 'price', '{"shop": "a", "item": "x", "cents": 6}',
						  conflict => '{shop,item,shop}');
DROP TABLE price;

-- Where nulls are not distinct, null finds the row with null.
CREATE TABLE slot (place int UNIQUE NULLS NOT DISTINCT, v int);
SELECT * FROM idem_upsert('upsert-15', 'slot', '{"place": null, "v": 1}', '{place}');
SELECT * FROM idem_upsert('upsert-16', 'slot', '{"place": null, "v": 1}', '{place}');
SELECT * FROM idem_upsert('upsert-17', 'slot', '{"place": null, "v": 2}', '{place}');
DROP TABLE slot;

-- A primary key that the table makes itself may be left out: each key makes one
-- row, and a retry finds it.
CREATE TABLE by_identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
CREATE TABLE by_serial (id serial PRIMARY KEY, v int);
CREATE TABLE by_uuid (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, v int);
SELECT * FROM idem_upsert('upsert-20', 'by_identity', '{"v": 1}');
SELECT * FROM idem_upsert('upsert-20', 'by_identity', '{"v": 1}');
SELECT * FROM idem_upsert('upsert-21', 'by_identity', '{"v": 1}');
SELECT * FROM idem_upsert('upsert-22', 'by_identity', '{}');
SELECT * FROM idem_upsert('upsert-23', 'by_serial', '{"v": 1}');
SELECT * FROM idem_upsert('upsert-23', 'by_serial', '{"v": 1}');
SELECT result = (SELECT result FROM idem_upsert('upsert-24', 'by_uuid', '{"v": 1}'))
	   AS same_uuid
FROM idem_upsert('upsert-24', 'by_uuid', '{"v": 1}');
SELECT count(*) FROM by_uuid;

-- A sequence that lags behind meets a row that is not the one to update.
INSERT INTO by_serial VALUES (2, 0);
SELECT * FROM idem_upsert('upsert-25', 'by_serial', '{"v": 1}');
SELECT * FROM by_serial ORDER BY id;
DROP TABLE by_identity, by_serial, by_uuid;

-- Defaults and generated columns.
CREATE TABLE item (
	id int PRIMARY KEY,
	net int,
	vat int DEFAULT 20,
	gross int GENERATED ALWAYS AS (net + net * vat / 100) STORED
);
SELECT * FROM idem_upsert('upsert-30', 'item', '{"id": 1, "net": 100}');
SELECT * FROM idem_upsert('upsert-31', 'item', '{"id": 1, "vat": 10}');
DROP TABLE item;

-- Quoted names, upper-case names, and names that could be taken for our own.
CREATE TABLE "Odd ""Table""" (
	"I'd\ ""%s" int PRIMARY KEY,
	"Name" text,
	"select" int[],
	excluded int,
	idem_row int,
	r jsonb
);
SELECT * FROM idem_upsert('upsert-40', '"Odd ""Table"""',
	'{"I''d\\ \"%s": 1, "Name": "a", "select": [1], "excluded": 2, "idem_row": 3, "r": {}}');
SELECT * FROM idem_upsert('upsert-41', '"Odd ""Table"""',
	'{"I''d\\ \"%s": 1, "Name": "b", "select": [1], "excluded": 2, "idem_row": 3, "r": {}}');
SELECT * FROM idem_upsert('upsert-42', '"Odd ""Table"""',
	'{"I''d\\ \"%s": 1, "Name": "b", "select": [1], "excluded": 2, "idem_row": 3, "r": {}}');
DROP TABLE "Odd ""Table""";

-- Composite primary keys.
CREATE TABLE stock (warehouse int, sku text, n int, PRIMARY KEY (warehouse, sku));
SELECT * FROM idem_upsert('upsert-45', 'stock', '{"warehouse": 1, "sku": "x", "n": 5}');
SELECT * FROM idem_upsert('upsert-46', 'stock', '{"warehouse": 2, "sku": "x", "n": 6}');
SELECT * FROM idem_upsert('upsert-47', 'stock', '{"warehouse": 1, "sku": "x", "n": 7}');
DROP TABLE stock;

-- Partitioned tables: partitions of another column order, attached or by name.
CREATE TABLE event (id int, day date, note text, PRIMARY KEY (id, day))
	PARTITION BY RANGE (day);
CREATE TABLE event_2024 PARTITION OF event
	FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE event_2025 (note text, gone int, day date NOT NULL, id int NOT NULL);
ALTER TABLE event_2025 DROP COLUMN gone;
ALTER TABLE event ATTACH PARTITION event_2025
	FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
SELECT * FROM idem_upsert('upsert-50', 'event', '{"id": 1, "day": "2024-05-01", "note": "a"}');
SELECT * FROM idem_upsert('upsert-51', 'event', '{"id": 1, "day": "2025-05-01", "note": "a"}');
SELECT * FROM idem_upsert('upsert-52', 'event', '{"id": 1, "day": "2024-05-01", "note": "b"}');
SELECT * FROM idem_upsert('upsert-53', 'event', '{"id": 1, "day": "2025-05-01", "note": "b"}');
SELECT * FROM idem_upsert('upsert-54', 'event', '{"id": 1, "day": "2024-05-01", "note": "b"}');
SELECT * FROM idem_upsert('upsert-55', 'event', '{"id": 1, "day": "2025-05-01", "note": "b"}');
SELECT * FROM idem_upsert('upsert-56', 'event_2025', '{"id": 1, "day": "2025-05-01", "note": "c"}');
SELECT tableoid::regclass, * FROM event ORDER BY day;
CREATE TABLE event_log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION event_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO event_log (what) VALUES (concat_ws(' ', TG_TABLE_NAME, TG_WHEN, TG_OP));
	RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE INSERT OR UPDATE ON event
	FOR EACH ROW EXECUTE FUNCTION event_changed();
SELECT * FROM idem_upsert('upsert-57', 'event', '{"id": 1, "day": "2024-05-01", "note": "d"}');
SELECT * FROM idem_upsert('upsert-58', 'event', '{"id": 2, "day": "2024-05-01", "note": "d"}');
SELECT what FROM event_log ORDER BY n;
DROP TABLE event_log;
DROP TABLE event;

-- Triggers fire as for the statement a person would write, and not on replay.
CREATE TABLE task (id int PRIMARY KEY, name text, changes int DEFAULT 0);
CREATE TABLE task_log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION task_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO task_log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL, NEW.name));
	IF TG_WHEN = 'BEFORE' THEN
		NEW.name := lower(NEW.name);
	END IF;
	IF TG_OP = 'UPDATE' THEN
		NEW.changes := OLD.changes + 1;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON task
	FOR EACH ROW EXECUTE FUNCTION task_changed();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE ON task
	FOR EACH ROW EXECUTE FUNCTION task_changed();
SELECT * FROM idem_upsert('upsert-60', 'task', '{"id": 1, "name": "WASH"}');
SELECT * FROM idem_upsert('upsert-60', 'task', '{"id": 1, "name": "WASH"}');
SELECT what FROM task_log ORDER BY n;
TRUNCATE task_log;
SELECT * FROM idem_upsert('upsert-61', 'task', '{"id": 1, "name": "IRON"}');
SELECT * FROM idem_upsert('upsert-61', 'task', '{"id": 1, "name": "IRON"}');
SELECT what FROM task_log ORDER BY n;

-- What a trigger makes of the data is what counts as equal or not.
SELECT * FROM idem_upsert('upsert-62', 'task', '{"id": 1, "name": "Iron"}');

-- A trigger may decline to write.
CREATE FUNCTION decline() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER a_decline BEFORE INSERT OR UPDATE ON task
	FOR EACH ROW WHEN (NEW.name = 'not this') EXECUTE FUNCTION decline();
SELECT * FROM idem_upsert('upsert-63', 'task', '{"id": 2, "name": "not this"}');
SELECT * FROM idem_upsert('upsert-63', 'task', '{"id": 2, "name": "not this"}');
DROP TABLE task, task_log;

-- A trigger may upsert under a key of its own, into its own table, too.
CREATE TABLE node (id int PRIMARY KEY, depth int);
CREATE FUNCTION grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_upsert('upsert-64-' || NEW.depth, 'node',
						jsonb_build_object('id', NEW.id + 1, 'depth', NEW.depth + 1));
	RETURN NULL;
END $$;
CREATE TRIGGER grow AFTER INSERT ON node
	FOR EACH ROW WHEN (NEW.depth < 5) EXECUTE FUNCTION grow();
SELECT * FROM idem_upsert('upsert-64', 'node', '{"id": 1, "depth": 1}');
SELECT * FROM node ORDER BY id;
DROP TABLE node;

-- What came of an upsert in a trigger, or failed there, is not taken for what
-- came of the one that fired it.
CREATE TABLE sale (id int PRIMARY KEY, shop int, amount int);
CREATE TABLE shop (id int PRIMARY KEY, last_sale int CHECK (last_sale < 100));
CREATE FUNCTION sold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'shop: %', (SELECT outcome FROM idem_upsert('upsert-65-' || TG_WHEN || NEW.id, 'shop',
		jsonb_build_object('id', NEW.shop, 'last_sale', NEW.amount)));
	RETURN NEW;
EXCEPTION WHEN check_violation THEN
	RAISE NOTICE 'shop: failed';
	RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE INSERT ON sale FOR EACH ROW EXECUTE FUNCTION sold();
CREATE TRIGGER after AFTER INSERT ON sale FOR EACH ROW EXECUTE FUNCTION sold();
SET client_min_messages = notice;
SELECT * FROM idem_upsert('upsert-65', 'sale', '{"id": 1, "shop": 1, "amount": 10}');
SELECT * FROM idem_upsert('upsert-66', 'sale', '{"id": 2, "shop": 1, "amount": 20}');
SELECT * FROM idem_upsert('upsert-67', 'sale', '{"id": 3, "shop": 1, "amount": 200}');
SELECT * FROM idem_upsert('upsert-68', 'sale', '{"id": 3, "shop": 2, "amount": 20}');
SET client_min_messages = warning;
DROP TABLE sale, shop;

-- A row that others refer to, or that was locked before, still counts as
-- updated.
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child (parent int REFERENCES parent);
INSERT INTO parent VALUES (1, 1);
BEGIN;
INSERT INTO child VALUES (1);
SAVEPOINT locked_in_a_subtransaction;
SELECT * FROM parent FOR NO KEY UPDATE;
SELECT outcome FROM idem_upsert('upsert-70', 'parent', '{"id": 1, "v": 2}');
RELEASE locked_in_a_subtransaction;
SELECT outcome FROM idem_upsert('upsert-71', 'parent', '{"id": 1, "v": 3}');
COMMIT;
SELECT outcome FROM idem_upsert('upsert-72', 'parent', '{"id": 2, "v": 3}');
DROP TABLE parent, child;

-- Other ways to call.
CREATE TABLE plain (id int PRIMARY KEY, v int);
SELECT idem_upsert('upsert-80', 'plain', '{"id": 1}');
PREPARE up(text, jsonb) AS SELECT * FROM idem_upsert($1, 'plain', $2);
EXECUTE up('upsert-81', '{"id": 2}');
EXECUTE up('upsert-81', '{"id": 2}');
DEALLOCATE up;
BEGIN;
DECLARE c CURSOR FOR
	SELECT outcome, replayed
	FROM generate_series(3, 4) AS n,
		 LATERAL idem_upsert('upsert-82-' || n, 'plain', jsonb_build_object('id', n));
FETCH 1 FROM c;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
DISCARD ALL;
SET search_path = idem_test_upsert, public;
SELECT * FROM idem_upsert('upsert-81', 'plain', '{"id": 2}');

DELETE FROM idem_key WHERE starts_with(key, 'upsert-');
SET client_min_messages = warning;
DROP SCHEMA idem_test_upsert CASCADE;
