-- Where the rows of an upsert keep being new, they are inserted without running a
-- statement.  The same calls give the same answers, and the same errors, as those
-- of the statement that runs where a row was there before.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_direct;
SET search_path = idem_test_direct, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_direct;
GRANT USAGE ON SCHEMA idem_test_direct TO regress_idem_direct;

CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE customer (name text PRIMARY KEY);
INSERT INTO customer VALUES ('VINET');
CREATE TABLE item (
	id int PRIMARY KEY,
	gone int,
	short varchar(5),
	wide char(4) DEFAULT 'ab',
	number numeric(6,2) CHECK (number > 0),
	needed text NOT NULL,
	mood mood,
	flags bit(3),
	made date DEFAULT '2026-01-01',
	at timestamptz,
	data jsonb,
	code text UNIQUE,
	customer text REFERENCES customer,
	later text REFERENCES customer DEFERRABLE INITIALLY DEFERRED,
	span int4range,
	bytes bytea,
	ident uuid
) WITH (autovacuum_enabled = false);
ALTER TABLE item DROP COLUMN gone;
CREATE INDEX ON item (lower(needed)) WHERE number > 10;
CREATE INDEX ON item (mood DESC, number);
GRANT SELECT, INSERT, UPDATE ON item TO regress_idem_direct;
GRANT SELECT ON customer TO regress_idem_direct;

-- What a call returns or raises, in full; its work is undone.
CREATE FUNCTION try(target regclass, given jsonb, key text DEFAULT 'direct-try')
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer record;
	said text; detail text; hint text; context text; state text;
	tab text; col text; con text;
BEGIN
	SELECT * INTO answer FROM idem_upsert(key, target, given);
	RAISE EXCEPTION USING ERRCODE = 'TRY00',
		MESSAGE = to_jsonb(answer) || jsonb_build_object('row',
			(SELECT i::text FROM idem_test_direct.item i WHERE id::text = given ->> 'id'));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, state = RETURNED_SQLSTATE,
		tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME;
	RETURN jsonb_build_array(state, said, detail, hint, tab, col, con,
		CASE WHEN state <> 'TRY00' THEN split_part(context, E'\n', 1) END);
END $$;

