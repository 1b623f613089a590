-- idem_upsert() with merge rules: a column is not overwritten, but merged with
-- what the row has, so that doing it again does nothing, with a key or without.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_merge;
SET search_path = idem_test_merge, public;
\set SHOW_CONTEXT never

CREATE TABLE device (
	id int PRIMARY KEY,
	seen_last timestamp,
	seen_first timestamp,
	tags text[],
	settings jsonb,
	owner text,
	name text,
	version int NOT NULL DEFAULT 1
);

-- One call with each of the rules.  A new row takes the data as it is, apart
-- from elements that come twice.
CREATE FUNCTION report(data jsonb, OUT outcome idem_outcome, OUT result jsonb) LANGUAGE sql
AS $$
	SELECT outcome, result
	FROM idem_upsert(NULL, 'device', data, merge => (
		SELECT jsonb_object_agg(f.key, r.rule)
		FROM jsonb_each(data) AS f JOIN (VALUES ('seen_last', 'max'), ('seen_first', 'min'),
			('tags', 'union'), ('settings', 'union'), ('owner', 'keep'), ('name', 'set')) AS r(key, rule)
			USING (key)))
$$;
SELECT outcome, jsonb_pretty(result) AS result
FROM report('{"id": 1, "seen_last": "2024-05-02", "seen_first": "2024-05-02", "tags": ["b", "a", "b"],
	"settings": {"x": 1, "y": 1}, "owner": null, "name": "one"}');
SELECT outcome, jsonb_pretty(result) AS result
FROM report('{"id": 1, "seen_last": "2024-05-01", "seen_first": "2024-05-01", "tags": ["c", "a"],
	"settings": {"y": 2, "z": 2}, "owner": "ann", "name": "two"}');
SELECT outcome, jsonb_pretty(result) AS result
FROM report('{"id": 1, "seen_last": "2024-05-03", "seen_first": "2024-05-03", "tags": ["d"],
	"settings": {"x": 3}, "owner": "bob", "name": "three"}');

-- The same again changes nothing: it is the same row version that stays.
SELECT ctid AS old_ctid, xmin AS old_xmin FROM device \gset
SELECT outcome
FROM report('{"id": 1, "seen_last": "2024-05-03", "seen_first": "2024-05-03", "tags": ["d"],
	"settings": {"x": 3}, "owner": "bob", "name": "three"}');
-- So does what comes late, in all columns that are not just set.
SELECT outcome
FROM report('{"id": 1, "seen_last": "2024-05-02", "seen_first": "2024-05-02", "tags": ["b", "a", "b"], "owner": "cat"}');
-- A null gives way, except to "set".
SELECT outcome
FROM report('{"id": 1, "seen_last": null, "seen_first": null, "tags": null, "settings": null, "owner": null}');
SELECT ctid = :'old_ctid' AND xmin = :'old_xmin' AS same_version FROM device;
SELECT outcome, result -> 'name' AS name FROM report('{"id": 1, "name": null}');

-- Columns without a rule are set, whatever the other columns' rules.
SELECT outcome, result -> 'name' AS name, result -> 'seen_last' AS seen_last
FROM idem_upsert(NULL, 'device', '{"id": 1, "name": "four", "seen_last": "2024-04-30"}',
	merge => '{"seen_last": "max"}');
SELECT outcome, result -> 'name' AS name
FROM idem_upsert(NULL, 'device', '{"id": 1, "name": "five"}', merge => '{}');

