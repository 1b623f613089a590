-- Values of every type: a field of the data means what a quoted literal of its
-- text would mean in the column, and JSON structure counts where it can.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_types;
SET search_path = idem_test_types, public;
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- Each value is upserted into a fresh table with a column of the type, and
-- again under another key, which must find nothing to change.  Shown is what
-- the column then holds, and the SQLSTATE where the value was refused.
CREATE FUNCTION store(type text, value jsonb, OUT stored text, OUT again text)
LANGUAGE plpgsql AS $$
DECLARE
	data jsonb := jsonb_build_object('id', 1, 'v', value);
BEGIN
	EXECUTE format('CREATE TABLE one (id int PRIMARY KEY, v %s)', type);
	BEGIN
		PERFORM idem_upsert('types-1', 'one', data);
		SELECT outcome INTO again FROM idem_upsert('types-2', 'one', data);
		SELECT coalesce(v::text, 'NULL') INTO stored FROM one;
		RAISE SQLSTATE 'TT000';		-- forget the keys
	EXCEPTION
		WHEN SQLSTATE 'TT000' THEN NULL;
		WHEN OTHERS THEN stored := SQLSTATE;
	END;
	DROP TABLE one;
END $$;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'Very Happy');
CREATE TYPE point3 AS (x int, y numeric(4,1), "Z z" text[]);
CREATE TYPE nested AS (name text, at point3);
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN zip AS varchar(5);
CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 3);
CREATE DOMAIN place AS point3 CHECK ((VALUE).x > 0);
CREATE DOMAIN document AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE DOMAIN small_percent AS percent CHECK (VALUE < 10);

-- Numbers.  Numbers and strings of digits mean the same.
SELECT type, value, stored, again FROM (VALUES
	('smallint', '32767'::jsonb), ('smallint', '32768'),
	('int', '-1'), ('int', '"42"'), ('int', '" 42 "'), ('int', '1e3'),
	('int', '1.5'), ('int', '"x"'), ('int', '""'), ('int', 'true'), ('int', '[1]'),
	('int', '{"a": 1}'), ('int', '3000000000'),
	('bigint', '9223372036854775807'), ('bigint', '9223372036854775808'),
	('numeric', '1.10'), ('numeric', '1e-10'), ('numeric', '"NaN"'),
	('numeric', '12345678901234567890123456789.123456789'),
	('numeric(10,2)', '1.235'), ('numeric(10,2)', '-1.235'), ('numeric(3,2)', '10'),
	('real', '0.1'), ('double precision', '0.1'), ('double precision', '"-Infinity"'),
	('double precision', '"1e400"'),
	('oid', '4294967295'), ('oid', '4294967296')
) AS v(type, value), store(type, value);

-- Strings.  Where the modifier cuts too long a value off, spaces aside, it is
-- refused, as a plain INSERT does.
SELECT type, value, stored, again FROM (VALUES
	('text', '"any text"'::jsonb), ('text', '""'), ('text', '"a\"b\\c\n"'), ('text', '7'),
	('text', 'true'), ('text', '{"a": [1, null]}'), ('text', '[1, 2]'),
	('varchar(3)', '"abc"'), ('varchar(3)', '"abcd"'), ('varchar(3)', '"abc  "'),
	('varchar', '"any"'), ('char(3)', '"a"'), ('char(3)', '"a  "'), ('char(3)', '"abcd"'),
	('char', '"ab"'), ('"char"', '"z"'), ('name', '"n"'), ('text COLLATE "C"', '"c"'),
	('bytea', '"\\x00ff"'), ('bytea', '"\\xz"'),
	('bit(3)', '"101"'), ('bit(3)', '"10"'), ('varbit(3)', '"10"'), ('varbit(3)', '"1010"'),
	('boolean', 'true'), ('boolean', '"off"'), ('boolean', '0'), ('boolean', '"maybe"')
) AS v(type, value), store(type, value);

