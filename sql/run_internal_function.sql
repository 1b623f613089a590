-- The functions that stand in idem's own statements may be called by anybody, by
-- other ways than a statement, too.  Whatever they are given, nothing comes of it
-- but an error.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_helpers;
CREATE ROLE regress_idem_stranger;
GRANT USAGE, CREATE ON SCHEMA idem_test_helpers TO regress_idem_stranger;
SET search_path = idem_test_helpers, public;
SET ROLE regress_idem_stranger;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate

-- Arrays of two types, which only an aggregate over anyarray brings together.
CREATE TABLE sample (b bytea, n int);
INSERT INTO sample SELECT '\x01', 4 * 4096 FROM generate_series(1, 100);
ANALYZE sample;
CREATE AGGREGATE united(anyarray) (SFUNC = _idem_upsert_union, STYPE = anyarray);
SELECT united(v) FROM (
	SELECT most_common_vals AS v FROM pg_stats
	WHERE schemaname = 'idem_test_helpers' ORDER BY attname) AS s;
SELECT united(v) FROM (
	SELECT most_common_vals AS v FROM pg_stats
	WHERE schemaname = 'idem_test_helpers' ORDER BY attname DESC) AS s;
SELECT united(most_common_vals) AS one_type FROM pg_stats
WHERE schemaname = 'idem_test_helpers' AND attname = 'n';
SELECT united(v) FROM (VALUES ('{1,2}'::int[]), (NULL), ('{2,3}')) AS t(v);
SELECT united(NULL::int[]) IS NULL AS none;

-- What has elements, but is not an array of them.
SELECT _idem_upsert_union('1 2'::int2vector, '2 3'::int2vector);
SELECT _idem_upsert_union('1 2'::oidvector, NULL);
CREATE DOMAIN numbers AS int2vector;
SELECT _idem_upsert_union('1 2'::numbers, '2 3'::numbers);
CREATE TABLE vector (id int PRIMARY KEY, v int2vector);
SELECT * FROM idem_upsert(NULL, 'vector', '{"id": 1, "v": "1 2"}', merge => '{"v": "union"}');
CREATE DOMAIN names AS text[];
SELECT _idem_upsert_union('{a}'::names, '{b,a}'::names);
SELECT _idem_upsert_union('{a}'::varchar[]::text[], '{b,a}'::text[]);
SELECT _idem_upsert_union(ARRAY[ROW(1, 'x')], ARRAY[ROW(1, 2)]);
CREATE OPERATOR ||| (LEFTARG = anyarray, RIGHTARG = anyarray, FUNCTION = _idem_upsert_union);
SELECT '{1}'::int[] ||| '{2}';
SELECT '{1}'::int[] ||| '{a}'::text[];

-- A row of any kind is written as to_jsonb() does it.
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN some_pair AS pair;
CREATE FUNCTION latest(pair, pair) RETURNS pair LANGUAGE sql AS 'SELECT $2';
CREATE AGGREGATE written(pair) (SFUNC = latest, STYPE = pair, FINALFUNC = _idem_row_jsonb);
SELECT written(p) FROM (VALUES (ROW(1, 'x')::pair), (ROW(2, 'y')::pair)) AS t(p);
SELECT written(NULL) IS NULL AS none;
CREATE OPERATOR !!! (RIGHTARG = record, FUNCTION = _idem_row_jsonb);
SELECT !!! ROW(1, ROW(2, 'x')), !!! ROW(1, 'x')::some_pair, !!! NULL::pair IS NULL AS none;
CREATE CAST (pair AS jsonb) WITH FUNCTION _idem_row_jsonb(record);
SELECT ROW(1, 'x')::pair::jsonb;
CREATE INDEX ON vector (_idem_row_jsonb(vector));