-- The same call where a row of the same columns was there just before, and where
-- all were new; what it returns, if that is the same.
CREATE SEQUENCE ids START 1000;
CREATE FUNCTION compare(target regclass, data jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain jsonb := (SELECT jsonb_object_agg(f.key, coalesce(g.value, 'null'))
		FROM jsonb_each(data) f LEFT JOIN jsonb_each('{"needed": "x", "short": "s",
			"number": 1, "flags": "101"}') g USING (key));
	executed jsonb;
	direct jsonb;
BEGIN
	INSERT INTO item (id, needed) VALUES (1, '-') ON CONFLICT DO NOTHING;
	PERFORM idem_upsert('direct-there-' || gen_random_uuid(), target, plain || '{"id": 1}');
	executed := try(target, data);
	PERFORM idem_upsert('direct-new-' || gen_random_uuid(), target,
		plain || jsonb_build_object('id', nextval('ids'))) FROM generate_series(1, 6);
	direct := try(target, data);
	IF executed = direct THEN
		RETURN CASE WHEN direct ->> 0 = 'TRY00' THEN direct #>> '{1}'
			ELSE concat_ws(' | ', direct ->> 0, direct ->> 1, direct ->> 2, direct ->> 3,
				direct ->> 6, direct ->> 7) END;
	END IF;
	RETURN format('executed: %s, direct: %s', executed, direct);
END $$;

\pset format unaligned
\pset tuples_only on
SELECT compare('item', d) FROM (VALUES
	-- values of all kinds, and what the table adds
	('{"id": 5, "needed": "n"}'::jsonb),
	('{"id": 5, "needed": "n", "short": "abc", "wide": "x", "number": 12.345, "flags": "110"}'),
	('{"id": 5, "needed": "n", "mood": "bad", "made": "2026-02-03", "at": "2026-02-03 04:05:06+07"}'),
	('{"id": 5, "needed": "n", "data": {"a": [1, null]}, "span": "[1,5)", "bytes": "\\x00ff"}'),
	('{"id": 5, "needed": "n", "ident": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "customer": "VINET"}'),
	('{"id": 5, "needed": "n", "data": null, "mood": null, "customer": null, "code": "c"}'),
	-- errors of values
	('{"id": 5, "needed": "n", "short": "abcdef"}'),
	('{"id": 5, "needed": "n", "number": 123456}'),
	('{"id": 5, "needed": "n", "number": "x"}'),
	('{"id": "five", "needed": "n"}'),
	('{"id": 5, "needed": "n", "mood": "so"}'),
	('{"id": 5, "needed": "n", "flags": "11"}'),
	('{"id": 5, "needed": "n", "made": "2026-02-30"}'),
	-- and of constraints
	('{"id": 5, "needed": null}'),
	('{"id": 5, "needed": "n", "number": -1}'),
	('{"id": 5, "needed": "n", "customer": "HANAR"}'),
	('{"id": null, "needed": "n"}')) AS v (d);

-- Another index refuses a row; but not one that is there by its key.
INSERT INTO item (id, needed, code) VALUES (900, 'n', 'taken');
SELECT compare('item', '{"id": 5, "needed": "n", "code": "taken"}');
SELECT compare('item', '{"id": 1, "needed": "n", "code": "taken"}');
SELECT compare('item', '{"id": 900, "needed": "n", "code": "taken"}');
\pset format aligned
\pset tuples_only off

-- A constraint that is deferred.
BEGIN;
SELECT count(idem_upsert('direct-later-' || n, 'item', jsonb_build_object('id', 2000 + n, 'needed', 'n',
	'later', 'VINET'))) FROM generate_series(1, 8) n;
SELECT outcome FROM idem_upsert('direct-later', 'item', '{"id": 5, "needed": "n", "later": "HANAR"}');
COMMIT;
SELECT count(*) FROM item WHERE id > 2000;

-- Read-only transactions.
BEGIN READ ONLY;
SELECT outcome FROM idem_upsert('direct-read', 'item', '{"id": 5, "needed": "n"}');
ROLLBACK;

-- Rights are those of the moment.
CREATE FUNCTION put_new(rows int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(idem_upsert('direct-put-' || gen_random_uuid(), 'item',
		jsonb_build_object('id', nextval('ids'), 'needed', 'n'))) FROM generate_series(1, rows)
$$;
GRANT USAGE ON SEQUENCE ids TO regress_idem_direct;
SET ROLE regress_idem_direct;
SELECT put_new(8);
RESET ROLE;
REVOKE INSERT ON item FROM regress_idem_direct;
SET ROLE regress_idem_direct;
SELECT put_new(1);
RESET ROLE;
GRANT INSERT ON item TO regress_idem_direct;
REVOKE SELECT ON item FROM regress_idem_direct;
GRANT SELECT (id, needed) ON item TO regress_idem_direct;
SET ROLE regress_idem_direct;
SELECT put_new(6);
SELECT result FROM idem_upsert('direct-column', 'item', '{"id": 6, "needed": "n"}');
RESET ROLE;

-- So is the table: columns, defaults, checks, indexes, triggers, policies.
SELECT put_new(8);
ALTER TABLE item ADD added int DEFAULT 7;
SELECT result ->> 'added' AS added FROM idem_upsert('direct-added', 'item', '{"id": 11, "needed": "n"}');
ALTER TABLE item ALTER added SET DEFAULT 8;
SELECT result ->> 'added' AS added FROM idem_upsert('direct-default', 'item', '{"id": 12, "needed": "n"}');
ALTER TABLE item ALTER added TYPE text USING 'old';
SELECT result ->> 'added' AS added FROM idem_upsert('direct-type', 'item', '{"id": 13, "needed": "n"}');
ALTER TABLE item ADD CHECK (needed <> 'm');
SELECT outcome FROM idem_upsert('direct-check', 'item', '{"id": 14, "needed": "m"}');
SELECT put_new(8);
CREATE UNIQUE INDEX ON item (needed) WHERE needed = 'only';
SELECT outcome FROM idem_upsert('direct-index', 'item', '{"id": 15, "needed": "only"}');
SELECT outcome FROM idem_upsert('direct-index-2', 'item', '{"id": 16, "needed": "only"}');
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.added := 'stamped'; RETURN NEW; END $$;
SELECT put_new(8);
CREATE TRIGGER stamp BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION stamp();
SELECT result ->> 'added' AS added FROM idem_upsert('direct-trigger', 'item', '{"id": 17, "needed": "n"}');
DROP TRIGGER stamp ON item;
SELECT put_new(8);
ALTER TABLE item RENAME COLUMN needed TO renamed;
SELECT outcome FROM idem_upsert('direct-renamed', 'item', '{"id": 18, "needed": "n"}');
ALTER TABLE item RENAME COLUMN renamed TO needed;
SELECT put_new(8);
ALTER TABLE item ADD twice int GENERATED ALWAYS AS (id * 2) STORED;
SELECT result ->> 'twice' AS twice FROM idem_upsert('direct-generated', 'item', '{"id": 19, "needed": "n"}');
ALTER TABLE item DROP twice;

-- What an index calls may come back to the same call.
CREATE FUNCTION again(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF id BETWEEN 5000 AND 5003 THEN
		PERFORM idem_upsert('direct-again-' || id, 'item', jsonb_build_object('id', id + 1, 'needed', 'again ' || id));
	END IF;
	RETURN id;
END $$;
CREATE INDEX ON item (again(id));
SELECT put_new(8);
-- (the server warns of locks of insertions inside insertions, whichever way they come)
SET client_min_messages = error;
SELECT result ->> 'needed' AS needed FROM idem_upsert('direct-again', 'item', '{"id": 5000, "needed": "outer"}');
SELECT id, needed FROM item WHERE id BETWEEN 5000 AND 5004 ORDER BY id;
SET client_min_messages = warning;
SELECT count(*) = count(DISTINCT id) AS once FROM item;

-- A default that is computed is computed each time.
CREATE TABLE moment (id int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), day date DEFAULT current_date,
	who text DEFAULT current_user, of text DEFAULT current_setting('application_name'));
SELECT count(idem_upsert('direct-moment-' || n, 'moment', jsonb_build_object('id', n))) FROM generate_series(1, 8) n;
SET application_name = 'direct';
SELECT result ->> 'of' AS of, (result ->> 'day')::date = current_date AS today
FROM idem_upsert('direct-moment', 'moment', '{"id": 100}');
SELECT count(DISTINCT at) > 1 AS several FROM moment;
RESET application_name;

-- What a function of the server's calls may come back to the same call, too, while the row is being made.
CREATE TABLE asked (id int);
CREATE FUNCTION comes_back(id int) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	inner_id int;
BEGIN
	DELETE FROM asked RETURNING asked.id INTO inner_id;
	IF FOUND THEN
		PERFORM idem_upsert('direct-back-' || inner_id, 'back', jsonb_build_object('id', inner_id, 'before', repeat('inner ', 50), 'past', repeat('inner ', 50)));
	END IF;
	RETURN true;
END $$;
CREATE DOMAIN checked AS int CHECK (comes_back(VALUE));
CREATE TYPE has_checked AS (f checked);
CREATE TABLE back (id int PRIMARY KEY, before text, made int DEFAULT (jsonb_populate_record(NULL::has_checked, '{"f": 1}')).f::int, past text);
SELECT count(idem_upsert('direct-back-' || n, 'back', jsonb_build_object('id', n, 'before', 'b', 'past', 'p'))) FROM generate_series(1, 6) n;
INSERT INTO asked VALUES (107);
SELECT result ->> 'id' AS id, result ->> 'before' AS before, result ->> 'past' AS past
FROM idem_upsert('direct-back-7', 'back', '{"id": 7, "before": "outer", "past": "outer"}');
SELECT id, left(before, 5) AS before, made, left(past, 5) AS past FROM back WHERE id > 6 ORDER BY id;
-- an error on the way is no hindrance
ALTER TABLE back ALTER made SET DEFAULT (jsonb_populate_record(NULL::has_checked, '{"f": null}')).f::int;
CREATE OR REPLACE FUNCTION comes_back(id int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) = 0 FROM asked);
END $$;
SELECT count(idem_upsert('direct-back-' || n, 'back', jsonb_build_object('id', n, 'before', 'b', 'past', 'p'))) FROM generate_series(11, 16) n;
INSERT INTO asked VALUES (1);
SELECT outcome FROM idem_upsert('direct-back-17', 'back', '{"id": 17, "before": "outer", "past": "outer"}');
DELETE FROM asked;
SELECT outcome FROM idem_upsert('direct-back-17', 'back', '{"id": 17, "before": "outer", "past": "outer"}');

-- What planning calls may have the plan thrown away that is being made.
CREATE TABLE thrown (way int);
CREATE TABLE beside (id int PRIMARY KEY, a text);
CREATE FUNCTION throw() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM thrown;
	IF FOUND THEN
		GRANT SELECT ON planned TO PUBLIC;
		PERFORM idem_upsert('direct-beside-1', 'beside', '{"id": 1}');
		PERFORM idem_upsert('direct-beside-2', 'beside', '{"id": 1, "a": "b"}');
	END IF;
	RETURN 3;
END $$;
CREATE FUNCTION three() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN throw(); END $$;
CREATE TABLE planned (id int PRIMARY KEY, a text, n int DEFAULT three());
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
-- one that has to be executed, and then one that has not
CREATE TRIGGER nothing AFTER INSERT ON planned FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT count(idem_upsert('direct-planned-' || n, 'planned', jsonb_build_object('id', n, 'a', 'a'))) FROM generate_series(1, 4) n;
INSERT INTO thrown VALUES (1);
SELECT result FROM idem_upsert('direct-planned-5', 'planned', '{"id": 5, "a": "a"}');
SELECT count(*) AS not_thrown FROM thrown;
DROP TRIGGER nothing ON planned;
SELECT count(idem_upsert('direct-planned-' || n, 'planned', jsonb_build_object('id', n, 'a', 'a'))) FROM generate_series(11, 14) n;
DELETE FROM idem_key WHERE key IN ('direct-beside-1', 'direct-beside-2');
DELETE FROM beside;
INSERT INTO thrown VALUES (1);
SELECT result FROM idem_upsert('direct-planned-15', 'planned', '{"id": 15, "a": "a"}');
SELECT count(*) AS not_thrown FROM thrown;
SELECT result FROM idem_upsert('direct-planned-16', 'planned', '{"id": 16, "a": "a"}');

-- What is answered is the row as it is stored, whatever its columns are called and in
-- which order they stand; conditions on all of the row are asked.
CREATE TABLE wide (zz text, id int PRIMARY KEY, gone int, aaa char(5), b numeric(6,2), aa text, "B" text,
	long text, at date DEFAULT '2026-02-03', CHECK (tableoid = 'wide'::regclass), CHECK (to_jsonb(wide)->>'zz' <> 'bad'));
ALTER TABLE wide DROP COLUMN gone;
WITH answers AS MATERIALIZED (
	SELECT n, (idem_upsert('direct-wide-' || n, 'wide', jsonb_build_object('id', n, 'aaa', 'a' || n, 'b', n + 0.5,
		'B', 'x', 'zz', repeat('z', n), 'long', repeat(md5(n::text), 5000 * (n % 2))))).result
	FROM generate_series(1, 8) AS n)
SELECT count(*) FILTER (WHERE n > 4) AS direct FROM answers;
SELECT count(*) AS same, min(k.response::text COLLATE "C") FILTER (WHERE w.id = 8) AS as_stored
FROM wide AS w JOIN idem_key AS k ON k.key = 'direct-wide-' || w.id
WHERE k.response = to_jsonb(w) AND k.response::text = to_jsonb(w)::text;
SELECT idem_upsert('direct-wide-9', 'wide', '{"id": 9, "aaa": "a", "zz": "bad", "b": null, "B": null, "long": null}');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT outcome, result->>'b' AS b FROM idem_upsert('direct-wide-10', 'wide', '{"id": 10, "aaa": "a", "b": 1, "B": "x", "zz": "z", "long": "l"}');
SELECT outcome, result->>'b' AS b FROM idem_upsert('direct-wide-11', 'wide', '{"id": 10, "aaa": "a", "b": 2, "B": "x", "zz": "z", "long": "l"}');
COMMIT;
-- the table of keys may ask for more than it did
BEGIN;
DELETE FROM idem_key;
ALTER TABLE idem_key ALTER request SET NOT NULL;
\set VERBOSITY sqlstate
SELECT outcome FROM idem_upsert('direct-wide-17', 'wide', '{"id": 17, "aaa": "a", "b": 1, "B": "x", "zz": "z", "long": "l"}');
\set VERBOSITY default
ROLLBACK;

-- Who may no longer call a function of the server's may not by a default either.
CREATE TABLE shown (id int PRIMARY KEY, note text, year text DEFAULT to_char(now(), 'YYYY'));
GRANT ALL ON shown TO regress_idem_direct;
BEGIN;
SET ROLE regress_idem_direct;
SELECT count(idem_upsert('direct-shown-' || n, 'shown', jsonb_build_object('id', n, 'note', 'n'))) FROM generate_series(1, 6) n;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION to_char(timestamptz, text) FROM PUBLIC;
SET ROLE regress_idem_direct;
SELECT outcome FROM idem_upsert('direct-shown-7', 'shown', '{"id": 7, "note": "n"}');
ROLLBACK;

DELETE FROM idem_key WHERE starts_with(key, 'direct-');
DROP SCHEMA idem_test_direct CASCADE;
DROP ROLE regress_idem_direct;
