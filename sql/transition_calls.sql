-- The helpers of transitions, called by anybody, in any way: they answer nobody
-- but the statement that they were made for
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE ROLE regress_idem_meddler;
CREATE SCHEMA test_calls AUTHORIZATION regress_idem_meddler;
SET search_path = test_calls, public;
\set SHOW_CONTEXT never
SET ROLE regress_idem_meddler;

CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order');
INSERT INTO orders SELECT generate_series(1, 9);

-- in a statement of one's own
SELECT _idem_change_met(1, status, version) FROM orders WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
UPDATE orders SET status = 'PROCESSING' WHERE id = 2 AND _idem_change_met(0, status, version);
SELECT _idem_change_met(NULL, status, version, tableoid, ctid) FROM orders WHERE id = 2;
SELECT _idem_change_met(NULL, NULL::order_status, NULL, 'orders'::regclass, '(0,1)');
SELECT _idem_change_met(0, '1 day'::interval, 1);
SELECT _idem_change_met(0, ARRAY[1], 1);
SELECT _idem_change_met(0, ROW(1, 2), 1);
SELECT _idem_change_met(0, NULL, 1);
SELECT (SELECT _idem_change_met(0, o.status, o.version)) FROM orders o LIMIT 1;
SELECT (SELECT _idem_change_met(0, o.status, p.version) FROM orders p WHERE p.id = o.id) FROM orders o LIMIT 1;
SELECT _idem_change_met(0, status, v) FROM (SELECT max(status) AS status, max(version) AS v FROM orders) s;
SELECT _idem_change_met(0, s, v) FROM (VALUES ('a', 1)) AS t (s, v);
SELECT * FROM orders WHERE _idem_change_met(0, 1, 1);
MERGE INTO orders AS a USING (VALUES (1, 'PENDING'::order_status)) AS b (id, status) ON a.id = b.id
	WHEN MATCHED AND _idem_change_met(1, b.status, a.version) THEN DELETE;
MERGE INTO orders AS a USING orders AS b ON a.id = b.id AND _idem_change_met(1, b.status, a.version)
	WHEN MATCHED THEN DELETE;
UPDATE orders AS a SET id = a.id FROM orders AS b WHERE a.id = b.id AND _idem_change_met(1, b.status, a.version);

-- as what other things call
CREATE AGGREGATE met(bigint, oid, tid) (sfunc = _idem_change_met, stype = bigint);
CREATE AGGREGATE met(bigint) (sfunc = _idem_place, stype = internal);
CREATE AGGREGATE met(order_status, bigint, oid, tid) (sfunc = _idem_change_met, stype = bigint);
CREATE AGGREGATE last_met(int) (sfunc = int4larger, stype = int, finalfunc = _idem_change_met, finalfunc_extra);
CREATE OPERATOR ?@? (leftarg = bigint, rightarg = order_status, function = _idem_change_met);
CREATE FUNCTION support(int) RETURNS int LANGUAGE sql SUPPORT _idem_place AS 'SELECT $1';
CREATE INDEX ON orders ((_idem_change_met(0, status, version)));
CREATE CAST (bigint AS boolean) WITH FUNCTION _idem_change_met(bigint, "any", bigint, oid, tid);
SELECT idem_lifecycle();
SELECT idem_version();
CREATE AGGREGATE fired() (sfunc = idem_lifecycle, stype = int);
CREATE DOMAIN met AS text CHECK (_idem_change_met(0, VALUE, 1));
SELECT 'a'::met;
\set VERBOSITY default
-- how PostgreSQL refuses this depends on the minor release
DO $$
BEGIN
	PERFORM _idem_place(NULL);
EXCEPTION WHEN undefined_function OR feature_not_supported THEN
	RAISE NOTICE 'refused';
END $$;

-- under a transition, in whatever the table is made of
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM _idem_change_met(0, 'DELIVERED'::order_status, 70, 'pg_class'::regclass, '(7,7)');
	RETURN NEW;
END $$;
CREATE TRIGGER meddle BEFORE UPDATE ON orders
	FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
DROP TRIGGER meddle ON orders;
CREATE POLICY met ON orders USING (_idem_change_met(0, status, version));
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
ALTER TABLE orders ADD CONSTRAINT met CHECK (_idem_change_met(0, status, version)) NOT VALID;
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
ALTER TABLE orders DROP CONSTRAINT met;
-- also as a guard, where nothing is changed
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
SELECT * FROM orders WHERE id = 2;

-- An error within leaves nothing behind: what a call meant by a row is over.
CREATE TABLE log (what text);
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM idem_transition('orders', 4, 'PROCESSING', note => '"inner"');
		RAISE EXCEPTION 'undone';
	EXCEPTION WHEN raise_exception THEN
		INSERT INTO log VALUES ('undone');
	END;
	RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE UPDATE ON orders
	FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION fail();
SELECT idem_attach('orders', 'order', history => true);
SELECT * FROM idem_transition('orders', 3, 'PROCESSING', note => '"outer"');
BEGIN;
SAVEPOINT s;
SELECT * FROM idem_transition('orders', 4, 'DELIVERED', note => '"refused"');
ROLLBACK TO s;
UPDATE orders SET status = 'PROCESSING' WHERE id = 4;
COMMIT;
SELECT * FROM orders WHERE id IN (3, 4) ORDER BY id;
SELECT version, from_state, to_state, note FROM idem_history('orders', 3);
SELECT version, from_state, to_state, note FROM idem_history('orders', 4);
TABLE log;

RESET ROLE;
DELETE FROM idem_history WHERE target = 'orders'::regclass;
SET client_min_messages = warning;
DROP SCHEMA test_calls CASCADE;
DROP ROLE regress_idem_meddler;