-- What tells an upsert of its row is refused, but where that upsert asks.
SELECT _idem_upsert_met(1, true);
SELECT _idem_upsert_met(NULL, true, '{}', 1, true);
CREATE FUNCTION told(n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN _idem_upsert_met(n, true);
EXCEPTION WHEN feature_not_supported THEN
	RETURN false;
END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.triggered := told(NEW.id);
	RETURN NEW;
END $$;
-- Not to a column's default.
CREATE TABLE direct (id int PRIMARY KEY, v int, version int DEFAULT 1, met boolean DEFAULT _idem_upsert_met(1, true));
SELECT * FROM idem_upsert('helpers-1', 'direct', '{"id": 1, "v": 2}');
SELECT * FROM idem_upsert('helpers-1', 'direct', '{"id": 1, "v": 2}', expected_version => 1);
-- Nor to functions and triggers that run inside, or to statements in these.
CREATE TABLE within (
	id int PRIMARY KEY,
	v int CHECK (NOT told(v)),
	defaulted boolean DEFAULT told(1),
	triggered boolean
);
CREATE TRIGGER tell BEFORE INSERT OR UPDATE ON within FOR EACH ROW EXECUTE FUNCTION tell();
SELECT * FROM idem_upsert('helpers-2', 'within', '{"id": 1, "v": 1}');
SELECT * FROM idem_upsert('helpers-3', 'within', '{"id": 1, "v": 2}');
SELECT * FROM idem_upsert('helpers-4', 'within', '{"id": 1, "v": 2}');
-- An upsert inside another has no part in that one's row.
CREATE TABLE outer_ (id int PRIMARY KEY, v int, inner_ text);
CREATE FUNCTION put_inner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.inner_ := (SELECT outcome FROM idem_upsert(concat('helpers-', TG_OP, NEW.v), 'within', '{"id": 1, "v": 3}'));
	BEGIN
		PERFORM idem_upsert(NULL, 'within', '{"id": 1, "v": 3, "triggered": "no boolean"}', merge => '{}');
	EXCEPTION WHEN invalid_text_representation THEN
		NULL;
	END;
	RETURN NEW;
END $$;
CREATE TRIGGER inner_ BEFORE INSERT OR UPDATE ON outer_ FOR EACH ROW EXECUTE FUNCTION put_inner();
SELECT * FROM idem_upsert('helpers-5', 'outer_', '{"id": 1, "v": 1}');
SELECT * FROM idem_upsert('helpers-6', 'outer_', '{"id": 1, "v": 2}');
SELECT * FROM idem_upsert('helpers-7', 'outer_', '{"id": 2, "v": 5}');

RESET ROLE;

-- A role that may create in the extension's schema cannot pass a function of its
-- own off as one of idem's, though it fits the arguments better.
BEGIN;
GRANT CREATE ON SCHEMA public TO regress_idem_stranger;
CREATE TABLE row_of (id int PRIMARY KEY, tags text[], status order_status NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('row_of', 'order');
GRANT SELECT ON row_of TO regress_idem_stranger;
SET ROLE regress_idem_stranger;
CREATE FUNCTION public._idem_row_jsonb(row_of) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'captured as %', current_user;
END $$;
CREATE FUNCTION public._idem_upsert_union(text[], text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'captured as %', current_user;
END $$;
CREATE FUNCTION public._idem_change_met(bigint, order_status, bigint, oid DEFAULT NULL, tid DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'captured as %', current_user;
END $$;
RESET ROLE;
SAVEPOINT s;
SELECT idem_upsert('helpers-8', 'row_of', '{"id": 1}');
ROLLBACK TO s;
DROP FUNCTION public._idem_row_jsonb(row_of);
SAVEPOINT s;
SELECT idem_upsert('helpers-8', 'row_of', '{"id": 1, "tags": ["a"]}', merge => '{"tags": "union"}');
ROLLBACK TO s;
DROP FUNCTION public._idem_upsert_union(text[], text[]);
SELECT outcome FROM idem_upsert('helpers-8', 'row_of', '{"id": 1, "tags": ["a"]}', merge => '{"tags": "union"}');
SAVEPOINT s;
SELECT idem_transition('row_of', 1, 'PROCESSING');
ROLLBACK TO s;
DROP FUNCTION public._idem_change_met(bigint, order_status, bigint, oid, tid);
SELECT outcome FROM idem_transition('row_of', 1, 'PROCESSING');
-- what others call by a name of that kind is their own business
CREATE FUNCTION public._idem_audit(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION public._idem_audit(text) OWNER TO regress_idem_stranger;
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public._idem_audit(new.tags[1]);
	RETURN new;
END $$;
CREATE TRIGGER audit BEFORE INSERT OR UPDATE ON row_of FOR EACH ROW EXECUTE FUNCTION audit();
SELECT outcome FROM idem_upsert('helpers-9', 'row_of', '{"id": 2, "tags": ["a"]}');
SELECT result FROM idem_execute('helpers-10', 'SELECT public._idem_audit(''a'') AS audited');
ROLLBACK;
DELETE FROM idem_key WHERE starts_with(key, 'helpers-');
DROP SCHEMA idem_test_helpers CASCADE;
DROP ROLE regress_idem_stranger;
