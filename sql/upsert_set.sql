-- Many upserts by one call: each once per key of its own, all or none, answers in
-- the order of the keys.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_set;
SET search_path = idem_test_set, public;
\set SHOW_CONTEXT always
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, code text UNIQUE, n int DEFAULT 0);
INSERT INTO item VALUES (3, 'there');

SELECT * FROM idem_upsert_batch(ARRAY['set-3', 'set-1', 'set-2'], 'item',
	ARRAY['{"id": 3, "name": "c"}', '{"id": 1, "name": "a"}', '{"id": 2, "name": "b", "n": 5}']::jsonb[]);
-- again, beside one that is new
SELECT * FROM idem_upsert_batch(ARRAY['set-1', 'set-4', 'set-3'], 'item',
	ARRAY['{"id": 1, "name": "a"}', '{"id": 4, "name": "d"}', '{"id": 3, "name": "c"}']::jsonb[]);
-- a key alone is the same key, and the other way round
SELECT * FROM idem_upsert('set-4', 'item', '{"id": 4, "name": "d"}');
SELECT outcome FROM idem_upsert('set-5', 'item', '{"id": 5, "name": "e"}');
SELECT * FROM idem_upsert_batch('{set-5}', 'item', '{"{\"id\": 5, \"name\": \"e\"}"}');
-- none at all
SELECT * FROM idem_upsert_batch('{}', 'item', '{}');
-- twice in one set
SELECT * FROM idem_upsert_batch('{set-6, set-6}', 'item',
	ARRAY['{"id": 6, "name": "f"}', '{"name": "f", "id": 6}']::jsonb[]);
\set VERBOSITY terse
SELECT * FROM idem_upsert_batch('{set-7, set-7}', 'item',
	ARRAY['{"id": 7, "name": "g"}', '{"id": 7, "name": "other"}']::jsonb[]);
\set VERBOSITY default
SELECT count(*) FROM item WHERE id = 7;
-- two keys for one row: in the order of the keys
SELECT ordinal, key, outcome, result ->> 'name' AS name FROM idem_upsert_batch('{set-9, set-8}', 'item',
	ARRAY['{"id": 8, "name": "ninth"}', '{"id": 8, "name": "eighth"}']::jsonb[]);
-- keys of other types, each field as it is spelled, rules and columns of a conflict
SELECT key, outcome FROM idem_upsert_batch(ARRAY['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11']::uuid[], 'item',
	ARRAY['{"id": 10.0, "name": "u"}']::jsonb[], scope => 'set');
SELECT key, outcome, replayed FROM idem_upsert_batch(ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'], 'item',
	ARRAY['{"id": 10, "name": "u"}']::jsonb[], scope => 'set');
SELECT key, outcome, result ->> 'n' AS n FROM idem_upsert_batch(ARRAY['set-m1', 'set-m2']::varchar[], 'item',
	ARRAY['{"id": 2, "name": "b", "n": 3}', '{"id": 2, "name": "b", "n": 9}']::jsonb[], merge => '{"n": "max"}');
SELECT outcome, result ->> 'name' AS name FROM idem_upsert_batch('{set-c1, set-c2}', 'item',
	ARRAY['{"id": 20, "name": "first", "code": "c"}', '{"id": 20, "name": "second", "code": "c"}']::jsonb[],
	conflict => '{code}');

-- An error of one is an error of all, and says of which.
SELECT * FROM idem_upsert_batch('{set-e1, set-e2}', 'item',
	ARRAY['{"id": 30, "name": "x"}', '{"id": 31}']::jsonb[]);
SELECT * FROM idem_upsert_batch('{set-e1, set-e2}', 'item',
	ARRAY['{"id": 30, "name": "x"}', '{"id": 31, "name": "y", "code": "c"}']::jsonb[]);
\set VERBOSITY terse
SELECT * FROM idem_upsert_batch('{set-e1, set-1}', 'item',
	ARRAY['{"id": 30, "name": "x"}', '{"id": 1, "name": "other"}']::jsonb[]);
\set VERBOSITY default
SELECT * FROM idem_upsert_batch('{set-e1, set-e2}', 'item', ARRAY['{"id": 30, "name": "x"}', '[]']::jsonb[]);
SELECT * FROM idem_upsert_batch('{set-e1, set-e2}', 'item', ARRAY['{"id": 30, "name": "x"}', '{"nme": 1}']::jsonb[]);
SELECT * FROM idem_upsert_batch('{set-e1, ""}', 'item', ARRAY['{"id": 30, "name": "x"}', '{"id": 31}']::jsonb[]);
SELECT count(*) FROM item WHERE id >= 30;
SELECT count(*) FROM idem_key WHERE key LIKE 'set-e%';

