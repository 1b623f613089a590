-- idem_transition of a set of rows: one request, all of it or nothing
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_transition_set;
SET search_path = test_transition_set, public;
\set SHOW_CONTEXT errors

CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order');
INSERT INTO orders SELECT generate_series(1, 20);

-- the answer has a row for each id, in the order of the ids
SELECT * FROM idem_transition_batch('orders', '{3,1,2}'::jsonb[], 'PROCESSING');
-- rows that are there already do not stop the others; a row that is named
-- twice is there the second time, however it is written
SELECT * FROM idem_transition_batch('orders', ARRAY['4', '3', '"4"', '4.0', '{"id": 5}']::jsonb[], 'PROCESSING');
SELECT * FROM orders WHERE version > 1 ORDER BY id;
-- no ids, no rows; but a table that will do, and a state
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'PROCESSED');
SELECT * FROM idem_transition_batch('pg_class', '{}'::jsonb[], 'PROCESSING');

-- a version for each, or null where it does not matter
SELECT * FROM idem_transition_batch('orders', '{1,2,3}'::jsonb[], 'SHIPPED', '{2,null,2}');
SELECT * FROM idem_transition_batch('orders', '{1,2,3}'::jsonb[], 'SHIPPED', '{2,2,3}');
SELECT * FROM idem_transition_batch('orders', '{1,2,3}'::jsonb[], 'SHIPPED', '{2,2}');
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'SHIPPED', '{2}');
SELECT * FROM idem_transition_batch('orders', '{{1,2},{3,4}}'::jsonb[], 'SHIPPED');
SELECT * FROM idem_transition_batch('orders', '{1,2}'::jsonb[], 'SHIPPED', '{{1},{2}}');

