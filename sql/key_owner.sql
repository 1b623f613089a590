-- Whose a key is: the role's that made the call when it began, under whatever name.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_key_owner;
GRANT USAGE ON SCHEMA idem_test_key_owner TO PUBLIC;
SET search_path = idem_test_key_owner, public;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
GRANT regress_idem_bob TO regress_idem_ann;

-- Work that sets the role changes nothing about that, nor does work that another
-- role's function does.
CREATE FUNCTION become(role text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''role'', role, false)';
SET ROLE regress_idem_ann;
SELECT outcome, result FROM idem_execute('owner-1', 'SELECT become(''regress_idem_bob'')');
SELECT current_user;
RESET ROLE;
SELECT claimed_by FROM idem_key WHERE key = 'owner-1';
SET ROLE regress_idem_bob;
SELECT outcome, result FROM idem_execute('owner-1', 'SELECT become(''regress_idem_bob'')');
SELECT outcome FROM idem_lookup('owner-1');
SET ROLE regress_idem_ann;
SELECT outcome, result FROM idem_execute('owner-1', 'SELECT become(''regress_idem_bob'')');
SELECT current_user;

-- A role that is renamed keeps its keys.
SELECT outcome FROM idem_claim('owner-2', lease => '1 hour');
RESET ROLE;
ALTER ROLE regress_idem_ann RENAME TO regress_idem_anna;
SELECT key, claimed_by FROM idem_key WHERE starts_with(key, 'owner-') ORDER BY key;
SET ROLE regress_idem_anna;
SELECT outcome FROM idem_lookup('owner-2');
SELECT idem_complete('owner-2', '"done"', 1);
RESET ROLE;

-- A new role of the old name inherits nothing.
CREATE ROLE regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_lookup('owner-2');
SELECT outcome FROM idem_execute('owner-1', 'SELECT become(''regress_idem_bob'')');
RESET ROLE;

-- One that is dropped leaves them to nobody, and no role that comes after it
-- gets them: they are for superusers.
DROP ROLE regress_idem_anna;
CREATE ROLE regress_idem_anna;
SELECT key, claimed_by, claimed_by = 'regress_idem_anna' AS inherited
FROM (SELECT key, claimed_by::text FROM idem_key WHERE starts_with(key, 'owner-')) AS k ORDER BY key;
SET ROLE regress_idem_anna;
SELECT outcome FROM idem_lookup('owner-2');
RESET ROLE;
SELECT outcome, response FROM idem_lookup('owner-2');
-- What tells of another request then names nobody.
\set VERBOSITY terse
DO $$
DECLARE detail text;
BEGIN
	PERFORM idem_execute('owner-2', 'SELECT 1');
EXCEPTION WHEN SQLSTATE 'ID001' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE WARNING '%', regexp_replace(detail, 'at \d{4}-.* by', 'at TIME by');
END $$;

DELETE FROM idem_key WHERE starts_with(key, 'owner-');
DROP SCHEMA idem_test_key_owner CASCADE;
DROP ROLE regress_idem_ann, regress_idem_anna, regress_idem_bob;
