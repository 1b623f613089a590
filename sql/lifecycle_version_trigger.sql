-- idem_version(): a trigger that raises the version of a row on every update, by
-- whichever role, for tables that follow no state machine.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_raise;
SET search_path = idem_test_raise, public;
\set SHOW_CONTEXT never

CREATE TABLE page (id int PRIMARY KEY, body text, version bigint NOT NULL DEFAULT 1);
CREATE TRIGGER zz_idem_version BEFORE UPDATE ON page
	FOR EACH ROW EXECUTE FUNCTION idem_version('version');

-- A new row has the version that the INSERT gives it, or the default.
INSERT INTO page VALUES (1, 'a', DEFAULT), (2, 'a', 7);
SELECT * FROM page ORDER BY id;

-- Every update raises it: of one row, of many, one that changes nothing, and one
-- that sets the version itself.
UPDATE page SET body = 'b' WHERE id = 1;
UPDATE page SET body = body;
UPDATE page SET version = 40 WHERE id = 2 RETURNING *;
SELECT * FROM page ORDER BY id;
-- So do an upsert of any kind, MERGE, and a cursor's update.
INSERT INTO page VALUES (1, 'c') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *;
MERGE INTO page AS p USING (VALUES (1, 'd')) AS new(id, body) ON p.id = new.id
	WHEN MATCHED THEN UPDATE SET body = new.body;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM page WHERE id = 1 FOR UPDATE;
FETCH c;
UPDATE page SET body = 'e' WHERE CURRENT OF c RETURNING *;
COMMIT;

-- idem_upsert() knows it, and does not raise the version once more.
SELECT * FROM idem_upsert('raise-1', 'page', '{"id": 1, "body": "f"}', expected_version => 6);
SELECT * FROM idem_upsert('raise-2', 'page', '{"id": 1, "body": "f"}', expected_version => 7);
SELECT * FROM idem_upsert('raise-3', 'page', '{"id": 1, "body": "g"}');
\set VERBOSITY terse
SELECT * FROM idem_upsert('raise-4', 'page', '{"id": 1, "body": "h"}', expected_version => 7);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default

-- The column may have any name and any integer type, or be of a domain.
CREATE DOMAIN small AS smallint CHECK (VALUE < 4);
CREATE TABLE odd (id int PRIMARY KEY, a smallint, "Row ""Version""" int, c small);
CREATE TRIGGER a BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION idem_version('a');
CREATE TRIGGER b BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION idem_version('Row "Version"');
CREATE TRIGGER c BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION idem_version('c');
INSERT INTO odd VALUES (1, 1, 1, 1);
UPDATE odd SET id = id RETURNING *;
UPDATE odd SET id = id RETURNING *;
\set VERBOSITY sqlstate
UPDATE odd SET id = id;
\set VERBOSITY default
DROP TRIGGER c ON odd;
-- Where it is at its end, the update fails.
ALTER TABLE odd DISABLE TRIGGER USER;
UPDATE odd SET a = 32767;
ALTER TABLE odd ENABLE TRIGGER USER;
UPDATE odd SET id = id;
\echo :LAST_ERROR_SQLSTATE
-- A row without a version gets its first.
ALTER TABLE odd DISABLE TRIGGER USER;
UPDATE odd SET a = NULL, "Row ""Version""" = NULL;
ALTER TABLE odd ENABLE TRIGGER USER;
UPDATE odd SET id = id RETURNING *;
DROP TABLE odd;

