-- A target that is altered, dropped or made anew between two calls of one
-- session: plans are kept for a session, and must not outlive what they are
-- made for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_altered;
SET search_path = idem_test_altered, public;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate

-- The same request, under a new key each time.
CREATE FUNCTION put(target text, data jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT outcome || ' ' || result
	FROM idem_upsert('altered-' || gen_random_uuid(), target::regclass, data)
$$;

CREATE TABLE t (id int PRIMARY KEY, v int);
SELECT put('t', '{"id": 1, "v": 1}');

-- Columns come and go, also under the name of another.
ALTER TABLE t ADD COLUMN w text DEFAULT 'new';
SELECT put('t', '{"id": 1, "v": 2}');
ALTER TABLE t RENAME COLUMN v TO x;
SELECT put('t', '{"id": 1, "v": 3}');
ALTER TABLE t RENAME COLUMN w TO v;
SELECT put('t', '{"id": 1, "v": 3}');
ALTER TABLE t DROP COLUMN v;
SELECT put('t', '{"id": 1, "v": 4}');
ALTER TABLE t ADD COLUMN v int GENERATED ALWAYS AS (id * 2) STORED;
SELECT put('t', '{"id": 1, "v": 4}');
SELECT put('t', '{"id": 1}');

-- Their types change.
DROP TABLE t;
CREATE TABLE t (id int PRIMARY KEY, v int);
SELECT put('t', '{"id": 1, "v": 5}');
ALTER TABLE t ALTER COLUMN v TYPE numeric(5,2);
SELECT put('t', '{"id": 1, "v": 5}');
SELECT put('t', '{"id": 1, "v": 5.555}');
ALTER TABLE t ALTER COLUMN v TYPE text[] USING ARRAY[v];
SELECT put('t', '{"id": 1, "v": ["5.56"]}');
SELECT put('t', '{"id": 1, "v": 6}');
ALTER TABLE t ALTER COLUMN id TYPE text;
SELECT put('t', '{"id": 1, "v": ["7"]}');
CREATE TYPE shade AS ENUM ('light');
ALTER TABLE t ALTER COLUMN v TYPE shade USING 'light';
SELECT put('t', '{"id": 1, "v": "dark"}');
ALTER TYPE shade ADD VALUE 'dark';
SELECT put('t', '{"id": 1, "v": "dark"}');
ALTER TYPE shade RENAME VALUE 'dark' TO 'black';
ALTER TYPE shade RENAME TO color;
SELECT put('t', '{"id": 1, "v": "black"}');

-- The primary key goes, comes back, moves.
ALTER TABLE t DROP CONSTRAINT t_pkey;
SELECT put('t', '{"id": 1, "v": "light"}');
ALTER TABLE t ADD CONSTRAINT other_name PRIMARY KEY (id);
SELECT put('t', '{"id": 1, "v": "light"}');
ALTER TABLE t DROP CONSTRAINT other_name, ADD PRIMARY KEY (id, v);
SELECT put('t', '{"id": 1, "v": "black"}');

-- The table goes, and another takes its name.
ALTER TABLE t RENAME TO was_t;
SELECT put('t', '{"id": 1, "v": 1}');
CREATE TABLE t (v int, id bigint PRIMARY KEY, extra boolean DEFAULT true);
SELECT put('t', '{"id": 1, "v": 1}');
SELECT put('was_t', '{"id": 3, "v": "light"}');
DROP TABLE t;
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
SELECT put('t', '{"v": 1}');
DROP TABLE t;

-- The schema is renamed, and another takes its name.
CREATE SCHEMA idem_test_moved;
CREATE TABLE idem_test_moved.t (id int PRIMARY KEY);
SELECT put('idem_test_moved.t', '{"id": 1}');
ALTER SCHEMA idem_test_moved RENAME TO idem_test_moved_on;
CREATE SCHEMA idem_test_moved;
CREATE TABLE idem_test_moved.t (id int PRIMARY KEY);
SELECT put('idem_test_moved.t', '{"id": 2}');
SELECT put('idem_test_moved_on.t', '{"id": 3}');
SELECT tableoid::regclass, id FROM idem_test_moved.t
UNION ALL SELECT tableoid::regclass, id FROM idem_test_moved_on.t ORDER BY id;
DROP SCHEMA idem_test_moved, idem_test_moved_on CASCADE;

-- Triggers, defaults, constraints and row security come later.
CREATE TABLE t (id int PRIMARY KEY, v int, w int);
SELECT put('t', '{"id": 1, "v": 1}');
ALTER TABLE t ALTER COLUMN w SET DEFAULT 7;
SELECT put('t', '{"id": 2, "v": 1}');
ALTER TABLE t ADD CHECK (v < 10);
SELECT put('t', '{"id": 2, "v": 10}');
CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v * 2; RETURN NEW; END';
CREATE TRIGGER double BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION double();
SELECT put('t', '{"id": 3, "v": 1}');
DROP TRIGGER double ON t;
SELECT put('t', '{"id": 4, "v": 1}');

-- A table becomes a partitioned one, by name, and a partition is attached.
DROP TABLE t;
CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY LIST (id);
SELECT put('t', '{"id": 1, "v": 1}');
CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
SELECT put('t', '{"id": 1, "v": 1}');
SELECT put('t', '{"id": 1, "v": 2}');
ALTER TABLE t DETACH PARTITION t1;
SELECT put('t', '{"id": 1, "v": 3}');
SELECT put('t1', '{"id": 1, "v": 3}');

-- In one transaction, with what was done undone again.
BEGIN;
SELECT put('t1', '{"id": 1, "v": 4}');
SAVEPOINT s;
ALTER TABLE t1 RENAME COLUMN v TO renamed;
SELECT put('t1', '{"id": 1, "renamed": 5}');
ROLLBACK TO s;
SELECT put('t1', '{"id": 1, "v": 6}');
SELECT put('t1', '{"id": 1, "renamed": 7}');
ROLLBACK;
SELECT put('t1', '{"id": 1, "v": 4}');

-- A table that its own trigger alters is as the server has it: refused.
CREATE FUNCTION alter_self() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE t1 ADD COLUMN more int;
	RETURN NULL;
END $$;
CREATE TRIGGER alter_self AFTER UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION alter_self();
SELECT put('t1', '{"id": 1, "v": 5}');
DROP TRIGGER alter_self ON t1;
SELECT put('t1', '{"id": 1, "v": 5}');

-- More shapes than a session keeps plans for, twice over, some of them altered
-- while their plan is kept.
CREATE TABLE wide (id int PRIMARY KEY, a int, b int, c int, d int, e int, f int, g int, h int, i int);
DO $$
DECLARE
	fields text[] := '{a,b,c,d,e,f,g,h,i}';
	data jsonb;
BEGIN
	FOR round IN 1 .. 2 LOOP
		FOR mask IN 0 .. 511 LOOP
			SELECT jsonb_build_object('id', mask) || coalesce(jsonb_object_agg(fields[k], mask + round), '{}')
			INTO data FROM generate_series(1, 9) AS k WHERE mask & (1 << (k - 1)) <> 0;
			PERFORM idem_upsert(format('altered-%s-%s', round, mask), 'wide', data);
			IF mask % 100 = 99 THEN
				ALTER TABLE wide ALTER COLUMN a SET DEFAULT 0;
			END IF;
		END LOOP;
	END LOOP;
END $$;
SELECT count(*), sum(i) FROM wide;

-- What a pooler does to a connection before it lends it out again.
DISCARD ALL;
SELECT outcome, replayed, result FROM idem_upsert('altered-2-0', 'idem_test_altered.wide', '{"id": 0}');
SELECT outcome, replayed, result FROM idem_upsert('altered-discarded', 'idem_test_altered.wide', '{"id": 0, "b": 2}');

SET client_min_messages = warning;
DELETE FROM idem_key WHERE starts_with(key, 'altered-');
DROP SCHEMA idem_test_altered CASCADE;
