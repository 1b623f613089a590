-- What idem_attach, idem_lifecycle and order_transition refuse, and to whom
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_transition_errors;
SET search_path = test_transition_errors, public;
\set SHOW_CONTEXT never

CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);

--
-- idem_attach and idem_detach
--

SELECT idem_attach(NULL, 'order');
SELECT idem_attach('orders', NULL);
SELECT idem_attach('orders', 'order', status => NULL);
SELECT idem_attach('orders', 'order', version => NULL);
SELECT idem_attach('orders', 'order', history => NULL);
SELECT idem_attach('orders', 'odrer');
SELECT idem_attach('orders', 'order', status => 'state');
SELECT idem_attach('orders', 'order', version => 'Row Version');
SELECT idem_attach('orders', 'order', status => 'id');
SELECT idem_attach('orders', 'order', version => 'status');
SELECT idem_attach(0, 'order');
SELECT idem_detach(NULL);
SELECT idem_detach('orders');
SELECT idem_attach('orders', 'order');
SELECT idem_attach('orders', 'order');

-- only tables, with columns and a primary key that will do
CREATE VIEW order_view AS TABLE orders;
CREATE MATERIALIZED VIEW order_copy AS TABLE orders;
CREATE SEQUENCE order_number;
CREATE FOREIGN DATA WRAPPER test_transition_errors;
CREATE SERVER test_transition_errors FOREIGN DATA WRAPPER test_transition_errors;
CREATE FOREIGN TABLE order_abroad (id int, status text, version int NOT NULL)
	SERVER test_transition_errors;
SELECT idem_attach('order_view', 'order');
SELECT idem_attach('order_copy', 'order');
SELECT idem_attach('order_number', 'order');
SELECT idem_attach('orders_pkey', 'order');
SELECT idem_attach('order_abroad', 'order');
SELECT idem_attach('pg_class', 'order');
SELECT idem_detach('order_view');

CREATE TYPE few AS ENUM ('PENDING', 'SHIPPED');
CREATE TABLE bare (id int, status text, version int NOT NULL);
CREATE TABLE later (id int PRIMARY KEY DEFERRABLE, status text, version int NOT NULL);
CREATE TABLE lacking (id int PRIMARY KEY, status few, version int NOT NULL);
CREATE TABLE padded (id int PRIMARY KEY, status char(10), version int NOT NULL);
CREATE TABLE unversioned (id int PRIMARY KEY, status text, version int);
CREATE TABLE decimal (id int PRIMARY KEY, status text, version numeric NOT NULL);
CREATE TABLE computed (id int PRIMARY KEY, status text,
	version int NOT NULL GENERATED ALWAYS AS (id + 1) STORED);
SELECT idem_attach('bare', 'order');
SELECT idem_attach('later', 'order');
SELECT idem_attach('lacking', 'order');
SELECT idem_attach('padded', 'order');
SELECT idem_attach('unversioned', 'order');
SELECT idem_attach('decimal', 'order');
SELECT idem_attach('computed', 'order');

