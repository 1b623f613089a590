-- A store is used with the caller's rights, and nothing in it runs code of others.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_store_rights;
SET search_path = idem_test_store_rights, public;
\set SHOW_CONTEXT never

\set VERBOSITY terse
CREATE ROLE regress_idem_owner;
CREATE ROLE regress_idem_user;
CREATE ROLE regress_idem_other;
GRANT USAGE ON SCHEMA idem_test_store_rights TO PUBLIC;
SELECT idem_store_create('store_a');
ALTER SCHEMA store_a OWNER TO regress_idem_owner;
ALTER TABLE store_a.idem_key OWNER TO regress_idem_owner;
ALTER TABLE store_a.idem_message OWNER TO regress_idem_owner;
ALTER TABLE store_a.idem_offset OWNER TO regress_idem_owner;

-- Who has no rights on it cannot use it; who has, uses it, and can forge keys there.
SET idem.store = 'store_a';
SET ROLE regress_idem_user;
SELECT idem_execute('k1', 'SELECT 1');
RESET ROLE;
GRANT USAGE ON SCHEMA store_a TO regress_idem_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA store_a TO regress_idem_user;
SET ROLE regress_idem_user;
SELECT outcome, replayed FROM idem_execute('k1', 'SELECT 1');
UPDATE store_a.idem_key SET response = '{"rows": [{"?column?": 2}], "processed": 1}';
SELECT outcome, replayed, result FROM idem_execute('k1', 'SELECT 1');
-- to create one in another's schema takes the right to create there
SELECT idem_store_create('store_a');
RESET ROLE;

-- Keys belong to roles there, too.
GRANT USAGE ON SCHEMA store_a TO regress_idem_other;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA store_a TO regress_idem_other;
SET ROLE regress_idem_other;
SELECT idem_execute('k1', 'SELECT 1');
SELECT idem_lookup('k1');
SELECT idem_forget('k1');
RESET ROLE;

-- A function that runs with its owner's rights does not believe a store that its
-- caller has put in its way.
CREATE SCHEMA store_evil;
GRANT ALL ON SCHEMA store_evil TO regress_idem_user;
SET ROLE regress_idem_user;
SELECT idem_store_create('store_evil');
GRANT USAGE ON SCHEMA store_evil TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA store_evil TO PUBLIC;
RESET ROLE;
CREATE FUNCTION store_call() RETURNS text LANGUAGE sql SECURITY DEFINER
AS $$SELECT outcome::text FROM idem_execute('d1', 'SELECT 1')$$;
CREATE FUNCTION store_call_set() RETURNS text LANGUAGE sql SECURITY DEFINER
SET idem.store = '' AS $$SELECT outcome::text FROM idem_execute('d1', 'SELECT 1')$$;
SET ROLE regress_idem_user;
SET idem.store = 'store_evil';
SELECT store_call();
SELECT store_call_set();
RESET ROLE;
GRANT regress_idem_user TO regress_idem_other;
ALTER FUNCTION store_call() OWNER TO regress_idem_other;
-- that its owner is a member of the store's owner, that one may have seen to
SET ROLE regress_idem_user;
SELECT store_call();
RESET ROLE;
REVOKE regress_idem_user FROM regress_idem_other;
-- who can act as its owner anyway gains nothing
GRANT regress_idem_other TO regress_idem_user;
GRANT USAGE ON SCHEMA store_evil TO regress_idem_other;
SET ROLE regress_idem_user;
SELECT store_call();
RESET ROLE;
SELECT key FROM store_evil.idem_key;

-- Nor does a store run what its owner attaches to it, whoever calls.
CREATE FUNCTION store_spy() RETURNS trigger LANGUAGE plpgsql
AS $$BEGIN RAISE 'spied as %', current_user; END$$;
CREATE FUNCTION store_spy_key(text) RETURNS text IMMUTABLE LANGUAGE plpgsql
AS $$BEGIN RAISE 'spied as %', current_user; END$$;
SELECT outcome FROM idem_execute('t0', 'SELECT 1');
CREATE TRIGGER spy BEFORE INSERT ON store_evil.idem_key
	FOR EACH ROW EXECUTE FUNCTION store_spy();