-- Without a key nothing is remembered.  With one, the first answer is, and the
-- rules are part of the request.
SELECT count(*) FROM idem_key WHERE response ->> 'name' IN ('one', 'two', 'three', 'four', 'five');
SELECT outcome, replayed, result -> 'name' AS name
FROM idem_upsert('merge-1', 'device', '{"id": 1, "name": "six"}', merge => '{"name": "min"}');
SELECT outcome FROM idem_upsert('merge-2', 'device', '{"id": 1, "name": "eight"}', merge => '{"name": "min"}');
SELECT outcome, replayed, result -> 'name' AS name
FROM idem_upsert('merge-1', 'device', '{"id": 1, "name": "six"}', merge => '{"name": "min"}');
\set VERBOSITY terse
SELECT * FROM idem_upsert('merge-1', 'device', '{"id": 1, "name": "six"}', merge => '{"name": "max"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('merge-1', 'device', '{"id": 1, "name": "six"}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default

-- An expected version: where the merged row is as it was, none is raised.
SELECT outcome, result -> 'version' AS version
FROM idem_upsert(NULL, 'device', '{"id": 1, "tags": ["e"]}', expected_version => 1, merge => '{"tags": "union"}');
SELECT outcome, result -> 'version' AS version
FROM idem_upsert(NULL, 'device', '{"id": 1, "tags": ["e"]}', expected_version => 1, merge => '{"tags": "union"}');
SELECT outcome, result -> 'version' AS version
FROM idem_upsert(NULL, 'device', '{"id": 1, "tags": ["a"]}', expected_version => 2, merge => '{"tags": "union"}');
SELECT outcome, result -> 'version' AS version
FROM idem_upsert(NULL, 'device', '{"id": 1, "tags": ["f"]}', expected_version => 1, merge => '{"tags": "union"}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, result -> 'version' AS version
FROM idem_upsert(NULL, 'device', '{"id": 2, "tags": ["f"]}', expected_version => 1, merge => '{"tags": "union"}');
\echo :LAST_ERROR_SQLSTATE

-- So it is with a table that follows a lifecycle: what changes nothing raises
-- nothing.
CREATE TABLE parcel (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1,
	stops text[] NOT NULL DEFAULT '{}'
);
SELECT idem_attach('parcel', 'order');
INSERT INTO parcel VALUES (1);
SELECT outcome, result FROM idem_upsert(NULL, 'parcel', '{"id": 1, "stops": ["a", "b"]}', merge => '{"stops": "union"}');
SELECT outcome, result FROM idem_upsert(NULL, 'parcel', '{"id": 1, "stops": ["b"]}', merge => '{"stops": "union"}');
-- Enums are ordered, so "max" of a status never goes back.
SELECT outcome, result FROM idem_upsert(NULL, 'parcel', '{"id": 1, "status": "PROCESSING"}', merge => '{"status": "max"}');
SELECT outcome, result FROM idem_upsert(NULL, 'parcel', '{"id": 1, "status": "PENDING"}', merge => '{"status": "max"}');
DROP TABLE parcel;

--
-- Types.  What counts is the default order of the type.  Shown are the outcomes
-- of upserts one after the other (inserted, updated, unchanged: i, u, =), and what
-- the column came to.
--
CREATE DOMAIN level AS int CHECK (VALUE < 100);
CREATE DOMAIN labels AS text[] CHECK (cardinality(VALUE) < 4);
CREATE DOMAIN bag AS jsonb;
CREATE TYPE point2 AS (x int, y int);
CREATE TABLE many (
	id int PRIMARY KEY,
	money numeric(8,2),
	ratio float8,
	code varchar(3),
	padded char(3),
	flag boolean,
	uid uuid,
	span int4range,
	level level,
	labels labels,
	bag bag,
	numbers numeric(4,1)[],
	codes varchar(2)[],
	points point2[],
	pair point2,
	bits text[] COLLATE "C",
	plain json,
	place point,
	places point[]
);
CREATE FUNCTION merged(col text, rule text, VARIADIC data text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
	outcomes text;
	answer record;
BEGIN
	DELETE FROM many;
	FOREACH value IN ARRAY data LOOP
		SELECT * INTO answer
		FROM idem_upsert(NULL, 'many', format('{"id": 1, %s: %s}', to_json(col), coalesce(value, 'null'))::jsonb,
						 merge => jsonb_build_object(col, rule));
		outcomes := concat(outcomes, CASE answer.outcome WHEN 'unchanged' THEN '=' ELSE left(answer.outcome::text, 1) END);
	END LOOP;
	RETURN concat_ws(' ', outcomes, answer.result -> col);
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' ', outcomes, SQLSTATE, CASE WHEN SQLSTATE IN ('42804', '0A000') THEN SQLERRM END);
END $$;
SELECT col, rule, merged(col, rule, VARIADIC data)
FROM (VALUES
	('money', 'max', '{1.5,1.50,1.499,1.505,null}'::text[]),
	('money', 'min', '{null,1.5,1.50,1.499,1.495}'),
	('ratio', 'max', '{1,"\"NaN\"",2,"\"Infinity\""}'),
	('ratio', 'min', '{0,-0.0,"\"NaN\"","\"-Infinity\""}'),
	('code', 'max', '{"\"a\"","\"b\"","\"aa\""}'),
	('padded', 'max', '{"\"a\"","\"a  \"","\"b\""}'),
	('flag', 'max', '{false,true,false}'),
	('flag', 'min', '{true,false,true}'),
	('uid', 'max', '{"\"00000000-0000-0000-0000-00000000000a\"","\"00000000-0000-0000-0000-000000000001\""}'),
	('span', 'max', '{"\"[1,5)\"","\"[2,3)\"","\"[1,9)\""}'),
	('level', 'max', '{1,99,100}'),
	('level', 'keep', '{1,99}'),
	('pair', 'max', '{"{\"x\": 1, \"y\": 5}","{\"x\": 2, \"y\": null}","{\"x\": 2, \"y\": 1}"}'),
	('numbers', 'max', '{"[1, 2]","[2]","[1, 3]"}'),
	('labels', 'keep', '{null,"[\"a\"]","[\"b\"]"}'),
	('plain', 'keep', '{null,"{\"b\":  1}","{}"}'),
	('place', 'keep', '{null,"\"(1,2)\"","\"(3,4)\""}')) AS t(col, rule, data);
SELECT col, merged(col, 'union', VARIADIC data)
FROM (VALUES
	('labels', '{"[\"a\", \"a\"]","[\"b\"]","\"{c,a}\"","[]","[\"d\"]"}'::text[]),
	('numbers', '{"[1.04, 1]","[1.0]","[null, 1.1, null]","[null]"}'),
	('codes', '{"[\"a\"]","[\"bb\", \"a\"]","[\"ccc\"]"}'),
	('points', '{"[{\"x\": 1, \"y\": 1}]","[{\"x\": 1}, {\"x\": 1, \"y\": 1}]","[{\"x\": 1}]"}'),
	('bits', '{"[\"a\", \"A\", \"a\"]","[\"A\", \"b\"]"}'),
	('bag', '{"{\"a\": {\"x\": 1}}","{\"a\": {\"y\": 1}}","{\"a\": {\"y\": 1}}","{}"}'),
	('bag', '{"[1, {\"b\": [2]}, 1.0, null]","[null, {\"b\": [2]}, \"1\"]","[]"}'),
	('bag', '{null,"[1]",null,"[1]"}'),
	('bag', '{"[1]","{\"a\": 1}"}'),
	('bag', '{"{\"a\": 1}","[1]"}'),
	('bag', '{1}'),
	('bag', '{"{}","\"x\""}'),
	('numbers', '{"[1, 2]","[[1, 2], [3, 4]]"}'),
	('numbers', '{"[1, 2]","[100000]"}'),
	('money', '{1}'), ('plain', '{"[1]"}'), ('pair', '{"[1]"}'), ('places', '{"[]"}'), ('span', '{"[]"}')) AS t(col, data);
SELECT col, rule, merged(col, rule, '1') FROM unnest('{plain,place,places}'::text[]) AS col, unnest('{max,min}'::text[]) AS rule;

-- An array to which nothing is added stays as it is, with the bounds it has, and
-- so does a jsonb null.
INSERT INTO many (id, numbers, bag) VALUES (2, '[0:1]={1,2}', 'null');
SELECT outcome, result -> 'numbers' AS numbers
FROM idem_upsert(NULL, 'many', '{"id": 2, "numbers": [2], "bag": null}', merge => '{"numbers": "union", "bag": "union"}');
SELECT outcome, result -> 'bag' AS bag
FROM idem_upsert(NULL, 'many', '{"id": 2, "numbers": [3], "bag": [1]}', merge => '{"numbers": "union", "bag": "union"}');
SELECT numbers FROM many WHERE id = 2;

-- Large arrays.
SELECT outcome, jsonb_array_length(result -> 'numbers')
FROM idem_upsert(NULL, 'many', jsonb_build_object('id', 3, 'numbers', (SELECT jsonb_agg(n % 500) FROM generate_series(1, 50000) AS n)),
				 merge => '{"numbers": "union"}');
DROP TABLE many;

-- Partitions with their columns in another order, under other conflict columns.
CREATE TABLE part (id int, tags text[], hi int, UNIQUE (id)) PARTITION BY HASH (id);
CREATE TABLE part_0 (hi int, gone int, tags text[], id int);
ALTER TABLE part_0 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part_0 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT outcome, result FROM idem_upsert(NULL, 'part', '{"id": 1, "tags": ["a"], "hi": 1}', '{id}', merge => '{"tags": "union", "hi": "max"}');
SELECT outcome, result FROM idem_upsert(NULL, 'part', '{"id": 1, "tags": ["b"], "hi": 0}', '{id}', merge => '{"tags": "union", "hi": "max"}');
SELECT outcome, result FROM idem_upsert(NULL, 'part', '{"id": 1, "tags": ["a"], "hi": 1}', '{id}', merge => '{"tags": "union", "hi": "max"}');
DROP TABLE part;

--
-- What is refused.
--
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, v int,
	tenant int DEFAULT 1, UNIQUE (tenant, v));
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"owner": "max"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"name": "add"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"name": ["max"]}');
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"name": null}');
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"id": "set"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{"name": "union"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'device', '{"id": 1, "nmae": "x"}', merge => '{"nmae": "max"}');
\echo :LAST_ERROR_SQLSTATE

