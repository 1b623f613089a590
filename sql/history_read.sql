-- The history of tables that want one: what is recorded, and how it is read
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_history;
SET search_path = test_history, public;
\set SHOW_CONTEXT never

-- What history there is of the tables of this test, whichever role asks.
CREATE VIEW record AS
SELECT h.target, h.row_key, h.version, h.from_state, h.to_state, h.scope, h.key, h.note
FROM idem_history AS h JOIN pg_class AS c ON c.oid = h.target
WHERE c.relnamespace = 'test_history'::regnamespace
ORDER BY h.id;

CREATE TABLE orders (
	id bigint PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	item text
);
SELECT idem_attach('orders', 'order', history => true);
SELECT tgname, pg_get_triggerdef(oid) LIKE
	'% AFTER UPDATE ON % FOR EACH ROW EXECUTE FUNCTION %idem_lifecycle(''order'', ''status'', ''version'')' AS calls
FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname LIKE '%history';

--
-- What is recorded
--

-- each transition, with the key and the note of the call that made it
INSERT INTO orders VALUES (1), (2), (3), (4);
SELECT outcome, replayed FROM order_transition('orders', 1, 'PROCESSING', key => 'k', scope => 'test_history', note => '{"by": "shop"}');
SELECT outcome, replayed FROM order_transition('orders', 1, 'PROCESSING', key => 'k', scope => 'test_history', note => '{"by": "shop"}');
SELECT outcome, replayed FROM order_transition('orders', 1, 'SHIPPED', note => '"van"');
SELECT version, from_state, to_state, changed_by = current_user AS by_me,
	age(clock_timestamp(), changed_at) BETWEEN '0' AND '1 hour' AS lately, scope, key, note
FROM idem_history('orders', 1);

-- whatever statement makes it
UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
MERGE INTO orders AS o USING (VALUES (2)) AS v (id) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET status = 'SHIPPED';
INSERT INTO orders VALUES (2, 'DELIVERED')
	ON CONFLICT (id) DO UPDATE SET status = excluded.status;
SELECT outcome FROM idem_upsert('u', 'orders', '{"id": 3, "status": "PROCESSING"}', scope => 'test_history');
SELECT version, from_state, to_state, key FROM idem_history('orders', 2);
SELECT version, from_state, to_state, key FROM idem_history('orders', 3);

-- no other change, and nothing that is refused, undone, or done already
UPDATE orders SET item = 'tea', status = status WHERE id = 3;
UPDATE orders SET status = 'PENDING' WHERE id = 3;
SELECT outcome FROM order_transition('orders', 3, 'PROCESSING');
BEGIN;
UPDATE orders SET status = 'SHIPPED' WHERE id = 3;
SAVEPOINT s;
UPDATE orders SET status = 'DELIVERED' WHERE id = 3;
SELECT version, to_state FROM idem_history('orders', 3);
ROLLBACK TO s;
SELECT version, to_state FROM idem_history('orders', 3);
ROLLBACK;
SELECT version, to_state FROM idem_history('orders', 3);

-- a transition to the very state that the row is in, where the machine has one
SELECT idem_machine_define('test history', 'a', '{"a": ["a", "b"], "b": []}');
CREATE TABLE things (id int PRIMARY KEY, status text NOT NULL DEFAULT 'a', version int NOT NULL DEFAULT 1, name text);
SELECT idem_attach('things', 'test history', history => true);
INSERT INTO things VALUES (1), (2), (3);
SELECT outcome FROM idem_transition('things', 1, 'a', note => '"again"');
UPDATE things SET status = 'a' WHERE id = 1;
SELECT outcome FROM idem_update('things', 1, '{"name": "one"}', key => 'n', scope => 'test_history');
SELECT version, from_state, to_state, note FROM idem_history('things', 1);

-- each row of a set
SELECT id, outcome FROM idem_transition_batch('things', '{3, 1, 2}'::jsonb[], 'b', key => 's', scope => 'test_history', note => '"all"');
SELECT row_key, version, from_state, to_state, key, note FROM record
WHERE target = 'things'::regclass AND to_state = 'b';
SELECT idem_detach('things');
SELECT idem_machine_drop('test history');

