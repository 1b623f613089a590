-- Who may define state machines, whose code runs with whose rights, and who is
-- told what of tables that are not theirs
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_machine_rights;
SET search_path = test_machine_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_heir INHERIT IN ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_eve;
GRANT USAGE, CREATE ON SCHEMA test_machine_rights TO regress_idem_ann, regress_idem_bob, regress_idem_eve;

--
-- Defining
--

-- Not everybody may, since a machine is everybody's: only who may insert its name
-- into the table.  That lets nobody write there but by the function.
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT idem_machine_drop('test mine');
RESET ROLE;
-- a superuser may also grant the function itself
GRANT EXECUTE ON FUNCTION idem_machine_define TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT idem_machine_drop('test mine');
SET ROLE regress_idem_bob;
SELECT idem_machine_define('test bobs', 'a', '{"a": ["b"]}');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION idem_machine_define FROM regress_idem_ann;
SELECT idem_machine_drop('test mine');
GRANT INSERT (name) ON idem_machine TO regress_idem_ann, regress_idem_bob;
SET ROLE regress_idem_ann;
INSERT INTO idem_machine (name) VALUES ('test mine');
INSERT INTO idem_machine (name, initial) VALUES ('test mine', 'a');
INSERT INTO idem_machine_edge VALUES ('order', 'PENDING', 'DELIVERED');
RESET ROLE;

-- The role that defines one owns it, and so do the members of that role.
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SET ROLE regress_idem_bob;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c"]}', force => true);
SELECT idem_machine_drop('test mine');
\set VERBOSITY terse
SELECT idem_machine_define('order', 'PENDING', '{"PENDING": ["DELIVERED"]}');
\set VERBOSITY default
SELECT idem_machine_graph('test mine');
SET ROLE regress_idem_heir;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c"]}');
RESET ROLE;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c"], "c": ["a"]}');
SELECT owner FROM idem_machine WHERE name = 'test mine';

-- In a SECURITY DEFINER function that is its owner.
CREATE FUNCTION define(name text) RETURNS boolean LANGUAGE sql SECURITY DEFINER
	SET search_path = public AS $$SELECT idem_machine_define(name, 'a', '{"a": ["b"]}')$$;
ALTER FUNCTION define OWNER TO regress_idem_bob;
GRANT EXECUTE ON FUNCTION define TO regress_idem_eve;
SET ROLE regress_idem_eve;
SELECT define('test bob''s');
SELECT define('test mine');
RESET ROLE;
SELECT owner FROM idem_machine WHERE name = 'test bob''s';
SELECT idem_machine_drop('test bob''s');

-- It stays with a role that is renamed, and goes to none that takes its old name.
ALTER ROLE regress_idem_ann RENAME TO regress_idem_anne;
CREATE ROLE regress_idem_ann;
SELECT owner FROM idem_machine WHERE name = 'test mine';
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
RESET ROLE;
GRANT INSERT (name) ON idem_machine TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SET ROLE regress_idem_anne;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c"], "c": ["a"]}');
RESET ROLE;
REVOKE INSERT (name) ON idem_machine FROM regress_idem_ann;
DROP ROLE regress_idem_ann;
ALTER ROLE regress_idem_anne RENAME TO regress_idem_ann;

-- That of a role that is gone is for superusers, and stays so.
CREATE ROLE regress_idem_gone;
UPDATE idem_machine SET owner = 'regress_idem_gone' WHERE name = 'test mine';
DROP ROLE regress_idem_gone;
SELECT owner::text = '' AS nobodys FROM idem_machine WHERE name = 'test mine';
CREATE ROLE regress_idem_gone;
GRANT INSERT (name) ON idem_machine TO regress_idem_gone;
SET ROLE regress_idem_gone;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT idem_machine_drop('test mine');
RESET ROLE;
REVOKE INSERT (name) ON idem_machine FROM regress_idem_gone;
DROP ROLE regress_idem_gone;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
RESET ROLE;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c"]}');
UPDATE idem_machine SET owner = 'regress_idem_ann' WHERE name = 'test mine';

--
-- Tables that follow a machine of another's
--