-- Without a key, the row's own key has to tell the repeat.
SELECT idem_upsert(NULL, 'made', '{"v": 1}', merge => '{"v": "max"}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_upsert(NULL, 'made', '{"email": null, "v": 1}', '{email}', merge => '{"v": "max"}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, result -> 'v' AS v FROM idem_upsert(NULL, 'made', '{"email": "a", "v": 1}', '{email}', merge => '{"v": "max"}');
SELECT outcome, result -> 'v' AS v FROM idem_upsert(NULL, 'made', '{"email": "a", "v": 1}', '{email}', merge => '{"v": "max"}');
-- With one, it need not.
SELECT outcome, replayed FROM idem_upsert('merge-3', 'made', '{"v": 2}', merge => '{"v": "max"}');
SELECT outcome, replayed FROM idem_upsert('merge-3', 'made', '{"v": 2}', merge => '{"v": "max"}');
SELECT count(*) FROM made;
BEGIN READ ONLY;
SELECT idem_upsert(NULL, 'device', '{"id": 1, "name": "x"}', merge => '{}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- No key can outlive the rows of a temporary table where there is none.
CREATE TEMPORARY TABLE scratch (id int PRIMARY KEY, hi int);
SELECT outcome FROM idem_upsert(NULL, 'scratch', '{"id": 1, "hi": 1}', merge => '{"hi": "max"}');
SELECT outcome FROM idem_upsert(NULL, 'scratch', '{"id": 1, "hi": 1}', merge => '{"hi": "max"}');
\set VERBOSITY terse
SELECT outcome FROM idem_upsert('merge-4', 'scratch', '{"id": 1, "hi": 1}', merge => '{"hi": "max"}');
\set VERBOSITY default
DROP TABLE scratch;

--
-- Rights, and names that lie in wait.
--
CREATE ROLE regress_idem_merger;
CREATE SCHEMA idem_test_trap;
GRANT USAGE ON SCHEMA idem_test_merge, idem_test_trap TO regress_idem_merger;
GRANT SELECT (id, tags, seen_last), INSERT (id, tags, seen_last), UPDATE (tags) ON device TO regress_idem_merger;
CREATE FUNCTION idem_test_trap.trap() RETURNS text[] LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION idem_test_trap._idem_upsert_union(text[], text[]) RETURNS text[] LANGUAGE sql AS 'SELECT idem_test_trap.trap()';
CREATE FUNCTION idem_test_trap.greatest(timestamp, timestamp) RETURNS timestamp LANGUAGE sql AS 'SELECT idem_test_trap.trap(); SELECT $1';
SET ROLE regress_idem_merger;
SET search_path = idem_test_trap, idem_test_merge, public, pg_catalog;
SELECT outcome, result FROM idem_upsert(NULL, 'device', '{"id": 5, "tags": ["a"], "seen_last": "2024-01-01"}', merge => '{"tags": "union", "seen_last": "max"}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, result FROM idem_upsert(NULL, 'device', '{"id": 5, "tags": ["a"]}', merge => '{"tags": "union"}');
SELECT outcome, result FROM idem_upsert(NULL, 'device', '{"id": 5, "tags": ["b"]}', merge => '{"tags": "union"}');
SELECT outcome, result FROM idem_upsert(NULL, 'device', '{"id": 5, "tags": ["a"]}', merge => '{"tags": "union"}');
RESET ROLE;
SELECT outcome, result -> 'seen_last' AS seen_last
FROM idem_upsert(NULL, 'device', '{"id": 5, "seen_last": "2024-01-01", "tags": ["c"]}', merge => '{"tags": "union", "seen_last": "max"}');
SET search_path = idem_test_merge, public;
DROP SCHEMA idem_test_trap CASCADE;
REVOKE ALL ON device FROM regress_idem_merger;
REVOKE ALL ON SCHEMA idem_test_merge FROM regress_idem_merger;
DROP ROLE regress_idem_merger;

--
-- The rules as laws: for random rows and data, what is done twice is done once,
-- as computed by plain SQL; a repeat after another's change is none; and what
-- two do, they do in either order, except that of "keep" the first counts.
--
CREATE TABLE law (id int PRIMARY KEY, hi numeric(4,1), lo text, tags int[], bag jsonb, fields jsonb, first int);
CREATE FUNCTION random_data() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_object_agg(k, v)
	FROM (VALUES
		('hi', to_jsonb(round(random()::numeric * 10, (random() * 3)::int))),
		('lo', to_jsonb(chr(97 + (random() * 25)::int))),
		('tags', (SELECT jsonb_agg(CASE WHEN n > 0 THEN (random() * 5)::int END) FROM generate_series(0, (random() * 4)::int) AS n)),
		('bag', (SELECT jsonb_agg(CASE WHEN n % 2 = 0 THEN to_jsonb((random() * 5)::int) ELSE jsonb_build_array((random() * 2)::int) END)
				 FROM generate_series(1, 3) AS n)),
		-- equal fields have equal values, so that the order does not matter
		('fields', (SELECT jsonb_object_agg('f' || f, f) FROM (SELECT (random() * 5)::int AS f FROM generate_series(1, 3)) AS s)),
		('first', to_jsonb((random() * 100)::int))) AS t(k, maybe),
		LATERAL (SELECT CASE WHEN random() > 0.2 THEN maybe ELSE 'null' END AS v) AS s
$$;
CREATE FUNCTION apply(id int, data jsonb) RETURNS law LANGUAGE plpgsql AS $$
DECLARE
	answer law;
	row law;
BEGIN
	SELECT r.* INTO answer
	FROM idem_upsert(NULL, 'law', data || jsonb_build_object('id', id), merge => '{"hi": "max",
		"lo": "min", "tags": "union", "bag": "union", "fields": "union", "first": "keep"}') AS u,
		jsonb_populate_record(NULL::law, u.result) AS r;
	SELECT * INTO row FROM law WHERE law.id = apply.id;
	IF answer IS DISTINCT FROM row THEN
		RAISE 'told %, but it is %', answer, row;
	END IF;
	RETURN row;
END $$;
-- A row as a set of sets, and what a union should come to.
CREATE FUNCTION as_sets(r law) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(r.hi, r.lo, (SELECT array_agg(t ORDER BY t) FROM unnest(r.tags) AS t),
		(SELECT array_agg(b ORDER BY b) FROM jsonb_array_elements(r.bag) AS b), r.fields)
$$;
CREATE FUNCTION model(a law, b law) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(
		(SELECT max(v) FROM (VALUES (a.hi), (b.hi)) AS t(v)), (SELECT min(v) FROM (VALUES (a.lo), (b.lo)) AS t(v)),
		(SELECT array_agg(DISTINCT t ORDER BY t) FROM (SELECT unnest(a.tags) UNION SELECT unnest(b.tags)) AS s(t)),
		(SELECT array_agg(DISTINCT t ORDER BY t) FROM (SELECT jsonb_array_elements(a.bag) UNION SELECT jsonb_array_elements(b.bag)) AS s(t)),
		(SELECT jsonb_object_agg(f.key, f.value)
		 FROM (SELECT * FROM jsonb_each(a.fields) UNION SELECT * FROM jsonb_each(b.fields)) AS f))
$$;
CREATE FUNCTION check_laws(rounds int, OUT twice int, OUT late int, OUT order_matters int,
	OUT wrong int, OUT first_lost int) LANGUAGE plpgsql AS $$
DECLARE
	f jsonb;
	g jsonb;
	once law;
	two law;
	other law;
BEGIN
	twice := 0; late := 0; order_matters := 0; wrong := 0; first_lost := 0;
	FOR i IN 1 .. rounds LOOP
		f := random_data();
		g := random_data();
		once := apply(2 * i, f);
		twice := twice + (apply(2 * i, f) IS DISTINCT FROM once)::int;
		two := apply(2 * i, g);
		late := late + (apply(2 * i, f) IS DISTINCT FROM two)::int + (apply(2 * i, g) IS DISTINCT FROM two)::int;
		PERFORM apply(2 * i + 1, g);
		other := apply(2 * i + 1, f);
		order_matters := order_matters + (as_sets(two) IS DISTINCT FROM as_sets(other))::int;
		wrong := wrong + (as_sets(two) IS DISTINCT FROM
			model(jsonb_populate_record(NULL::law, f), jsonb_populate_record(NULL::law, g)))::int;
		first_lost := first_lost + (two.first IS DISTINCT FROM coalesce((f ->> 'first')::int, (g ->> 'first')::int))::int;
	END LOOP;
END $$;
SELECT * FROM check_laws(300);

DELETE FROM idem_key WHERE starts_with(key, 'merge-');
DROP SCHEMA idem_test_merge CASCADE;
