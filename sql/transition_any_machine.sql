-- idem_transition: order_transition for any machine; and what a transition's
-- one statement does among triggers, partitions, odd plans and few rights
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_any_transition;
SET search_path = test_any_transition, public;
\set SHOW_CONTEXT never

-- a machine with a loop, a transition to the same state, and an odd name
INSERT INTO idem_machine VALUES ('idem test refund', 'asked');
INSERT INTO idem_machine_edge VALUES
	('idem test refund', 'asked', 'asked'),
	('idem test refund', 'asked', 'granted'),
	('idem test refund', 'asked', 'say "no"'),
	('idem test refund', 'say "no"', 'asked');
CREATE TABLE refund (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'asked',
	version int NOT NULL DEFAULT 1,
	amount int
);
SELECT idem_attach('refund', 'idem test refund', history => true);
INSERT INTO refund SELECT generate_series(1, 3);

SELECT * FROM idem_transition('refund', 1, 'say "no"');
SELECT * FROM idem_transition('refund', 1, 'say "no"');
SELECT * FROM idem_transition('refund', 1, 'asked', 2);
-- to the same state, where the machine leads there
SELECT * FROM idem_transition('refund', 1, 'asked');
SELECT * FROM idem_transition('refund', 1, 'asked', 3);
SELECT * FROM idem_transition('refund', 1, 'granted', 4);
SELECT * FROM idem_transition('refund', 1, 'granted', 4);
SELECT * FROM idem_transition('refund', 1, 'asked');
-- the row may be named in any of the ways
SELECT outcome FROM idem_transition('refund', '2', 'granted');
SELECT outcome FROM idem_transition('refund', jsonb '{"id": 2}', 'granted');
SELECT outcome FROM idem_transition(id => 2, to_state => 'granted', target => 'refund');

-- a state that the machine has not, also where no row would be found
SELECT * FROM idem_transition('refund', 3, 'SHIPPED');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_transition('refund', 99, '');
SELECT * FROM idem_transition('refund', 99, 'granted');
SELECT * FROM idem_transition('refund', 3, NULL);
-- a table that follows another machine, or none
SELECT * FROM order_transition('refund', 3, 'SHIPPED');
CREATE TABLE loose (LIKE refund INCLUDING ALL);
SELECT * FROM idem_transition('loose', 3, 'granted');
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT * FROM idem_transition('refund', 3, 'granted');
ROLLBACK;

-- A key: the sister functions make the same request of the same call.
CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order');
INSERT INTO orders SELECT generate_series(1, 9);
SELECT * FROM idem_transition('orders', 1, 'PROCESSING', key => 'a', scope => 'test_any_transition');
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => 'a', scope => 'test_any_transition');
SELECT * FROM idem_transition('orders', 1, 'SHIPPED', key => 'b', scope => 'test_any_transition', note => '{"by": "van"}');
SELECT * FROM order_transition('orders', 1, 'SHIPPED', key => 'b', scope => 'test_any_transition', note => '{"by": "van"}');
-- Keys outlive upgrades: for what could be asked before there were notes, the
-- fingerprints are what they were.
SELECT outcome FROM order_transition('orders', 1, 'DELIVERED', 3, key => 'c', scope => 'test_any_transition');
SELECT key, fingerprint, response FROM idem_key
WHERE scope = 'test_any_transition' ORDER BY key;

-- A trigger that changes other rows, by transitions and by plain updates,
-- before and after the row itself: each answer is about its own row.
CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	answer record;
BEGIN
	IF TG_WHEN = 'BEFORE' THEN
		UPDATE orders SET status = 'PROCESSING' WHERE id = 4;
		SELECT * INTO answer FROM idem_transition('orders', 5, 'PROCESSING');
	ELSE
		SELECT * INTO answer FROM idem_transition('orders', 5, 'SHIPPED', 2);
	END IF;
	RAISE NOTICE '% %: %', TG_WHEN, NEW.id, answer;
	RETURN NEW;
END $$;
CREATE TRIGGER chain BEFORE UPDATE ON orders
	FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION chain();
CREATE TRIGGER chain_after AFTER UPDATE ON orders
	FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION chain();
SELECT * FROM idem_transition('orders', 3, 'PROCESSING');
SELECT * FROM orders WHERE id IN (3, 4, 5) ORDER BY id;
-- One that changes the row itself is told so, as in a plain update.
CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE orders SET version = version WHERE id = NEW.id;
	RETURN NEW;
END $$;
CREATE TRIGGER twice BEFORE UPDATE ON orders FOR EACH ROW
	WHEN (NEW.id = 6 AND pg_trigger_depth() = 0) EXECUTE FUNCTION twice();
SELECT * FROM idem_transition('orders', 6, 'PROCESSING');
UPDATE orders SET status = 'PROCESSING' WHERE id = 6;
SELECT * FROM orders WHERE id = 6;
-- Triggers are not fired for what is refused, or is there already.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% of % to %', TG_NAME, NEW.id, NEW.status;
	RETURN NEW;
END $$;
CREATE TRIGGER tell BEFORE UPDATE ON orders
	FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION tell();
SELECT * FROM idem_transition('orders', 7, 'PROCESSING');
SELECT * FROM idem_transition('orders', 7, 'PROCESSING');
SELECT * FROM idem_transition('orders', 7, 'DELIVERED');
SELECT * FROM idem_transition('orders', 7, 'SHIPPED', 1);

