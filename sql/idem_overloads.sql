-- Which function a call means, for every combination of types that its arguments
-- may have: as constants, by position and by name, and as parameters of a prepared
-- statement, which is what drivers send
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_overloads;
CREATE SCHEMA test_overloads_less;
SET search_path = test_overloads, public;

CREATE TYPE own_status AS ENUM ('a');
CREATE DOMAIN uuid_domain AS uuid;
CREATE DOMAIN text_domain AS text;
CREATE DOMAIN status_domain AS own_status;

-- The functions that there would be without those made for other types.
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT format('CREATE FUNCTION test_overloads_less.%I(%s) RETURNS int LANGUAGE sql AS %L',
			p.proname, pg_get_function_arguments(p.oid), 'SELECT 1') AS make
		FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass
			AND d.objid = p.oid AND d.deptype = 'e'
		WHERE p.proname ~ '^(idem|order)_'
			AND (p.proargnames[1] = 'key' AND p.proargtypes[0] = 'text'::regtype
				OR p.proname = 'order_transition' AND p.proargtypes[2] = 'order_status'::regtype
				OR p.proname = 'idem_transition' AND p.proargtypes[2] = 'text'::regtype
				OR p.proname IN ('idem_update', 'idem_allowed', 'idem_history'))
	LOOP
		EXECUTE f.make;
	END LOOP;
	-- as it was before it took other arrays
	CREATE FUNCTION test_overloads_less.idem_transition_batch(target regclass, ids jsonb[], to_state text,
		expected_versions bigint[] DEFAULT NULL, key text DEFAULT NULL, scope text DEFAULT NULL,
		ttl interval DEFAULT NULL, note jsonb DEFAULT NULL) RETURNS int LANGUAGE sql AS 'SELECT 1';
END $$;

