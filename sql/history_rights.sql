-- Who writes history, and who may read it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_history_rights;
SET search_path = test_history_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_clerk;
CREATE ROLE regress_idem_reader;
GRANT USAGE, CREATE ON SCHEMA test_history_rights TO regress_idem_clerk, regress_idem_reader;

CREATE TABLE orders (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	clerk text NOT NULL DEFAULT 'regress_idem_clerk',
	secret text
);
SELECT idem_attach('orders', 'order', history => true);
INSERT INTO orders VALUES (1), (2), (3);

-- A role that may make a transition has it recorded, without any privilege on the
-- history itself, and under its own name.
GRANT SELECT (id), UPDATE (status) ON orders TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
UPDATE orders SET status = 'PROCESSING' WHERE id < 3;
SELECT * FROM idem_history;
INSERT INTO idem_history (changed_at, version, target, row_key, to_state, changed_by)
VALUES (now(), 9, 'orders'::regclass, '{"id": 1}', 'DELIVERED', 'somebody else');
UPDATE idem_history SET changed_by = 'somebody else';
DELETE FROM idem_history;
SET idem.history_retention = 0;
RESET ROLE;
SELECT version, to_state, changed_by FROM idem_history('orders', 1);

-- a function that runs as its owner records its owner
CREATE FUNCTION ship() RETURNS void LANGUAGE sql SECURITY DEFINER
	BEGIN ATOMIC UPDATE orders SET status = 'SHIPPED' WHERE id = 1; END;
GRANT SELECT, UPDATE ON orders TO regress_idem_reader;
ALTER FUNCTION ship() OWNER TO regress_idem_reader;
SET ROLE regress_idem_clerk;
SELECT ship();
RESET ROLE;
SELECT version, to_state, changed_by FROM idem_history('orders', 1);
REVOKE ALL ON orders FROM regress_idem_reader;

-- It takes the right to read the row: its key, state and version.
SET ROLE regress_idem_reader;
SELECT * FROM idem_history('orders', 1);
RESET ROLE;
GRANT SELECT (id, status) ON orders TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT * FROM idem_history('orders', 1);
RESET ROLE;
GRANT SELECT (version) ON orders TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT version, to_state FROM idem_history('orders', 1);
-- a row that is gone is nobody's secret from those who may see all of them
RESET ROLE;
DELETE FROM orders WHERE id = 1;
SET ROLE regress_idem_reader;
SELECT version, to_state FROM idem_history('orders', 1);
RESET ROLE;
-- the whole row, where nothing tells which columns those are
SELECT idem_detach('orders');
SET ROLE regress_idem_reader;
SELECT version, to_state FROM idem_history('orders', 1);
RESET ROLE;
GRANT SELECT ON orders TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT version, to_state FROM idem_history('orders', 1);
RESET ROLE;
SELECT idem_attach('orders', 'order', history => true);

-- Under row security the row must be one that the reader sees, now.
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders FOR SELECT USING (clerk = current_user);
UPDATE orders SET clerk = 'regress_idem_reader' WHERE id = 2;
UPDATE orders SET status = 'PROCESSING' WHERE id = 3;
SET ROLE regress_idem_reader;
SELECT id, version, to_state FROM generate_series(1, 3) AS id, idem_history('orders', id);
RESET ROLE;
UPDATE orders SET clerk = 'regress_idem_clerk' WHERE id = 2;
SET ROLE regress_idem_reader;
SELECT id, version, to_state FROM generate_series(1, 3) AS id, idem_history('orders', id);
SET row_security = off;
SELECT * FROM idem_history('orders', 2);
RESET row_security;
RESET ROLE;
-- the owner sees all, unless told not to
SELECT id, version, to_state FROM generate_series(1, 3) AS id, idem_history('orders', id);
ALTER TABLE orders OWNER TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT count(*) FROM idem_history('orders', 1);
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM idem_history('orders', 1);
SELECT count(*) FROM idem_history('orders', 3);
RESET ROLE;

-- The rights on a partition do not give the history of the table that it is of.
CREATE TABLE parted (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1)
	PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted DEFAULT;
SELECT idem_attach('parted', 'order', history => true);
INSERT INTO parted VALUES (1);
UPDATE parted SET status = 'PROCESSING';
GRANT SELECT ON part TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT count(*) FROM part;
SELECT * FROM idem_history('part', 1);
RESET ROLE;

-- A name is no way to another table's history.
ALTER TABLE orders RENAME TO former;
SET ROLE regress_idem_reader;
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order', history => true);
INSERT INTO orders VALUES (1), (3);
UPDATE orders SET status = 'PROCESSING' WHERE id = 3;
SELECT id, version, to_state FROM generate_series(1, 3) AS id, idem_history('orders', id);
RESET ROLE;
SELECT id, version, to_state FROM generate_series(1, 3) AS id, idem_history('former', id);

-- What the caller's search path finds does not matter.
CREATE FUNCTION same(regclass, regclass) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'called by %', current_user;
END $$;
CREATE OPERATOR = (FUNCTION = same, LEFTARG = regclass, RIGHTARG = regclass);
SET search_path = test_history_rights, pg_catalog, public;
SELECT count(*) FROM idem_history('former', 3);
UPDATE former SET status = 'SHIPPED' WHERE id = 3;
SELECT count(*) FROM idem_history('former', 3);
SET search_path = test_history_rights, public;

-- A role that only looks lends its rights to nobody's domain.
CREATE FUNCTION whose(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'checked by %', CASE current_user WHEN 'regress_idem_reader' THEN 'the owner of the table' ELSE 'another' END;
	RETURN true;
END $$;
CREATE DOMAIN own_id AS text CHECK (whose(value));
SET ROLE regress_idem_reader;
CREATE TABLE mine (id own_id PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('mine', 'order', history => true);
INSERT INTO mine VALUES ('a');
UPDATE mine SET status = 'PROCESSING';
RESET ROLE;
SELECT version, to_state FROM idem_history('mine', 'a');

-- Nor to what the planner evaluates that is constant in its statistics and indexes.
SET ROLE regress_idem_reader;
CREATE FUNCTION evaluated(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_idem_reader' THEN RAISE NOTICE 'evaluated by another'; END IF;
	RETURN '';
END $$;
CREATE STATISTICS ahead ON (evaluated(1) || status) FROM mine;
RESET ROLE;
SELECT version, to_state FROM idem_history('mine', 'a');
SELECT count(*) FROM idem_allowed('mine', 'a'::text);
DROP STATISTICS ahead;
CREATE INDEX ahead ON mine ((evaluated(1) || status));
DISCARD ALL;
SET search_path = test_history_rights, public;
SELECT version, to_state FROM idem_history('mine', 'a');
SELECT count(*) FROM idem_allowed('mine', 'a'::text);
DROP INDEX ahead;
-- A policy's functions are run as by any query.
SET ROLE regress_idem_reader;
CREATE FUNCTION shown(text) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT true';
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON mine USING (shown(status));
GRANT SELECT ON mine TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT version, to_state FROM idem_history('mine', 'a');
RESET ROLE;

DELETE FROM idem_history WHERE target IN
	(SELECT oid FROM pg_class WHERE relnamespace = 'test_history_rights'::regnamespace);
SET client_min_messages = warning;
DROP SCHEMA test_history_rights CASCADE;
DROP ROLE regress_idem_clerk, regress_idem_reader;
