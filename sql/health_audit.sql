-- idem_audit: rows that machine, version or history do not fit, and keys whose row is
-- gone.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_audit;
SET search_path = test_audit, public;
SELECT idem_machine_define('audit lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
CREATE TABLE lamp (a int, b text, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1, PRIMARY KEY (a, b));
SELECT idem_attach('lamp', 'audit lamp', history => true);
CREATE TABLE plain (id bigint PRIMARY KEY, status text DEFAULT 'OFF', version int NOT NULL DEFAULT 1);
SELECT idem_attach('plain', 'audit lamp');

-- All is well.
INSERT INTO lamp VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x'), (6, 'x');
INSERT INTO plain VALUES (1), (2);
SELECT outcome FROM idem_transition('lamp', '{"a": 1, "b": "x"}'::jsonb, 'ON', key => 'lamp 1', scope => 'audit');
SELECT outcome FROM idem_transition('lamp', '{"a": 2, "b": "x"}'::jsonb, 'ON', key => 'lamp 2', scope => 'audit');
SELECT outcome FROM idem_transition('lamp', '{"a": 3, "b": "x"}'::jsonb, 'ON', key => 'lamp 3', scope => 'audit', ttl => '1 microsecond');
SELECT * FROM idem_audit('lamp');
SELECT * FROM idem_audit('plain');

-- What goes past the triggers, as a restore does, may be anything.
SET session_replication_role = replica;
INSERT INTO lamp VALUES (7, 'y');
UPDATE lamp SET status = 'BROKEN' WHERE a = 4;
UPDATE lamp SET version = 0 WHERE a = 1;
UPDATE plain SET status = 'BROKEN' WHERE id = 2;
UPDATE plain SET status = NULL WHERE id = 1;
RESET session_replication_role;
-- The key of row 2 is alive, that of row 3 has expired, that of row 5 never was.
DELETE FROM lamp WHERE a IN (2, 3, 5);
SELECT * FROM idem_audit('lamp') ORDER BY finding, id;
SELECT * FROM idem_audit('plain');
-- Of all tables, those that are the test's.
SELECT target, finding, id, key FROM idem_audit() WHERE target IN ('lamp'::regclass, 'plain') ORDER BY target::text, finding, id;

-- A second machine on a table is looked at, too; without a history it tells less.
ALTER TABLE lamp ADD COLUMN payment text DEFAULT 'OFF';
SELECT idem_attach('lamp', 'audit lamp', status => 'payment');
SET session_replication_role = replica;
UPDATE lamp SET payment = 'PAID' WHERE a = 6;
RESET session_replication_role;
SELECT finding, id, detail FROM idem_audit('lamp') WHERE id @> '{"a": 6}';

-- A table that is partitioned by its state.
CREATE TABLE part (id int, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1, PRIMARY KEY (id, status))
	PARTITION BY LIST (status);
CREATE TABLE part_off PARTITION OF part FOR VALUES IN ('OFF');
CREATE TABLE part_other PARTITION OF part DEFAULT;
SELECT idem_attach('part', 'audit lamp', history => true);
INSERT INTO part VALUES (1), (2);
SELECT outcome FROM idem_transition('part', '{"id": 1, "status": "OFF"}'::jsonb, 'ON', key => 'part 1', scope => 'audit');
SELECT * FROM idem_audit('part');
SET session_replication_role = replica;
UPDATE part SET status = 'BROKEN' WHERE id = 2;
RESET session_replication_role;
SELECT target, finding, id FROM idem_audit('part_off');

-- The rights are the caller's: on the table, on its rows, on keys.
CREATE ROLE regress_audit_reader;
CREATE ROLE regress_audit_none;
GRANT USAGE ON SCHEMA test_audit TO regress_audit_reader, regress_audit_none;
GRANT SELECT ON lamp TO regress_audit_reader;
GRANT SELECT (id) ON plain TO regress_audit_reader;
SET ROLE regress_audit_none;
SELECT * FROM idem_audit('lamp');
SELECT count(*) FROM idem_audit();
SET ROLE regress_audit_reader;
-- the key is another role's
SELECT finding, id, key FROM idem_audit('lamp') ORDER BY finding, id;
SELECT * FROM idem_audit('plain');
SELECT DISTINCT target FROM idem_audit();
-- rows that are hidden are neither shown nor gone
RESET ROLE;
ALTER TABLE lamp ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON lamp TO regress_audit_reader USING (a < 5);
GRANT SELECT ON idem_key TO regress_audit_reader;
SET ROLE regress_audit_reader;
SELECT finding, id, key FROM idem_audit('lamp') ORDER BY finding, id;
RESET ROLE;
REVOKE SELECT ON idem_key FROM regress_audit_reader;

-- What belongs to the owner of a table runs with nobody's rights: neither a cast of
-- the type of the key, nor the check of its domain.
CREATE ROLE regress_audit_mallory;
GRANT USAGE, CREATE ON SCHEMA test_audit TO regress_audit_mallory;
SET ROLE regress_audit_mallory;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION steal(mood) RETURNS json LANGUAGE plpgsql AS
$$ BEGIN RAISE WARNING 'as %', current_user; RETURN '1'; END $$;
CREATE CAST (mood AS json) WITH FUNCTION steal(mood);
CREATE FUNCTION is_fine(mood) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN IF current_user <> 'regress_audit_mallory' THEN RAISE WARNING 'as %', current_user; END IF; RETURN true; END $$;
CREATE DOMAIN own_mood AS mood CHECK (is_fine(VALUE));
CREATE TABLE trap (id own_mood PRIMARY KEY, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('trap', 'audit lamp', history => true);
INSERT INTO trap VALUES ('good'), ('bad');
SELECT outcome FROM idem_transition('trap', 'good', 'ON', key => 'trap 1', scope => 'audit');
DELETE FROM trap WHERE id::mood = 'good';
RESET ROLE;
SET session_replication_role = replica;
UPDATE trap SET status = 'BROKEN';
RESET session_replication_role;
SELECT finding, id, key FROM idem_audit('trap') ORDER BY finding;
SELECT count(*) > 0 AS all_of_them FROM idem_audit() WHERE target = 'trap'::regclass;
-- A trigger that cannot work, which anybody may make, stops nothing else.
SET ROLE regress_audit_mallory;
CREATE TABLE bad (id int PRIMARY KEY, status int, version bigint);
CREATE TRIGGER idem BEFORE UPDATE ON bad FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('audit lamp', 'none', 'version');
RESET ROLE;
SELECT target, finding, id, detail FROM idem_audit() WHERE target = 'bad'::regclass;
SELECT count(*) FROM idem_audit() WHERE target = 'trap'::regclass;
SELECT finding FROM idem_audit('bad');

-- Nor does a policy of the table's, be it that its code is called by the server's; the owner runs its own.
SET ROLE regress_audit_mallory;
CREATE TABLE hidden (id int PRIMARY KEY, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('hidden', 'audit lamp');
INSERT INTO hidden VALUES (1);
CREATE FUNCTION hide(int) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$;
CREATE POLICY hide ON hidden USING (hide(id));
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON hidden TO regress_audit_reader;
SELECT finding FROM idem_audit('hidden');
RESET ROLE;
SET ROLE regress_audit_reader;
SELECT finding, detail FROM idem_audit('hidden');
SELECT target, finding FROM idem_audit() WHERE target IN ('hidden'::regclass, 'lamp') AND finding IN ('not_looked_at', 'row_gone') ORDER BY 1, 2;
RESET ROLE;
SELECT finding FROM idem_audit('hidden');

-- A table whose history has keys of another type than the table by now, or whose versions are none, stops no other.
SET ROLE regress_audit_mallory;
CREATE TABLE retyped (id int PRIMARY KEY, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('retyped', 'audit lamp', history => true);
INSERT INTO retyped VALUES (1);
SELECT outcome FROM idem_transition('retyped', 1, 'ON', key => 'retyped', scope => 'audit');
ALTER TABLE retyped ALTER id TYPE uuid USING '00000000-0000-0000-0000-000000000000';
CREATE TABLE reworded (id int PRIMARY KEY, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('reworded', 'audit lamp');
ALTER TABLE reworded ALTER version DROP DEFAULT, ALTER version TYPE text;
ALTER TABLE reworded DISABLE TRIGGER ALL;
INSERT INTO reworded VALUES (1, 'OFF', 'none');
RESET ROLE;
SELECT target, finding, detail FROM idem_audit() WHERE target IN ('retyped'::regclass, 'reworded') ORDER BY target::text;
SELECT count(*) > 0 AS others FROM idem_audit() WHERE target = 'trap'::regclass;
SELECT * FROM idem_audit('retyped');
SELECT * FROM idem_audit('reworded');

CREATE VIEW test_view AS SELECT 1 AS id;
SELECT * FROM idem_audit('test_view');
CREATE TABLE no_key (a int);
SELECT * FROM idem_audit('no_key');
SELECT * FROM idem_audit(1);

DELETE FROM idem_history WHERE target::oid IN (SELECT oid FROM pg_class WHERE relnamespace = 'test_audit'::regnamespace);
DROP SCHEMA test_audit CASCADE;
SELECT idem_machine_drop('audit lamp');
SELECT idem_forget_scope('audit');
DROP ROLE regress_audit_reader, regress_audit_none, regress_audit_mallory;