-- All rows count, also those that row security hides even from the table's
-- owner; but only who may read them is told of them.
SET ROLE regress_idem_bob;
CREATE TABLE secret (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
INSERT INTO secret VALUES (1, 'b'), (2, 'b'), (3, 'c');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
SELECT idem_attach('secret', 'test mine');
SELECT count(*) FROM secret;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": []}');
RESET ROLE;
GRANT SELECT (status) ON secret TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": []}');
RESET ROLE;
ALTER TABLE secret DISABLE ROW LEVEL SECURITY;
SET ROLE regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": []}');
RESET ROLE;
REVOKE SELECT (status) ON secret FROM regress_idem_ann;
SELECT idem_machine_define('test mine', 'a', '{"a": []}');
SELECT session_user = current_user AS myself, current_setting('search_path');

-- A table with hidden rows in unknown states cannot follow a machine either.
SET ROLE regress_idem_bob;
SELECT idem_detach('secret');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
INSERT INTO secret VALUES (4, 'd');
ALTER TABLE secret DISABLE ROW LEVEL SECURITY;
INSERT INTO secret VALUES (4, 'd');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
SELECT idem_attach('secret', 'test mine');
DROP TABLE secret;

-- A trap: what the owner of a table has put into its type runs as that owner,
-- never as the role that changes the machine.
SET ROLE regress_idem_eve;
CREATE FUNCTION trap(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'constraint runs as %, in %', current_user, current_setting('search_path');
	RETURN $1 <> 'e';
END $$;
CREATE DOMAIN word AS text CHECK (test_machine_rights.trap(VALUE));
CREATE TABLE trap (id int PRIMARY KEY, status word, version int NOT NULL DEFAULT 1);
SELECT idem_attach('trap', 'test mine');
INSERT INTO trap VALUES (1, 'a');
UPDATE trap SET status = 'c';
RESET ROLE;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c", "d", "e"]}');
SELECT idem_machine_define('test mine', 'a', '{"a": ["b"]}');
SELECT current_user = session_user AS myself, current_setting('search_path');

-- Nor as a role that attaches the table, or looks at where a row may go: also not
-- what is in the type of the primary key or the version.
SELECT idem_detach('trap');
SELECT idem_attach('trap', 'test mine');
SET ROLE regress_idem_eve;
CREATE FUNCTION trap(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'constraint for % runs as %, in %', $1, current_user, current_setting('search_path');
	RETURN true;
END $$;
CREATE DOMAIN number AS int CHECK (test_machine_rights.trap(VALUE));
CREATE TABLE pit (id number PRIMARY KEY, status word, version number NOT NULL DEFAULT 1);
INSERT INTO pit VALUES (1, 'a');
CREATE FUNCTION passes(pit, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'guard runs as %, in %', current_user, current_setting('search_path');
	RETURN true;
END $$;
RESET ROLE;
SELECT idem_machine_define('test guarded', 'a', '{"a": [{"to": "b", "guard": "passes"}]}');
SELECT idem_attach('pit', 'test guarded');
SELECT idem_allowed('pit', 1);
SELECT current_user = session_user AS myself, current_setting('search_path');
-- The owner looks as himself.
SET ROLE regress_idem_eve;
SELECT idem_allowed('pit', 1);
RESET ROLE;
DROP TABLE pit CASCADE;
SELECT idem_machine_drop('test guarded');

-- It cannot do there what needs more than that either.
CREATE OR REPLACE FUNCTION trap(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	SET SESSION AUTHORIZATION DEFAULT;
	RETURN true;
END $$;
SELECT idem_machine_define('test mine', 'a', '{"a": ["b", "c", "d", "e"]}');
SELECT current_user = session_user AS myself, current_setting('search_path');
DROP TABLE trap;

--
-- Guards: with the rights of the role that changes the row
--

SET ROLE regress_idem_ann;
CREATE TABLE refund (id int PRIMARY KEY, status text NOT NULL DEFAULT 'a',
	version int NOT NULL DEFAULT 1, clerk name);
RESET ROLE;
CREATE SCHEMA test_machine_guards AUTHORIZATION regress_idem_ann;
SET ROLE regress_idem_ann;
CREATE FUNCTION test_machine_guards.allowed(refund, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'guard runs as %, in %', current_user, current_setting('search_path');
	RETURN true;
END $$;
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, "c"], "b": ["a"]}');
SELECT idem_attach('refund', 'test mine');
INSERT INTO refund VALUES (1), (2);
GRANT SELECT (id, status, version), UPDATE ON refund TO regress_idem_bob;
SET ROLE regress_idem_bob;
SET search_path = public;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
UPDATE test_machine_rights.refund SET status = 'c' WHERE id = 2;
RESET ROLE;
GRANT USAGE ON SCHEMA test_machine_guards TO regress_idem_bob;
SET ROLE regress_idem_bob;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
SET ROLE regress_idem_ann;
REVOKE EXECUTE ON FUNCTION test_machine_guards.allowed FROM PUBLIC;
UPDATE test_machine_rights.refund SET status = 'a' WHERE id = 1;
SET ROLE regress_idem_bob;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
RESET ROLE;
GRANT EXECUTE ON FUNCTION test_machine_guards.allowed TO regress_idem_bob;
ALTER FUNCTION test_machine_guards.allowed SECURITY DEFINER SET search_path = pg_catalog;
SET ROLE regress_idem_bob;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
SELECT current_user, current_setting('search_path');

-- A role that only looks writes nothing: then it runs as the owner of the table.
SET ROLE regress_idem_ann;
ALTER FUNCTION test_machine_guards.allowed SECURITY INVOKER RESET search_path;
UPDATE test_machine_rights.refund SET status = 'a' WHERE id = 1;
GRANT SELECT ON test_machine_rights.refund TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_allowed('test_machine_rights.refund', 1);
SELECT current_user, current_setting('search_path');
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
SET ROLE regress_idem_ann;
REVOKE SELECT ON test_machine_rights.refund FROM regress_idem_bob;
GRANT SELECT (id, status, version) ON test_machine_rights.refund TO regress_idem_bob;

-- So with idem_allowed: what is not guarded takes the columns of the key and the
-- state, what is guarded the whole row.
SET ROLE regress_idem_ann;
UPDATE test_machine_rights.refund SET status = 'a' WHERE id = 1;
SET ROLE regress_idem_bob;
SELECT idem_allowed('test_machine_rights.refund', 2);
SELECT idem_allowed('test_machine_rights.refund', 1);
RESET ROLE;
GRANT SELECT ON test_machine_rights.refund TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_allowed('test_machine_rights.refund', 1);
RESET ROLE;
ALTER TABLE test_machine_rights.refund ENABLE ROW LEVEL SECURITY;
SET ROLE regress_idem_bob;
SELECT idem_allowed('test_machine_rights.refund', 1);
SET ROLE regress_idem_eve;
SELECT idem_allowed('test_machine_rights.refund', 1);
RESET ROLE;
ALTER TABLE test_machine_rights.refund DISABLE ROW LEVEL SECURITY;

-- One whose owner could not have put a trigger on the table runs with no rights but
-- those of its owner, whichever role moves the row: with a guard of its own a role
-- gains nothing that defines a machine that others follow, or gets at idem's table.
RESET ROLE;
ALTER FUNCTION test_machine_guards.allowed RESET search_path;
GRANT INSERT, UPDATE, DELETE ON idem_machine_edge TO regress_idem_eve;
SET ROLE regress_idem_eve;
SET search_path = test_machine_rights, public;
CREATE TABLE seen (role name, path text, note jsonb);
CREATE FUNCTION forged(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test_machine_rights.seen VALUES (current_user, current_setting('search_path'), $2);
	RETURN true;
END $$;
UPDATE idem_machine_edge SET guard = 'test_machine_rights.forged(anyelement, jsonb)'
WHERE machine = 'test mine' AND guard IS NOT NULL;
RESET ROLE;
UPDATE refund SET status = 'a' WHERE id = 1;
-- It takes the owner of the table to have the rights of the guard's owner, lest the
-- guard run code of the table with those.
UPDATE refund SET status = 'b' WHERE id = 1;
SELECT idem_allowed('refund', 1);
GRANT regress_idem_eve TO regress_idem_ann;
UPDATE refund SET status = 'b' WHERE id = 1;
SELECT outcome FROM idem_transition('refund', 1, 'a');
SELECT outcome FROM idem_transition('refund', 1, 'b', note => '{"by": "me"}');
UPDATE refund SET status = 'a' WHERE id = 1;
SELECT idem_allowed('refund', 1);
SELECT idem_machine_graph('test mine');
SELECT * FROM seen;
SELECT current_user = session_user AS myself, current_setting('search_path');
-- It can no more leave that than the trap above.  The immutable part of it, too,
-- which runs when its call is made ready.
SET ROLE regress_idem_eve;
CREATE FUNCTION folded() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE NOTICE 'planned as %', current_user;
	RETURN true;
END $$;
CREATE OR REPLACE FUNCTION forged(anyelement, jsonb) RETURNS boolean LANGUAGE sql
AS 'SELECT test_machine_rights.folded()';
RESET ROLE;
UPDATE refund SET status = 'b' WHERE id = 1;
UPDATE refund SET status = 'a' WHERE id = 1;
SET ROLE regress_idem_eve;
CREATE OR REPLACE FUNCTION forged(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	SET ROLE NONE;
	RETURN true;
END $$;
RESET ROLE;
UPDATE refund SET status = 'b' WHERE id = 1;
SET ROLE regress_idem_eve;
CREATE OR REPLACE FUNCTION forged(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE later (id int);
	RETURN true;
END $$;
RESET ROLE;
UPDATE refund SET status = 'b' WHERE id = 1;
REVOKE regress_idem_eve FROM regress_idem_ann;

-- A trap: a guard that looks at a row runs the casts of the types of its columns.
-- Ann's guard does not do so for eve's table with ann's rights, nor with those of
-- the role that writes there.
SET ROLE regress_idem_ann;
CREATE FUNCTION test_machine_guards.small(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'guard runs as %', current_user;
	RETURN to_jsonb($1) ->> 'amount' = 'small';
END $$;
SELECT idem_machine_define('test anns', 'a', '{"a": [{"to": "b", "guard": "test_machine_guards.small"}], "b": ["a"]}');
GRANT USAGE ON SCHEMA test_machine_guards TO regress_idem_eve;
SET ROLE regress_idem_eve;
CREATE TYPE amount AS ENUM ('small', 'large');
CREATE FUNCTION sprung(amount) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'cast runs as %', current_user;
	RETURN '"small"';
END $$;
CREATE CAST (amount AS json) WITH FUNCTION sprung(amount);
CREATE TABLE lure (id int PRIMARY KEY, status text DEFAULT 'a', version int NOT NULL DEFAULT 1, amount amount);
SELECT idem_attach('lure', 'test anns');
INSERT INTO lure VALUES (1, 'a', 1, 'large');
SELECT idem_allowed('lure', 1);
UPDATE lure SET status = 'b';
GRANT ALL ON lure TO regress_idem_ann, regress_idem_bob;
SET ROLE regress_idem_bob;
UPDATE lure SET status = 'b';
-- Who looks at eve's table is not who writes to it, though it be the guard's owner.
SET ROLE regress_idem_ann;
SELECT idem_allowed('lure', 1);
-- Who writes to it runs what eve has attached to it in any case.
UPDATE lure SET status = 'b';
UPDATE lure SET status = 'a';
-- A guard that is SECURITY DEFINER is for strangers; what is not its own is theirs.
CREATE FUNCTION test_machine_guards.lent(record, jsonb) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RAISE NOTICE 'guard runs as %', current_user;
	RETURN $1.id = 1;
END $$;
SELECT idem_machine_define('test anns', 'a', '{"a": [{"to": "b", "guard": "test_machine_guards.lent"}], "b": ["a"]}');
SET ROLE regress_idem_eve;
SELECT idem_allowed('lure', 1);
UPDATE lure SET status = 'b';
RESET ROLE;
DROP TABLE lure;
-- Of a partition it takes the owner, and that of the partitioned table.
CREATE TABLE split (id int PRIMARY KEY, status text DEFAULT 'a', version int NOT NULL DEFAULT 1) PARTITION BY LIST (id);
CREATE TABLE split_1 PARTITION OF split DEFAULT;
ALTER TABLE split OWNER TO regress_idem_eve;
ALTER TABLE split_1 OWNER TO regress_idem_ann;
SELECT idem_machine_define('test anns', 'a', '{"a": [{"to": "b", "guard": "test_machine_guards.small"}], "b": ["a"]}');
GRANT CREATE ON SCHEMA test_machine_guards TO regress_idem_bob;
ALTER FUNCTION test_machine_guards.small OWNER TO regress_idem_bob;
GRANT regress_idem_bob TO regress_idem_ann;
SELECT idem_attach('split', 'test anns');
INSERT INTO split VALUES (1);
UPDATE split SET status = 'b';
UPDATE split_1 SET status = 'b';
REVOKE regress_idem_bob FROM regress_idem_ann;
REVOKE CREATE ON SCHEMA test_machine_guards FROM regress_idem_bob;
DROP TABLE split;
SELECT idem_machine_drop('test anns');

-- Where eve may write triggers, her guard is as good as one.
GRANT regress_idem_ann TO regress_idem_eve;
SET ROLE regress_idem_eve;
CREATE OR REPLACE FUNCTION forged(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'guard runs as %, in %', current_user, current_setting('search_path');
	RETURN true;
END $$;
SET ROLE regress_idem_bob;
SET search_path = public;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
RESET ROLE;
SET search_path = test_machine_rights, public;
REVOKE regress_idem_ann FROM regress_idem_eve;
REVOKE ALL ON idem_machine_edge FROM regress_idem_eve;
UPDATE idem_machine_edge SET guard = 'test_machine_guards.allowed(test_machine_rights.refund, jsonb)'
WHERE machine = 'test mine' AND guard IS NOT NULL;
UPDATE refund SET status = 'a' WHERE id = 1;

-- One that a superuser wrote is anybody's: it runs as who writes, and never with
-- a superuser's rights for somebody else's table.
CREATE FUNCTION test_machine_guards.general(anyelement, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'guard runs as %', current_user;
	RETURN true;
END $$;
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.general"}, "c"], "b": ["a"]}');
SET ROLE regress_idem_bob;
UPDATE test_machine_rights.refund SET status = 'b' WHERE id = 1;
RESET ROLE;
UPDATE refund SET status = 'a' WHERE id = 1;
SELECT idem_allowed('refund', 1);

-- It is asked as the role that the row is changed by, though another changed the
-- one before by the same statement.
CREATE FUNCTION change_hands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', new.clerk, true);
	RETURN new;
END $$;
CREATE TRIGGER change_hands BEFORE UPDATE ON refund FOR EACH ROW EXECUTE FUNCTION change_hands();
BEGIN;
INSERT INTO refund (id, clerk) VALUES (31, 'regress_idem_ann'), (32, 'regress_idem_ann'), (33, 'regress_idem_bob');
UPDATE refund SET status = 'b' WHERE id > 30;
ROLLBACK;
DROP TRIGGER change_hands ON refund;
DROP FUNCTION change_hands;

-- A trigger that cannot work has no say in what becomes of a machine.
SET ROLE regress_idem_eve;
CREATE TABLE broken (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1, number int);
CREATE TRIGGER wrong_1 BEFORE UPDATE ON broken FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test mine');
CREATE TRIGGER wrong_2 BEFORE UPDATE ON broken FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test mine', 'nothing', 'version');
CREATE TRIGGER wrong_3 BEFORE UPDATE ON broken FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test mine', 'status', 'status');
CREATE TRIGGER wrong_4 BEFORE UPDATE ON broken FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test mine', 'number', 'version');
RESET ROLE;
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.general"}, "c", "e"], "b": ["a"]}');
SELECT idem_machine_define('test lone', 'a', '{"a": ["b"]}');
SET ROLE regress_idem_eve;
CREATE TRIGGER wrong_5 BEFORE UPDATE ON broken FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test lone');
RESET ROLE;
SELECT idem_machine_drop('test lone');
DROP TABLE broken;
-- Nor has one with rows that no guard of the machine takes, unless the guard is new.
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, "c", "e"], "b": ["a"]}');
SET ROLE regress_idem_eve;
CREATE TABLE foreigner (id int PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
CREATE TRIGGER follow BEFORE UPDATE ON foreigner FOR EACH ROW EXECUTE FUNCTION public.idem_lifecycle('test mine', 'status', 'version');
RESET ROLE;
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, "c", "d"], "b": ["a"]}');
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, {"to": "c", "guard": "test_machine_guards.allowed"}, "d"], "b": ["a"]}');
DROP TABLE foreigner;
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, "c"], "b": ["a"]}');

-- Names that come first in the caller's search_path change nothing.
CREATE SCHEMA test_machine_evil;
SET search_path = test_machine_evil;
CREATE FUNCTION evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END$$;
CREATE OPERATOR = (FUNCTION = evil, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION format(text, text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END$$;
CREATE FUNCTION unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END$$;
CREATE TABLE idem_machine (name text, initial text);
CREATE DOMAIN boolean AS text;
GRANT USAGE ON SCHEMA test_machine_evil TO PUBLIC;
SET search_path = test_machine_evil, test_machine_rights, public, pg_catalog;
SELECT idem_machine_define('test mine', 'a', '{"a": ["c"]}');
SELECT idem_machine_define('test mine', 'a',
	'{"a": [{"to": "b", "guard": "test_machine_guards.allowed"}, "c", "d"], "b": ["a"]}');
SELECT idem_allowed('refund', 1);
RESET search_path;

SET client_min_messages = warning;
DROP SCHEMA test_machine_rights, test_machine_evil, test_machine_guards CASCADE;
SELECT idem_machine_drop('test mine');
REVOKE INSERT (name) ON idem_machine FROM regress_idem_ann, regress_idem_bob;
DROP ROLE regress_idem_heir, regress_idem_ann, regress_idem_bob, regress_idem_eve;
