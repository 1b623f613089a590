-- idem_update(): sets some columns of a row, if nobody else has changed it since
-- it was read.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_update;
SET search_path = idem_test_update, public;
\set SHOW_CONTEXT never

-- The columns that the patch names are set, null too, and no others; the version
-- is raised, and returned.
CREATE TABLE doc (
	id bigint PRIMARY KEY,
	title text,
	body text DEFAULT 'none',
	price numeric(8,2),
	version bigint NOT NULL DEFAULT 1
);
CREATE TRIGGER raise BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION idem_version('version');
INSERT INTO doc VALUES (1, 'a', 'b', 3), (2, 'a', 'b', 3);
SELECT * FROM idem_update('doc', 1, '{"title": "A", "price": 4.5}');
SELECT * FROM idem_update('doc', 1, '{"body": null}', expected_version => 2);

-- A version that is not the row's is refused, and nothing changed.
SELECT * FROM idem_update('doc', 1, '{"title": "B"}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('doc', 1, '{"title": "B"}', expected_version => 4);
\echo :LAST_ERROR_SQLSTATE

-- A row that has the values already is unchanged: it is the same row version that
-- stays.  What counts is the value as the column holds it.
SELECT ctid AS old_ctid FROM doc WHERE id = 1 \gset
SELECT * FROM idem_update('doc', 1, '{"title": "A", "price": 4.4999, "body": null}');
SELECT outcome, version FROM idem_update('doc', 1, '{"title": "A"}', expected_version => 3);
SELECT outcome, version FROM idem_update('doc', 1, '{}');
SELECT outcome, version FROM idem_update('doc', 1, '{}', expected_version => 3);
-- So it is where the version is one past the expected, which is how our own change
-- looks when its acknowledgement was lost.
SELECT outcome, version FROM idem_update('doc', 1, '{"title": "A"}', expected_version => 2);
-- But not two past it.
SELECT outcome, version FROM idem_update('doc', 1, '{"title": "A"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT ctid = :'old_ctid' AS same_version FROM doc WHERE id = 1;
SELECT * FROM doc ORDER BY id;

-- No such row.
SELECT * FROM idem_update('doc', 3, '{"title": "A"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('doc', 3, '{"title": "A"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE

-- With a key, a retry gets the first answer, also when the row has moved on.
SELECT * FROM idem_update('doc', 2, '{"title": "first"}', expected_version => 1, key => 'update-1');
UPDATE doc SET title = 'second', version = 3 WHERE id = 2;
SELECT * FROM idem_update('doc', 2, '{"title": "first"}', expected_version => 1, key => 'update-1');
SELECT * FROM idem_update('doc', '2', '{"title": "first"}', 1, 'update-1');
SELECT outcome, version FROM idem_update('doc', 2, '{"title": "third"}', key => 'update-1', scope => 'other');
SELECT outcome, response FROM idem_key WHERE key = 'update-1' ORDER BY scope;
-- Anything else under the key is a mistake; an error leaves it free.
\set VERBOSITY terse
SELECT * FROM idem_update('doc', 2, '{"title": "first"}', key => 'update-1');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('doc', 1, '{"title": "first"}', expected_version => 1, key => 'update-1');
SELECT * FROM idem_update('doc', 2, '{"title": "1st"}', expected_version => 1, key => 'update-1');
SELECT * FROM idem_update('doc', 2, '{"title": "x"}', expected_version => 1, key => 'update-2');
SELECT outcome, replayed FROM idem_update('doc', 2, '{"title": "x"}', expected_version => 4, key => 'update-2');
\set VERBOSITY default
SELECT outcome, replayed, version FROM idem_update('doc', 2, '{"title": "x"}', key => 'update-3', ttl => '1 minute');
SELECT expires_at - created_at AS kept FROM idem_key WHERE key = 'update-3';

--
-- Where the version is.
--
-- Of a table that follows a machine, in the column that its triggers name; a
-- patch of the state is a transition like any other.
CREATE TABLE orders (
	id int PRIMARY KEY,
	state order_status NOT NULL DEFAULT 'PENDING',
	note text,
	revision int NOT NULL DEFAULT 1,
	version text
);
SELECT idem_attach('orders', 'order', status => 'state', version => 'revision');
INSERT INTO orders VALUES (1);
SELECT * FROM idem_update('orders', 1, '{"note": "x", "version": "v1.0"}', expected_version => 1);
SELECT * FROM idem_update('orders', 1, '{"state": "PROCESSING"}', expected_version => 2);
SELECT * FROM idem_update('orders', 1, '{"state": "DELIVERED", "note": "y"}', expected_version => 3);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM orders;

-- Of another, in the column that a trigger on idem_version() names.
CREATE TABLE page (id int PRIMARY KEY, body text, n smallint NOT NULL DEFAULT 1);
CREATE TRIGGER raise BEFORE UPDATE ON page FOR EACH ROW EXECUTE FUNCTION idem_version('n');
INSERT INTO page VALUES (1);
SELECT * FROM idem_update('page', 1, '{"body": "x"}', expected_version => 1);
UPDATE page SET body = 'y';
SELECT * FROM idem_update('page', 1, '{"body": "x"}', expected_version => 2);
-- A session that has the statements ready feels it when the trigger goes.
DROP TRIGGER raise ON page;
SELECT * FROM idem_update('page', 1, '{"body": "z"}', expected_version => 3);
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE page RENAME n TO version;
SELECT * FROM idem_update('page', 1, '{"body": "z"}', expected_version => 3);

-- A table without a version can be patched, too.  A column "version" that cannot
-- hold one is a column like any other.
CREATE TABLE bare (id int PRIMARY KEY, v int);
CREATE TABLE soft (id int PRIMARY KEY, version text);
INSERT INTO bare VALUES (1, 1);
INSERT INTO soft VALUES (1, '1.0');
SELECT * FROM idem_update('bare', 1, '{"v": 2}');
SELECT * FROM idem_update('bare', 1, '{"v": 2}');
SELECT * FROM idem_update('bare', 1, '{"v": 3}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('bare', 1, '{"v": 3}', key => 'update-4');
SELECT * FROM idem_update('bare', 1, '{"v": 3}', key => 'update-4');
SELECT * FROM idem_update('soft', 1, '{"version": "1.1"}');
SELECT * FROM idem_update('soft', 1, '{"version": "1.1"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE

-- A row that has no version yet has not the expected one; its first update by
-- which the version is raised gives it one.
CREATE TABLE unversioned (id int PRIMARY KEY, v int, version int);
INSERT INTO unversioned VALUES (1, 1);
SELECT * FROM idem_update('unversioned', 1, '{"v": 2}', expected_version => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('unversioned', 1, '{"v": 1}', expected_version => 0);
CREATE TRIGGER raise BEFORE UPDATE ON unversioned FOR EACH ROW EXECUTE FUNCTION idem_version('version');
SELECT * FROM idem_update('unversioned', 1, '{"v": 2}');

--
-- How a row is named: by its primary key, of any type and any number of columns.
--
CREATE TABLE by_uuid (id uuid PRIMARY KEY, v int);
CREATE TABLE by_text ("Odd ""Key""" text PRIMARY KEY, "V" int, "select" int);
CREATE TABLE by_two (tenant int, id text, v int, version int NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id));
INSERT INTO by_uuid VALUES ('00000000-0000-0000-0000-00000000000a', 1);
INSERT INTO by_text VALUES ('it''s', 1, 1);
INSERT INTO by_two VALUES (1, 'a', 1), (2, 'a', 1);
SELECT outcome, result FROM idem_update('by_uuid', '00000000-0000-0000-0000-00000000000A'::uuid, '{"v": 2}');
SELECT outcome, result FROM idem_update('by_uuid', '{00000000-0000-0000-0000-00000000000A}', '{"v": 3}');
SELECT outcome, result FROM idem_update('by_text', 'it''s', '{"V": 2, "select": 3}');
SELECT outcome, result FROM idem_update('by_two', '{"id": "a", "tenant": 2}'::jsonb, '{"v": 2}', 1);
SELECT * FROM by_two ORDER BY tenant;
SELECT outcome, version FROM idem_update('by_two', '{"id": "a", "tenant": 2}'::jsonb, '{"v": 2}', 1, 'update-5');
SELECT outcome, version, replayed FROM idem_update('by_two', '{"tenant": 2.0, "id": "a"}'::jsonb, '{"v": 2.0}', 1, 'update-5');

--
-- Values are what an upsert would take: scalars as literals, arrays and composites
-- as JSON or literals, and what the column cannot hold is an error.
--
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN sure AS int NOT NULL DEFAULT 1;
CREATE TYPE pair AS (a int, b text);
CREATE TABLE typed (
	id int PRIMARY KEY,
	code varchar(3), padded char(3), bits bit(3), num numeric(4,1), i int, small smallint,
	flag boolean, at timestamptz(0), span interval hour, day date, r int4range,
	j json, jb jsonb, pct percent, sure sure, ints int[], codes varchar(2)[], pair pair, pairs pair[],
	status order_status, twice int GENERATED ALWAYS AS (i * 2) STORED,
	n int GENERATED ALWAYS AS IDENTITY
);
INSERT INTO typed (id) VALUES (1), (2);
CREATE FUNCTION try(patch text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	upserted text;
	updated text;
	again text;
BEGIN
	BEGIN
		SELECT u.outcome || ' ' || (SELECT jsonb_object_agg(k, result -> k) FROM jsonb_object_keys(patch::jsonb) AS k) INTO updated
		FROM idem_update('typed', 1, patch::jsonb) AS u;
		SELECT outcome INTO again FROM idem_update('typed', 1, patch::jsonb);
	EXCEPTION WHEN OTHERS THEN
		updated := SQLSTATE;
	END;
	-- an upsert of another row that is like this one says the same, or else differs
	BEGIN
		SELECT u.outcome || ' ' || (SELECT jsonb_object_agg(k, result -> k) FROM jsonb_object_keys(patch::jsonb) AS k) INTO upserted
		FROM idem_upsert(NULL, 'typed', patch::jsonb || '{"id": 2}', merge => '{}') AS u;
	EXCEPTION WHEN OTHERS THEN
		upserted := SQLSTATE;
	END;
	RETURN concat_ws(', ', updated, again, 'but an upsert: ' || nullif(upserted, updated));
END $$;
SELECT patch, try(patch) FROM unnest(ARRAY[
	'{"code": "abc"}', '{"code": "abcd"}', '{"code": "abc   "}', '{"code": 12}', '{"code": {"a": 1}}',
	'{"padded": "a"}', '{"padded": "abcd"}', '{"bits": "101"}', '{"bits": "1011"}', '{"bits": "1"}',
	'{"num": 1.25}', '{"num": "1.25"}', '{"num": 1000}', '{"num": "NaN"}', '{"i": 1.5}', '{"i": "7"}', '{"i": true}',
	'{"small": 40000}', '{"flag": "yes"}', '{"flag": true}', '{"span": "3"}', '{"day": "2024-02-30"}', '{"day": "2024-02-29"}', '{"at": "2024-01-01 00:00:00.6Z"}',
	'{"r": "[1,5)"}', '{"j": {"b":  1}}', '{"j": "text"}', '{"jb": [1, "a", null]}', '{"jb": "text"}', '{"jb": null}',
	'{"pct": 100}', '{"pct": 101}', '{"pct": null}', '{"sure": null}', '{"ints": [1, null]}', '{"ints": "{3,4}"}', '{"ints": [[1],[2]]}', '{"ints": {"a": 1}}',
	'{"codes": ["ab", "abc"]}', '{"codes": ["ab"]}', '{"pair": {"a": 1, "b": "x"}}', '{"pair": "(2,y)"}', '{"pair": [1]}',
	'{"pairs": [{"a": 1}, null]}', '{"status": "SHIPPED"}', '{"status": "LOST"}', '{"twice": 2}', '{"n": 2}',
	'{"i": {"x": 1}}', '{"i": []}']) AS patch;
DROP TABLE typed;

-- Partitions, one of them with its columns in another order; and a table that
-- others inherit from, whose rows are not meant.
CREATE TABLE part (id int, day date, v int, version int NOT NULL DEFAULT 1, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE part_2024 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE part_2025 (version int NOT NULL DEFAULT 1, v int, gone int, day date NOT NULL, id int NOT NULL);
ALTER TABLE part_2025 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO part VALUES (1, '2024-05-01', 1), (1, '2025-05-01', 1);
SELECT outcome, result FROM idem_update('part', '{"id": 1, "day": "2025-05-01"}'::jsonb, '{"v": 2}', 1);
SELECT outcome, result FROM idem_update('part', '{"id": 1, "day": "2025-05-01"}'::jsonb, '{"v": 2}', 1);
SELECT outcome, result FROM idem_update('part', '{"id": 1, "day": "2025-05-01"}'::jsonb, '{"v": 3}', 1);
SELECT outcome, result FROM idem_update('part_2025', '{"id": 1, "day": "2025-05-01"}'::jsonb, '{"v": 4}');
SELECT tableoid::regclass, * FROM part ORDER BY day;
DROP TABLE part;
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE heir () INHERITS (parent);
INSERT INTO heir VALUES (1, 1);
SELECT outcome FROM idem_update('parent', 1, '{"v": 2}');
INSERT INTO parent VALUES (1, 1);
SELECT outcome FROM idem_update('parent', 1, '{"v": 2}');
SELECT tableoid::regclass, * FROM parent ORDER BY 1;
DROP TABLE heir, parent;

-- Triggers fire as for the statement a person would write: once, and not for what
-- is unchanged or replayed.
CREATE TABLE task (id int PRIMARY KEY, name text, version int NOT NULL DEFAULT 1);
CREATE TABLE task_log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION task_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.name = 'not this' THEN
		RETURN NULL;
	END IF;
	NEW.name := lower(NEW.name);
	INSERT INTO task_log (what) VALUES (concat_ws(' ', TG_WHEN, OLD.name, NEW.name));
	RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_changed();
CREATE TRIGGER after AFTER UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_changed();
INSERT INTO task VALUES (1, 'wash');
SELECT * FROM idem_update('task', 1, '{"name": "IRON"}', 1, 'update-6');
SELECT * FROM idem_update('task', 1, '{"name": "IRON"}', 1, 'update-6');
SELECT * FROM idem_update('task', 1, '{"name": "iron"}');
SELECT what FROM task_log ORDER BY n;
-- One that suppresses the update makes it fail, rather than seem done.
SELECT * FROM idem_update('task', 1, '{"name": "not this"}', key => 'update-7');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM idem_key WHERE key = 'update-7';

-- A table that is altered under a session that has the statements ready.
ALTER TABLE doc ALTER COLUMN title TYPE varchar(5), ALTER COLUMN price TYPE text;
SELECT result FROM idem_update('doc', 1, '{"title": "B", "price": "cheap"}');
SELECT result FROM idem_update('doc', 1, '{"title": "too long"}');
ALTER TABLE doc RENAME title TO heading;
SELECT result FROM idem_update('doc', 1, '{"title": "C"}');
SELECT result FROM idem_update('doc', 1, '{"heading": "C"}');
DISCARD ALL;
SET search_path = idem_test_update, public;
SELECT outcome FROM idem_update('doc', 1, '{"heading": "C"}');

-- Many in one statement.
SELECT id, outcome, u.version
FROM doc, LATERAL idem_update('doc', id, jsonb_build_object('body', 'all'), doc.version) AS u ORDER BY id;

DELETE FROM idem_key WHERE starts_with(key, 'update-');
SET client_min_messages = warning;
DROP SCHEMA idem_test_update CASCADE;
