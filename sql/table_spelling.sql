-- A value that its type takes in several spellings is one value: a retry may spell
-- it otherwise, and what a retry may send the first call may send.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_spelling;
SET search_path = idem_test_spelling, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

-- Integers may be written with decimals, in arrays and composites, too.
CREATE TYPE pair AS (a int, b numeric, c uuid);
CREATE DOMAIN small AS int2;
CREATE TABLE t (id int PRIMARY KEY, n bigint, d small, price numeric, note text, doc jsonb,
	list int[], grid int[], pair pair, pairs pair[]);
SELECT * FROM idem_upsert('spelling-1', 't', '{"id": 1.0, "n": 2.00, "d": 3.0, "price": 4.00, "note": 5.0, "doc": {"n": 6.0},
	"list": [7.0, null, 8], "grid": [[1.0, 2], [3, 4.0]], "pair": {"a": 9.0, "b": 10.0}, "pairs": [{"a": 11.0, "b": 12.0}]}');
SELECT * FROM idem_upsert('spelling-1', 't', '{"id": 1, "n": 2, "d": 3, "price": 4, "note": 5.0, "doc": {"n": 6},
	"list": [7, null, 8], "grid": [[1, 2], [3, 4]], "pair": {"a": 9, "b": 10}, "pairs": [{"a": 11, "b": 12}]}');
SELECT outcome FROM idem_upsert('spelling-2', 't', '{"id": 1.000, "n": 2e0, "d": 30e-1}');
SELECT outcome, result -> 'n' AS n FROM idem_update('t', 1, '{"n": 5.0, "list": [1.0]}');
SELECT outcome, result -> 'n' AS n FROM idem_upsert(NULL, 't', '{"id": 1.0, "n": 6.0}', merge => '{"n": "max"}');
SELECT result FROM idem_execute('spelling-3', 'SELECT $1::int AS i, $2::int[] AS a, $3::numeric AS n, $4::text AS t', '[1.0, [2.0, 3], 4.0, 5.0]');
-- A field that the type has not is left out, whatever it is.
SELECT result FROM idem_upsert('spelling-5', 't', '{"id": 5, "note": true, "pair": {"a": 9.0, "none": 1.0}}');
SELECT replayed, result FROM idem_upsert('spelling-5', 't', '{"id": 5, "note": true, "pair": {"a": 9, "none": 1.0}}');
-- What is not an integer is none.
SELECT idem_upsert('spelling-4', 't', '{"id": 1.5}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_update('t', 1, '{"n": 1.5}');
\echo :LAST_ERROR_SQLSTATE

-- A UUID is one where the column is of that type, and text where it is not.
CREATE TABLE u (id uuid PRIMARY KEY, other uuid, note text, list uuid[], pair pair, version int NOT NULL DEFAULT 1);
SELECT * FROM idem_upsert('spelling-10', 'u', '{"id": "ABCDEF01-2345-6789-abcd-ef0123456789", "other": "{abcdef0123456789abcdef0123456789}",
	"note": "ABCDEF01-2345-6789-abcd-ef0123456789", "list": ["abcdef01-23456789-abcdef01-23456789"], "pair": {"c": "ABCDEF0123456789ABCDEF0123456789"}}');
SELECT replayed FROM idem_upsert('spelling-10', 'u', '{"id": "abcdef01-2345-6789-abcd-ef0123456789", "other": "ABCDEF01-2345-6789-abcd-ef0123456789",
	"note": "ABCDEF01-2345-6789-abcd-ef0123456789", "list": ["abcdef01-2345-6789-abcd-ef0123456789"], "pair": {"c": "abcdef01-2345-6789-abcd-ef0123456789"}}');
SELECT replayed FROM idem_upsert('spelling-10', 'u', '{"id": "abcdef01-2345-6789-abcd-ef0123456789", "other": "ABCDEF01-2345-6789-abcd-ef0123456789",
	"note": "abcdef01-2345-6789-abcd-ef0123456789", "list": ["abcdef01-2345-6789-abcd-ef0123456789"], "pair": {"c": "abcdef01-2345-6789-abcd-ef0123456789"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, replayed FROM idem_update('u', 'ABCDEF01-2345-6789-ABCD-EF0123456789'::text, '{"other": "{00000000-0000-0000-0000-00000000000A}"}', key => 'spelling-11');
SELECT outcome, replayed FROM idem_update('u', 'abcdef01-2345-6789-abcd-ef0123456789'::uuid, '{"other": "00000000-0000-0000-0000-00000000000a"}', key => 'spelling-11');
SELECT outcome, replayed FROM idem_update('u', '{"id": "abcdef012345-6789abcdef0123456789"}'::jsonb, '{"other": "00000000-0000-0000-0000-00000000000a"}', key => 'spelling-12');
SELECT outcome, replayed FROM idem_update('u', '"{ABCDEF01-2345-6789-ABCD-EF0123456789}"'::jsonb, '{"other": "00000000-0000-0000-0000-00000000000A"}', key => 'spelling-12');
CREATE TABLE named (id text PRIMARY KEY, note text);
INSERT INTO named VALUES ('ABCDEF01-2345-6789-ABCD-EF0123456789'), ('abcdef01-2345-6789-abcd-ef0123456789');
SELECT outcome, result FROM idem_update('named', 'ABCDEF01-2345-6789-ABCD-EF0123456789'::text, '{"note": "A"}', key => 'spelling-13');
SELECT outcome, result FROM idem_update('named', 'abcdef01-2345-6789-abcd-ef0123456789'::text, '{"note": "A"}', key => 'spelling-13');
\echo :LAST_ERROR_SQLSTATE
-- So it is for a transition.
CREATE TABLE o (id uuid PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('o', 'order');
INSERT INTO o VALUES ('abcdef01-2345-6789-abcd-ef0123456789');
SELECT outcome, replayed FROM order_transition('o', 'ABCDEF01-2345-6789-ABCD-EF0123456789'::text, 'PROCESSING', key => 'spelling-14');
SELECT outcome, replayed FROM order_transition('o', 'abcdef01-2345-6789-abcd-ef0123456789'::uuid, 'PROCESSING', key => 'spelling-14');
SELECT outcome, replayed FROM idem_transition_batch('o', ARRAY['"ABCDEF01-2345-6789-ABCD-EF0123456789"']::jsonb[], 'SHIPPED', key => 'spelling-15');
SELECT outcome, replayed FROM idem_transition_batch('o', ARRAY['{"id": "abcdef01-2345-6789-abcd-ef0123456789"}']::jsonb[], 'SHIPPED', key => 'spelling-15');
-- What is nearly one is refused by the type.
SELECT idem_upsert('spelling-16', 'u', jsonb_build_object('id', id)) FROM unnest('{ABCDEF01-2345-6789-abcd-ef012345678}'::text[]) AS id;
SELECT idem_upsert('spelling-16', 'u', jsonb_build_object('id', id)) FROM unnest('{ABC-DEF01-2345-6789-abcd-ef0123456789}'::text[]) AS id;
SELECT idem_upsert('spelling-16', 'u', jsonb_build_object('id', id)) FROM unnest('{"{ABCDEF01-2345-6789-abcd-ef0123456789"}'::text[]) AS id;
SELECT idem_upsert('spelling-16', 'u', jsonb_build_object('id', id)) FROM unnest('{ABCDEF01-2345-6789-abcd-ef0123456789-}'::text[]) AS id;

DELETE FROM idem_key WHERE starts_with(key, 'spelling-');
DROP SCHEMA idem_test_spelling CASCADE;