SELECT idem_execute('t1', 'SELECT 1');
DROP TRIGGER spy ON store_evil.idem_key;
SELECT outcome FROM idem_execute('t1', 'SELECT 1');
CREATE TRIGGER spy BEFORE TRUNCATE ON store_evil.idem_key EXECUTE FUNCTION store_spy();
SELECT outcome FROM idem_execute('t2', 'SELECT 1');
DROP TRIGGER spy ON store_evil.idem_key;
CREATE RULE spy AS ON UPDATE TO store_evil.idem_key DO ALSO SELECT 1;
SELECT idem_execute('t3', 'SELECT 1');
DROP RULE spy ON store_evil.idem_key;
ALTER TABLE store_evil.idem_key ENABLE ROW LEVEL SECURITY;
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key DISABLE ROW LEVEL SECURITY;
ALTER TABLE store_evil.idem_key ALTER expires_at SET DEFAULT now();
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key ALTER expires_at DROP DEFAULT;
ALTER TABLE store_evil.idem_key ADD CHECK (store_spy_key(key) IS NULL) NOT VALID;
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key DROP CONSTRAINT idem_key_key_check;
CREATE INDEX spy ON store_evil.idem_key (store_spy_key(key)) WHERE key = 'x';
SELECT idem_execute('t3', 'SELECT 1');
DROP INDEX store_evil.spy;
-- the planner evaluates what is constant there
SET ROLE regress_idem_user;
CREATE FUNCTION store_evil.spy_now(int) RETURNS text IMMUTABLE LANGUAGE plpgsql
AS $$BEGIN RAISE WARNING 'spied as %', current_user; RETURN ''; END$$;
CREATE STATISTICS store_evil.spy ON (store_evil.spy_now(1) || key) FROM store_evil.idem_key;
RESET ROLE;
SELECT idem_execute('t3', 'SELECT 1');
SELECT idem_lookup('t3');
DROP STATISTICS store_evil.spy;
CREATE TABLE store_evil.more () INHERITS (store_evil.idem_key);
SELECT idem_execute('t3', 'SELECT 1');
DROP TABLE store_evil.more;
ALTER TABLE store_evil.idem_key ADD spy text GENERATED ALWAYS AS (lower(key)) STORED;
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key DROP spy;
ALTER TABLE store_evil.idem_key SET UNLOGGED;
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key SET LOGGED;
ALTER TABLE store_evil.idem_key DROP CONSTRAINT idem_key_pkey;
SELECT idem_execute('t3', 'SELECT 1');
ALTER TABLE store_evil.idem_key ADD CONSTRAINT idem_key_pkey PRIMARY KEY (key, scope);
SELECT outcome FROM idem_execute('t3', 'SELECT 1');
-- columns that have changed their names: statements would read one for another
ALTER TABLE store_evil.idem_key RENAME request TO spy;
ALTER TABLE store_evil.idem_key RENAME fence TO request;
ALTER TABLE store_evil.idem_key RENAME spy TO fence;
SELECT idem_lookup('t3');
ALTER TABLE store_evil.idem_key RENAME fence TO spy;
ALTER TABLE store_evil.idem_key RENAME request TO fence;
ALTER TABLE store_evil.idem_key RENAME spy TO request;
SELECT outcome, fence, request FROM idem_lookup('t3');
ALTER TABLE store_evil.idem_message RENAME consumer TO spy;
ALTER TABLE store_evil.idem_message RENAME message_id TO consumer;
ALTER TABLE store_evil.idem_message RENAME spy TO message_id;
SELECT idem_consume('c', 'm');
DROP TABLE store_evil.idem_message;
-- keys that would not be told apart by their bytes
ALTER TABLE store_evil.idem_key ALTER key TYPE text COLLATE "POSIX";
SELECT idem_lookup('t3');
ALTER TABLE store_evil.idem_key ALTER key TYPE text COLLATE "C";
SELECT outcome FROM idem_lookup('t3');
ALTER TABLE store_evil.idem_key ALTER response TYPE text;
SELECT idem_execute('t4', 'SELECT 1');
ALTER TABLE store_evil.idem_key RENAME TO idem_key_table;
CREATE VIEW store_evil.idem_key AS SELECT * FROM store_evil.idem_key_table;
SELECT idem_execute('t4', 'SELECT 1');
DROP VIEW store_evil.idem_key;
SELECT idem_execute('t4', 'SELECT 1');
-- a session's own tables neither
CREATE TEMP TABLE idem_key (LIKE store_a.idem_key INCLUDING ALL);
SELECT set_config('idem.store', nspname, false) LIKE 'pg_temp%' FROM pg_namespace
WHERE oid = pg_my_temp_schema();
DO $$BEGIN PERFORM idem_execute('t4', 'SELECT 1'); EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLSTATE; END$$;
DROP TABLE pg_temp.idem_key;

-- A change of the type between two calls of a session is heeded.
SET idem.store = 'store_a';
SELECT outcome FROM idem_execute('a1', 'SELECT 1', scope => '1');
DELETE FROM store_a.idem_key WHERE scope = '';
ALTER TABLE store_a.idem_key ALTER scope TYPE bigint USING scope::bigint;
SELECT outcome, replayed FROM idem_execute('a1', 'SELECT 1', scope => '01');

RESET idem.store;
DROP FUNCTION store_call(), store_call_set();
DROP SCHEMA store_a, store_evil CASCADE;
DROP FUNCTION store_spy(), store_spy_key(text);
DROP SCHEMA idem_test_store_rights CASCADE;
DROP ROLE regress_idem_owner, regress_idem_user, regress_idem_other;
