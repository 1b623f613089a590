-- What idem_update() refuses, and to whom.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_update_errors;
SET search_path = idem_test_update_errors, public;
\set SHOW_CONTEXT never

CREATE TABLE t (
	id int PRIMARY KEY,
	name text NOT NULL DEFAULT 'none',
	age int CHECK (age >= 0),
	email text UNIQUE,
	version int NOT NULL DEFAULT 1
);
INSERT INTO t VALUES (1, 'one', 1, 'one@example.com'), (2, 'two', 2, 'two@example.com');

-- What became of a call, under a key that stays free.
CREATE FUNCTION try(target text, id jsonb, patch text, expected bigint DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT outcome FROM idem_update(target::regclass, id, patch::jsonb, expected, 'update-errors'));
EXCEPTION WHEN OTHERS THEN
	-- the server's own words differ between versions
	RETURN concat_ws(' ', SQLSTATE, CASE WHEN SQLSTATE ~ '^(22004|22023|ID|42703|42804|42P10|0A000)' THEN SQLERRM END);
END $$;

-- Arguments.
SELECT idem_update(NULL, 1, '{"age": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_update('t', NULL::bigint, '{"age": 1}');
SELECT idem_update('t', NULL::text, '{"age": 1}');
SELECT idem_update('t', NULL::uuid, '{"age": 1}');
SELECT idem_update('t', '{"row_number": "ABCDEF01-2345-6789-ABCD-EF0123456789"}'::jsonb, '{"age": 1}', key => 'update-none');
SELECT idem_update('t', NULL::jsonb, '{"age": 1}');
SELECT idem_update('t', 1, NULL);
SELECT idem_update('t', 1, '{"age": 1}', key => '');
SELECT idem_update('t', 1, '{"age": 1}', key => 'update-errors', ttl => '-1 s');
SELECT idem_update('t', 1, '[1]');
\echo :LAST_ERROR_SQLSTATE
SELECT id, try('t', id, '{"age": 1}') FROM unnest('{"null","[1]","{}","{\"id\": 1, \"name\": \"one\"}","{\"no\": 1}","{\"name\": 1}","{\"id\": [1]}","\"x\"","1.5"}'::jsonb[]) AS id;

-- Fields.  What says which row is meant is not set.
SELECT idem_update('t', 1, '{"age": 1, "nmae": "x"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_update('t', 1, '{"id": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT patch, try('t', '1', patch) FROM unnest(ARRAY['{"ID": 1}', '{"ctid": "(0,1)"}', '{"": 1}', '{"name) --": 1}',
	'{"age": "x"}', '{"name": null}', '{"age": -1}', '{"email": "two@example.com"}', '[]', '1', 'null', '']) AS patch;

-- The row first, then its version.
SELECT try('t', '9', '{"age": 1}', 7), try('t', '1', '{"age": 5}', 7), try('t', '1', '{"age": 1}', 7);

-- What is not a table that has a row to update.
CREATE VIEW v AS SELECT * FROM t;
CREATE SEQUENCE s;
CREATE TABLE bare (id int, v int);
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, v int);
CREATE TABLE ruled (id int PRIMARY KEY, v int);
CREATE RULE other AS ON UPDATE TO ruled DO ALSO SELECT 1;
CREATE TABLE inserted (id int PRIMARY KEY, v int);
CREATE RULE other AS ON INSERT TO inserted DO ALSO SELECT 1;
CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY, v int);
INSERT INTO temporary VALUES (1);
SELECT target, try(target, '1', '{"v": 1}')
FROM unnest('{v,s,bare,late,ruled,inserted,temporary,t_pkey,pg_class,pg_catalog.pg_authid,nowhere,0,-}'::text[]) AS target;
SELECT idem_update('v', 1, '{"age": 1}');
SELECT idem_update('ruled', 1, '{"v": 1}');
SELECT idem_update('temporary', 1, '{"v": 1}', key => 'update-errors');
-- Without a key, a temporary table is as good as any.
SELECT outcome FROM idem_update('temporary', 1, '{"v": 1}');
DROP TABLE temporary;

BEGIN READ ONLY;
SELECT idem_update('t', 1, '{"age": 1}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- After all this the table is as it was, and the key is free.
SELECT * FROM t ORDER BY id;
SELECT count(*) FROM idem_key WHERE key = 'update-errors';

-- A key that was used for something else, or that holds what no update leaves.
\set VERBOSITY terse
SELECT outcome FROM idem_upsert('update-errors-1', 't', '{"id": 1, "age": 1}');
SELECT idem_update('t', 1, '{"age": 1}', key => 'update-errors-1');
SELECT outcome FROM idem_update('t', 1, '{"age": 1}', key => 'update-errors-2');
CREATE FUNCTION reread(response jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_key SET response = reread.response WHERE key = 'update-errors-2';
	RETURN (SELECT concat_ws(' ', u.outcome, u.result, u.version) FROM idem_update('t', 1, '{"age": 1}', key => 'update-errors-2') AS u);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT r, reread(r) FROM unnest('{NULL,"1","[]","{}","{\"result\": 1}","{\"result\": {}, \"version\": \"x\"}","{\"result\": {}, \"version\": 1e30}","{\"result\": [1], \"version\": 2}","{\"result\": 1, \"version\": null}"}'::jsonb[]) AS r;

--
-- Rights: those that the statement takes which a person would write.
--
CREATE ROLE regress_idem_patcher;
CREATE ROLE regress_idem_other;
GRANT USAGE ON SCHEMA idem_test_update_errors TO regress_idem_patcher, regress_idem_other;
CREATE TABLE note (id int PRIMARY KEY, owner name DEFAULT current_user, body text, secret text, version int NOT NULL DEFAULT 1);
INSERT INTO note VALUES (1, 'regress_idem_patcher', 'a', 's'), (2, 'regress_idem_other', 'b', 's');
SET ROLE regress_idem_patcher;
SELECT * FROM idem_update('note', 1, '{"body": "b"}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT (id, body), UPDATE (body) ON note TO regress_idem_patcher;
-- Raising the version is part of the statement, unless a trigger does it.
SET ROLE regress_idem_patcher;
SELECT * FROM idem_update('note', 1, '{"body": "b"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
CREATE TRIGGER raise BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION idem_version('version');
-- What may not be read is not told, and expected in vain.
SET ROLE regress_idem_patcher;
SELECT * FROM idem_update('note', 1, '{"body": "b"}');
SELECT * FROM idem_update('note', 1, '{"body": "b"}');
SELECT * FROM idem_update('note', 1, '{"body": "c"}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('note', 1, '{"secret": "c"}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT (version) ON note TO regress_idem_patcher;
SET ROLE regress_idem_patcher;
SELECT * FROM idem_update('note', 1, '{"body": "c"}', expected_version => 2, key => 'update-errors-3');
-- An answer is its role's.
SET ROLE regress_idem_other;
SELECT * FROM idem_update('note', 1, '{"body": "c"}', expected_version => 2, key => 'update-errors-3');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- Row security: a row that is hidden is not there, one that would be given away is
-- refused, and an UPDATE policy counts, also for a row that may be seen.
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
GRANT ALL ON note TO regress_idem_patcher, regress_idem_other;
SET ROLE regress_idem_patcher;
SELECT outcome, version FROM idem_update('note', 1, '{"body": "d"}', expected_version => 3);
SELECT outcome, version FROM idem_update('note', 2, '{"body": "d"}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, version FROM idem_update('note', 2, '{"body": "b"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, version FROM idem_update('note', 1, '{"owner": "regress_idem_other"}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP POLICY own ON note;
CREATE POLICY reading ON note FOR SELECT USING (true);
CREATE POLICY writing ON note FOR UPDATE USING (owner = current_user);
SET ROLE regress_idem_patcher;
SELECT outcome, version FROM idem_update('note', 2, '{"body": "d"}');
SELECT outcome, version FROM idem_update('note', 1, '{"body": "e"}');
RESET ROLE;
SELECT * FROM note ORDER BY id;

-- Nothing runs with other rights than the caller's, nor is taken for what it is
-- not: operators and functions that lie in wait.
CREATE TABLE seen (who name, what text);
GRANT INSERT ON seen TO PUBLIC;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_update_errors.seen VALUES (current_user, TG_WHEN);
	RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER after AFTER UPDATE ON note FOR EACH ROW EXECUTE FUNCTION see();
CREATE SCHEMA idem_test_trap;
GRANT USAGE ON SCHEMA idem_test_trap TO regress_idem_patcher;
CREATE FUNCTION idem_test_trap.trap(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION idem_test_trap.trap(int, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION idem_test_trap.to_jsonb(idem_test_update_errors.note) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE OPERATOR idem_test_trap.= (FUNCTION = idem_test_trap.trap, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR idem_test_trap.= (FUNCTION = idem_test_trap.trap, LEFTARG = int, RIGHTARG = bigint);
CREATE TYPE idem_test_trap.int8 AS (x int);
SET ROLE regress_idem_patcher;
SET search_path = idem_test_trap, idem_test_update_errors, public, pg_catalog;
SELECT outcome, version FROM idem_update('note', 1::bigint, '{"body": "f"}', expected_version => 5::bigint);
SELECT outcome, version FROM idem_update('note', 1::bigint, '{"body": "f"}', expected_version => 5::bigint);
RESET ROLE;
SET search_path = idem_test_update_errors, public;
SELECT * FROM seen;

DELETE FROM idem_key WHERE starts_with(key, 'update-errors');
DROP SCHEMA idem_test_trap, idem_test_update_errors CASCADE;
DROP ROLE regress_idem_patcher, regress_idem_other;
