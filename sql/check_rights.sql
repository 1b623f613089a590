-- Rights of idem_check(): the command is its caller's, and nothing is told of
-- rows that the caller may not read but how many differ.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_check_rights;
SET search_path = idem_test_check_rights, public;
\set SHOW_CONTEXT never
\pset null (null)
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
GRANT USAGE ON SCHEMA idem_test_check_rights TO regress_idem_ann, regress_idem_bob;
CREATE TABLE secret (id int PRIMARY KEY, owner name, n int);
INSERT INTO secret VALUES (1, 'regress_idem_ann', 10), (2, 'regress_idem_bob', 20);

-- Privileges are those of plain SQL.
SET ROLE regress_idem_ann;
SELECT idem_check('UPDATE secret SET n = 0');
SELECT first FROM idem_check('SELECT current_user AS "user"');
RESET ROLE;

-- What a function does with other rights is seen, but not shown.
CREATE FUNCTION count_up() RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = idem_test_check_rights AS 'UPDATE secret SET n = n + 1';
CREATE FUNCTION set_to(n int) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = idem_test_check_rights AS 'UPDATE secret SET n = set_to.n';
SET ROLE regress_idem_ann;
SELECT idempotent, differences, rewritten FROM idem_check('SELECT count_up()');
SELECT idempotent, differences, rewritten FROM idem_check('SELECT set_to(5)');
RESET ROLE;

-- Some of the columns are not enough, all of them are, if the schema is open.
GRANT SELECT (id, n) ON secret TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idempotent, differences FROM idem_check('SELECT count_up()');
RESET ROLE;
GRANT SELECT (owner) ON secret TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idempotent, jsonb_array_length(differences) AS rows, differences -> 0 AS first_row FROM idem_check('SELECT count_up()');
RESET ROLE;
REVOKE USAGE ON SCHEMA idem_test_check_rights FROM regress_idem_ann;
CREATE FUNCTION public.idem_test_count_up() RETURNS void LANGUAGE sql SECURITY DEFINER
AS 'UPDATE idem_test_check_rights.secret SET n = n + 1';
SET ROLE regress_idem_ann;
SELECT idempotent, differences FROM idem_check('SELECT public.idem_test_count_up()') AS c;
RESET ROLE;
DROP FUNCTION public.idem_test_count_up();
GRANT USAGE ON SCHEMA idem_test_check_rights TO regress_idem_ann;

-- A view shows what it shows, but here it is the table that counts.
REVOKE SELECT (id, owner, n) ON secret FROM regress_idem_ann;
CREATE VIEW window_on AS SELECT id, n FROM secret WHERE id = 1;
GRANT SELECT, UPDATE ON window_on TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idempotent, differences, second FROM idem_check('UPDATE window_on SET n = n + 1 RETURNING n');
RESET ROLE;

-- Nor is anything shown under row security, which the owner is not under.
GRANT ALL ON secret TO regress_idem_ann;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
SET ROLE regress_idem_ann;
SELECT idempotent, differences, second FROM idem_check('UPDATE secret SET n = n + 1 RETURNING n');
RESET ROLE;
SELECT idempotent, jsonb_array_length(differences) AS rows FROM idem_check('UPDATE secret SET n = n + 1 RETURNING n');

-- A partition is shown to a role that may read the partitioned table.
CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10);
INSERT INTO part VALUES (1);
GRANT SELECT, UPDATE ON part_1 TO regress_idem_ann;
GRANT SELECT, UPDATE ON part TO regress_idem_bob;
SET ROLE regress_idem_ann;
SELECT idempotent, differences FROM idem_check('UPDATE part_1 SET id = id + 1');
SET ROLE regress_idem_bob;
SELECT idempotent, differences FROM idem_check('UPDATE part SET id = id + 1');
RESET ROLE;

-- A table that takes the place of another is shown only if both may be read.
CREATE FUNCTION replace() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = idem_test_check_rights AS $$
DECLARE
	next int := (SELECT max(n) + 1 FROM replaced);
BEGIN
	DROP TABLE replaced;
	CREATE TABLE replaced AS SELECT next AS n;
	IF next > 2 THEN
		GRANT SELECT ON replaced TO PUBLIC;
	END IF;
END $$;
CREATE TABLE replaced AS SELECT 0 AS n;
SET ROLE regress_idem_ann;
SELECT idempotent, differences FROM idem_check('SELECT replace()');
RESET ROLE;
UPDATE replaced SET n = 1;
SET ROLE regress_idem_ann;
SELECT idempotent, differences FROM idem_check('SELECT replace()');
RESET ROLE;
UPDATE replaced SET n = 2;
SET ROLE regress_idem_ann;
SELECT idempotent, jsonb_array_length(differences) AS rows FROM idem_check('SELECT replace()');
RESET ROLE;

-- The keys are idem's: that they changed is told, not what they are.
CREATE TABLE own (id int PRIMARY KEY);
GRANT ALL ON own TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT d - 'table' AS difference FROM idem_check('SELECT fence FROM idem_claim(idem_new_key())'),
	jsonb_array_elements(differences) AS d;
SELECT d - 'table' AS difference FROM idem_check('SELECT idem_upsert(''check-rights'', ''own'', ''{"id": 1}'')'),
	jsonb_array_elements(differences) AS d;
RESET ROLE;

-- A schema of look-alikes, first in search_path: the command is looked up there,
-- since that is what its caller asked for; nothing of idem's is.
CREATE SCHEMA idem_test_check_evil;
GRANT USAGE ON SCHEMA idem_test_check_evil TO PUBLIC;
CREATE TABLE idem_test_check_evil.pg_constraint (condeferrable bool, condeferred bool, connamespace oid, conname name);
CREATE TABLE idem_test_check_evil.pg_namespace (oid oid, nspname name);
CREATE FUNCTION idem_test_check_evil.evil(oid, oid) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END';
CREATE OPERATOR idem_test_check_evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = idem_test_check_evil.evil);
CREATE FUNCTION idem_test_check_evil.row_to_json(record) RETURNS json LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END';
CREATE FUNCTION idem_test_check_evil.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END';
CREATE TABLE idem_test_check_evil.own (evil int);
GRANT ALL ON idem_test_check_evil.own TO regress_idem_ann;
SET ROLE regress_idem_ann;
SET search_path = idem_test_check_evil, pg_catalog, public;
SELECT idempotent, differences FROM public.idem_check('INSERT INTO own VALUES (1)');
SET search_path = '';
SELECT idempotent, differences FROM public.idem_check('INSERT INTO idem_test_check_evil.own VALUES (1)');
RESET ROLE;
RESET search_path;

DROP SCHEMA idem_test_check_evil, idem_test_check_rights CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob;
