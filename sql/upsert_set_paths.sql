-- Upserts of a set that are run together do what they do as calls one by one, in the
-- order of their keys: the same answers, errors, rows and keys.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_one;
CREATE SCHEMA idem_test_two;
SELECT format($$
	CREATE TABLE %1$s.customer (name text PRIMARY KEY);
	INSERT INTO %1$s.customer VALUES ('VINET'), ('TOMSP');
	CREATE TABLE %1$s.item (id int PRIMARY KEY, customer text NOT NULL DEFAULT 'VINET' REFERENCES %1$s.customer,
		code text, n numeric(8,2) CHECK (n < 1000), parent int REFERENCES %1$s.item,
		note text, UNIQUE (code))$$, schema)
FROM unnest('{idem_test_one, idem_test_two}'::text[]) AS schema \gexec

-- What a set answers, or raises.
CREATE FUNCTION idem_test_one.by_set(keys text[], data jsonb[], merge jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN jsonb_agg(to_jsonb(a) ORDER BY a.ordinal)
		FROM idem_upsert_batch(keys, 'idem_test_one.item', data, scope => 'paths', merge => merge) AS a;
EXCEPTION WHEN OTHERS THEN
	RETURN jsonb_build_array(sqlstate, replace(sqlerrm, 'idem_test_one', ''));
END $$;
-- The same by single calls.
CREATE FUNCTION idem_test_one.by_calls(keys text[], data jsonb[], merge jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answers jsonb[] := '{}';
	member record;
BEGIN
	FOR member IN SELECT * FROM unnest(keys, data) WITH ORDINALITY AS m(key, data, ordinal)
		ORDER BY m.key COLLATE "C", m.ordinal
	LOOP
		answers[member.ordinal] := jsonb_build_object('ordinal', member.ordinal, 'key', member.key)
			|| (SELECT to_jsonb(a) FROM idem_upsert(member.key, 'idem_test_two.item', member.data,
				scope => 'paths2', merge => merge) AS a);
	END LOOP;
	RETURN to_jsonb(answers);
EXCEPTION WHEN OTHERS THEN
	RETURN jsonb_build_array(sqlstate, replace(sqlerrm, 'idem_test_two', ''));
END $$;
-- Both ways: what differs, if anything does, and how the answers are.
CREATE FUNCTION idem_test_one.compare(keys text[], data jsonb[], merge jsonb = NULL,
	OUT same boolean, OUT outcomes jsonb) LANGUAGE plpgsql AS $$
DECLARE
	one jsonb := idem_test_one.by_set(keys, data, merge);
	two jsonb := idem_test_one.by_calls(keys, data, merge);
BEGIN
	same := one = two;
	IF NOT same THEN
		RAISE WARNING '% and %', one, two;
	END IF;
	IF jsonb_typeof(one -> 0) = 'string' THEN
		outcomes := one;
	ELSE
		SELECT jsonb_object_agg(o, n ORDER BY o) INTO outcomes FROM (SELECT
			(a ->> 'outcome') || CASE WHEN (a ->> 'replayed')::boolean THEN ', again' ELSE '' END AS o, count(*) AS n
			FROM jsonb_array_elements(one) AS a GROUP BY 1) AS counted;
	END IF;
END $$;
-- Are rows and keys the same as well, but for the name of the table?
CREATE VIEW idem_test_one.differences AS
	(SELECT to_jsonb(i) FROM idem_test_one.item AS i EXCEPT SELECT to_jsonb(i) FROM idem_test_two.item AS i) UNION ALL
	(SELECT to_jsonb(i) FROM idem_test_two.item AS i EXCEPT SELECT to_jsonb(i) FROM idem_test_one.item AS i) UNION ALL
	SELECT to_jsonb(k) FROM ((SELECT key, outcome, response, fence, claimed_by::text, lease_until, request, sqlstate,
			expires_at - created_at AS ttl FROM idem_key WHERE scope = 'paths')
		EXCEPT (SELECT key, outcome, response, fence, claimed_by::text, lease_until, request, sqlstate,
			expires_at - created_at FROM idem_key WHERE scope = 'paths2')) AS k;
SET search_path = idem_test_one, public;

-- New rows, more than are run together at a time; then the same again.
CREATE TABLE many AS SELECT array_agg('many-' || n) AS keys, array_agg(jsonb_build_object('id', n, 'n', n / 10.0)) AS data
FROM generate_series(1, 100) AS n;
SELECT same, outcomes FROM many, compare(keys, data);
SELECT same, outcomes FROM many, compare(keys, data);
-- Some are new, some are not, a key stands there twice, a row was there before.
SELECT * FROM compare('{b-1, many-1, b-2, b-1, b-3}',
	'{"{\"id\": 201}", "{\"id\": 1, \"n\": 0.1}", "{\"id\": 202}", "{\"id\": 201}", "{\"id\": 2}"}');
-- Two keys for a row, and rows of other columns.
SELECT * FROM compare('{c-3, c-1, c-2, c-4}',
	'{"{\"id\": 301, \"n\": 3}", "{\"id\": 301, \"n\": 1}", "{\"id\": 301, \"n\": 2}", "{\"id\": 302, \"code\": \"x\"}"}');
-- A row that refers to one before it, and to itself.
SELECT * FROM compare('{d-1, d-2, d-3}',
	'{"{\"id\": 401, \"parent\": 401}", "{\"id\": 402, \"parent\": 401}", "{\"id\": 403, \"parent\": 402}"}');
-- A key that was used for another request; errors of the row, the first of them.
SELECT * FROM compare('{e-1, many-1, e-2}', '{"{\"id\": 501}", "{\"id\": 1, \"n\": 7}", "{\"id\": 502}"}');
SELECT * FROM compare('{e-1, e-2, e-3}', '{"{\"id\": 501}", "{\"id\": 502, \"n\": 1000}", "{\"id\": 503, \"n\": null}"}');
SELECT * FROM compare('{e-1, e-2, e-3}', '{"{\"id\": 501, \"customer\": \"no\"}", "{\"id\": 502, \"customer\": null}", "{\"id\": 503, \"customer\": \"VINET\"}"}');
SELECT * FROM compare('{e-1, e-2, e-3}', '{"{\"id\": 501, \"code\": \"a\"}", "{\"id\": 502, \"code\": \"b\"}", "{\"id\": 503, \"code\": \"a\"}"}');
SELECT * FROM compare('{e-1, e-2}', '{"{\"id\": 501, \"parent\": 999}", "{\"id\": 502, \"parent\": 501}"}');
SELECT * FROM compare('{e-1, e-2}', '{"{\"id\": 501}", "{\"id\": \"x\"}"}');
SELECT * FROM compare('{f-1, f-2, f-1}', '{"{\"id\": 601, \"n\": 1}", "{\"id\": 602, \"n\": 1}", "{\"id\": 601, \"n\": 2}"}');
-- rows and answers that are kept out of line
SELECT * FROM compare('{h-1, h-2, h-3, h-4}', ARRAY(SELECT jsonb_build_object('id', 750 + n,
	'note', (SELECT string_agg(md5((n * i)::text), '') FROM generate_series(1, n * 400) AS i)) FROM generate_series(1, 4) AS n));
-- with rules
SELECT * FROM compare('{g-1, g-2, g-3}', '{"{\"id\": 1, \"n\": 5}", "{\"id\": 1, \"n\": 3}", "{\"id\": 701, \"n\": 3}"}', '{"n": "max"}');
SELECT * FROM differences;

-- At random, and in a transaction of each kind.
SELECT setseed(0.25);
CREATE FUNCTION some_sets(sets int) RETURNS TABLE (same bigint, others bigint) LANGUAGE plpgsql AS $$
DECLARE
	given record;
	found record;
BEGIN
	same := 0;
	others := 0;
	FOR i IN 1 .. sets LOOP
		SELECT array_agg('r-' || k) AS keys,
			array_agg(CASE k % 11 WHEN 0 THEN jsonb_build_object('id', 1000 + k, 'code', 'c' || k % 7, 'n', k)
				WHEN 1 THEN jsonb_build_object('id', 1000 + k % 50, 'customer', 'TOMSP')
				ELSE jsonb_build_object('id', 1000 + k, 'n', k % 900) END) AS data
		FROM (SELECT (random() * 3000)::int AS k FROM generate_series(1, 1 + (random() * 80)::int)) AS r INTO given;
		SELECT * FROM compare(given.keys, given.data) INTO found;
		IF found.same THEN same := same + 1; ELSE others := others + 1; END IF;
	END LOOP;
	RETURN NEXT;
END $$;
SELECT * FROM some_sets(60);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM some_sets(30);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM some_sets(30);
COMMIT;
SELECT * FROM differences;

-- Where the table of keys is not as it was installed, each is written by a statement.
BEGIN;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER look BEFORE INSERT ON idem_key FOR EACH ROW EXECUTE FUNCTION look();
SELECT * FROM some_sets(10);
SELECT * FROM differences;
ROLLBACK;
-- A key that has expired, among others.
UPDATE idem_key SET expires_at = created_at, created_at = created_at - interval '1 day'
WHERE scope IN ('paths', 'paths2') AND key IN ('many-3', 'many-5');
SELECT * FROM compare('{many-1, many-3, many-4, many-5, many-new}',
	'{"{\"id\": 1, \"n\": 0.1}", "{\"id\": 3, \"n\": 0.3}", "{\"id\": 4, \"n\": 0.4}", "{\"id\": 5, \"n\": 5}", "{\"id\": 801}"}');
SELECT * FROM differences;
-- They are the same keys: the calls that are made alone find what sets have done.
SELECT count(*), bool_and(a.replayed) AS replayed FROM many, unnest(keys, data) AS u(key, one),
	LATERAL idem_upsert(u.key, 'item', u.one, scope => 'paths') AS a WHERE u.key NOT IN ('many-3', 'many-5');

-- The first error counts, in the order of the keys, and its context names the upsert: be
-- it one of the data, of the key, of the row, or of what is to be remembered.
SELECT * FROM compare('{l-1, l-2, l-3}', '{"{\"id\": 901, \"n\": 1000}", "[]", "{\"id\": 903, \"n\": 1}"}');
SELECT * FROM compare('{l-1, l-2, l-3}', '{"{\"id\": 901, \"n\": 1}", "[]", "{\"id\": 903, \"n\": 1000}"}');
SELECT * FROM compare(ARRAY['l-1', 'l-' || repeat('x', 300)], '{"{\"id\": 901, \"customer\": \"no\"}", "{\"id\": 902, \"customer\": \"VINET\"}"}');
SET idem.max_response = '200B';
SELECT * FROM compare('{l-1, l-2, l-3}', ARRAY[jsonb_build_object('id', 901, 'code', repeat('x', 300)), '{"id": 902, "code": "no"}', '{"id": "x", "code": "y"}']);
SELECT * FROM compare('{l-1, l-2, l-3}', ARRAY['{"id": 901, "code": "no"}', jsonb_build_object('id', 902, 'code', repeat('x', 300)), '{"id": "x", "code": "y"}']);
SELECT * FROM idem_upsert_batch('{l-1, l-2, l-3}', 'item', ARRAY[jsonb_build_object('id', 901, 'code', repeat('x', 300)), '{"id": 902, "code": "a"}', '{"id": 903, "code": "b"}'], scope => 'paths');
RESET idem.max_response;
SELECT * FROM differences;

-- A row that refers to the key of the one before it: nothing that is attached to the table
-- of keys finds out that they come together.
CREATE TABLE follows (id int PRIMARY KEY, after text, scope text DEFAULT 'paths', FOREIGN KEY (after, scope) REFERENCES idem_key);
SELECT count(*) FROM generate_series(1, 5) AS n, idem_upsert('i-w' || n, 'follows', jsonb_build_object('id', n, 'after', 'many-1'), scope => 'paths');
SELECT key, outcome, replayed FROM idem_upsert_batch('{i-1, i-2, i-3}', 'follows',
	'{"{\"id\": 11, \"after\": \"many-1\"}", "{\"id\": 12, \"after\": \"i-1\"}", "{\"id\": 13, \"after\": \"i-2\"}"}', scope => 'paths');
DROP TABLE follows;
-- A function in an index that looks at keys.
CREATE FUNCTION looks(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF id > 10 THEN
		RAISE WARNING '% finds %', id, (SELECT outcome FROM idem_lookup('j-1', 'paths'));
	END IF;
	RETURN id;
END $$;
CREATE TABLE looked (id int PRIMARY KEY, n int);
CREATE INDEX ON looked (looks(id));
SELECT count(*) FROM generate_series(1, 5) AS n, idem_upsert('j-w' || n, 'looked', jsonb_build_object('id', n, 'n', n), scope => 'paths');
SELECT key, outcome, replayed FROM idem_upsert_batch('{j-1, j-2, j-3}', 'looked', '{"{\"id\": 11, \"n\": 1}", "{\"id\": 12, \"n\": 2}", "{\"id\": 13, \"n\": 3}"}', scope => 'paths');
DROP TABLE looked;

DELETE FROM idem_key WHERE scope IN ('paths', 'paths2');
DROP SCHEMA idem_test_one, idem_test_two CASCADE;