-- what one row is refused, all are; the error tells which row it is
SELECT * FROM idem_transition_batch('orders', '{7,6,99}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{7,6,1}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{7,6,5}'::jsonb[], 'PROCESSING', '{null,8,null}');
SELECT * FROM idem_transition_batch('orders', '{7,6,10000000000}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{7,6,"\"six\""}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY['7', '[6]']::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY['7', '{"key": 6}']::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{7,null}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY['7', 'null']::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{{7},{6}}'::jsonb[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', NULL::jsonb[], 'PROCESSING');
SELECT * FROM orders WHERE id IN (5, 6, 7) ORDER BY id;

-- Under a key the set is one request, and gets all of its first answers.
SELECT * FROM idem_transition_batch('orders', '{9,8,8}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set');
UPDATE orders SET status = 'SHIPPED' WHERE id = 8;
DELETE FROM orders WHERE id = 9;
SELECT * FROM idem_transition_batch('orders', '{9,8,8}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{"\"9\"",8.0,"{\"id\": 8}"}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set');
SELECT outcome, response FROM idem_lookup('a', 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'SHIPPED', key => 'none', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'SHIPPED', key => 'none', scope => 'test_transition_set');
SELECT outcome, response FROM idem_lookup('none', 'test_transition_set');
-- other ids, in other order, other versions, state or note: another request
\set VERBOSITY sqlstate
SELECT * FROM idem_transition_batch('orders', '{9,8}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{8,9,8}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{9,8,8}'::jsonb[], 'PROCESSING', '{1,1,1}', key => 'a', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{9,8,8}'::jsonb[], 'SHIPPED', key => 'a', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{9,8,8}'::jsonb[], 'PROCESSING', key => 'a', scope => 'test_transition_set', note => '1');
SELECT * FROM idem_transition('orders', 9, 'PROCESSING', key => 'a', scope => 'test_transition_set');
SELECT * FROM order_transition('orders', 10, 'PROCESSING', key => 'one', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{10}'::jsonb[], 'PROCESSING', key => 'one', scope => 'test_transition_set');
\set VERBOSITY default
-- what is refused leaves its key free
SELECT * FROM idem_transition_batch('orders', '{11,99}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
-- an answer that was spoilt is no answer
UPDATE idem_key SET response = '[{}, 1]' WHERE scope = 'test_transition_set' AND key = 'free';
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
UPDATE idem_key SET response = '[{"version": 1, "outcome": 1}, 1]' WHERE scope = 'test_transition_set' AND key = 'free';
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
UPDATE idem_key SET response = '[{"from": 1, "to": "PROCESSING", "version": 1, "outcome": "noop"}, 1]' WHERE scope = 'test_transition_set' AND key = 'free';
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
UPDATE idem_key SET response = '[{"from": null, "to": "PROCESSING", "version": 1, "outcome": "lost"}, 1]' WHERE scope = 'test_transition_set' AND key = 'free';
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
UPDATE idem_key SET response = '{"version": 1}' WHERE scope = 'test_transition_set' AND key = 'free';
SELECT * FROM idem_transition_batch('orders', '{11,12}'::jsonb[], 'PROCESSING', key => 'free', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{11}'::jsonb[], 'PROCESSING', key => 'lone', scope => 'test_transition_set');
UPDATE idem_key SET response = '1' WHERE scope = 'test_transition_set' AND key = 'lone';
SELECT * FROM idem_transition_batch('orders', '{11}'::jsonb[], 'PROCESSING', key => 'lone', scope => 'test_transition_set');

-- The rows are changed in the order of the primary key's index, whatever the
-- order of the ids and however they are written.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '%', to_jsonb(NEW) - 'status' - 'version';
	RETURN NEW;
END $$;
CREATE TABLE paired (
	tenant text,
	n int,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (n, tenant)
);
SELECT idem_attach('paired', 'order');
CREATE TRIGGER tell BEFORE UPDATE ON paired FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO paired VALUES ('a', 2), ('b', 2), ('a', 10), ('a', -1);
SELECT * FROM idem_transition_batch('paired', ARRAY[
	'{"n": 10, "tenant": "a"}', '{"tenant": "b", "n": "2"}',
	'{"n": " 2", "tenant": "a"}', '{"n": -1, "tenant": "a"}']::jsonb[], 'PROCESSING');

-- A transition to the same state, where the machine has one, is made as often
-- as it is asked for.
INSERT INTO idem_machine VALUES ('idem test tick', 'on');
INSERT INTO idem_machine_edge VALUES ('idem test tick', 'on', 'on');
CREATE TABLE clock (id int PRIMARY KEY, status text NOT NULL DEFAULT 'on', version int NOT NULL DEFAULT 1);
SELECT idem_attach('clock', 'idem test tick');
INSERT INTO clock VALUES (1), (2);
SELECT * FROM idem_transition_batch('clock', '{1,2,1}'::jsonb[], 'on', '{1,1,2}');

-- It may be called for each row of a query, too.
SELECT to_state, count(*), sum(version) FROM
	(SELECT id % 2, array_agg(to_jsonb(id)) FROM orders WHERE id > 12 GROUP BY 1) AS half (half, ids),
	LATERAL idem_transition_batch('orders', half.ids, 'PROCESSING')
GROUP BY 1;
SELECT (idem_transition_batch('orders', '{13,14}'::jsonb[], 'SHIPPED')).*;

-- Many rows in one call.
CREATE TABLE many (LIKE orders INCLUDING ALL);
SELECT idem_attach('many', 'order');
INSERT INTO many SELECT generate_series(1, 3000);
SELECT outcome, count(*), bool_and(id = to_jsonb(n)) AS in_order
FROM ROWS FROM (idem_transition_batch('many', (SELECT array_agg(to_jsonb(id) ORDER BY id DESC) FROM many), 'PROCESSING'))
	WITH ORDINALITY AS t (id, outcome, replayed, from_state, to_state, version, ord),
	LATERAL (SELECT 3001 - ord) AS o (n)
GROUP BY 1;
SELECT status, version, count(*) FROM many GROUP BY 1, 2;

\set SHOW_CONTEXT never
-- Rights are those of single transitions.
CREATE ROLE regress_idem_clerk;
GRANT USAGE ON SCHEMA test_transition_set TO regress_idem_clerk;
GRANT SELECT (id, status, version) ON orders TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT * FROM idem_transition_batch('orders', '{15,16}'::jsonb[], 'SHIPPED');
RESET ROLE;
GRANT UPDATE (status) ON orders TO regress_idem_clerk;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON orders USING (id % 2 = 0);
SET ROLE regress_idem_clerk;
SELECT * FROM idem_transition_batch('orders', '{16,15}'::jsonb[], 'SHIPPED', key => 'clerk', scope => 'test_transition_set');
SELECT * FROM idem_transition_batch('orders', '{16,18}'::jsonb[], 'SHIPPED', key => 'clerk', scope => 'test_transition_set');
RESET ROLE;
REVOKE ALL ON orders FROM regress_idem_clerk;
REVOKE ALL ON SCHEMA test_transition_set FROM regress_idem_clerk;
DROP ROLE regress_idem_clerk;

DELETE FROM idem_key WHERE scope = 'test_transition_set';
SET client_min_messages = warning;
DROP SCHEMA test_transition_set CASCADE;
DELETE FROM idem_machine WHERE name = 'idem test tick';
DELETE FROM idem_machine_edge WHERE machine = 'idem test tick';
