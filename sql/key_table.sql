--
-- The owner of idem_key may add to it what one adds to a table: constraints,
-- indexes, columns, triggers.  New keys heed them.
--
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
DROP SCHEMA idem_test_key_table CASCADE;
