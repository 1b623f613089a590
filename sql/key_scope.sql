-- A scope that a role has defined is for its members only: others may use no keys
-- there, and learn of none.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_admin;
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_staff IN ROLE regress_idem_ann;
GRANT regress_idem_ann TO regress_idem_admin;
CREATE TEMP TABLE t (id int);	-- so that there is a temporary schema

-- What became of a call: its result, or the SQLSTATE of its error.
CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TEMP VIEW calls AS SELECT call FROM unnest(ARRAY[
	$$outcome FROM idem_execute('1', 'SELECT 1', scope => 'scope a')$$,
	$$outcome FROM idem_claim('2', lease => '1 hour', scope => 'scope a')$$,
	$$idem_extend('2', 1, '2 hours', 'scope a') > now()$$,
	$$idem_checkpoint('2', 1, 'half', scope => 'scope a')$$,
	$$outcome FROM idem_lookup('2', 'scope a')$$,
	$$outcome FROM idem_lookup('unused', 'scope a')$$,
	$$idem_complete('2', '1', 1, 'scope a')$$,
	$$idem_fail('2', '1', 1, 'scope a')$$,
	$$idem_release('2', 1, 'scope a')$$,
	$$idem_complete('unused', '1', 1, 'scope a')$$]) AS call;
GRANT SELECT ON calls TO PUBLIC;

-- Not everybody may define scopes.
SET ROLE regress_idem_ann;
SELECT idem_scope_define('scope a');
SELECT idem_scope_drop('scope a');
RESET ROLE;
GRANT INSERT (scope) ON idem_scope TO regress_idem_ann, regress_idem_bob;

-- Who may, and has, keeps others out, a superuser not.
SET ROLE regress_idem_ann;
SELECT idem_scope_define('scope a'), idem_scope_define('scope a');
SELECT call, pg_temp.try(call) FROM calls;
SET ROLE regress_idem_bob;
SELECT call, pg_temp.try(call) FROM calls;
SELECT outcome FROM idem_lookup('2', 'scope a');
SELECT outcome FROM idem_claim('squat', scope => 'scope a', lease => '1 hour', ttl => '1000 years');
SELECT outcome FROM idem_claim('mine', scope => 'scope b', lease => '1 hour');
SET idem.scope = 'scope a';
SELECT pg_temp.try($$outcome FROM idem_lookup('2')$$);
RESET idem.scope;
SET ROLE regress_idem_staff;
SELECT outcome FROM idem_lookup('2', 'scope a');
RESET ROLE;
SELECT outcome FROM idem_lookup('2', 'scope a');

-- Nor may others define it, or take the definition back.
SET ROLE regress_idem_bob;
SELECT pg_temp.try($$idem_scope_define('scope a')$$), pg_temp.try($$idem_scope_drop('scope a')$$);
SELECT * FROM idem_scope;
INSERT INTO idem_scope (scope) VALUES ('scope x');
DELETE FROM idem_scope;
SET ROLE regress_idem_ann;
SELECT idem_scope_drop('scope a'), idem_scope_drop('scope a');
SET ROLE regress_idem_bob;
-- the keys that are there stay their owners'
SELECT outcome FROM idem_lookup('2', 'scope a');
SELECT outcome FROM idem_claim('3', lease => '1 hour', scope => 'scope a');
RESET ROLE;

-- It counts at once, also in the transaction that does it, and not when that is
-- rolled back.
BEGIN;
SET LOCAL ROLE regress_idem_ann;
SELECT outcome FROM idem_lookup('x', 'scope c');
SELECT idem_scope_define('scope c');
SET LOCAL ROLE regress_idem_bob;
SELECT pg_temp.try($$outcome FROM idem_lookup('x', 'scope c')$$);
ROLLBACK;
SET ROLE regress_idem_bob;
SELECT pg_temp.try($$outcome FROM idem_lookup('x', 'scope c')$$);
RESET ROLE;

-- The empty scope is one, too; what is no scope is none.
BEGIN;
SET LOCAL ROLE regress_idem_ann;
SELECT idem_scope_define('');
SET LOCAL ROLE regress_idem_bob;
SELECT pg_temp.try($$outcome FROM idem_lookup('x')$$);
ROLLBACK;
SELECT pg_temp.try($$idem_scope_define(NULL)$$), pg_temp.try($$idem_scope_drop(NULL)$$),
	pg_temp.try($$idem_scope_define(repeat('s', 256))$$), pg_temp.try($$idem_scope_drop(repeat('s', 255))$$);
SET ROLE regress_idem_ann;
SELECT idem_scope_define(repeat('s', 255));
SET ROLE regress_idem_bob;
SELECT pg_temp.try($$outcome FROM idem_lookup('x', repeat('s', 255))$$),
	pg_temp.try($$outcome FROM idem_lookup('x', repeat('s', 254))$$);
RESET ROLE;
SELECT idem_scope_drop(repeat('s', 255));

-- A scope follows a role that is renamed; that of one that is gone is a superuser's.
SET ROLE regress_idem_ann;
SELECT idem_scope_define('scope a');
RESET ROLE;
ALTER ROLE regress_idem_ann RENAME TO regress_idem_anna;
SELECT * FROM idem_scope;
SET ROLE regress_idem_anna;
SELECT outcome FROM idem_lookup('2', 'scope a');
RESET ROLE;
REVOKE INSERT (scope) ON idem_scope FROM regress_idem_anna, regress_idem_bob;
DROP ROLE regress_idem_anna;
SELECT scope, owner::oid <> 0 AS somebody, owner FROM idem_scope;
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_lookup('2', 'scope a');
RESET ROLE;
SELECT outcome FROM idem_lookup('2', 'scope a');
SELECT idem_scope_drop('scope a');

-- A trigger that keeps a definition from being written
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
BEGIN;
SELECT idem_scope_define('scope d');
CREATE TRIGGER nothing BEFORE INSERT OR DELETE ON idem_scope FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT pg_temp.try($$idem_scope_define('scope e')$$), pg_temp.try($$idem_scope_drop('scope d')$$);
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_scope_define('scope f');
ROLLBACK;

DELETE FROM idem_key WHERE starts_with(scope, 'scope ');
DROP ROLE regress_idem_admin, regress_idem_bob, regress_idem_staff;
