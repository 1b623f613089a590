-- A whole transaction under a key: sent again, its writes do not run again, and all
-- of it is answered as the first time.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_transaction;
SET search_path = idem_test_session_transaction, public;
\set SHOW_CONTEXT never

CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO log VALUES (TG_OP || ' ' || NEW.item);
	RETURN NEW;
END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION order_it(item text) RETURNS int LANGUAGE sql AS $$
	INSERT INTO orders (item) VALUES (item) RETURNING id
$$;
CREATE PROCEDURE order_two(item text, INOUT last int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM order_it(item || ' 1');
	last := order_it(item || ' 2');
END $$;

-- The first transaction does the work.
BEGIN;
SELECT idem_begin('session-1');
INSERT INTO orders (item) VALUES ('pen') RETURNING id;
SELECT currval('orders_id_seq');
UPDATE orders SET item = 'blue ' || item WHERE id = 1;
SELECT id, item FROM orders;
SELECT order_it('ink');
CALL order_two('pad', NULL);
DO $$ BEGIN PERFORM order_it('nib'); END $$;
WITH gone AS (DELETE FROM orders WHERE item = 'nib' RETURNING id) SELECT * FROM gone;
INSERT INTO orders (item) SELECT 'x' || n FROM generate_series(1, 3) AS n;
TRUNCATE log;
NOTIFY idem_session, 'done';
COMMIT;
SELECT count(*), max(id) FROM orders;

-- The table changes, and the transaction is sent again: other blanks and comments do
-- not matter, nor does the order.
DELETE FROM orders WHERE id = 1;
INSERT INTO log VALUES ('kept');
BEGIN;
SELECT idem_begin('session-1');
INSERT INTO orders (item) VALUES /* trace 77 */ ('pen')
	RETURNING id; -- once more
SELECT currval('orders_id_seq');
update orders SET item = 'blue ' || item WHERE id = 1;
SELECT id, item FROM orders;
CALL order_two('pad', NULL);
SELECT order_it('ink');
DO $$ BEGIN PERFORM order_it('nib'); END $$;
WITH gone AS (DELETE FROM orders WHERE item = 'nib' RETURNING id) SELECT * FROM gone;
NOTIFY idem_session, 'done';
TRUNCATE log;
INSERT INTO orders (item) SELECT 'x' || n FROM generate_series(1, 3) AS n;
SELECT pg_current_xact_id_if_assigned();
COMMIT;
SELECT count(*), max(id) FROM orders;
SELECT * FROM log;
SELECT outcome, response ->> 'version' AS version, jsonb_array_length(response -> 'statements') AS statements
FROM idem_lookup('session-1');

-- The time of the first is that of the second.
BEGIN;
SELECT idem_begin('session-2');
INSERT INTO orders (item) VALUES ('clock') RETURNING at AS first \gset
COMMIT;
BEGIN;
SELECT idem_begin('session-2');
INSERT INTO orders (item) VALUES ('clock') RETURNING at AS first \gset again_
COMMIT;
SELECT :'first' = :'again_first' AS same;

-- By the setting, in a block of its own or in one message.
BEGIN;
SET LOCAL idem.key = 'session-3';
INSERT INTO orders (item) VALUES ('set') RETURNING id;
COMMIT;
BEGIN;
SET LOCAL idem.key = 'session-3';
INSERT INTO orders (item) VALUES ('set') RETURNING id;
COMMIT;
SELECT idem_begin('session-4')\; INSERT INTO orders (item) VALUES ('message') RETURNING id;
SELECT idem_begin('session-4')\; INSERT INTO orders (item) VALUES ('message') RETURNING id;

-- An SQL PREPARE may have another name.
PREPARE a (text) AS INSERT INTO orders (item) VALUES ($1) RETURNING id;
PREPARE b (text) AS INSERT INTO orders (item) VALUES ($1) RETURNING id;
BEGIN;
SELECT idem_begin('session-5');
EXECUTE a ('prepared');
COMMIT;
BEGIN;
SELECT idem_begin('session-5');
EXECUTE b ('prepared');
COMMIT;
BEGIN;
SELECT idem_begin('session-5');
EXECUTE b ('other');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- What is rolled back, or fails as it commits, is forgotten with its key.
CREATE TABLE checked (v int UNIQUE DEFERRABLE INITIALLY DEFERRED);
BEGIN;
SELECT idem_begin('session-6');
INSERT INTO checked VALUES (1), (1);
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_lookup('session-6');
BEGIN;
SELECT idem_begin('session-6');
INSERT INTO checked VALUES (2);
COMMIT;
SELECT outcome FROM idem_lookup('session-6');

-- A transaction that writes nothing keeps nothing.
BEGIN;
SELECT idem_begin('session-7');
SELECT count(*) FROM checked;
COMMIT;
SELECT outcome FROM idem_lookup('session-7');

-- Calls of idem's own, under keys of their own or none.
CREATE TABLE item (id int PRIMARY KEY, n int);
BEGIN;
SELECT idem_begin('session-8');
SELECT outcome, replayed FROM idem_upsert('session-8-a', 'item', '{"id": 1, "n": 1}');
SELECT outcome, replayed FROM idem_execute('session-8-b', 'UPDATE item SET n = n + 1');
SELECT outcome, replayed FROM idem_execute('session-8-b', 'UPDATE item SET n = n + 1');
SELECT idem_consume('session', 'm1');
COMMIT;
BEGIN;
SELECT idem_begin('session-8');
SELECT outcome, replayed FROM idem_upsert('session-8-a', 'item', '{"id": 1, "n": 1}');
SELECT outcome, replayed FROM idem_execute('session-8-b', 'UPDATE item SET n = n + 1');
SELECT outcome, replayed FROM idem_execute('session-8-b', 'UPDATE item SET n = n + 1');
SELECT idem_consume('session', 'm1');
COMMIT;
SELECT * FROM item;
SELECT outcome, replayed FROM idem_execute('session-8-b', 'UPDATE item SET n = n + 1');

-- A call under the key of the transaction.
BEGIN;
SELECT idem_begin('session-9');
SELECT outcome FROM idem_execute('session-9', 'UPDATE item SET n = n + 1');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE

-- Rights: those of today, and the role of the key.
CREATE ROLE regress_idem_session;
CREATE ROLE regress_idem_session_other;
GRANT USAGE ON SCHEMA idem_test_session_transaction TO regress_idem_session, regress_idem_session_other;
GRANT INSERT ON item TO regress_idem_session, regress_idem_session_other;
SET ROLE regress_idem_session;
BEGIN;
SELECT idem_begin('session-10');
INSERT INTO item VALUES (10, 10);
COMMIT;
SET ROLE regress_idem_session_other;
BEGIN;
SELECT idem_begin('session-10');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE INSERT ON item FROM regress_idem_session;
SET ROLE regress_idem_session;
BEGIN;
SELECT idem_begin('session-10');
INSERT INTO item VALUES (10, 10);
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP OWNED BY regress_idem_session, regress_idem_session_other;
DROP ROLE regress_idem_session, regress_idem_session_other;
-- What is kept does not depend on how the session has values written, then or now.
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = 0; SET bytea_output = 'escape';
CREATE TABLE styles (d date, i interval, f float8, b bytea);
BEGIN; SELECT idem_begin('session-style');
INSERT INTO styles VALUES (DATE '2026-03-02', INTERVAL '-1 day 2 hours', 0.1::float8 + 0.2::float8, '\x0100ff') RETURNING *; COMMIT;
SET DateStyle = 'SQL, MDY'; SET IntervalStyle = 'postgres_verbose'; SET extra_float_digits = 1; SET bytea_output = 'hex';
BEGIN; SELECT idem_begin('session-style');
INSERT INTO styles VALUES (DATE '2026-03-02', INTERVAL '-1 day 2 hours', 0.1::float8 + 0.2::float8, '\x0100ff') RETURNING *; COMMIT;
SELECT * FROM styles;
RESET DateStyle; RESET IntervalStyle; RESET extra_float_digits; RESET bytea_output;
-- Nor on its time zone: moments within parameters are the same in each.
CREATE TABLE booked (at timestamptz[], during tstzrange);
PREPARE book AS INSERT INTO booked VALUES ($1, $2) RETURNING at;
SET TimeZone = 'UTC';
BEGIN; SELECT idem_begin('session-zone');
EXECUTE book ('{2026-03-02 12:00Z}', '[2026-03-02 12:00Z, 2026-03-03 12:00Z)'); COMMIT;
SET TimeZone = 'America/New_York';
BEGIN; SELECT idem_begin('session-zone');
EXECUTE book ('{2026-03-02 07:00-05}', '[2026-03-02 12:00Z, 2026-03-03 12:00Z)'); COMMIT;
BEGIN; SELECT idem_begin('session-zone');
EXECUTE book ('{2026-03-02 07:01-05}', '[2026-03-02 12:00Z, 2026-03-03 12:00Z)'); ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
RESET TimeZone;
SELECT count(*) FROM booked;

-- A moment that is left out of the comparison keeps its place.
CREATE TABLE noted (v jsonb);
SET idem.key_match = 'clock';
PREPARE note (text, timestamptz) AS INSERT INTO noted SELECT jsonb_build_array($1, $2);
BEGIN; SELECT idem_begin('session-place'); EXECUTE note ('a', '2026-03-02 12:00Z'); COMMIT;
BEGIN; SELECT idem_begin('session-place'); EXECUTE note ('a', '2026-03-02 12:01Z'); COMMIT;
DEALLOCATE note;
PREPARE note (timestamptz, text) AS INSERT INTO noted SELECT jsonb_build_array($1, $2);
BEGIN; SELECT idem_begin('session-place'); EXECUTE note ('2026-03-02 12:00Z', 'a'); COMMIT;
\echo :LAST_ERROR_SQLSTATE
RESET idem.key_match;

-- A procedure of the program's own names the key, in one message with what comes next; not if it writes.
CREATE TABLE called (v text);
CREATE PROCEDURE begin_request(key text) LANGUAGE plpgsql AS $$ BEGIN PERFORM idem_begin(key); END $$;
CREATE PROCEDURE begin_and_write(key text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_begin(key);
	INSERT INTO called VALUES ('early');
END $$;
BEGIN\; CALL begin_request('session-call')\; INSERT INTO called VALUES ('once') RETURNING v\; COMMIT;
BEGIN\; CALL begin_request('session-call')\; INSERT INTO called VALUES ('once') RETURNING v\; COMMIT;
BEGIN\; CALL begin_and_write('session-early')\; INSERT INTO called VALUES ('late') RETURNING v\; COMMIT;
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT v, count(*) FROM called GROUP BY v;
DROP SCHEMA idem_test_session_transaction CASCADE;
