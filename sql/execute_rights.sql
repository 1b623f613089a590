-- Rights of idem_execute(): the command is its caller's, and so are its names.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_execute_rights;
SET search_path = idem_test_execute_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
GRANT USAGE ON SCHEMA idem_test_execute_rights TO regress_idem_ann, regress_idem_bob;
CREATE TABLE account (id int PRIMARY KEY, owner name, balance int);
INSERT INTO account VALUES (1, 'regress_idem_ann', 10), (2, 'regress_idem_bob', 20);

-- Privileges are those of plain SQL, at each call; a plan is nobody else's.
SELECT result FROM idem_execute('execute-rights-1', 'SELECT id FROM account');
\set VERBOSITY terse
SET ROLE regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-2', 'SELECT id FROM account');
\echo :LAST_ERROR_SQLSTATE
SELECT result FROM idem_execute('execute-rights-2', 'SELECT count(*) FROM idem_key');
\echo :LAST_ERROR_SQLSTATE
SELECT result FROM idem_execute('execute-rights-2', 'DELETE FROM idem_key');
SELECT result FROM idem_execute('execute-rights-2', 'SELECT idem_purge()');
RESET ROLE;
GRANT SELECT (id), UPDATE (balance) ON account TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-2', 'SELECT id FROM account');
SELECT result FROM idem_execute('execute-rights-3', 'UPDATE account SET balance = 0 WHERE id = 1 RETURNING id, balance');
SELECT result FROM idem_execute('execute-rights-3', 'UPDATE account SET balance = 11 WHERE id = 1 RETURNING id');
RESET ROLE;
REVOKE ALL ON account FROM regress_idem_ann;
REVOKE ALL (id, balance) ON account FROM regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-4', 'SELECT id FROM account');
-- What was answered to a role stays answered to it, and to nobody else.
SELECT result, replayed FROM idem_execute('execute-rights-2', 'SELECT id FROM account');
SET ROLE regress_idem_bob;
SELECT result, replayed FROM idem_execute('execute-rights-2', 'SELECT id FROM account');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- USAGE on a schema counts, too, where another has made the plan.
CREATE SCHEMA idem_test_closed;
CREATE TABLE idem_test_closed.t (id int);
GRANT SELECT ON idem_test_closed.t TO regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-5', 'SELECT id FROM idem_test_closed.t');
SET ROLE regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-6', 'SELECT id FROM idem_test_closed.t');
RESET ROLE;
DROP SCHEMA idem_test_closed CASCADE;

-- Row security holds for the caller of each call.
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON account USING (owner = current_user);
GRANT ALL ON account TO regress_idem_ann, regress_idem_bob;
SET ROLE regress_idem_ann;
SELECT result, processed FROM idem_execute('execute-rights-10', 'UPDATE account SET balance = balance + 1 RETURNING id, balance');
SELECT result, processed FROM idem_execute('execute-rights-11', 'INSERT INTO account VALUES (3, ''regress_idem_bob'')');
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_idem_bob;
SELECT result, processed FROM idem_execute('execute-rights-12', 'UPDATE account SET balance = balance + 1 RETURNING id, balance');
RESET ROLE;
SELECT result, processed FROM idem_execute('execute-rights-13', 'UPDATE account SET balance = balance + 1 RETURNING id, balance');

-- What a command calls runs with its caller's rights, or with those that it was
-- given; never with those of idem's owner.
CREATE FUNCTION who() RETURNS name LANGUAGE sql AS 'SELECT current_user';
CREATE DOMAIN asked AS text CHECK (value = current_user);
SET ROLE regress_idem_ann;
SELECT result FROM idem_execute('execute-rights-20', 'SELECT who(), current_user AS "user", $1::asked', '["regress_idem_ann"]');
RESET ROLE;
CREATE FUNCTION as_owner(key text, command text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER
SET search_path = idem_test_execute_rights, public AS 'SELECT result FROM idem_execute(key, command)';
ALTER FUNCTION as_owner OWNER TO regress_idem_bob;
SET ROLE regress_idem_ann;
SELECT as_owner('execute-rights-21', 'SELECT current_user AS "user"');
SELECT current_user;
RESET ROLE;

-- A schema of look-alikes, first in search_path: the command is looked up
-- there, since that is what its caller asked for; nothing of idem's is.
CREATE SCHEMA idem_test_evil;
GRANT USAGE ON SCHEMA idem_test_evil TO PUBLIC;
CREATE TABLE idem_test_evil.account (evil int);
GRANT ALL ON idem_test_evil.account TO regress_idem_ann;
CREATE TABLE idem_test_evil.idem_key (scope text, key text);
CREATE DOMAIN idem_test_evil.jsonb AS pg_catalog.jsonb CHECK (false);
CREATE FUNCTION idem_test_evil.row_to_json(record) RETURNS json LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END';
CREATE FUNCTION idem_test_evil.jsonb_to_record(pg_catalog.jsonb) RETURNS record LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END';
SET ROLE regress_idem_ann;
SET search_path = idem_test_evil, pg_catalog, public;
SELECT * FROM public.idem_execute('execute-rights-30', 'SELECT $1::pg_catalog.jsonb AS doc, $2::int4[] AS list, $3::text AS t', '[{"a": 1}, [1, 2], "x"]');
SELECT * FROM public.idem_execute('execute-rights-30', 'SELECT $1::pg_catalog.jsonb AS doc, $2::int4[] AS list, $3::text AS t', '[{"a": 1}, [1, 2], "x"]');
SELECT * FROM public.idem_execute('execute-rights-31', 'INSERT INTO account VALUES ($1) RETURNING *', '[1]');
SET search_path = '';
SELECT * FROM public.idem_execute('execute-rights-32', 'INSERT INTO account VALUES ($1) RETURNING *', '[1]');
SELECT * FROM public.idem_execute('execute-rights-33', 'SELECT 1 AS one');
RESET ROLE;
RESET search_path;

DELETE FROM idem_key WHERE key LIKE 'execute-rights-%';
DROP SCHEMA idem_test_evil CASCADE;
DROP SCHEMA idem_test_execute_rights CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob;
