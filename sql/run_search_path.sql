-- A schema full of look-alikes, first in search_path, changes nothing: what
-- idem runs means the same for everybody.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_path;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_mallory;
CREATE ROLE regress_idem_victim;
GRANT USAGE ON SCHEMA idem_test_path TO PUBLIC;
CREATE TABLE idem_test_path.t (id int PRIMARY KEY, name text, n numeric(6,2), j jsonb,
	a int[], c char(4), version int NOT NULL DEFAULT 1);
GRANT ALL ON idem_test_path.t TO regress_idem_victim;

-- The traps tell when they are sprung.
CREATE SCHEMA idem_test_evil AUTHORIZATION regress_idem_mallory;
SET ROLE regress_idem_mallory;
GRANT USAGE ON SCHEMA idem_test_evil TO PUBLIC;
SET search_path = idem_test_evil;

CREATE TABLE idem_key (scope text, key text);
CREATE TYPE idem_outcome AS ENUM ('inserted');
CREATE TYPE jsonb AS (f int);
CREATE DOMAIN text AS pg_catalog.text CHECK (false);
CREATE DOMAIN int4 AS pg_catalog.int4 CHECK (false);
CREATE DOMAIN int8 AS pg_catalog.int8 CHECK (false);
CREATE DOMAIN numeric AS pg_catalog.numeric CHECK (false);
CREATE DOMAIN json AS pg_catalog.json CHECK (false);
CREATE DOMAIN timestamptz AS pg_catalog.timestamptz CHECK (false);
CREATE DOMAIN xid AS pg_catalog.xid CHECK (false);

-- Functions take the very types that are passed, so that they would win.
DO $$
DECLARE
	f pg_catalog.text;
BEGIN
	FOREACH f IN ARRAY '{to_jsonb(pg_catalog.anyelement) RETURNS pg_catalog.jsonb,
		to_jsonb(pg_catalog.record) RETURNS pg_catalog.jsonb,
		jsonb_to_record(pg_catalog.jsonb) RETURNS pg_catalog.record,
		jsonb_typeof(pg_catalog.jsonb) RETURNS pg_catalog.text,
		record_image_ne(pg_catalog.record\, pg_catalog.record) RETURNS pg_catalog.bool,
		now() RETURNS pg_catalog.timestamptz,
		clock_timestamp() RETURNS pg_catalog.timestamptz,
		idem_upsert(pg_catalog.text\, pg_catalog.regclass\, pg_catalog.jsonb) RETURNS pg_catalog.text}'::pg_catalog.text[]
	LOOP
		EXECUTE pg_catalog.format('CREATE FUNCTION %s LANGUAGE plpgsql AS %L', f,
			'BEGIN RAISE ''sprung''; END');
	END LOOP;