-- each row of a statement
UPDATE orders SET status = 'PROCESSING' WHERE id = 4;
UPDATE orders SET status = 'SHIPPED' WHERE id IN (3, 4);
SELECT row_key, version, from_state, to_state FROM record
WHERE target = 'orders'::regclass AND to_state = 'SHIPPED' ORDER BY row_key;

-- not what a replica is told
SET session_replication_role = replica;
UPDATE orders SET status = 'DELIVERED', version = version + 1 WHERE id = 4;
RESET session_replication_role;
SELECT version, to_state FROM idem_history('orders', 4);

-- a row that had no state
CREATE TABLE late (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
SELECT idem_attach('late', 'order', history => true);
ALTER TABLE late DISABLE TRIGGER USER;
INSERT INTO late VALUES (1, NULL), (2, NULL);
ALTER TABLE late ENABLE TRIGGER USER;
UPDATE late SET version = 7 WHERE id = 1;
UPDATE late SET status = 'PENDING' WHERE id = 1;
SELECT version, from_state, to_state FROM idem_history('late', 1);

-- A trigger that comes last has its say, but is not above the machine.
CREATE FUNCTION overrule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.status := TG_ARGV[0];
	RETURN NEW;
END $$;
CREATE TRIGGER zzz BEFORE UPDATE ON late FOR EACH ROW EXECUTE FUNCTION overrule('SHIPPED');
UPDATE late SET status = 'PROCESSING' WHERE id = 1;
DROP TRIGGER zzz ON late;
CREATE TRIGGER zzz BEFORE UPDATE ON late FOR EACH ROW EXECUTE FUNCTION overrule('PROCESSING');
UPDATE late SET version = 0 WHERE id = 1;
SELECT version, from_state, to_state FROM idem_history('late', 1);
DROP TRIGGER zzz ON late;

-- A trigger that brings the row on at once comes after what it follows on.
CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_transition(TG_RELID::regclass, NEW.id::text, 'SHIPPED', note => '"forwarded"');
	RETURN NULL;
END $$;
CREATE TRIGGER forward AFTER UPDATE ON late
	FOR EACH ROW WHEN (NEW.status = 'PROCESSING') EXECUTE FUNCTION forward();
INSERT INTO late VALUES (3, 'PENDING');
SELECT version, to_state FROM idem_transition('late', 3, 'PROCESSING', note => '"asked for"');
SELECT version, from_state, to_state, note FROM idem_history('late', 3);
DROP TRIGGER forward ON late;

--
-- How a row is named
--

-- in each way that a transition takes
SELECT version FROM idem_history('orders', '2');
SELECT version FROM idem_history('orders', 2::bigint);
SELECT version FROM idem_history('orders', jsonb '2');
SELECT version FROM idem_history('orders', '{"id": "2"}'::jsonb);
SELECT count(*) FROM idem_history('orders', 99);
-- and not mistaken for one whose key has the same hash, as these have on most machines
INSERT INTO orders VALUES (26955), (78037);
UPDATE orders SET status = 'PROCESSING' WHERE id = 26955;
SELECT count(*) FROM idem_history('orders', 26955);
SELECT count(*) FROM idem_history('orders', 78037);

-- by all columns of its key, whatever they are called, in any order
CREATE TABLE "Order Lines" (
	"Line No" smallint, tenant uuid, "the ""version""" int NOT NULL DEFAULT 1,
	state varchar(20) DEFAULT 'PENDING',
	PRIMARY KEY (tenant, "Line No")
);
SELECT idem_attach('"Order Lines"', 'order', 'state', 'the "version"', true);
INSERT INTO "Order Lines" VALUES (1, '6f1c2c6a-6b5f-4a0e-9a58-3c1d3f6f0a01'), (2, '6f1c2c6a-6b5f-4a0e-9a58-3c1d3f6f0a01');
UPDATE "Order Lines" SET state = 'PROCESSING';
SELECT * FROM record WHERE target = '"Order Lines"'::regclass;
SELECT version, to_state FROM idem_history('"Order Lines"',
	'{"tenant": "6F1C2C6A6B5F4A0E9A583C1D3F6F0A01", "Line No": 2.0}'::jsonb);
CREATE TABLE tokens (id uuid PRIMARY KEY, status text DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('tokens', 'order', history => true);
INSERT INTO tokens VALUES ('6f1c2c6a-6b5f-4a0e-9a58-3c1d3f6f0a01');
UPDATE tokens SET status = 'PROCESSING';
SELECT version FROM idem_history('tokens', uuid '6f1c2c6a-6b5f-4a0e-9a58-3c1d3f6f0a01');

-- by values of any type, whatever writer and reader have set
CREATE TYPE colour AS ENUM ('red', 'dark "blue"');
CREATE DOMAIN serial_no AS numeric(8,2);
CREATE TABLE keyed (
	b bool, c colour, n serial_no, m numeric, t timestamptz, u timestamp, d date,
	f float8, x bytea, i interval, r regclass, a date[], h char(5), s text,
	status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1,
	PRIMARY KEY (b, c, n, m, t, u, d, f, x, i, r, a, h, s)
);
SELECT idem_attach('keyed', 'order', history => true);
INSERT INTO keyed VALUES (true, 'dark "blue"', 7.5, 'NaN', '2026-01-31 12:00+00', '2026-01-31 12:00', '2026-01-31',
	0.1::float8 + 0.2::float8, '\x00ff', '1 day 2 hours', 'keyed', '{2026-01-31}', 'ab', E'new\nline');
SET bytea_output = escape;
SET DateStyle = 'German';
SET extra_float_digits = -10;
SET IntervalStyle = sql_standard;
SET TimeZone = 'Asia/Tokyo';
UPDATE keyed SET status = 'PROCESSING';
RESET bytea_output;
RESET DateStyle;
RESET extra_float_digits;
RESET IntervalStyle;
RESET TimeZone;
SELECT jsonb_pretty(row_key) FROM record WHERE target = 'keyed'::regclass;
SELECT version, to_state FROM idem_history('keyed', $$
	{"b": "yes", "c": "dark \"blue\"", "n": 7.50, "m": "nan", "t": "2026-01-31 13:00+01", "u": "2026-01-31T12:00",
	 "d": "31 Jan 2026", "f": 0.30000000000000004, "x": "\\000\\377", "i": "1 02:00:00", "r": "test_history.keyed",
	 "a": "{2026-1-31}", "h": "ab", "s": "new\nline"} $$::jsonb);

-- A row that is given another key is another row from then on.
UPDATE orders SET id = 20, status = 'DELIVERED' WHERE id = 3;
SELECT version, to_state FROM idem_history('orders', 3);
SELECT version, to_state FROM idem_history('orders', 20);

-- A row that was deleted has had its history all the same, and one that comes
-- under its key goes on with it.
DELETE FROM orders WHERE id = 2;
SELECT version, to_state FROM idem_history('orders', 2);
INSERT INTO orders VALUES (2);
UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
SELECT version, to_state FROM idem_history('orders', 2);

--
-- Partitioned tables
--

-- rows are known as those of the table, without the state that may move them
CREATE TABLE parted (
	id int, place int, status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1, PRIMARY KEY (id, place, status)
) PARTITION BY LIST (status);
CREATE TABLE parted_open PARTITION OF parted FOR VALUES IN ('PENDING', 'PROCESSING') PARTITION BY RANGE (place);
CREATE TABLE parted_near PARTITION OF parted_open FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_far PARTITION OF parted_open FOR VALUES FROM (10) TO (20);
CREATE TABLE parted_done (version bigint NOT NULL DEFAULT 1, gone int, status order_status NOT NULL, place int NOT NULL, id int NOT NULL);
ALTER TABLE parted_done DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_done DEFAULT;
SELECT idem_attach('parted', 'order', history => true);
INSERT INTO parted SELECT i, i FROM generate_series(1, 4) AS i;
UPDATE parted SET status = 'PROCESSING';
UPDATE parted SET status = 'SHIPPED' WHERE id < 3;
SELECT outcome FROM order_transition('parted', '{"id": 3, "place": 3, "status": "PROCESSING"}'::jsonb,
	'SHIPPED', key => 'p', scope => 'test_history', note => '"moved"');
UPDATE parted_done SET status = 'DELIVERED' WHERE id = 3;
SELECT * FROM record WHERE target = 'parted'::regclass;
SELECT version, from_state, to_state, key, note
FROM idem_history('parted', '{"id": 3, "place": 3, "status": "DELIVERED"}'::jsonb);
SELECT count(*) FROM record WHERE target::text LIKE 'parted_%';
-- it may also be asked of a partition
SELECT version, to_state
FROM idem_history('parted_far', '{"id": 3, "place": 3, "status": "DELIVERED"}'::jsonb);

-- a move alone is no transition
UPDATE parted SET place = 14 WHERE id = 4;
SELECT * FROM record WHERE row_key->>'place' = '14';

-- a generated column in the key, which a row that moves does not have yet
CREATE TABLE computed (
	id int, place int, code int GENERATED ALWAYS AS (id * 10) STORED,
	status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1,
	PRIMARY KEY (code, place)
) PARTITION BY LIST (place);
CREATE TABLE computed_1 PARTITION OF computed FOR VALUES IN (1);
CREATE TABLE computed_2 PARTITION OF computed FOR VALUES IN (2);
SELECT idem_attach('computed', 'order', history => true);
INSERT INTO computed (id, place) VALUES (1, 1);
UPDATE computed SET place = 2, id = 2, status = 'PROCESSING';
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN NEW.version := OLD.version; RETURN NEW; END';
CREATE TRIGGER a BEFORE UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION pass();
UPDATE computed SET place = 1, id = 3, status = 'SHIPPED';
SELECT row_key, version, to_state FROM record WHERE target = 'computed'::regclass;
-- what is no key is refused by the table
UPDATE computed SET place = 2, id = NULL;
\echo :LAST_ERROR_SQLSTATE
UPDATE computed SET place = NULL;
\echo :LAST_ERROR_SQLSTATE

-- A departure that did not come about lets no other row in.
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER zzz BEFORE UPDATE ON parted FOR EACH ROW EXECUTE FUNCTION stay();
BEGIN;
UPDATE parted SET status = 'SHIPPED' WHERE id = 4;
INSERT INTO parted VALUES (8, 8, 'SHIPPED', 4);
ROLLBACK;
DROP TRIGGER zzz ON parted;

-- Where a foreign key leads to it, a move is still recorded once.
CREATE TABLE child (id int, place int, status order_status,
	FOREIGN KEY (id, place, status) REFERENCES parted ON UPDATE CASCADE);
INSERT INTO child VALUES (4, 14, 'PROCESSING');
UPDATE parted SET status = 'SHIPPED' WHERE id = 4;
SELECT * FROM record WHERE row_key->>'place' = '14';
TABLE child;

--
-- Tables come and go
--

-- history follows a table that is renamed, or moved
ALTER TABLE late RENAME TO early;
ALTER TABLE early RENAME COLUMN status TO state;
SELECT version, to_state FROM idem_history('early', 1);
ALTER TABLE early RENAME COLUMN state TO status;
SELECT version, to_state FROM idem_history('early', 1);
UPDATE early SET status = 'SHIPPED' WHERE id = 1;
SELECT version, to_state FROM idem_history('early', 1);

-- it stays when the table is detached, and goes on when it is attached again
SELECT idem_detach('early');
UPDATE early SET status = 'DELIVERED' WHERE id = 1;
SELECT version, to_state FROM idem_history('early', 1);
UPDATE early SET status = 'PENDING' WHERE id = 2;
SELECT idem_attach('early', 'order', history => true);
UPDATE early SET status = 'PROCESSING' WHERE id = 2;
SELECT version, from_state, to_state FROM idem_history('early', 2);

-- Another table of that name has no part in it.
SELECT 'early'::regclass::oid AS dropped \gset
DROP TABLE early;
CREATE TABLE early (id int PRIMARY KEY, status text, version int NOT NULL);
SELECT version, to_state FROM idem_history('early', 1);
SELECT version, to_state FROM idem_history WHERE target = :dropped AND row_key = '{"id": 1}' ORDER BY id;

--
-- On and off for a table in use
--

CREATE TABLE live (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
INSERT INTO live VALUES (1);
SELECT idem_attach('live', 'order');
UPDATE live SET status = 'PROCESSING';
SELECT idem_attach('live', 'order', history => true);
UPDATE live SET status = 'SHIPPED';
DROP TRIGGER "!idem_lifecycle_history" ON live;
UPDATE live SET status = 'DELIVERED';
SELECT version, to_state FROM idem_history('live', 1);
-- nothing else is changed that way
SELECT idem_attach('live', 'order');
SELECT idem_attach('live', 'order', status => 'id', history => true);
SELECT idem_attach('live', 'order', version => 'id', history => true);
SELECT idem_attach('live', 'odrer', history => true);
SELECT idem_attach('live', 'order', history => true);
SELECT idem_attach('live', 'order', history => true);
SELECT idem_detach('live');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'live'::regclass;

-- by plain DDL, for which names do not matter
CREATE TRIGGER "A" BEFORE UPDATE ON live FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
CREATE TRIGGER "B" AFTER UPDATE ON live FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
INSERT INTO live VALUES (2);
UPDATE live SET status = 'PROCESSING' WHERE id = 2;
SELECT version, to_state FROM idem_history('live', 2);
SELECT idem_detach('live');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'live'::regclass;

--
-- Errors
--

CREATE VIEW order_view AS TABLE orders;
CREATE TABLE keyless (id int);
SELECT * FROM idem_history(NULL, 1);
SELECT * FROM idem_history('orders', NULL::text);
SELECT * FROM idem_history('orders', NULL::bigint);
SELECT * FROM idem_history('orders', NULL::uuid);
SELECT * FROM idem_history('orders', NULL::jsonb);
SELECT * FROM idem_history(0, 1);
SELECT * FROM idem_history('order_view', 1);
SELECT * FROM idem_history('keyless', 1);
SELECT * FROM idem_history('orders', 'one');
SELECT * FROM idem_history('orders', '{"no": 1}'::jsonb);
SELECT * FROM idem_history('"Order Lines"', 1);

--
-- Purging
--

SELECT unit, context, vartype, min_val, boot_val FROM pg_settings WHERE name = 'idem.history_retention';
-- nothing goes unless told so, nothing before its time, the oldest first
BEGIN;
DELETE FROM idem_history WHERE target NOT IN (SELECT target FROM record);
SELECT idem_purge() >= 0 AS purged;
SELECT idem_purge();
SET LOCAL idem.history_retention = '1h';
SELECT idem_purge();
UPDATE idem_history SET changed_at = changed_at - interval '61 min' WHERE target = 'orders'::regclass;
UPDATE idem_history SET changed_at = changed_at - interval '59 min' WHERE target <> 'orders'::regclass;
SELECT count(*) - 2 AS rest FROM idem_history WHERE target = 'orders'::regclass \gset
SELECT idem_purge(2);
SELECT count(*) FROM idem_history('orders', 1);
SELECT idem_purge() = :rest AS all_the_rest;
SELECT DISTINCT target::text COLLATE "C" FROM record ORDER BY 1;
SET LOCAL idem.history_retention = 0;
SELECT idem_purge() > 0 AS purged;
SELECT count(*) FROM record;
ROLLBACK;

DELETE FROM idem_history WHERE target IN (SELECT target FROM record) OR target = :dropped;
DELETE FROM idem_key WHERE scope = 'test_history';
SET client_min_messages = warning;
DROP SCHEMA test_history CASCADE;
