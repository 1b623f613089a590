-- Installing: into any schema, by anybody who may create in the database, and
-- again in one session.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS idem;
CREATE SCHEMA idem_test_install;
SET search_path = idem_test_install;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
CREATE TABLE t (id int PRIMARY KEY, v int);

-- Into a schema with a name that has to be quoted.
CREATE SCHEMA "Idem Test";
CREATE EXTENSION idem SCHEMA "Idem Test";
SELECT * FROM "Idem Test".idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT * FROM "Idem Test".idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT key, outcome FROM "Idem Test".idem_key;

-- The schema may be renamed, but the extension stays in it.
ALTER SCHEMA "Idem Test" RENAME TO idem_test_home;
SELECT outcome, replayed FROM idem_test_home.idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT outcome, replayed FROM idem_test_home.idem_upsert('install-2', 't', '{"id": 1, "v": 2}');
ALTER EXTENSION idem SET SCHEMA idem_test_install;

-- Nothing of it is anywhere else, and every name tells whose it is.
SELECT DISTINCT n.nspname
FROM pg_depend AS d
	 JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	 CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) AS o
	 JOIN pg_namespace AS n ON n.nspname = o.schema
WHERE e.extname = 'idem' AND d.deptype = 'e';
SELECT o.type, o.identity
FROM pg_depend AS d
	 JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	 CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) AS o
WHERE e.extname = 'idem' AND d.deptype = 'e'
	  AND o.identity !~ '^(\((pg_catalog\.\w+ AS )?)?idem_test_home\.(_?idem_|order_(status|transition))';

-- Every type, table, function and column has a comment.  Types that come with
-- others are members in their own right since PostgreSQL 17.
WITH member AS (
	SELECT d.classid, d.objid, 0 AS objsubid
	FROM pg_depend AS d
		 JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'idem' AND d.deptype = 'e'
		  AND NOT EXISTS (SELECT FROM pg_type AS t
						  WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
								AND (t.typrelid <> 0 OR t.typelem <> 0))
), described AS (
	SELECT * FROM member
	UNION ALL
	SELECT m.classid, m.objid, a.attnum
	FROM member AS m JOIN pg_attribute AS a ON a.attrelid = m.objid
	WHERE m.classid = 'pg_class'::regclass AND a.attnum > 0
		  -- those of a sequence cannot have one
		  AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = m.objid AND c.relkind <> 'S')
)
SELECT pg_describe_object(classid, objid, objsubid) AS uncommented
FROM described AS o
WHERE NOT EXISTS (SELECT FROM pg_description AS d
				  WHERE (d.classoid, d.objoid, d.objsubid) = (o.classid, o.objid, o.objsubid))
ORDER BY 1;

-- Functions that write say so, and those that take a key or a table complain of
-- a NULL, rather than quietly do nothing.  None lends its owner's rights.  (Of
-- the volatile ones, idem_new_key alone writes nothing.)
SELECT p.oid::regprocedure AS wrong
FROM pg_proc AS p
WHERE p.pronamespace = 'idem_test_home'::regnamespace
	  AND (p.provolatile = 'v' AND p.proparallel <> 'u' AND p.proname <> 'idem_new_key'
		   OR p.proisstrict AND p.proargnames && '{key,target,consumer}'
		   OR p.prosecdef)
ORDER BY 1;

-- Nothing is granted to anybody but everybody.
SELECT DISTINCT o.type, a.grantee::regrole, a.privilege_type
FROM pg_extension AS e
JOIN pg_depend AS d ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS o
CROSS JOIN (SELECT tableoid, oid, relowner, relacl FROM pg_class UNION ALL
	SELECT tableoid, oid, proowner, proacl FROM pg_proc UNION ALL
	SELECT tableoid, oid, typowner, typacl FROM pg_type) AS x (classid, objid, owner, acl)
CROSS JOIN aclexplode(x.acl) AS a
WHERE e.extname = 'idem' AND x.classid = d.classid AND x.objid = d.objid
	AND a.grantee <> x.owner AND NOT (a.grantee = 0 AND o.type IN ('function', 'type'));

-- What a dump keeps of it: its tables' rows.  No table is left out.
SELECT c.relname AS "table", c.oid = ANY (e.extconfig) AS dumped
FROM pg_extension AS e
JOIN pg_depend AS d ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE e.extname = 'idem' AND c.relkind IN ('r', 'S')
ORDER BY c.relname COLLATE "C";

-- A session goes on while the extension is updated by another: it is not
-- confused by columns that it does not know.
DO $$
BEGIN
	FOR n IN 1 .. 200 LOOP
		EXECUTE format('ALTER TABLE idem_test_home.idem_key ADD COLUMN later_%s text DEFAULT %L', n, repeat('x', 8));
	END LOOP;
END $$;
SELECT * FROM idem_test_home.idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT outcome, replayed FROM idem_test_home.idem_upsert('install-3', 't', '{"id": 1, "v": 2}');

-- Dropped and made anew in the session, in another schema: an empty house.
DROP EXTENSION idem;
SELECT idem_test_home.idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
CREATE EXTENSION idem SCHEMA idem_test_install;
SELECT outcome, replayed FROM idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT outcome, replayed FROM idem_upsert('install-1', 't', '{"id": 1, "v": 1}');
SELECT key FROM idem_key;

-- The same, rolled back half-way.
BEGIN;
SELECT outcome, replayed FROM idem_upsert('install-2', 't', '{"id": 1, "v": 3}');
SAVEPOINT s;
DROP EXTENSION idem;
CREATE EXTENSION idem SCHEMA idem_test_home;
SELECT outcome, replayed FROM idem_test_home.idem_upsert('install-2', 't', '{"id": 1, "v": 4}');
ROLLBACK TO s;
SELECT outcome, replayed FROM idem_upsert('install-2', 't', '{"id": 1, "v": 3}');
COMMIT;
SELECT key FROM idem_key ORDER BY key;
SELECT * FROM t;
DROP EXTENSION idem;

CREATE ROLE regress_idem_owner;
DO $$ BEGIN
	EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_idem_owner', current_database());
END $$;
CREATE ROLE regress_idem_other;

-- Installed by a role that is no superuser but may create in the database: it owns
-- the tables, as it would own its own.
SET ROLE regress_idem_other;
CREATE EXTENSION idem SCHEMA public;
SET ROLE regress_idem_owner;
CREATE SCHEMA idem_test_owned;
SET search_path = idem_test_owned;
CREATE EXTENSION idem SCHEMA idem_test_owned;
CREATE TABLE mine (id int PRIMARY KEY);
SELECT outcome, replayed FROM idem_upsert('install-1', 'mine', '{"id": 1}');
SELECT outcome, replayed FROM idem_upsert('install-1', 'mine', '{"id": 1}');
SELECT key, outcome, response, claimed_by FROM idem_key;
UPDATE idem_key SET outcome = 'failed';
ALTER FUNCTION idem_purge SECURITY DEFINER;
CREATE OR REPLACE FUNCTION idem_purge(max_rows bigint DEFAULT NULL) RETURNS bigint LANGUAGE sql AS 'SELECT 1';
DROP TABLE idem_key;
RESET ROLE;
SELECT pg_get_userbyid(extowner) AS extension FROM pg_extension WHERE extname = 'idem';
SET ROLE regress_idem_owner;
DROP EXTENSION idem;
RESET ROLE;
RESET search_path;

DROP SCHEMA idem_test_install, idem_test_home, idem_test_owned CASCADE;
DROP OWNED BY regress_idem_owner;
DROP ROLE regress_idem_owner, regress_idem_other;