-- Arguments that are none.
\set SHOW_CONTEXT never
SELECT * FROM idem_upsert_batch(NULL::text[], 'item', '{}');
SELECT * FROM idem_upsert_batch('{a}', NULL, '{}');
SELECT * FROM idem_upsert_batch('{a}', 'item', NULL);
SELECT * FROM idem_upsert_batch('{a, NULL}', 'item', ARRAY['{"id": 30, "name": "x"}', '{}']::jsonb[]);
SELECT * FROM idem_upsert_batch('{a, b}', 'item', ARRAY['{"id": 30, "name": "x"}', NULL]::jsonb[]);
SELECT * FROM idem_upsert_batch('{a, b}', 'item', ARRAY['{"id": 30, "name": "x"}']::jsonb[]);
SELECT * FROM idem_upsert_batch('{{a}, {b}}', 'item', ARRAY['{"id": 30, "name": "x"}', '{}']::jsonb[]);
SELECT * FROM idem_upsert_batch(ARRAY[1], 'item', ARRAY['{"id": 30, "name": "x"}']::jsonb[]);
SELECT * FROM idem_upsert_batch('{a}', 'item', '{"{}"}', conflict => '{}');
SELECT * FROM idem_upsert_batch('{a}', 'item', '{"{}"}', merge => '[]');
SELECT * FROM idem_upsert_batch('{a}', 'item', '{"{\"id\": 30, \"name\": \"x\"}"}', ttl => '-1 s');
SELECT * FROM idem_upsert_batch('{a}', 'item', '{"{\"id\": 30, \"name\": \"x\"}"}', scope => repeat('s', 256));
BEGIN READ ONLY;
SELECT * FROM idem_upsert_batch('{a}', 'item', '{"{\"id\": 30, \"name\": \"x\"}"}');
ROLLBACK;

-- Rights are those of the single call.
CREATE ROLE regress_idem_set;
GRANT USAGE ON SCHEMA idem_test_set TO regress_idem_set;
SET ROLE regress_idem_set;
SELECT * FROM idem_upsert_batch('{set-r}', 'item', '{"{\"id\": 40, \"name\": \"r\"}"}');
RESET ROLE;
GRANT SELECT, INSERT, UPDATE ON item TO regress_idem_set;
SET ROLE regress_idem_set;
SELECT outcome FROM idem_upsert_batch('{set-r}', 'item', '{"{\"id\": 40, \"name\": \"r\"}"}');
-- a key of another role's
SELECT outcome FROM idem_upsert_batch('{set-q, set-1}', 'item',
	ARRAY['{"id": 41, "name": "q"}', '{"id": 1, "name": "a"}']::jsonb[]);
RESET ROLE;
SELECT count(*) FROM item WHERE id = 41;

-- An answer that is too long to be kept, among others that are not.
SELECT count(*) FROM idem_upsert_batch(ARRAY(SELECT 'set-l0' || n FROM generate_series(1, 6) AS n), 'item',
	ARRAY(SELECT jsonb_build_object('id', 49 + n, 'name', n) FROM generate_series(1, 6) AS n));
SET idem.max_response = '1kB';
\set SHOW_CONTEXT always
SELECT * FROM idem_upsert_batch('{set-l3, set-l2, set-l1}', 'item',
	ARRAY[jsonb_build_object('id', 60, 'name', 'x'), jsonb_build_object('id', 61, 'name', repeat('long', 1000)),
		jsonb_build_object('id', 62, 'name', 'y')]);
\set SHOW_CONTEXT never
RESET idem.max_response;
SELECT count(*) FROM item WHERE id BETWEEN 60 AND 62;

-- Many at once, in the order in which they are asked for.
SELECT count(*), count(*) FILTER (WHERE replayed) AS replayed, bool_and(result ->> 'id' = (1000 + ordinal)::text) AS ordered
FROM (SELECT array_agg('set-many-' || md5(n::text) ORDER BY n) AS keys,
		array_agg(jsonb_build_object('id', 1000 + n, 'name', n) ORDER BY n) AS data
	FROM generate_series(1, 2000) AS n) AS given,
	idem_upsert_batch(keys, 'item', data);
SELECT count(*), count(*) FILTER (WHERE replayed) AS replayed, bool_and(result ->> 'id' = (1000 + ordinal)::text) AS ordered
FROM (SELECT array_agg('set-many-' || md5(n::text) ORDER BY n) AS keys,
		array_agg(jsonb_build_object('id', 1000 + n, 'name', n) ORDER BY n) AS data
	FROM generate_series(1, 2000) AS n) AS given,
	idem_upsert_batch(keys, 'item', data);

DELETE FROM idem_key WHERE starts_with(key, 'set-') OR scope = 'set';
DROP SCHEMA idem_test_set CASCADE;
DROP ROLE regress_idem_set;
