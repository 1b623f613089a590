-- The rows in answers are written by _idem_row_jsonb(), which gives the same as
-- to_jsonb(), to the byte, in less time.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_row;
SET search_path = idem_test_row, public;

-- What it does: a row becomes an object.
SELECT _idem_row_jsonb(r) FROM (VALUES (1, 'one', 1.50, true, NULL::date)) AS r(id, name, price, sold, day);

-- A table with a column of every kind of type.
CREATE TYPE mood AS ENUM ('sad', 'quite happy');
CREATE TYPE spoken AS ENUM ('yes', 'no');
CREATE TYPE pair AS (a int, b text, day date);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN amount AS numeric(10,2);
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN names AS text[];
CREATE FUNCTION spoken_json(spoken) RETURNS json LANGUAGE sql IMMUTABLE
AS $$ SELECT json_build_object('said', $1::text) $$;
CREATE CAST (spoken AS json) WITH FUNCTION spoken_json(spoken);

CREATE TABLE every (
	what text,
	going int,
	"Quoted ""name""" int,
	"Spaces are part of it" int,
	boolean_ boolean, int2_ int2, int4_ int4, int8_ int8,
	float4_ float4, float8_ float8,
	numeric_ numeric, numeric_p numeric(12,2), numeric_s numeric(5,-2), money_ money,
	text_ text, varchar_ varchar, varchar_p varchar(6), bpchar_ bpchar, bpchar_p char(6),
	char_ "char", name_ name, bytea_ bytea, bit_ bit(3), varbit_ varbit,
	date_ date, timestamp_ timestamp, timestamp_p timestamp(0), timestamptz_ timestamptz,
	timestamptz_p timestamptz(2), time_ time, timetz_ timetz, interval_ interval,
	uuid_ uuid, json_ json, jsonb_ jsonb, jsonpath_ jsonpath,
	oid_ oid, regclass_ regclass, regtype_ regtype, lsn_ pg_lsn,
	inet_ inet, cidr_ cidr, macaddr_ macaddr, point_ point, box_ box, circle_ circle,
	tsvector_ tsvector, tsquery_ tsquery,
	int4range_ int4range, tstzrange_ tstzrange, nummultirange_ nummultirange,
	ints int[], texts text[], dates date[], jsonbs jsonb[], pairs pair[],
	pair_ pair, mood_ mood, moods mood[], spoken_ spoken, spokens spoken[],
	positive_ positive, amount_ amount, document_ document, names_ names
);
ALTER TABLE every DROP COLUMN going;

INSERT INTO every (what) VALUES ('nulls');

INSERT INTO every VALUES ('plain', 1, 2,
	true, 1, -2, 3, 1.5, -0.1,
	1.50, 2.5, 12345, 3.25,
	'text', 'varchar', 'abc', 'bpchar ', 'abc',
	'x', 'name', '\x00ff', B'101', B'10',
	'2026-03-01', '2026-03-01 12:34:56.789', '2026-03-01 12:34:56.789', '2026-03-01 12:34:56.789+00',
	'2026-03-01 12:34:56.789+00', '12:34:56.7', '12:34:56.7+02', '1 year 2 mons 3 days 04:05:06.7',
	'0190a1b2-7c3d-7e4f-8000-0123456789ab', '{"b": 1, "a": [1, {"c": null}], "b": 2}',
	'{"b": 1, "a": [1, {"c": null}]}', '$.a[*] ? (@ > 1)',
	1234, 'pg_class', 'integer', '16/B374D848',
	'10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)', '(1,2),(3,4)', '<(1,2),3>',
	'a fat cat', 'fat & cat',
	'[1,5)', '[2026-03-01 00:00+00,)', '{[1.5,2.5),(7,8]}',
	'{{1,2},{3,NULL}}', '{a,"b c",NULL,""}', '{2026-03-01,infinity}', '{"{\"a\": 1}","2"}',
	'{"(1,x,2026-03-01)"}',
	'(1,"x y",2026-03-01)', 'quite happy', '{sad,NULL}', 'yes', '{no,yes}',
	7, 7.5, '[1]', '{a,b}');

