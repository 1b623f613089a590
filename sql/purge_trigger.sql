-- Purging a table that its owner has added something to: it takes a statement, with
-- the owner's rights and no more, and comes to an end whatever the triggers do.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_purge_trigger;
SET search_path = idem_test_purge_trigger, public;
\set SHOW_CONTEXT never

CREATE VIEW purge_key AS SELECT key, expires_at FROM idem_key WHERE scope = 'purge_trigger';
CREATE FUNCTION use_keys(n int) RETURNS void LANGUAGE sql AS $$
INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
SELECT 'purge_trigger', 'k' || i, 'inserted', 1, current_user::text::idem_role, '1999-01-01', timestamptz '2000-01-01' + i * interval '1 s'
FROM generate_series(1, n) AS i
$$;
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE tg_argv[0] USING old;
	RETURN CASE tg_argv[1] WHEN 'delete' THEN old END;
END $$;

-- Whatever other tests left behind.
SELECT idem_purge() >= 0 AS purged;

-- A trigger looks on.
BEGIN;
CREATE TABLE seen (key text, by name, path text);
GRANT ALL ON SCHEMA idem_test_purge_trigger TO PUBLIC;
GRANT INSERT ON seen TO PUBLIC;
CREATE TRIGGER look BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION
act('INSERT INTO idem_test_purge_trigger.seen SELECT $1.key, current_user', 'delete');
SELECT use_keys(2500);
SELECT idem_purge(1200);
SELECT idem_purge();
SELECT count(*), count(DISTINCT key), bool_and(by = (SELECT pg_get_userbyid(relowner)
	FROM pg_class WHERE oid = 'idem_key'::regclass)) AS as_owner FROM seen;
ROLLBACK;

-- It can neither become somebody else nor leave something behind in the session.
BEGIN;
CREATE TRIGGER look BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION
act('CREATE TEMP TABLE trap (i int)', 'delete');
SELECT use_keys(1);
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CREATE TRIGGER look BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION
act('RESET ROLE', 'delete');
SELECT use_keys(1);
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A column that is no time any more is not read as one.
BEGIN;
INSERT INTO idem_message (expires_at, consumer, message_id) VALUES (now() + interval '1 day', 'purge_trigger', 'm1');
SELECT use_keys(1);
SAVEPOINT s;
ALTER TABLE idem_message ALTER expires_at TYPE text;
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
ALTER TABLE idem_message ALTER expires_at TYPE timestamp;
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
ALTER TABLE idem_key RENAME lease_until TO held_until;
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A trigger that lets nothing go, or some of it.
BEGIN;
CREATE TRIGGER keep BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION act('SELECT', 'keep');
SELECT use_keys(3);
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CREATE TRIGGER keep BEFORE DELETE ON idem_key FOR EACH ROW WHEN (old.key = 'k2')
EXECUTE FUNCTION act('SELECT', 'keep');
SELECT use_keys(3);
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A rule does the same.
BEGIN;
CREATE RULE keep AS ON DELETE TO idem_key DO INSTEAD NOTHING;
SELECT use_keys(3);
SELECT idem_purge();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A trigger that puts each row back: it is there for the next call.
BEGIN;
CREATE TRIGGER put_back AFTER DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION
act('INSERT INTO public.idem_key SELECT $1.*', 'delete');
SELECT use_keys(3);
SELECT idem_purge();
SELECT count(*) FROM purge_key;
ROLLBACK;

-- A trigger that deletes other rows itself.  They are read in the order of their
-- blocks, which in an empty table is the order in which they came.
BEGIN;
TRUNCATE idem_key;
CREATE TRIGGER more AFTER DELETE ON idem_key FOR EACH ROW WHEN (old.key = 'k1') EXECUTE FUNCTION
act('DELETE FROM public.idem_key WHERE scope = $1.scope AND key > ''k11''', 'delete');
SELECT use_keys(1500);
SELECT idem_purge();
SELECT count(*) FROM purge_key;
ROLLBACK;

-- Nor can the owner's indexes have the caller do anything.
BEGIN;
CREATE ROLE regress_idem_purge_owner;
CREATE FUNCTION trap(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF current_user <> 'regress_idem_purge_owner' THEN
		RAISE 'trapped %', current_user;
	END IF;
	RETURN true;
END $$;
GRANT ALL ON SCHEMA idem_test_purge_trigger TO PUBLIC;
SELECT format('GRANT ALL ON SCHEMA %s TO regress_idem_purge_owner', extnamespace::regnamespace)
FROM pg_extension WHERE extname = 'idem' \gexec
ALTER TABLE idem_key OWNER TO regress_idem_purge_owner;
SELECT use_keys(2);
SET ROLE regress_idem_purge_owner;
CREATE INDEX ON idem_key (expires_at) WHERE idem_test_purge_trigger.trap(1);
CREATE INDEX ON idem_key ((idem_test_purge_trigger.trap(1)));
RESET ROLE;
SELECT idem_purge();
CREATE TABLE t (id int PRIMARY KEY);
SELECT outcome FROM idem_upsert('k', 't', '{"id": 1}', scope => 'purge_trigger');
SELECT outcome FROM idem_upsert('k', 't', '{"id": 1}', scope => 'purge_trigger');
ROLLBACK;

-- No index to go by, where there should be one.
BEGIN;
DROP INDEX idem_message_expires_at_idx;
INSERT INTO idem_message (expires_at, consumer, message_id)
SELECT timestamptz '2000-01-01' + i * interval '1 s', 'purge_trigger', i FROM generate_series(1, 1500) AS i;
SELECT idem_purge(700);
SELECT idem_purge();
SELECT count(*) FROM idem_message WHERE consumer = 'purge_trigger';
ROLLBACK;

DROP SCHEMA idem_test_purge_trigger CASCADE;