END $$;
CREATE FUNCTION eq_text(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: =''; END';
CREATE FUNCTION eq_int4(pg_catalog.int4, pg_catalog.int4) RETURNS pg_catalog.bool
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: =''; END';
CREATE FUNCTION eq_int48(pg_catalog.int4, pg_catalog.int8) RETURNS pg_catalog.bool
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: =''; END';
CREATE FUNCTION eq_xid(pg_catalog.xid, pg_catalog.xid) RETURNS pg_catalog.bool
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: =''; END';
CREATE FUNCTION le_time(pg_catalog.timestamptz, pg_catalog.timestamptz) RETURNS pg_catalog.bool
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: <=''; END';
CREATE FUNCTION plus4(pg_catalog.int4, pg_catalog.int4) RETURNS pg_catalog.int4
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: +''; END';
CREATE FUNCTION plus8(pg_catalog.int8, pg_catalog.int4) RETURNS pg_catalog.int8
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: +''; END';
CREATE FUNCTION get_json(pg_catalog.jsonb, pg_catalog.text) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: ->''; END';
CREATE FUNCTION get_text(pg_catalog.jsonb, pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung: ->>''; END';
CREATE OPERATOR = (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = eq_text);
CREATE OPERATOR = (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = eq_int4);
CREATE OPERATOR = (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int8, FUNCTION = eq_int48);
CREATE OPERATOR = (LEFTARG = pg_catalog.xid, RIGHTARG = pg_catalog.xid, FUNCTION = eq_xid);
CREATE OPERATOR <= (LEFTARG = pg_catalog.timestamptz, RIGHTARG = pg_catalog.timestamptz, FUNCTION = le_time);
CREATE OPERATOR + (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = plus4);
CREATE OPERATOR + (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int4, FUNCTION = plus8);
CREATE OPERATOR -> (LEFTARG = pg_catalog.jsonb, RIGHTARG = pg_catalog.text, FUNCTION = get_json);
CREATE OPERATOR ->> (LEFTARG = pg_catalog.jsonb, RIGHTARG = pg_catalog.text, FUNCTION = get_text);

-- They are good traps: a role that names things bare walks into them.
RESET ROLE;
SET ROLE regress_idem_victim;
SET search_path = idem_test_evil, pg_catalog, public, idem_test_path;
\set VERBOSITY terse
SELECT '{"a": 1}'::pg_catalog.jsonb ->> 'a'::pg_catalog.text;
SELECT 1 + 1;
SELECT 'x'::text;

-- idem does not: through every statement that it has.
BEGIN;
SELECT * FROM public.idem_upsert('path-1', 'idem_test_path.t',
	'{"id": 1, "name": "a", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}',
	ttl => '1 microsecond');
SELECT * FROM public.idem_upsert('path-1', 'idem_test_path.t',
	'{"id": 1, "name": "b", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}');
SELECT * FROM public.idem_upsert('path-1', 'idem_test_path.t',
	'{"id": 1, "name": "b", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}');
SELECT * FROM public.idem_upsert('path-2', 'idem_test_path.t',
	'{"id": 1, "name": "c", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}',
	expected_version => 1::pg_catalog.int8);
SELECT * FROM public.idem_upsert('path-3', 'idem_test_path.t',
	'{"id": 1, "name": "c", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}',
	expected_version => 1::pg_catalog.int8);
SELECT * FROM public.idem_upsert('path-4', 'idem_test_path.t',
	'{"id": 1, "name": "c", "n": 1.005, "j": {"x": 1}, "a": [1, 2], "c": "z"}');
COMMIT;

-- Nor through those for privileges on columns.
RESET ROLE;
REVOKE ALL ON idem_test_path.t FROM regress_idem_victim;
GRANT INSERT (id, name), SELECT (id, name), UPDATE (name) ON idem_test_path.t TO regress_idem_victim;
SET ROLE regress_idem_victim;
SELECT * FROM public.idem_upsert('path-5', 'idem_test_path.t', '{"id": 1, "name": "d"}');
SELECT * FROM public.idem_upsert('path-6', 'idem_test_path.t', '{"id": 1, "name": "d"}');
SELECT * FROM public.idem_upsert('path-7', 'idem_test_path.t', '{"id": 2, "name": "d"}');

-- Nor with no search_path at all, nor with a temporary look-alike, which
-- would otherwise come before everything.
SET search_path = '';
SELECT * FROM public.idem_upsert('path-8', 'idem_test_path.t', '{"id": 3, "name": "d"}');
CREATE TEMPORARY TABLE idem_key (scope text, key text);
CREATE TEMPORARY TABLE t (id int);
SELECT * FROM public.idem_upsert('path-9', 'idem_test_path.t', '{"id": 4, "name": "d"}');
SELECT * FROM public.idem_upsert('path-9', 'idem_test_path.t', '{"id": 4, "name": "d"}');
RESET ROLE;
RESET search_path;
DROP TABLE pg_temp.idem_key, pg_temp.t;
SELECT (SELECT count(*) FROM public.idem_key WHERE starts_with(key, 'path-')) AS real,
	   (SELECT count(*) FROM idem_test_evil.idem_key) AS evil;

DELETE FROM idem_key WHERE starts_with(key, 'path-');
DROP SCHEMA idem_test_evil CASCADE;
DROP SCHEMA idem_test_path CASCADE;
DROP OWNED BY regress_idem_mallory;
DROP ROLE regress_idem_mallory, regress_idem_victim;