INSERT INTO every VALUES ('empty and least', 0, 0,
	false, -32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity',
	'-Infinity', -9999999999.99, -99999, '-92233720368547758.08',
	'', '', '', '', '',
	'', '', '', B'000', '',
	'4714-11-24 BC', '4714-11-24 00:00:00 BC', '-infinity', '4714-11-24 00:00:00+00 BC',
	'-infinity', '00:00', '00:00+15:59', '-178000000 years',
	'00000000-0000-0000-0000-000000000000', '""', '{}', '$',
	0, 0, 0, '0/0',
	'0.0.0.0', '::/0', '00:00:00:00:00:00', '(-Infinity,0)', '(0,0),(0,0)', '<(0,0),0>',
	'', '',
	'empty', 'empty', '{}',
	'{}', '{}', '{}', '{}', '{}',
	'(,,)', 'sad', '{}', 'no', '{}',
	1, -99999999.99, '""', '{}');

INSERT INTO every VALUES ('most', 2147483647, -1,
	true, 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity',
	'Infinity', 9999999999.99, 99949, '92233720368547758.07',
	repeat('long, to be compressed; ', 4000), repeat(chr(233), 3000), repeat(chr(246), 6), 'trailing   ', '   ',
	E'\\377', repeat('n', 63), decode(repeat('ff', 3000), 'hex'), B'111', repeat('10', 200)::varbit,
	'5874897-12-31', '294276-12-31 23:59:59.999999', 'infinity', '294276-12-31 23:59:59.999999+00',
	'infinity', '24:00', '24:00-15:59', '178000000 years',
	'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', 'strict $.a',
	4294967295, 'every', 'mood', 'FFFFFFFF/FFFFFFFF',
	'ffff::1', 'ff00::/8', 'ff:ff:ff:ff:ff:ff', '(NaN,Infinity)', '(Infinity,0),(0,0)', '<(0,0),Infinity>',
	'''quoted'':1A', '!a | b <-> c',
	'(,)', '(,)', '{(,)}',
	'[-1:0]={1,2}', ARRAY[repeat('x', 5000)], '{"4714-11-24 BC"}', '{null,"[]"}', '{NULL}',
	'(,"",infinity)', NULL, NULL, NULL, NULL,
	2147483647, 99999999.99, 'null', '{NULL}');

INSERT INTO every (what, float4_, float8_, numeric_, amount_, text_, json_, jsonb_, document_, date_, timestamptz_, interval_) VALUES
	('not a number', 'NaN', 'NaN', 'NaN', 'NaN', E'quote " backslash \\ tab \t line \n del \x7f', '[1, 2.50, "x"]', '1.50', '"x"', 'infinity', '1900-01-01 00:00:00+00', '-1 day -00:00:01'),
	('numbers as written', 1e-45, 2.2250738585072014e-308, 0.000, 0, 'null', '1.50', '[]', '{"z": {"y": []}}', '0001-01-01 BC', '0001-01-01 00:00:00+00 BC', '0'),
	('small numbers', 3.4028235e38, 1.7976931348623157e308, 1e-16383::numeric, 0.01, '{"not": "json"}', '  { "a" : 1 } ', 'true', '[[]]', '0001-01-01', '2026-07-01 00:00:00+00', '00:00:00.000001'),
	('large numbers', '-0', '-0', 123456789e4000::numeric, 100, chr(233) || chr(160), '{"\u0042": "\u0041"}', to_jsonb(chr(233)), '-0.0', '2000-01-01', '2026-03-29 01:30:00+00', '1 mon'),
	('round numbers', 100, 1e15, 1000000000000000000000, 12345678.90, ' ', '[]', '1e5', '0', '1999-12-31', '2026-10-25 01:00:00+00', '99 years'),
	('digits', 0.1::float4, 0.1, 10000.0001, 0.10, 'x', '{}', '{"a": 1.10}', '{"a": {}}', '1582-10-04', '1582-10-04 00:00:00+00', '1.5 secs'),
	('no digits', 1e20, 123456789012345680, 10000, 1, chr(255), '{"a":"\"\\\/\b\f\n\r\t"}', '{"": ""}', '{"aa": 1, "b": 2}', '9999-12-31', '9999-12-31 23:59:59+00', '1000 hours');

-- too large to be in the row, and not to be compressed
INSERT INTO every (what, text_, jsonb_, json_, texts)
SELECT 'large', string_agg(h, ''), jsonb_agg(h), json_agg(h), array_agg(h)
FROM (SELECT md5(n::text) AS h FROM generate_series(1, 2000) AS n) AS hashes;

-- columns that the rows before do not hold
ALTER TABLE every ADD COLUMN added int DEFAULT 5, ADD COLUMN added_text text DEFAULT 'five',
	ADD COLUMN added_null jsonb;
INSERT INTO every (what, added, added_text, added_null) VALUES ('after', 6, NULL, '6');

-- Rows that differ from what to_jsonb() gives, in their bytes: none.
CREATE VIEW differences AS
SELECT what FROM every AS e
WHERE record_image_ne(ROW(to_jsonb(e)), ROW(_idem_row_jsonb(e)));
SELECT count(*) AS rows, count(_idem_row_jsonb(e)) AS written FROM every AS e;
SELECT * FROM differences;

-- nor does it depend on settings otherwise than to_jsonb() does
SET TimeZone = 'America/St_Johns';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
SELECT * FROM differences;
SELECT _idem_row_jsonb(r) FROM (SELECT timestamptz_, timestamp_, date_ FROM every WHERE what = 'plain') AS r;
SET TimeZone = 'UTC';
SELECT _idem_row_jsonb(r) FROM (SELECT timestamptz_, timestamp_, date_ FROM every WHERE what = 'plain') AS r;
RESET DateStyle;
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;
RESET TimeZone;

-- The way back, as documented: a typed row.  These columns are not what they were,
-- in these rows: the object does not hold how json is spelled, the bounds of an array,
-- which null it was, or that a zero is negative.  What has a cast to json of its own does not come back by itself.
CREATE VIEW returned AS
SELECT e.what, e AS before, jsonb_populate_record(NULL::every, _idem_row_jsonb(e) - '{spoken_,spokens}'::text[]) AS after FROM every AS e;
SELECT string_agg(format('SELECT %L AS column_, what, left((before).%I::text, 30) AS before, left((after).%I::text, 30) AS after
	FROM returned WHERE record_image_ne(ROW((before).%I), ROW((after).%I))', attname, attname, attname, attname, attname), ' UNION ALL ' ORDER BY attnum) AS query
FROM pg_attribute WHERE attrelid = 'every'::regclass AND attnum > 0 AND NOT attisdropped AND attname !~ '^spoken' \gset
:query ORDER BY 1, 2;

-- Rows that a statement returned are written in the same way.
BEGIN;
SELECT e.result = (SELECT jsonb_agg(to_jsonb(r) ORDER BY what) FROM every AS r) AS same,
	jsonb_array_length(e.result) AS rows
FROM idem_execute('row_jsonb', 'SELECT * FROM every ORDER BY what') AS e;
ROLLBACK;

-- A cast to json is called for a value of the type that has it.
SELECT _idem_row_jsonb(r) FROM (SELECT spoken_, spokens, mood_ FROM every WHERE what = 'plain') AS r;

-- Fields are in the order that jsonb has them in, and of two of one name the
-- last counts.
SELECT _idem_row_jsonb(r), to_jsonb(r) FROM (SELECT 1 AS long_name, 2 AS b, 3 AS a, 4 AS b) AS r;

-- Rows without a type of their own, without columns, within rows, and none.
SELECT _idem_row_jsonb(ROW(1, 'x'::text, ROW(2, NULL)));
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT _idem_row_jsonb(n) FROM nothing AS n;
SELECT _idem_row_jsonb(r), to_jsonb(r)
FROM (SELECT p, 1 AS n FROM (VALUES (1, 'x')) AS p(a, b)) AS r;
SELECT _idem_row_jsonb(NULL) IS NULL AS none;

-- Errors are those of to_jsonb(), too.
CREATE FUNCTION spoken_json_now(spoken) RETURNS json LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'not to be said'; END $$;
DROP CAST (spoken AS json);
CREATE CAST (spoken AS json) WITH FUNCTION spoken_json_now(spoken);
\set VERBOSITY terse
SELECT _idem_row_jsonb(r) FROM (SELECT spoken_ FROM every WHERE what = 'plain') AS r;
\set VERBOSITY default

DROP SCHEMA idem_test_row CASCADE;