-- The types in which the function that a call leads to takes those arguments, or the
-- SQLSTATE of the error.  An argument is NULL of the type, which may be unknown.
CREATE FUNCTION led_to(function text, types text[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('CREATE TEMP VIEW call AS SELECT 1 FROM %s(%s)', function, (
		SELECT string_agg(concat('NULL', '::' || nullif(types[i], 'unknown')), ', ' ORDER BY i)
		FROM generate_subscripts(types, 1) AS i));
	SELECT string_agg(p.proargtypes[n]::regtype::text, ',' ORDER BY n) INTO STRICT answer
	FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
			AND d.refclassid = 'pg_proc'::regclass
		JOIN pg_proc AS p ON p.oid = d.refobjid
		CROSS JOIN generate_series(0, p.pronargs - 1) AS n
	WHERE r.ev_class = 'call'::regclass AND n < cardinality(types);
	DROP VIEW call;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- The types that a prepared statement takes, of whose parameters some have none.  With
-- names, arguments are given by name, the last first.
CREATE FUNCTION prepared(function text, types text[], named text[] DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('PREPARE call (%s) AS SELECT 1 FROM %s(%s)', array_to_string(types, ', '), function, (
		SELECT string_agg(concat(named[i] || ' => ', '$', i), ', ' ORDER BY CASE WHEN named IS NULL THEN i ELSE -i END)
		FROM generate_subscripts(types, 1) AS i));
	SELECT array_to_string(parameter_types, ',') INTO STRICT answer
	FROM pg_prepared_statements WHERE name = 'call';
	DEALLOCATE call;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE TABLE type (number int GENERATED ALWAYS AS IDENTITY, name text, listed boolean);
INSERT INTO type (name, listed) VALUES
	('unknown', true), ('text', true), ('varchar', true), ('int', true), ('bigint', true), ('uuid', true),
	('jsonb', true), ('order_status', true),
	-- and others that are about, each beside an argument without a type
	('smallint', false), ('numeric', false), ('name', false), ('"char"', false), ('char(9)', false),
	('varchar(9)', false), ('json', false), ('oid', false), ('boolean', false), ('own_status', false),
	('status_domain', false), ('uuid_domain', false), ('text_domain', false);
-- Arrays of them.
CREATE VIEW list AS
SELECT number, CASE name WHEN 'unknown' THEN name ELSE name || '[]' END AS name, listed FROM type;

-- What was asked, and what came of it.
CREATE TABLE call (function text, types text[], named text[],
	led_to text, prepared text, by_name text, in_full text, less text);
INSERT INTO call (function, types, named)
-- keys
SELECT DISTINCT p.proname, ARRAY[t.name] || array_fill('unknown'::text, ARRAY[p.pronargs - p.pronargdefaults - 1]),
	p.proargnames[:p.pronargs - p.pronargdefaults]
FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	CROSS JOIN type AS t
WHERE p.proargnames[1] = 'key' AND p.pronargs > 0
UNION ALL
-- ids and states
SELECT f.name, ARRAY['unknown', i.name, s.name], ARRAY['target', 'id', f.state]
FROM (VALUES ('order_transition', 'new_status'), ('idem_transition', 'to_state')) AS f (name, state)
	CROSS JOIN type AS i JOIN type AS s ON i.listed AND s.listed OR 'unknown' IN (i.name, s.name)
UNION ALL
SELECT 'idem_transition_batch', ARRAY['unknown', i.name, s.name], ARRAY['target', 'ids', 'to_state']
FROM (TABLE list UNION SELECT * FROM type WHERE name <> 'unknown') AS i
	JOIN type AS s ON i.listed AND s.listed OR 'unknown' IN (i.name, s.name)
UNION ALL
SELECT 'idem_update', ARRAY['unknown', i.name, p.name], ARRAY['target', 'id', 'patch']
FROM type AS i JOIN type AS p ON 'unknown' IN (i.name, p.name)
UNION ALL
SELECT f.name, ARRAY['unknown', i.name], ARRAY['target', 'id']
FROM unnest(ARRAY['idem_allowed', 'idem_history']) AS f (name) CROSS JOIN type AS i
UNION ALL
-- tables
SELECT f.name, ARRAY[t.name, 'unknown', 'unknown'], ARRAY['target', f.id, f.state]
FROM (VALUES ('order_transition', 'id', 'new_status'), ('idem_transition', 'id', 'to_state'),
		('idem_transition_batch', 'ids', 'to_state'), ('idem_update', 'id', 'patch')) AS f (name, id, state)
	CROSS JOIN (TABLE type UNION ALL SELECT 99, 'regclass', true) AS t WHERE t.name <> 'unknown';
UPDATE call SET
	led_to = led_to(function, types),
	prepared = prepared(function, types),
	by_name = prepared(function, types, named),
	-- with whatever else may be given, given without a type
	in_full = prepared(function, types || array_fill('unknown'::text, ARRAY[
		(SELECT max(pronargs) FROM pg_proc WHERE proname = function) - cardinality(types)])),
	less = prepared('test_overloads_less.' || function, types);

-- A key is text or a UUID.
CREATE VIEW key_call AS SELECT types[1] AS key, function, split_part(led_to, ',', 1) AS led_to
FROM call WHERE named[1] = 'key';
SELECT key, led_to, count(*) > 8 AS all_functions FROM key_call JOIN type ON name = key
GROUP BY number, key, led_to ORDER BY number;

-- An id and a state: those types of the function's that a call leads to.
CREATE VIEW row_call AS
SELECT function, types[2] AS id, types[3] AS state, regexp_replace(led_to, '^regclass,', '') AS led_to,
	regexp_replace(prepared, '^regclass,', '') AS prepared
FROM call WHERE types[1] = 'unknown';
SELECT function, id, string_agg(state, ' ' ORDER BY s.number) AS state, led_to
FROM row_call JOIN type AS s ON s.name = state JOIN type AS i ON i.name = id
WHERE s.listed AND i.listed AND function IN ('order_transition', 'idem_transition')
GROUP BY function, id, led_to, i.number
ORDER BY function, i.number, min(s.number);
SELECT function, id, string_agg(state, ' ' ORDER BY s.number) AS state, led_to
FROM row_call JOIN type AS s ON s.name = state JOIN type AS i ON i.name = id
WHERE NOT (s.listed AND i.listed) AND function IN ('order_transition', 'idem_transition') AND led_to <> '42883'
GROUP BY function, id, led_to, i.number
ORDER BY function, i.number, min(s.number);
SELECT id, string_agg(state, ' ' ORDER BY s.number) AS state, prepared
FROM row_call JOIN type AS s ON s.name = state JOIN list AS i ON i.name = id
WHERE function = 'idem_transition_batch' AND led_to <> '42883'
GROUP BY id, prepared, i.number ORDER BY i.number, min(s.number);
SELECT count(*) > 0 AS values_are_no_lists, min(led_to), max(led_to) FROM row_call
WHERE function = 'idem_transition_batch' AND id IN (SELECT name FROM type WHERE name <> 'unknown');
SELECT function, id, string_agg(state, ' ' ORDER BY s.number) AS patch, led_to
FROM row_call LEFT JOIN type AS s ON s.name = state JOIN type AS i ON i.name = id
WHERE function IN ('idem_update', 'idem_allowed', 'idem_history') AND led_to <> '42883'
GROUP BY function, id, led_to, i.number
ORDER BY function, i.number, min(s.number);

-- A table's name may be text.
SELECT types[1] AS target, led_to, count(*) FROM call WHERE named[1] = 'target' AND types[1] <> 'unknown'
GROUP BY target, led_to ORDER BY target, led_to;

-- No call is ambiguous; there either is a function for it, or there is none.
SELECT function, types, led_to FROM call WHERE led_to ~ '^\w{5}$' AND led_to <> '42883' AND led_to ~ '\d';
SELECT function, types, prepared FROM call WHERE prepared ~ '^\w{5}$' AND prepared <> '42883' AND prepared ~ '\d';
-- It is the same by position and by name, with other arguments and without.
SELECT function, types, prepared, by_name FROM call WHERE by_name IS DISTINCT FROM prepared;
SELECT function, types, prepared, in_full FROM call WHERE left(in_full, length(prepared)) IS DISTINCT FROM prepared;
-- A parameter without a type gets that which the function takes.
SELECT function, types, led_to, prepared FROM call
WHERE (led_to = '42883') IS DISTINCT FROM (prepared = '42883')
	OR EXISTS (SELECT FROM unnest(types, string_to_array(led_to, ','), string_to_array(prepared, ',')) AS a (type, led, prepared)
		WHERE led_to <> '42883' AND CASE WHEN type <> 'unknown' THEN prepared <> format_type(to_regtype(type), NULL)
			WHEN led = 'anycompatiblearray' THEN prepared <> 'text[]' ELSE prepared <> led END);
-- What leads to a function without the other types does with them.
SELECT function, types, less, led_to FROM call WHERE less <> '42883' AND led_to = '42883';
SELECT count(*) > 50 AS many_more, count(DISTINCT function) FROM call WHERE less = '42883' AND led_to <> '42883';

DROP SCHEMA test_overloads CASCADE;
DROP SCHEMA test_overloads_less CASCADE;