-- Dates and times.
SELECT type, value, stored, again FROM (VALUES
	('date', '"2024-02-29"'::jsonb), ('date', '"2023-02-29"'), ('date', '"infinity"'),
	('date', '20240229'),
	('time', '"10:20:30.5"'), ('time(0)', '"10:20:30.5"'), ('timetz', '"10:20+02"'),
	('timestamp', '"2024-01-02T03:04:05.6"'), ('timestamp(0)', '"2024-01-02 03:04:05.6"'),
	('timestamptz', '"2024-01-02T03:04:05.678+02:00"'),
	('timestamptz(0)', '"2024-01-02T03:04:05.678+02:00"'),
	('interval', '"1 day 2 hours"'), ('interval', '"PT5M"'), ('interval hour', '"3"'),
	('interval(0)', '"1.6 seconds"'), ('interval year to month', '"1-2"')
) AS v(type, value), store(type, value);

-- JSON.  JSON null is SQL NULL, since there is no other way to say NULL.
SELECT type, value, stored, again FROM (VALUES
	('jsonb', '{"b": 1, "a": [null]}'::jsonb), ('jsonb', '"text"'), ('jsonb', '1.50'),
	('jsonb', '[]'), ('jsonb', 'false'), ('jsonb', 'null'), ('jsonb', '"null"'),
	('json', '{"b": 1, "a": [null]}'), ('json', '"text"'), ('json', 'null'),
	('jsonb[]', '[{"a": 1}, null, "x"]'), ('int', 'null'), ('text', 'null'), ('int[]', 'null'),
	('point3', 'null'), ('percent', 'null')
) AS v(type, value), store(type, value);

-- Arrays, of one dimension or more, as JSON or as PostgreSQL's own literal.
SELECT type, value, stored, again FROM (VALUES
	('int[]', '[1, null, "3"]'::jsonb), ('int[]', '[[1, 2], [3, 4]]'), ('int[]', '[[1], [2, 3]]'),
	('int[]', '[]'), ('int[]', '"{1,2}"'), ('int[]', '"[0:1]={1,2}"'), ('int[]', '1'),
	('int[]', '["x"]'), ('int[]', '{"a": 1}'),
	('text[]', '["a,b", null, "null", "{\"", ""]'), ('text[]', '[1, true, {"a": 1}]'),
	('numeric(4,1)[]', '[1.25, 2]'), ('varchar(2)[]', '["ab", "abc"]'),
	('mood[]', '["sad", "Very Happy"]'), ('date[]', '["2024-01-01"]')
) AS v(type, value), store(type, value);

-- Types of the user's own.
SELECT type, value, stored, again FROM (VALUES
	('mood', '"Very Happy"'::jsonb), ('mood', '"glad"'), ('mood', '1'),
	('point3', '{"x": 1, "y": 1.25, "Z z": ["a", "b"]}'), ('point3', '{"x": 1}'),
	('point3', '"(1,2,{a})"'), ('point3', '{"x": "a"}'), ('point3', '[1]'),
	('nested', '{"name": "n", "at": {"x": 1}}'),
	('point3[]', '[{"x": 1}, {"x": 2}]'),
	('percent', '100'), ('percent', '101'), ('small_percent', '9'), ('small_percent', '10'),
	('zip', '"12345"'), ('zip', '"123456"'),
	('tags', '["a", "b"]'), ('tags', '["a", "b", "c"]'),
	('place', '{"x": 1}'), ('place', '{"x": 0}'),
	('document', '{}'), ('document', '[]')
) AS v(type, value), store(type, value);

