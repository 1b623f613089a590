-- The owner of idem_key may add to it what one adds to a table: constraints,
-- indexes, columns, triggers.  New keys heed them, and so does purging.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_key_table;
SET search_path = idem_test_key_table, public;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate

CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE FUNCTION put(key text, data jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT outcome || ', replayed: ' || replayed FROM idem_upsert('key_table-' || key, 't', data)
$$;
BEGIN;

-- A constraint, and an index on an expression.
ALTER TABLE idem_key ADD CONSTRAINT is_short CHECK (length(key) < 20) NOT VALID;
CREATE UNIQUE INDEX key_table_upper ON idem_key (upper(key)) WHERE starts_with(key, 'key_table-');
SELECT put('a', '{"id": 1, "v": 1}');
SELECT put('a', '{"id": 1, "v": 1}');
SAVEPOINT before;
SELECT put('as-long-as-this', '{"id": 2, "v": 1}');
ROLLBACK TO before;
SELECT put('A', '{"id": 2, "v": 1}');
ROLLBACK TO before;
SET LOCAL enable_seqscan = off;
SELECT key FROM idem_key WHERE upper(key) = 'KEY_TABLE-A' AND starts_with(key, 'key_table-');

-- A column with a default.
ALTER TABLE idem_key ADD COLUMN region text DEFAULT 'north';
SELECT put('b', '{"id": 3, "v": 1}');
SELECT put('b', '{"id": 3, "v": 1}');
SELECT key, region FROM idem_key WHERE key = 'key_table-b';
ALTER TABLE idem_key DROP COLUMN region;
SELECT put('c', '{"id": 4, "v": 1}');
SELECT put('c', '{"id": 4, "v": 1}');

ROLLBACK;
BEGIN;

-- Triggers, for each row and for each statement.
CREATE TABLE seen (n serial, level text, key text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_key_table.seen (level, key)
	VALUES (TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' THEN NEW.key END);
	RETURN NEW;
END $$;
CREATE TRIGGER rows AFTER INSERT ON idem_key FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER statements AFTER INSERT ON idem_key FOR EACH STATEMENT EXECUTE FUNCTION see();
SELECT put('d', '{"id": 5, "v": 1}');
SELECT put('d', '{"id": 5, "v": 1}');
SELECT level, key FROM seen ORDER BY n;

ROLLBACK;

-- The same when keys are purged, and a table that refers to keys.
CREATE FUNCTION expire() RETURNS bigint LANGUAGE sql AS $$
	UPDATE idem_key SET expires_at = '2000-01-01' WHERE starts_with(key, 'key_table-');
	SELECT idem_purge();
$$;
BEGIN;
SELECT idem_purge() >= 0 AS purged;
CREATE TABLE seen (n serial, level text, key text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_key_table.seen (level, key)
	VALUES (TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' THEN OLD.key END);
	RETURN OLD;
END $$;
CREATE TRIGGER rows AFTER DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION see();
SELECT put('e', '{"id": 6, "v": 1}');
SELECT expire();
SELECT level, key FROM seen ORDER BY n;

ROLLBACK;
BEGIN;
SELECT idem_purge() >= 0 AS purged;
CREATE TABLE answer (key text, scope text, FOREIGN KEY (key, scope) REFERENCES idem_key ON DELETE CASCADE);
SELECT put('f', '{"id": 7, "v": 1}');
INSERT INTO answer SELECT key, scope FROM idem_key WHERE key = 'key_table-f';
SELECT expire();
SELECT * FROM answer;

-- Nor does purging need what it has noted of the table.
ROLLBACK;
BEGIN;
SELECT idem_purge() >= 0 AS purged;
DELETE FROM idem_key_range;
SELECT put('g', '{"id": 8, "v": 1}'), put('h', '{"id": 9, "v": 1}');
SELECT expire();
SELECT key FROM idem_key WHERE starts_with(key, 'key_table-');

ROLLBACK;
DROP SCHEMA idem_test_key_table CASCADE;