-- To the same state, where the machine leads there, is a transition each time;
-- a version expected, or a key, tells a retry.
INSERT INTO refund VALUES (6);
SELECT outcome, version FROM idem_transition('refund', 6, 'asked');
SELECT outcome, version FROM idem_transition('refund', 6, 'asked');
SELECT outcome, version FROM idem_transition('refund', 6, 'asked', 3);
SELECT outcome, version FROM idem_transition('refund', 6, 'asked', 3);
SELECT outcome, replayed, version FROM idem_transition('refund', 6, 'asked', key => 'loop', scope => 'test_any_transition');
SELECT outcome, replayed, version FROM idem_transition('refund', 6, 'asked', key => 'loop', scope => 'test_any_transition');
SELECT from_state, to_state, version FROM idem_history('refund', 6);

-- A rule would make something else of the UPDATE, or add to it.
CREATE TABLE mirror (id int, status text);
CREATE RULE mirror AS ON UPDATE TO refund
	DO ALSO INSERT INTO mirror VALUES (OLD.id, NEW.status);
SELECT * FROM idem_transition('refund', 3, 'say "no"', key => 'rule', scope => 'test_any_transition');
\echo :LAST_ERROR_SQLSTATE
CREATE OR REPLACE RULE mirror AS ON UPDATE TO refund
	DO INSTEAD SELECT 'asked'::text, 7::bigint;
SELECT * FROM idem_transition('refund', 3, 'say "no"');
SELECT * FROM idem_transition_batch('refund', '{3}', 'say "no"');
TABLE mirror;
DROP RULE mirror ON refund;
SELECT * FROM idem_transition('refund', 3, 'say "no"', key => 'rule', scope => 'test_any_transition');

-- Where the plan reads the whole table, the condition is asked of the row only:
-- it comes last.
CREATE TABLE coded (
	code text PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('coded', 'order');
INSERT INTO coded SELECT 'c' || n FROM generate_series(1, 20) AS n;
UPDATE coded SET status = 'PROCESSING' WHERE code <> 'c7';
SET enable_indexscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) UPDATE ONLY coded SET status = 'PROCESSING'
WHERE _idem_change_met(NULL, status, version) AND code = 'c7';
SELECT * FROM idem_transition('coded', 'c7', 'PROCESSING');
SELECT count(*) FROM coded WHERE status = 'PROCESSING' AND version = 2;
RESET enable_indexscan;
RESET enable_bitmapscan;

-- Partitions: of other columns, of composite keys, and left for another.
CREATE TABLE parted (
	id int,
	status order_status NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1,
	PRIMARY KEY (id, status)
) PARTITION BY LIST (status);
CREATE TABLE parted_open PARTITION OF parted FOR VALUES IN ('PENDING', 'PROCESSING');
CREATE TABLE parted_done (gone int, version int NOT NULL DEFAULT 1, status order_status NOT NULL, id int NOT NULL);
ALTER TABLE parted_done DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_done DEFAULT;
SELECT idem_attach('parted', 'order');
INSERT INTO parted VALUES (1), (2);
SELECT * FROM idem_transition('parted', jsonb '{"id": 1, "status": "PENDING"}', 'PROCESSING');
SELECT * FROM idem_transition('parted', jsonb '{"id": 1, "status": "PROCESSING"}', 'SHIPPED');
SELECT * FROM idem_transition('parted', jsonb '{"id": 1, "status": "SHIPPED"}', 'DELIVERED', 3);
SELECT tableoid::regclass, * FROM parted ORDER BY id;

--
-- Rights
--

-- Three columns are enough, whatever note or key comes with the transition:
-- to read where the row is takes no right to read the whole table.
CREATE ROLE regress_idem_clerk;
GRANT USAGE ON SCHEMA test_any_transition TO regress_idem_clerk;
GRANT SELECT (id, status, version), UPDATE (status) ON refund, parted TO regress_idem_clerk;
INSERT INTO refund VALUES (4), (5);
SET ROLE regress_idem_clerk;
SELECT ctid FROM refund;
SELECT amount FROM refund;
SELECT * FROM idem_transition('refund', 4, 'granted', key => 'clerk', scope => 'test_any_transition', note => '1');
SELECT * FROM idem_transition('refund', 4, 'granted');
SELECT * FROM idem_transition('parted', jsonb '{"id": 2, "status": "PENDING"}', 'PROCESSING', note => '1');
-- and no fewer
RESET ROLE;
REVOKE SELECT (version) ON refund FROM regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT * FROM idem_transition('refund', 5, 'granted');
RESET ROLE;
-- Row security comes before the condition: what is hidden is not judged.
GRANT SELECT (version) ON refund TO regress_idem_clerk;
ALTER TABLE refund ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON refund USING (id % 2 = 0);
SET ROLE regress_idem_clerk;
SELECT * FROM idem_transition('refund', 5, 'granted', 7);
SELECT * FROM idem_transition('refund', 4, 'granted', 7);
RESET ROLE;
SELECT id, status, version FROM refund ORDER BY id;
SELECT from_state, to_state, version, changed_by, key, note FROM idem_history('refund', 4);
REVOKE ALL ON refund, parted FROM regress_idem_clerk;
REVOKE ALL ON SCHEMA test_any_transition FROM regress_idem_clerk;
DROP ROLE regress_idem_clerk;

DELETE FROM idem_key WHERE scope = 'test_any_transition';
DELETE FROM idem_history WHERE target = 'refund'::regclass;
SET client_min_messages = warning;
DROP SCHEMA test_any_transition CASCADE;
DELETE FROM idem_machine WHERE name = 'idem test refund';
DELETE FROM idem_machine_edge WHERE machine = 'idem test refund';