-- The rest.
SELECT type, value, stored, again FROM (VALUES
	('uuid', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"'::jsonb), ('uuid', '"a0eebc99"'),
	('inet', '"10.1.2.3/8"'), ('cidr', '"10.1.0.0/16"'), ('cidr', '"10.1.2.3/8"'),
	('macaddr', '"08:00:2b:01:02:03"'),
	('int4range', '"[1,5)"'), ('int4range', '"[1,5]"'), ('int4range', '"empty"'),
	('tstzrange', '"[2024-01-01, 2024-02-01)"'), ('int4multirange', '"{[1,3),[5,7)}"'),
	('int4range[]', '["[1,2)", null]'),
	('point', '"(1,2)"'), ('box', '"((0,0),(1,1))"'),
	('tsvector', '"a fat cat"'), ('tsquery', '"a & b"'),
	('pg_lsn', '"16/B374D848"'), ('xid8', '"42"'),
	('regclass', '"pg_catalog.pg_class"'), ('regtype', '"int4"')
) AS v(type, value), store(type, value);

-- Huge values, compared where they are kept out of line and compressed.
CREATE TABLE big (id int PRIMARY KEY, t text, j jsonb, a int[], touched int DEFAULT 0);
SELECT outcome, length(result ->> 't'), jsonb_array_length(result -> 'j')
FROM idem_upsert('types-10', 'big', jsonb_build_object('id', 1, 't', repeat('abc', 1000000),
	'j', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n),
	'a', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n)));
SELECT outcome
FROM idem_upsert('types-11', 'big', jsonb_build_object('id', 1, 't', repeat('abc', 1000000),
	'j', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n),
	'a', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n)));
SELECT outcome, replayed, length(result ->> 't')
FROM idem_upsert('types-11', 'big', jsonb_build_object('id', 1, 't', repeat('abc', 1000000),
	'j', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n),
	'a', (SELECT jsonb_agg(n) FROM generate_series(1, 100000) AS n)));

-- Any type with a unique index may tell which row is the same.
CREATE FUNCTION same_row(type text, value jsonb, other jsonb, OUT second text, OUT result jsonb)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE one (k %s PRIMARY KEY, v int)', type);
	BEGIN
		PERFORM idem_upsert('types-20', 'one', jsonb_build_object('k', value, 'v', 1));
		SELECT r.outcome, r.result INTO second, same_row.result
		FROM idem_upsert('types-21', 'one', jsonb_build_object('k', other, 'v', 1)) AS r;
		RAISE SQLSTATE 'TT000';
	EXCEPTION
		WHEN SQLSTATE 'TT000' THEN NULL;
		WHEN OTHERS THEN second := SQLSTATE;
	END;
	DROP TABLE one;
END $$;
SELECT type, second, result FROM (VALUES
	('numeric', '1.0'::jsonb, '1.00'::jsonb), ('numeric(8,1)', '1.11', '1.12'),
	('char(4)', '"ab"', '"ab "'), ('varchar(2)', '"ab"', '"ab  "'), ('text', '"a"', '"A"'),
	('timestamptz(0)', '"2024-01-01 00:00:00.6Z"', '"2024-01-01 00:00:01Z"'),
	('date', '"2024-01-01"', '"20240101"'), ('uuid',
	 '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', '"a0eebc999c0b4ef8bb6d6bb9bd380a11"'),
	('bytea', '"\\x61"', '"a"'), ('inet', '"::1"', '"0::1"'), ('mood', '"ok"', '"ok"'),
	('int[]', '[1, 2]', '"{1,2}"'), ('int4range', '"[1,2]"', '"[1,3)"'),
	('point3', '{"x": 1, "y": 2}', '"(1,2.0,)"'), ('percent', '7', '"7"'),
	('zip', '"12345"', '"12345 "'), ('jsonb', '{"a": 1.0}', '{"a": 1.00}'),
	('interval hour', '"3"', '"3 hours"'), ('boolean', 'true', '"yes"'),
	('name', '"n"', '"n"'), ('bit(2)', '"10"', '"10"'), ('text COLLATE "C"', '"a"', '"a"')
) AS v(type, value, other), same_row(type, value, other);

DELETE FROM idem_key WHERE starts_with(key, 'types-');
DROP SCHEMA idem_test_types CASCADE;
