-- A row that has one version more than expected is written once more, to see
-- whether it is as the triggers make it, and that is undone.  An error which says
-- nothing of the row, like 40001, ends the call as any other does: with nothing
-- left of what idem has begun, in and out of a transaction block.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_probe_error;
SET search_path = idem_test_probe_error, public;
\set SHOW_CONTEXT never

CREATE TABLE doc (id int PRIMARY KEY, body text, version bigint NOT NULL DEFAULT 2);
INSERT INTO doc VALUES (1, 'as it was');
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE 'once more, please' USING ERRCODE = '40001'; END$$;
CREATE TRIGGER fail BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION fail();

SELECT * FROM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);
SELECT 'the session goes on' AS answer;
SELECT * FROM idem_upsert('probe_error-1', 'doc', '{"id": 1, "body": "b"}', expected_version => 1);
SELECT 'the session goes on' AS answer;

BEGIN;
SAVEPOINT s;
SELECT * FROM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);
ROLLBACK TO s;
SELECT * FROM idem_upsert('probe_error-1', 'doc', '{"id": 1, "body": "b"}', expected_version => 1);
ROLLBACK TO s;
INSERT INTO doc VALUES (2);
COMMIT;
BEGIN;
SELECT * FROM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);
COMMIT;

-- A caller that catches it has it in its own hands.
CREATE FUNCTION try() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);
EXCEPTION WHEN serialization_failure THEN
	INSERT INTO doc VALUES (3);
	RETURN SQLERRM;
END $$;
SELECT try();
SELECT * FROM doc ORDER BY id;

-- So does a lock that was not to be had.
CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE 'not in time' USING ERRCODE = '55P03'; END$$;
SELECT * FROM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);

-- An error that is about the row says that this write was not made before.
CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE 'not that'; END$$;
SELECT * FROM idem_update('doc', 1, '{"body": "b"}', expected_version => 1);
SELECT * FROM doc WHERE id = 1;

DELETE FROM idem_key WHERE starts_with(key, 'probe_error-');
DROP SCHEMA idem_test_probe_error CASCADE;