-- only with rows that the machine can move on
CREATE TABLE filled (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
INSERT INTO filled VALUES (1, 'SHIPPED'), (2, 'lost');
SELECT idem_attach('filled', 'order');
UPDATE filled SET status = NULL WHERE id = 2;
SELECT idem_attach('filled', 'order');
DELETE FROM filled WHERE id = 2;
SELECT idem_attach('filled', 'order');

-- partitions follow with their table, not by themselves
CREATE TABLE halves (LIKE filled INCLUDING ALL) PARTITION BY HASH (id);
CREATE TABLE half PARTITION OF halves FOR VALUES WITH (MODULUS 2, REMAINDER 0);
SELECT idem_attach('halves', 'order');
SELECT idem_attach('half', 'order');
SELECT idem_detach('half');
SELECT idem_detach('halves');
SELECT idem_detach('half');

--
-- idem_lifecycle
--

SELECT idem_lifecycle();
CREATE TABLE handmade (LIKE orders INCLUDING ALL);
INSERT INTO handmade VALUES (1);
CREATE FUNCTION try(definition text, test text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE TRIGGER handmade ' || definition;
	EXECUTE test;
END $$;
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle()', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status)', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, state, version)', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, status)', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(odrer, status, version)', 'UPDATE handmade SET status = ''PROCESSING''');
SELECT try('BEFORE UPDATE ON handmade FOR EACH STATEMENT EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'UPDATE handmade SET id = 1');
SELECT try('AFTER UPDATE OF status ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'UPDATE handmade SET status = status');
SELECT try('BEFORE INSERT ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'INSERT INTO handmade VALUES (2)');
SELECT try('BEFORE DELETE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'DELETE FROM handmade');
SELECT try('BEFORE UPDATE OF status ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'UPDATE handmade SET status = status');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'UPDATE handmade SET id = 1');
-- computed columns, of which a trigger that fires before an update knows nothing
ALTER TABLE handmade ADD COLUMN made_status text GENERATED ALWAYS AS ('PENDING') STORED,
	ADD COLUMN made_version int GENERATED ALWAYS AS (id) STORED;
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, made_status, version)', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, made_version)', 'UPDATE handmade SET id = 1');
SELECT try('BEFORE UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION idem_version(made_version)', 'UPDATE handmade SET id = 1');
SELECT try('AFTER INSERT ON handmade FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, ctid, version)', 'INSERT INTO handmade VALUES (2)');
CREATE VIEW seen AS SELECT * FROM handmade;
SELECT try('INSTEAD OF UPDATE ON seen FOR EACH ROW EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'UPDATE seen SET status = status');
SELECT try('BEFORE TRUNCATE ON handmade EXECUTE FUNCTION idem_lifecycle(order, status, version)', 'TRUNCATE handmade');

--
-- order_transition
--

INSERT INTO orders VALUES (1);
SELECT * FROM order_transition(NULL, 1, 'PROCESSING');
SELECT * FROM order_transition('orders', NULL, 'PROCESSING');
SELECT * FROM order_transition('orders', NULL::bigint, 'PROCESSING');
SELECT * FROM order_transition('orders', NULL::uuid, 'PROCESSING');
SELECT * FROM order_transition('orders', NULL::jsonb, 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb 'null', 'PROCESSING');
SELECT * FROM order_transition('orders', 1, NULL);
SELECT * FROM order_transition('orders', 1, 'processing');
SELECT * FROM order_transition(0, 1, 'PROCESSING');
SELECT * FROM order_transition(0, 1, 'PROCESSING', key => 'k');

-- ids that are none
SELECT * FROM order_transition('orders', 'one', 'PROCESSING');
SELECT * FROM order_transition('orders', '', 'PROCESSING');
SELECT * FROM order_transition('orders', 10000000000, 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb_build_array(repeat('long ', 1000)), 'PROCESSING');
SELECT * FROM order_transition('orders', uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '[1]', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{}', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{"id": [1]}', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{"id": null}', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{"key": 1}', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{"version": 1}', 'PROCESSING');
SELECT * FROM order_transition('orders', jsonb '{"id": 1, "version": 1}', 'PROCESSING');
CREATE TABLE paired (tenant int, id int, status text, version int NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant, id));
SELECT idem_attach('paired', 'order');
SELECT * FROM order_transition('paired', 1, 'PROCESSING');
SELECT * FROM order_transition('paired', jsonb '{"id": 1}', 'PROCESSING');
SELECT * FROM order_transition('paired', jsonb '{"id": 1, "tenant": 1}', 'PROCESSING');

-- tables that cannot be moved on
SELECT * FROM order_transition('order_view', 1, 'PROCESSING');
SELECT * FROM order_transition('orders_pkey', 1, 'PROCESSING');
SELECT * FROM order_transition('bare', 1, 'PROCESSING');
SELECT * FROM order_transition('pg_class', 1, 'PROCESSING');
ALTER TABLE orders DISABLE TRIGGER USER;
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
ALTER TABLE orders ENABLE TRIGGER USER;
ALTER TABLE filled DROP CONSTRAINT filled_pkey;
SELECT * FROM order_transition('filled', 1, 'DELIVERED');
-- a temporary table serves, but its rows are gone before a retry could come
CREATE TEMPORARY TABLE basket (LIKE orders INCLUDING ALL);
SELECT idem_attach('basket', 'order');
INSERT INTO basket VALUES (1);
SELECT * FROM order_transition('basket', 1, 'PROCESSING', key => 'k', scope => 'test_transition_errors');
SELECT * FROM order_transition('basket', 1, 'PROCESSING');
DROP TABLE basket;

-- keys
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => '');
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => repeat('k', 256));
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => 'k', ttl => '-1 hour');

-- nothing may be written
BEGIN READ ONLY;
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
ROLLBACK;

-- a table that is dropped between calls
CREATE TABLE brief (LIKE orders INCLUDING ALL);
SELECT idem_attach('brief', 'order');
INSERT INTO brief VALUES (1);
SELECT outcome FROM order_transition('brief', 1, 'PROCESSING');
SELECT 'brief'::regclass::oid AS brief \gset
DROP TABLE brief;
\set VERBOSITY sqlstate
SELECT outcome FROM order_transition(:brief, 1, 'SHIPPED');
\set VERBOSITY default

-- the status column may not take the state
CREATE TABLE narrow (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
SELECT idem_attach('narrow', 'order');
ALTER TABLE narrow ALTER COLUMN status TYPE varchar(7);
INSERT INTO narrow VALUES (1, 'PENDING');
SELECT * FROM order_transition('narrow', 1, 'PROCESSING');

-- nothing of all this has changed anything
TABLE orders;
TABLE paired;
TABLE narrow;
SELECT count(*) FROM idem_key WHERE scope = 'test_transition_errors';

-- the codes by which clients tell these apart
CREATE FUNCTION state_of(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT state_of('SELECT ' || command) AS state, command
FROM unnest(ARRAY[
	$$idem_attach('orders', NULL)$$,
	$$idem_attach('orders', 'order')$$,
	$$idem_attach('handmade', 'odrer')$$,
	$$idem_attach('handmade', 'order', status => 'state')$$,
	$$idem_attach('handmade', 'order', status => 'id')$$,
	$$idem_attach('order_view', 'order')$$,
	$$idem_attach('orders_pkey', 'order')$$,
	$$idem_attach('pg_class', 'order')$$,
	$$idem_attach(0, 'order')$$,
	$$idem_attach('bare', 'order')$$,
	$$idem_attach('lacking', 'order')$$,
	$$idem_attach('unversioned', 'order')$$,
	$$idem_attach('computed', 'order')$$,
	$$idem_detach('handmade')$$,
	$$idem_lifecycle()$$,
	$$order_transition('orders', 1, NULL)$$,
	$$order_transition(0, 1, 'PROCESSING')$$,
	$$order_transition('orders', 'one', 'PROCESSING')$$,
	$$order_transition('orders', 10000000000, 'PROCESSING')$$,
	$$order_transition('orders', jsonb '[1]', 'PROCESSING')$$,
	$$order_transition('orders', jsonb '{"key": 1}', 'PROCESSING')$$,
	$$order_transition('orders', jsonb '{"version": 1}', 'PROCESSING')$$,
	$$order_transition('order_view', 1, 'PROCESSING')$$,
	$$order_transition('bare', 1, 'PROCESSING')$$,
	$$order_transition('filled', 1, 'DELIVERED')$$,
	$$order_transition('orders', 1, 'PROCESSING', key => '')$$,
	$$order_transition('narrow', 1, 'PROCESSING')$$,
	$$order_transition('orders', 2, 'PROCESSING')$$,
	$$order_transition('orders', 1, 'PROCESSING', 2)$$,
	$$order_transition('orders', 1, 'SHIPPED')$$,
	$$set_config('transaction_read_only', 'on', true), order_transition('orders', 1, 'PROCESSING')$$
]) AS command;

--
-- Rights: what plain SQL would give
--

CREATE ROLE regress_idem_clerk;
GRANT USAGE ON SCHEMA test_transition_errors TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT idem_attach('orders', 'order');
SELECT idem_detach('orders');
SELECT idem_attach('idem_key', 'order');
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => 'k', scope => 'test_transition_errors');
-- not even where there is no row to move: the table would be locked
SELECT * FROM idem_transition_batch('orders', '{}'::jsonb[], 'PROCESSING');
-- the machines may be read, not written
SELECT count(*) FROM idem_machine_edge WHERE machine = 'order';
INSERT INTO idem_machine_edge VALUES ('order', 'PENDING', 'DELIVERED');
DELETE FROM idem_machine;
SELECT _idem_machine_changed();
RESET ROLE;

-- columns will do: to read key, state and version, and to write the state
GRANT SELECT (id, status, version) ON orders TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
RESET ROLE;
GRANT UPDATE (status) ON orders TO regress_idem_clerk;
SET ROLE regress_idem_clerk;
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => 'k', scope => 'test_transition_errors');
UPDATE orders SET version = 1;
RESET ROLE;
-- what a key remembers is for its role
GRANT SELECT, UPDATE ON orders TO PUBLIC;
CREATE ROLE regress_idem_stranger;
GRANT USAGE ON SCHEMA test_transition_errors TO regress_idem_stranger;
SET ROLE regress_idem_stranger;
SELECT * FROM order_transition('orders', 1, 'PROCESSING', key => 'k', scope => 'test_transition_errors');
RESET ROLE;

-- row security: a row not to be seen or not to be written is not there
ALTER TABLE orders ADD COLUMN clerk name NOT NULL DEFAULT 'regress_idem_clerk';
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON orders USING (clerk = current_user);
INSERT INTO orders VALUES (2);
SET ROLE regress_idem_stranger;
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
RESET ROLE;
SET ROLE regress_idem_clerk;
SELECT * FROM order_transition('orders', 2, 'PROCESSING');
RESET ROLE;
DROP POLICY mine ON orders;
CREATE POLICY see ON orders FOR SELECT USING (true);
CREATE POLICY write ON orders FOR UPDATE USING (clerk = current_user)
	WITH CHECK (status <> 'DELIVERED');
SET ROLE regress_idem_stranger;
SELECT * FROM order_transition('orders', 2, 'SHIPPED');
RESET ROLE;
SET ROLE regress_idem_clerk;
SELECT * FROM order_transition('orders', 2, 'SHIPPED');
SELECT * FROM order_transition('orders', 2, 'DELIVERED');
RESET ROLE;

-- the table's triggers run with the rights of the role that calls
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'trigger runs as %', current_user;
	RETURN NEW;
END $$;
ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
INSERT INTO orders VALUES (3);
CREATE TRIGGER who BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION who();
SET ROLE regress_idem_stranger;
SELECT * FROM order_transition('orders', 3, 'PROCESSING', key => 'who', scope => 'test_transition_errors');
RESET ROLE;

-- neither does a cast of the owner of the type of the state, here in the
-- hands of a superuser
CREATE TYPE mood AS ENUM ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED');
CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'cast runs as %', current_user;
	RETURN 'in a mood';
END $$;
CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS ASSIGNMENT;
CREATE TABLE moody (id int PRIMARY KEY, status mood NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
INSERT INTO moody VALUES (1);
SELECT idem_attach('moody', 'order');
SELECT * FROM order_transition('moody', 1, 'PROCESSING');

-- a role that may write to the table of keys can spoil an answer, not the server
SELECT outcome FROM order_transition('moody', 1, 'SHIPPED', key => 'spoilt', scope => 'test_transition_errors');
UPDATE idem_key SET response = NULL WHERE scope = 'test_transition_errors' AND key = 'spoilt';
SELECT * FROM order_transition('moody', 1, 'SHIPPED', key => 'spoilt', scope => 'test_transition_errors');
UPDATE idem_key SET response = '[1, 2]' WHERE scope = 'test_transition_errors' AND key = 'spoilt';
SELECT * FROM order_transition('moody', 1, 'SHIPPED', key => 'spoilt', scope => 'test_transition_errors');
SELECT count(*) FROM idem_transition_batch('moody', '{1}', 'SHIPPED', key => 'spoilt set', scope => 'test_transition_errors');
UPDATE idem_key SET response = '[1]' WHERE scope = 'test_transition_errors' AND key = 'spoilt set';
SELECT * FROM idem_transition_batch('moody', '{1}', 'SHIPPED', key => 'spoilt set', scope => 'test_transition_errors');
UPDATE idem_key SET response = '[{"outcome": "claimed"}]' WHERE scope = 'test_transition_errors' AND key = 'spoilt set';
SELECT * FROM idem_transition_batch('moody', '{1}', 'SHIPPED', key => 'spoilt set', scope => 'test_transition_errors');

-- names that come first in the caller's search_path change nothing
CREATE SCHEMA test_transition_evil;
CREATE FUNCTION test_transition_evil.evil_eq(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR test_transition_evil.= (FUNCTION = test_transition_evil.evil_eq, LEFTARG = int, RIGHTARG = int);
CREATE DOMAIN test_transition_evil.text AS int;
CREATE DOMAIN test_transition_evil.int8 AS pg_catalog.text;
CREATE TYPE test_transition_evil.order_status AS ENUM ('EVIL');
CREATE TABLE test_transition_evil.idem_machine (name pg_catalog.text, initial pg_catalog.text);
SET search_path = test_transition_evil, test_transition_errors, public, pg_catalog;
SELECT * FROM public.order_transition('orders', 3, 'SHIPPED');
SELECT id, status, version FROM orders ORDER BY id;
CREATE TABLE late (LIKE handmade INCLUDING ALL);
SELECT idem_attach('late', 'order');
INSERT INTO late VALUES (1), (2);
SELECT * FROM public.order_transition('late', 2, 'PROCESSING');
SET search_path = test_transition_errors, public;

DELETE FROM idem_key WHERE scope = 'test_transition_errors';
SET client_min_messages = warning;
DROP SCHEMA test_transition_evil CASCADE;
DROP SCHEMA test_transition_errors CASCADE;
DROP SERVER test_transition_errors;
DROP FOREIGN DATA WRAPPER test_transition_errors;
DROP ROLE regress_idem_clerk, regress_idem_stranger;
