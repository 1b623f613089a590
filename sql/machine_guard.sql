-- Guards: functions of a row and a note that decide whether a row may make a
-- transition
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_guard;
SET search_path = test_guard, public;
\set SHOW_CONTEXT never

CREATE TABLE refund (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'ASKED',
	version int NOT NULL DEFAULT 1,
	amount int,
	doubled int GENERATED ALWAYS AS (amount * 2) STORED
);

-- It is shown the row as it is to be, the version included; what is generated
-- is not there yet.
CREATE FUNCTION small_enough(refund, note jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'asked of %, note %', $1, coalesce(note::text, 'none');
	RETURN $1.amount <= 100;
END $$;
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT from_state, to_state, guard FROM idem_machine_edge WHERE machine = 'test refund' ORDER BY 1, 2;
SELECT idem_attach('refund', 'test refund');
INSERT INTO refund VALUES (1, 'ASKED', 1, 50), (2, 'ASKED', 1, 500), (3, 'ASKED', 1, NULL);

-- False refuses, and so does null, whatever statement makes the change.
UPDATE refund SET status = 'PAID' WHERE id = 2;
UPDATE refund SET status = 'PAID' WHERE id = 3;
MERGE INTO refund r USING (VALUES (2)) v (id) ON r.id = v.id
	WHEN MATCHED THEN UPDATE SET status = 'PAID';
INSERT INTO refund VALUES (2) ON CONFLICT (id) DO UPDATE SET status = 'PAID';
SELECT * FROM idem_upsert('g1', 'refund', '{"id": 2, "status": "PAID"}', scope => 'test_guard');
\echo :LAST_ERROR_SQLSTATE
-- What the statement itself changes counts.
UPDATE refund SET status = 'PAID', amount = 20 WHERE id = 3 RETURNING *;
-- It is asked of its own transition only.
UPDATE refund SET amount = 600 WHERE id = 2 RETURNING *;
UPDATE refund SET status = 'DENIED' WHERE id = 2 RETURNING *;
UPDATE refund SET status = 'PAID' WHERE id = 2;
UPDATE refund SET status = 'ASKED' WHERE id = 2;

-- Where a row may go depends on it; nothing is said of a note then.
SELECT id, array(SELECT idem_allowed('refund', id)) AS allowed FROM refund ORDER BY id;

-- One that fails itself lets nobody pass either.
CREATE OR REPLACE FUNCTION small_enough(refund, note jsonb) RETURNS boolean LANGUAGE sql
AS 'SELECT 100 / ($1.amount - 50) > 0';
UPDATE refund SET status = 'PAID' WHERE id = 1;
SELECT idem_allowed('refund', 1);
-- A function that was replaced counts from the next row on.
CREATE OR REPLACE FUNCTION small_enough(refund, note jsonb) RETURNS boolean LANGUAGE sql
AS 'SELECT true';
CREATE FUNCTION close_door() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'row %', NEW.id;
	IF NEW.id = 12 THEN
		CREATE OR REPLACE FUNCTION small_enough(refund, note jsonb) RETURNS boolean
		LANGUAGE sql AS 'SELECT false';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER close_door BEFORE UPDATE ON refund FOR EACH ROW EXECUTE FUNCTION close_door();
INSERT INTO refund SELECT generate_series(11, 13);
UPDATE refund SET status = 'PAID' WHERE id > 10;
DROP TRIGGER close_door ON refund;

-- One that is gone, or that answers otherwise, refuses everybody.
DROP FUNCTION small_enough(refund, jsonb);
\set VERBOSITY terse
UPDATE refund SET status = 'PAID' WHERE id = 1;
SELECT idem_allowed('refund', 1);
UPDATE refund SET status = 'DENIED' WHERE id = 1;
UPDATE refund SET status = 'ASKED' WHERE id = 1;
\set VERBOSITY default
CREATE FUNCTION small_enough(refund, note jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1';
UPDATE refund SET status = 'PAID' WHERE id = 1;
DROP FUNCTION small_enough(refund, jsonb);
CREATE FUNCTION small_enough(refund, note jsonb) RETURNS SETOF boolean LANGUAGE sql AS 'SELECT true';
UPDATE refund SET status = 'PAID' WHERE id = 1;
DROP FUNCTION small_enough(refund, jsonb);
CREATE FUNCTION small_enough(refund, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT $1.amount <= 100';
UPDATE refund SET status = 'PAID' WHERE id = 1 RETURNING *;

-- It is the function that it was when the machine was defined.  Another of its
-- name cannot take its place, though it fits the row better.
CREATE TABLE voucher (code text PRIMARY KEY, version int NOT NULL DEFAULT 1, worth numeric, status text);
\set VERBOSITY terse
SELECT idem_attach('voucher', 'test refund');
\set VERBOSITY default
CREATE FUNCTION for_all(anyelement, note jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'a row of %', pg_typeof($1);
	RETURN note ->> 'by' = 'chief';
END $$;
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "for_all"}, "DENIED"], "DENIED": ["ASKED"]}');
CREATE FUNCTION for_all(voucher, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT idem_attach('voucher', 'test refund');
INSERT INTO voucher VALUES ('a', 1, 4.99, 'ASKED'), ('b', 1, 5.01, 'ASKED');
UPDATE voucher SET status = 'PAID' WHERE code = 'a';
SELECT idem_allowed('voucher', 'a');
SELECT to_state FROM idem_transition('voucher', 'a', 'PAID', note => '{"by": "chief"}');
DROP FUNCTION for_all(anyelement, jsonb);
\set VERBOSITY terse
UPDATE voucher SET status = 'PAID' WHERE code = 'b';
SET search_path = pg_temp, test_guard, public;
CREATE FUNCTION pg_temp.for_all(anyelement, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
UPDATE voucher SET status = 'PAID' WHERE code = 'b';
SET search_path = test_guard, public;
\set VERBOSITY default

-- So its name has to be unique, or to tell the types of its arguments; of these,
-- a record or an anyelement serves all tables.
CREATE FUNCTION small_enough(record, note jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce(to_jsonb($1) ->> 'worth', to_jsonb($1) ->> 'amount')::numeric <= 100;
END $$;
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough(refund, jsonb)"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough(record,jsonb)"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "test_guard.small_enough( record, pg_catalog.jsonb )"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT guard FROM idem_machine_edge WHERE machine = 'test refund' AND guard IS NOT NULL;
UPDATE voucher SET status = 'PAID' WHERE code = 'b' RETURNING *;
INSERT INTO refund VALUES (21, 'ASKED', 1, 100), (22, 'ASKED', 1, 101);
UPDATE refund SET status = 'PAID' WHERE id = 21 RETURNING *;
UPDATE refund SET status = 'PAID' WHERE id = 22;
-- A change of the machine looks at the tables that follow it.
CREATE FUNCTION test_guard.vouched(voucher, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
\set VERBOSITY terse
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough(record, jsonb)"}, {"to": "DENIED", "guard": "vouched"}], "DENIED": ["ASKED"]}');
\set VERBOSITY default

-- What is written down has to be found to the letter: names that have to be quoted
-- are, and one that was renamed is gone until the machine is defined again.
CREATE SCHEMA "Test (guard), ""2""";
CREATE TABLE "Test (guard), ""2"""."Ta, (ble" (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
CREATE FUNCTION "Test (guard), ""2"""."May. (be)"("Test (guard), ""2"""."Ta, (ble", note jsonb) RETURNS boolean
LANGUAGE sql AS 'SELECT $1.id = 1';
SELECT idem_machine_define('test quoted', 'a', jsonb_build_object('a', jsonb_build_array(jsonb_build_object('to', 'b',
	'guard', '"Test (guard), ""2"""."May. (be)"'))));
SELECT guard FROM idem_machine_edge WHERE machine = 'test quoted';
SELECT guard::regprocedure::oid = oid AS found FROM idem_machine_edge, pg_proc
WHERE machine = 'test quoted' AND proname = 'May. (be)';
SELECT idem_machine_graph('test quoted');
SELECT idem_attach('"Test (guard), ""2"""."Ta, (ble"', 'test quoted');
INSERT INTO "Test (guard), ""2"""."Ta, (ble" VALUES (1, 'a'), (2, 'a');
UPDATE "Test (guard), ""2"""."Ta, (ble" SET status = 'b' WHERE id = 1 RETURNING *;
UPDATE "Test (guard), ""2"""."Ta, (ble" SET status = 'b' WHERE id = 2;
ALTER SCHEMA "Test (guard), ""2""" RENAME TO test_guard_2;
ALTER TABLE test_guard_2."Ta, (ble" RENAME TO plain;
UPDATE test_guard_2.plain SET status = 'b' WHERE id = 2;
SELECT idem_machine_define('test quoted', 'a', '{"a": [{"to": "b", "guard": "test_guard_2.\"May. (be)\""}]}');
UPDATE test_guard_2.plain SET status = 'b' WHERE id = 2;
-- What was not written by idem_machine_define is no guard unless it reads so.
CREATE FUNCTION forge(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_machine_edge SET guard = $1 WHERE machine = 'test quoted';
	UPDATE test_guard_2.plain SET status = 'b' WHERE id = 2;
	RETURN 'moved';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT forge(g) FROM unnest(ARRAY['', '(', 'f', 'f()', 'test_guard_2."May. (be)"', 'test_guard_2."May. (be)"(test_guard_2.plain)',
	'test_guard_2."May. (be)"(test_guard_2.plain, jsonb, jsonb)', 'test_guard_2."May. (be)"(test_guard_2.plain, jsonb) or true',
	'"May. (be)"(test_guard_2.plain, jsonb)', 'a.b.c(record, jsonb)', 'pg_catalog.array_append(anycompatiblearray, anycompatible)',
	'pg_catalog.jsonb_exists(jsonb, text)', 'test_guard_2."May. (be)"(, jsonb)',
	'test_guard_2."May. (be)"(test_guard_2.nothing, jsonb)', 'nowhere.f(nowhere.t, nothing)']) AS g;
SET client_min_messages = warning;
DROP SCHEMA test_guard_2 CASCADE;
SELECT idem_machine_drop('test quoted');
SET client_min_messages = warning;
DROP TABLE refund, voucher CASCADE;
RESET client_min_messages;

-- Rows of a partition fit a guard of the table.
CREATE TABLE parted (id int PRIMARY KEY, status text NOT NULL DEFAULT 'ASKED',
	version int NOT NULL DEFAULT 1, amount int) PARTITION BY LIST (id);
CREATE TABLE part_1 (amount int, gone text, version int NOT NULL, status text NOT NULL, id int NOT NULL);
ALTER TABLE part_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF parted FOR VALUES IN (2);
DROP FUNCTION small_enough(record, jsonb);
CREATE FUNCTION small_enough(parted, note jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'asked of %', $1;
	RETURN $1.amount <= 100;
END $$;
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT idem_attach('parted', 'test refund');
INSERT INTO parted VALUES (1, 'ASKED', 1, 101), (2, 'ASKED', 1, 100);
UPDATE parted SET status = 'PAID' WHERE id = 1;
UPDATE part_1 SET status = 'PAID';
-- They are shown as rows of the table, which is what follows.
CREATE FUNCTION small_enough(part_2, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT false';
UPDATE parted SET status = 'PAID' WHERE id = 2;
SELECT * FROM idem_allowed('parted', 1);
SELECT * FROM idem_allowed('part_1', 1);
UPDATE part_1 SET status = 'PAID', amount = 99 RETURNING *;
SET client_min_messages = warning;
DROP TABLE parted CASCADE;
RESET client_min_messages;

-- So do those of a table that inherits another's columns.
CREATE TABLE claim (id int PRIMARY KEY, status text NOT NULL DEFAULT 'ASKED',
	version int NOT NULL DEFAULT 1, amount int);
CREATE TABLE big_claim (reviewed boolean, PRIMARY KEY (id)) INHERITS (claim);
CREATE FUNCTION small_enough(claim, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT $1.amount <= 100';
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": [{"to": "PAID", "guard": "small_enough"}, "DENIED"], "DENIED": ["ASKED"]}');
SELECT idem_attach('big_claim', 'test refund');
INSERT INTO big_claim VALUES (1, 'ASKED', 1, 100, true), (2, 'ASKED', 1, 101, true);
UPDATE claim SET status = 'PAID' WHERE id = 1;
UPDATE claim SET status = 'PAID' WHERE id = 2;

-- The note of a call.  Under a transition back to the same state, which a plain
-- update cannot tell from leaving the state as it is, the guard is asked, too.
CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1);
CREATE FUNCTION "by the chief"(orders, note jsonb) RETURNS boolean LANGUAGE sql
AS $$SELECT note ->> 'by' = 'chief'$$;
INSERT INTO orders VALUES (1), (2);
BEGIN;
SELECT idem_machine_define('order', 'PENDING', '{"PENDING": [{"to": "PROCESSING", "guard": "\"by the chief\""},
	{"to": "PENDING", "guard": "test_guard.\"by the chief\""}], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"]}');
SELECT idem_attach('orders', 'order');
SELECT to_state, guard FROM idem_machine_edge WHERE machine = 'order' AND guard IS NOT NULL ORDER BY 1;
SAVEPOINT s;
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
ROLLBACK TO s;
SELECT * FROM order_transition('orders', 1, 'PROCESSING', note => '{"by": "clerk"}');
ROLLBACK TO s;
SELECT * FROM order_transition('orders', 1, 'PROCESSING', note => '{"by": "chief"}');
SELECT * FROM order_transition('orders', 2, 'PENDING', note => '{"by": "chief"}');
SELECT * FROM order_transition('orders', 2, 'PENDING', note => '{"by": "clerk"}');
ROLLBACK TO s;
UPDATE orders SET status = 'PENDING' RETURNING *;
ROLLBACK;

-- What is no guard.
CREATE FUNCTION of_number(int, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION of_text(orders, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION to_number(orders, jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION to_set(orders, jsonb) RETURNS SETOF boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION of_one(orders) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE PROCEDURE procedure(orders, jsonb) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE aggregate(jsonb ORDER BY jsonb) (SFUNC = jsonb_concat, STYPE = jsonb);
CREATE FUNCTION try(guard text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN idem_machine_define('test refund', 'a',
		jsonb_build_object('a', jsonb_build_array(jsonb_build_object('to', 'b', 'guard', guard))), true);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT try(g) FROM unnest('{none, of_number, of_text, to_number, to_set, of_one, procedure, aggregate}'::text[]) AS g;
SELECT try('nowhere.guard'), try(''), try('"'), try('of_number(int, jsonb)'), try('of_nothing(orders, jsonb)');
-- Nor is one that others cannot see, or that takes any number of arguments.
CREATE FUNCTION pg_temp.temporary(orders, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION of_any(record, VARIADIC jsonb[]) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
SELECT try('pg_temp.temporary'), try('of_any');
-- Of those in the search_path the first that will do is taken.
CREATE SCHEMA test_guard_other;
CREATE FUNCTION test_guard_other.of_number(orders, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION test_guard_other.of_json(orders, json) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SET search_path = test_guard, test_guard_other, public;
SELECT try('of_number'), try('of_json');
SELECT guard FROM idem_machine_edge WHERE machine = 'test refund';

-- A value too long to be stored in the row is shown to it all the same.
CREATE TABLE letter (id int PRIMARY KEY, status text DEFAULT 'a', version int NOT NULL DEFAULT 1, body text);
ALTER TABLE letter ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE FUNCTION test_guard_other.of_number(letter, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT length($1.body) = 10000';
SELECT try('of_number(letter, jsonb)');
SELECT idem_attach('letter', 'test refund');
INSERT INTO letter (id, body) VALUES (1, repeat('x', 10000)), (2, repeat('x', 9999));
UPDATE letter SET status = 'b' WHERE id = 1 RETURNING id, status;
UPDATE letter SET status = 'b' WHERE id = 2;

DELETE FROM idem_key WHERE scope = 'test_guard';
SET client_min_messages = warning;
DROP SCHEMA test_guard, test_guard_other CASCADE;
SELECT idem_machine_drop('test refund');
