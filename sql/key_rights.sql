-- Rights: a caller gets what the statement a person would write gives that
-- caller, and no answer to anybody else's key.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_rights;
SET search_path = idem_test_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_staff;
CREATE ROLE regress_idem_heir INHERIT IN ROLE regress_idem_ann;
CREATE ROLE regress_idem_member NOINHERIT IN ROLE regress_idem_ann;
GRANT USAGE, CREATE ON SCHEMA idem_test_rights TO regress_idem_ann;
GRANT USAGE ON SCHEMA idem_test_rights TO regress_idem_bob, regress_idem_staff,
	regress_idem_member;

-- Anybody may call; nobody may touch the keys themselves.
SELECT has_function_privilege('regress_idem_ann', p.oid, 'EXECUTE') AS may_call,
	   has_table_privilege('regress_idem_ann', c.oid, 'SELECT') AS may_select,
	   has_table_privilege('regress_idem_ann', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AS may_write
FROM pg_proc AS p, pg_class AS c
WHERE p.proname = 'idem_upsert' AND c.oid = 'idem_key'::regclass;

CREATE TABLE t (id int PRIMARY KEY, a int, b int);

-- Without any privilege.
\set VERBOSITY terse
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_upsert('rights-1', 't', '{"id": 1, "a": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_key;
SELECT outcome FROM idem_upsert('rights-1', 'idem_key', '{"scope": "", "key": "forged"}');
RESET ROLE;

-- The privileges that the statement takes, one by one.  Data that names no more
-- than the row updates nothing.
GRANT INSERT ON t TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_upsert('rights-1', 't', '{"id": 1}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT ON t TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_upsert('rights-1', 't', '{"id": 1}');
SELECT outcome FROM idem_upsert('rights-2', 't', '{"id": 1, "a": 1}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT UPDATE ON t TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_upsert('rights-2', 't', '{"id": 1, "a": 1}');
RESET ROLE;

-- A session that has a plan feels it when a privilege goes.
REVOKE UPDATE ON t FROM regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_upsert('rights-3', 't', '{"id": 1, "a": 2}');
-- But what was done stays answered.
SELECT outcome, replayed FROM idem_upsert('rights-2', 't', '{"id": 1, "a": 1}');
RESET ROLE;
REVOKE ALL ON t FROM regress_idem_ann;

-- Privileges on columns.  The result holds what the caller may read.
GRANT INSERT (id, a), UPDATE (a), SELECT (id, a) ON t TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-10', 't', '{"id": 2, "a": 1}');
SELECT * FROM idem_upsert('rights-11', 't', '{"id": 2, "a": 2}');
SELECT * FROM idem_upsert('rights-12', 't', '{"id": 2, "a": 2}');
SELECT * FROM idem_upsert('rights-13', 't', '{"id": 2}');
SELECT * FROM idem_upsert('rights-12', 't', '{"id": 2, "a": 2}');
SELECT * FROM idem_upsert('rights-14', 't', '{"id": 2, "b": 2}');
SELECT * FROM idem_upsert('rights-14', 't', '{"id": 3, "b": 2}');
SELECT * FROM idem_upsert('rights-14', 't', '{"id": 2, "no": 2}');
RESET ROLE;
SELECT * FROM t ORDER BY id;

-- Triggers fire no more often for that.
CREATE TABLE fired (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO idem_test_rights.fired (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL));
	RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION fired();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION fired();
CREATE TRIGGER before_statement BEFORE INSERT OR UPDATE ON t EXECUTE FUNCTION fired();
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_upsert('rights-18', 't', '{"id": 2, "a": 3}');
RESET ROLE;
SELECT what FROM fired ORDER BY n;
DROP FUNCTION fired CASCADE;

-- A role may be given more to read, and less again, while the session has plans:
-- of the table, and of columns.
GRANT SELECT ON t TO regress_idem_staff;
GRANT regress_idem_staff TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-19-a', 't', '{"id": 2, "a": 4}');
RESET ROLE;
REVOKE regress_idem_staff FROM regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-19-b', 't', '{"id": 2, "a": 5}');
RESET ROLE;
REVOKE SELECT ON t FROM regress_idem_staff;
GRANT SELECT (b) ON t TO regress_idem_staff;
GRANT regress_idem_staff TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-19-c', 't', '{"id": 2, "a": 6}');
RESET ROLE;
REVOKE regress_idem_staff FROM regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-19-d', 't', '{"id": 2, "a": 7}');
RESET ROLE;
REVOKE ALL ON t FROM regress_idem_staff;

-- Without SELECT on the key column there is no ON CONFLICT, as in plain SQL.
REVOKE SELECT (id) ON t FROM regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-15', 't', '{"id": 4, "a": 1}');
INSERT INTO t (id, a) VALUES (4, 1) ON CONFLICT (id) DO NOTHING;
RESET ROLE;

-- Nothing is readable, and nothing has to be: the table makes the key.
CREATE TABLE letterbox (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text);
GRANT INSERT (body) ON letterbox TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-16', 'letterbox', '{"body": "x"}');
SELECT * FROM idem_upsert('rights-16', 'letterbox', '{"body": "x"}');
RESET ROLE;
SELECT * FROM letterbox;

-- USAGE on the schema is needed, even where the table is given by number.
CREATE SCHEMA idem_test_closed;
CREATE TABLE idem_test_closed.t (id int PRIMARY KEY);
GRANT ALL ON idem_test_closed.t TO regress_idem_bob;
SELECT 'idem_test_closed.t'::regclass::oid AS closed \gset
SET ROLE regress_idem_bob;
\set VERBOSITY sqlstate
SELECT * FROM idem_upsert('rights-17', :closed, '{"id": 1}');
\set VERBOSITY terse
RESET ROLE;
DROP SCHEMA idem_test_closed CASCADE;

-- A key belongs to the role that claimed it.  Others learn that it is taken,
-- whatever they ask, and nothing more; so does a member that does not inherit.
CREATE TABLE shared (id int PRIMARY KEY, v text);
GRANT ALL ON shared TO regress_idem_ann, regress_idem_bob, regress_idem_staff;
SET ROLE regress_idem_ann;
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');
SET ROLE regress_idem_bob;
\set VERBOSITY default
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 2, "v": "guess"}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 2, "v": "own"}', scope => 'bob');
SET ROLE regress_idem_member;
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');

-- A member that inherits, and a superuser, are answered; also of a mismatch.
SET ROLE regress_idem_heir;
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "other"}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT * FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');

-- What a role may do counts at the call, in a session that has been given more
-- or less since.
GRANT regress_idem_ann TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT outcome, replayed FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');
RESET ROLE;
REVOKE regress_idem_ann FROM regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT outcome, replayed FROM idem_upsert('rights-20', 'shared', '{"id": 1, "v": "secret"}');
RESET ROLE;

-- Members of a role can share its keys by using them as that role.
GRANT regress_idem_staff TO regress_idem_ann, regress_idem_bob;
SET ROLE regress_idem_staff;
SELECT outcome, replayed FROM idem_upsert('rights-21', 'shared', '{"id": 3}');
SET ROLE regress_idem_ann;
SELECT outcome, replayed FROM idem_upsert('rights-21', 'shared', '{"id": 3}');
SET ROLE regress_idem_bob;
SELECT outcome, replayed FROM idem_upsert('rights-21', 'shared', '{"id": 3}');
RESET ROLE;

-- In a SECURITY DEFINER function the caller is the function's owner.
CREATE FUNCTION as_staff(key text, data jsonb) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = idem_test_rights, public
AS 'SELECT outcome || CASE WHEN replayed THEN '' again'' ELSE '''' END FROM idem_upsert(key, ''shared'', data)';
ALTER FUNCTION as_staff OWNER TO regress_idem_staff;
SET ROLE regress_idem_heir;
SELECT as_staff('rights-22', '{"id": 4}');
SELECT as_staff('rights-22', '{"id": 4}');
RESET ROLE;
SELECT key, claimed_by FROM idem_key WHERE key IN ('rights-20', 'rights-21', 'rights-22') ORDER BY scope, key;

-- The answers of a role that is gone are for superusers.
CREATE ROLE regress_idem_gone;
GRANT USAGE ON SCHEMA idem_test_rights TO regress_idem_gone;
GRANT ALL ON shared TO regress_idem_gone;
SET ROLE regress_idem_gone;
SELECT outcome, replayed FROM idem_upsert('rights-23', 'shared', '{"id": 5}');
RESET ROLE;
DROP OWNED BY regress_idem_gone;
DROP ROLE regress_idem_gone;
SET ROLE regress_idem_ann;
SELECT outcome, replayed FROM idem_upsert('rights-23', 'shared', '{"id": 5}');
RESET ROLE;
SELECT outcome, replayed FROM idem_upsert('rights-23', 'shared', '{"id": 5}');

-- Row security: rows that may not be written are not, rows that are hidden are
-- not updated, and not shown.
CREATE TABLE note (id int PRIMARY KEY, owner name, body text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
GRANT ALL ON note TO regress_idem_ann, regress_idem_bob;
GRANT SELECT ON note TO regress_idem_staff;
SET ROLE regress_idem_ann;
SELECT * FROM idem_upsert('rights-30', 'note', '{"id": 1, "owner": "regress_idem_ann", "body": "a"}');
SELECT * FROM idem_upsert('rights-31', 'note', '{"id": 1, "owner": "regress_idem_ann", "body": "b"}');
SELECT * FROM idem_upsert('rights-32', 'note', '{"id": 1, "owner": "regress_idem_bob"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('rights-32', 'note', '{"id": 2, "owner": "regress_idem_bob", "body": "forged"}');
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_idem_bob;
SELECT * FROM idem_upsert('rights-33', 'note', '{"id": 1, "owner": "regress_idem_bob", "body": "c"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('rights-33', 'note', '{"id": 2, "owner": "regress_idem_bob", "body": "c"}');
RESET ROLE;
SELECT * FROM note ORDER BY id;

-- It holds for the same session and shape whichever role calls, and for a
-- table's owner only where it is forced.
ALTER TABLE note OWNER TO regress_idem_staff;
SET ROLE regress_idem_staff;
SELECT * FROM idem_upsert('rights-34', 'note', '{"id": 2, "owner": "regress_idem_bob", "body": "d"}');
RESET ROLE;
ALTER TABLE note FORCE ROW LEVEL SECURITY;
SET ROLE regress_idem_staff;
SELECT * FROM idem_upsert('rights-35', 'note', '{"id": 2, "owner": "regress_idem_bob", "body": "e"}');
RESET ROLE;

-- A trigger runs with its caller's rights, never with those of idem's owner,
-- which here is a superuser; neither does anything else that the table's owner
-- can put into it.
CREATE TABLE seen (who name, what text);
GRANT INSERT ON seen TO PUBLIC;
SET ROLE regress_idem_ann;
CREATE TABLE trap (id int PRIMARY KEY, v int);
GRANT ALL ON trap TO PUBLIC;
CREATE FUNCTION note_user(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_rights.seen VALUES (current_user, what);
	RETURN true;
END $$;
CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_test_rights.note_user(TG_WHEN || ' trigger');
	RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE INSERT ON trap FOR EACH ROW EXECUTE FUNCTION trap();
CREATE TRIGGER after AFTER INSERT ON trap FOR EACH ROW EXECUTE FUNCTION trap();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON trap DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION trap();
ALTER TABLE trap ADD CHECK (idem_test_rights.note_user('check'));
ALTER TABLE trap ALTER COLUMN v SET DEFAULT idem_test_rights.note_user('default')::int;
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_upsert('rights-40', 'trap', '{"id": 1}');
RESET ROLE;
SELECT who, what, count(*) FROM seen GROUP BY who, what ORDER BY what;
SELECT claimed_by FROM idem_key WHERE key = 'rights-40';

-- Nor does a trigger leave its caller with another's rights when it fails.
SET ROLE regress_idem_ann;
CREATE OR REPLACE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_upsert('rights-41', 'trap', '{"id": 2}');
SELECT current_user;
RESET ROLE;

-- A function that runs with its owner's rights has its own settings, or else its caller's.
CREATE TABLE redeemed (coupon text);
CREATE FUNCTION redeem(text) RETURNS TABLE (outcome idem_outcome, replayed boolean) SECURITY DEFINER LANGUAGE sql
AS $$SELECT outcome, replayed FROM idem_execute('rights-' || $1,
	'INSERT INTO idem_test_rights.redeemed VALUES ($1)', jsonb_build_array($1))$$;
SET ROLE regress_idem_bob;
SELECT * FROM redeem('a');
SET idem.scope = 'rights';
SELECT * FROM redeem('a');
RESET ROLE;
ALTER FUNCTION redeem(text) SET idem.scope = 'coupons' SET idem.ttl = '1 year';
SET ROLE regress_idem_bob;
SET idem.ttl = '1 microsecond';
SELECT * FROM redeem('b');
SELECT * FROM redeem('b');
RESET idem.scope;
RESET idem.ttl;
SELECT * FROM redeem('b');
RESET ROLE;
SELECT coupon, count(*) FROM redeemed GROUP BY coupon ORDER BY coupon;

DELETE FROM idem_key WHERE starts_with(key, 'rights-');
DROP SCHEMA idem_test_rights CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob, regress_idem_staff, regress_idem_heir,
	regress_idem_member;
