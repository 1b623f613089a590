-- Where the rows of an upsert keep being new, idem first tries an INSERT that
-- does nothing if there is a row.  Nobody can tell from what comes of it, and it
-- is not tried where somebody could.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_trial;
SET search_path = idem_test_trial, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_writer;
CREATE ROLE regress_idem_writers;
GRANT USAGE ON SCHEMA idem_test_trial TO regress_idem_writer;

CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, code text UNIQUE)
	WITH (autovacuum_enabled = false);

-- Tells by which statement a row was inserted.
CREATE TABLE told (n serial, statement text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	context text;
BEGIN
	GET DIAGNOSTICS context = PG_CONTEXT;
	INSERT INTO idem_test_trial.told (statement)
	VALUES (substring(context FROM 'DO (NOTHING|UPDATE)'));
	RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION tell();

CREATE FUNCTION put(id int, name text, OUT outcome idem_outcome, OUT result jsonb)
LANGUAGE sql AS $$
	SELECT outcome, result FROM idem_upsert('trial-' || gen_random_uuid(), 'item',
		jsonb_build_object('id', id, 'name', name))
$$;
CREATE SEQUENCE ids START 1001;

-- Inserts so many new rows, and tells which statements were used.
CREATE FUNCTION put_new(rows int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before int := (SELECT count(*) FROM idem_test_trial.told);
BEGIN
	FOR i IN 1 .. rows LOOP
		PERFORM put(nextval('ids')::int, 'new');
	END LOOP;
	RETURN (SELECT string_agg(DISTINCT statement, ', ')
			FROM (SELECT * FROM idem_test_trial.told ORDER BY n OFFSET before) AS t);
END $$;
GRANT SELECT ON told TO regress_idem_writer;
GRANT USAGE ON SEQUENCE ids TO regress_idem_writer;

-- It takes some new rows in succession.
SELECT put_new(1);
SELECT put_new(8);
-- Where there is a row it is updated, or left alone.
SELECT * FROM put(1001, 'changed');
SELECT * FROM put(1001, 'changed');
-- Since then it is as at first.
SELECT put_new(1);
SELECT put_new(8);

-- Another row of the same code is in the way of both statements.
SELECT outcome FROM idem_upsert('trial-code', 'item', '{"id": 1, "name": "a", "code": "x"}');
SELECT idem_upsert('trial-code-' || n, 'item',
	jsonb_build_object('id', n, 'name', 'a', 'code', 'c' || n)) IS NOT NULL AS put
FROM generate_series(2, 9) AS n;
\set VERBOSITY terse
SELECT idem_upsert('trial-code-10', 'item', '{"id": 10, "name": "a", "code": "x"}');
SELECT idem_upsert('trial-code-10', 'item', '{"id": 10, "name": null, "code": "y"}');
\set VERBOSITY default

-- What is decided is decided anew when the table changes, be it in the same
-- session: a trigger that would see an attempt keeps it from being made.
CREATE TABLE fired (n serial, what text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_trial.fired (what) VALUES (TG_WHEN || ' ' || TG_OP || ' ' || TG_LEVEL);
	RETURN NEW;
END $$;
CREATE FUNCTION try_trigger(definition text) RETURNS TABLE (statements text, fires text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM put_new(8);
	EXECUTE 'CREATE TRIGGER fire ' || definition || ' EXECUTE FUNCTION fire()';
	TRUNCATE fired;
	statements := put_new(8);
	PERFORM put(1001, 'by ' || definition);
	fires := (SELECT string_agg(what || ' ' || times, ', ' ORDER BY what)
			  FROM (SELECT what, count(*) AS times FROM fired GROUP BY what) AS f);
	EXECUTE 'DROP TRIGGER fire ON item';
	RETURN NEXT;
END $$;
SELECT * FROM try_trigger('BEFORE INSERT ON item FOR EACH ROW');
SELECT * FROM try_trigger('BEFORE INSERT ON item');
SELECT * FROM try_trigger('AFTER INSERT ON item');
SELECT * FROM try_trigger('BEFORE UPDATE ON item');
SELECT * FROM try_trigger('AFTER UPDATE ON item');
-- One that fires for what was inserted, or updated, alone does not.
SELECT * FROM try_trigger('AFTER INSERT ON item FOR EACH ROW');
SELECT * FROM try_trigger('BEFORE UPDATE ON item FOR EACH ROW');

-- Neither is it made if the table makes up something that can be told apart.
SELECT put_new(8);
ALTER TABLE item ADD COLUMN counted serial;
SELECT put_new(8);
SELECT * FROM put(1001, 'counts once');
SELECT count(*) = max(counted) AS none_skipped FROM item;
ALTER TABLE item DROP COLUMN counted;
SELECT put_new(8);
CREATE FUNCTION checked(name text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	INSERT INTO idem_test_trial.fired (what) VALUES ('checked');
	RETURN true;
END $$;
ALTER TABLE item ADD CONSTRAINT checked CHECK (checked(name)) NOT VALID;
SELECT put_new(8);
ALTER TABLE item DROP CONSTRAINT checked;
-- A function may be declared anew, which a constraint or a generated column that
-- calls it does not tell.
CREATE FUNCTION settled(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT name IS NOT NULL';
ALTER TABLE item ADD CONSTRAINT settled CHECK (settled(name));
SELECT put_new(8);
ALTER TABLE item DROP CONSTRAINT settled;
ALTER TABLE item ADD COLUMN is_settled boolean GENERATED ALWAYS AS (settled(name)) STORED;
SELECT put_new(8);
ALTER TABLE item DROP COLUMN is_settled;
SELECT put_new(8);
CREATE DOMAIN checked_text AS text CHECK (checked(value));
ALTER TABLE item ADD COLUMN also checked_text DEFAULT 'x';
SELECT put_new(8);
ALTER TABLE item DROP COLUMN also;
-- A domain may be a part of a type.
CREATE TYPE pair AS (a text, also checked_text);
ALTER TABLE item ADD COLUMN pair pair DEFAULT '(a,x)';
SELECT put_new(8);
ALTER TABLE item DROP COLUMN pair;
-- What is the same at any time can be made twice.
ALTER TABLE item ADD COLUMN at timestamptz DEFAULT now(), ADD COLUMN up text GENERATED ALWAYS AS (upper(name)) STORED,
	ADD COLUMN tags text[] DEFAULT '{}', ADD COLUMN during int4range DEFAULT 'empty', ADD CHECK (name <> '');
SELECT put_new(8);
SELECT outcome, result - 'at' AS result FROM put(1001, 'again');

-- Nobody inserts a row that he may not upsert.
GRANT SELECT, INSERT, UPDATE ON item TO regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(8);
RESET ROLE;
REVOKE UPDATE ON item FROM regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(1);
-- One who may by certain columns only does.
RESET ROLE;
GRANT UPDATE (name) ON item TO regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(8);
-- One who may by a role he has left may not.
RESET ROLE;
REVOKE UPDATE (name) ON item FROM regress_idem_writer;
GRANT UPDATE ON item TO regress_idem_writers;
GRANT regress_idem_writers TO regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(8);
RESET ROLE;
REVOKE regress_idem_writers FROM regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(1);
-- Nor one who may no longer call what the upsert calls.
RESET ROLE;
GRANT UPDATE ON item TO regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(8);
RESET ROLE;
BEGIN;
REVOKE EXECUTE ON FUNCTION _idem_upsert_met FROM PUBLIC;
SET LOCAL ROLE regress_idem_writer;
SELECT put_new(1);
ROLLBACK;
SET ROLE regress_idem_writer;
-- Row security has its say in the upsert's statement.
RESET ROLE;
GRANT UPDATE ON item TO regress_idem_writer;
SET ROLE regress_idem_writer;
SELECT put_new(8);
RESET ROLE;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_but_one ON item USING (id <> 1001);
SET ROLE regress_idem_writer;
SELECT put_new(8);
SELECT put(1001, 'not to be seen');
RESET ROLE;
ALTER TABLE item DISABLE ROW LEVEL SECURITY;

-- Partitions have triggers and rights of their own.
CREATE TABLE event (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (100);
CREATE TRIGGER tell AFTER INSERT ON event FOR EACH ROW EXECUTE FUNCTION tell();
TRUNCATE told;
SELECT count(*) FROM generate_series(1, 8) AS n,
	idem_upsert('trial-event-' || n, 'event', jsonb_build_object('id', n, 'name', 'a'));
SELECT DISTINCT statement FROM told;

DELETE FROM idem_key WHERE starts_with(key, 'trial-');
DROP SCHEMA idem_test_trial CASCADE;
DROP ROLE regress_idem_writer, regress_idem_writers;