-- A table that follows a machine needs none, but it does no harm.
CREATE TABLE parcel (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('parcel', 'order');
CREATE TRIGGER again BEFORE UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION idem_version('version');
INSERT INTO parcel VALUES (1);
SELECT outcome, version FROM order_transition('parcel', 1, 'PROCESSING');

-- A partitioned table passes it on, also to a partition with its columns in
-- another order, and when a row moves.
CREATE TABLE part (id int, v int, version int NOT NULL DEFAULT 1, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TRIGGER raise BEFORE UPDATE ON part FOR EACH ROW EXECUTE FUNCTION idem_version('version');
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 (version int NOT NULL DEFAULT 1, gone text, v int, id int NOT NULL);
ALTER TABLE part_2 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20);
INSERT INTO part VALUES (1, 1), (11, 1);
UPDATE part SET v = 2;
UPDATE part SET id = 12 WHERE id = 1;
SELECT tableoid::regclass, * FROM part ORDER BY id;
SELECT outcome, result FROM idem_upsert('raise-5', 'part', '{"id": 12, "v": 5}', expected_version => 3);

-- Where it is disabled in the partition, who expects a version is not told that
-- it was raised.
ALTER TABLE part_2 DISABLE TRIGGER raise;
SELECT outcome FROM idem_upsert('raise-7', 'part', '{"id": 12, "v": 6}', expected_version => 4);
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_update('part', 12, '{"v": 6}', 4);
ALTER TABLE part_2 ENABLE TRIGGER raise;
SELECT outcome FROM idem_upsert('raise-7', 'part', '{"id": 12, "v": 6}', expected_version => 4);
SELECT * FROM part WHERE id = 12;

-- Like any ordinary trigger it is quiet where changes are applied that were made
-- elsewhere.
SET session_replication_role = replica;
UPDATE page SET body = 'x' WHERE id = 1 RETURNING version;
-- Then nothing raises it, unless the upsert does.
SELECT outcome, result FROM idem_upsert('raise-6', 'page', '{"id": 1, "body": "y"}', expected_version => 8);
RESET session_replication_role;

-- What is no such trigger.
CREATE TABLE wrong (id int PRIMARY KEY, v int, note text);
CREATE FUNCTION try(trigger text, change text DEFAULT 'UPDATE wrong SET v = 2') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE TRIGGER t ' || trigger;
	EXECUTE change;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
INSERT INTO wrong VALUES (1, 1);
SELECT try($$BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version()$$);
SELECT try($$BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('v', 'id')$$);
SELECT try($$BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('version')$$);
SELECT try($$BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('note')$$);
SELECT try($$BEFORE UPDATE ON wrong EXECUTE FUNCTION idem_version('v')$$);
SELECT try($$AFTER UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('v')$$);
SELECT try($$BEFORE INSERT OR UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('v')$$, 'INSERT INTO wrong VALUES (2)');
SELECT try($$BEFORE UPDATE OF v ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version('v')$$);
SELECT try($$BEFORE UPDATE ON wrong FOR EACH ROW WHEN (NEW.v > 1) EXECUTE FUNCTION idem_version('v')$$);
SELECT try('BEFORE DELETE ON wrong FOR EACH ROW EXECUTE FUNCTION idem_version(''v'')', 'DELETE FROM wrong');
SELECT idem_version();

-- A column that is renamed is missed.
ALTER TABLE page RENAME version TO revision;
UPDATE page SET body = 'z' WHERE id = 1;
\echo :LAST_ERROR_SQLSTATE

-- It runs with the rights of the role that writes, which need not be allowed to
-- write to the version.
ALTER TABLE page RENAME revision TO version;
CREATE ROLE regress_idem_writer;
GRANT USAGE ON SCHEMA idem_test_raise TO regress_idem_writer;
GRANT SELECT, UPDATE (body) ON page TO regress_idem_writer;
SET ROLE regress_idem_writer;
UPDATE page SET body = 'w' WHERE id = 2 RETURNING *;
RESET ROLE;
REVOKE ALL ON page FROM regress_idem_writer;
REVOKE ALL ON SCHEMA idem_test_raise FROM regress_idem_writer;
DROP ROLE regress_idem_writer;

DELETE FROM idem_key WHERE starts_with(key, 'raise-');
DROP SCHEMA idem_test_raise CASCADE;
