-- Bytes are given as a string of hexadecimal digits; an object or array, which would
-- be stored as its text, is refused wherever bytes are wanted
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_bytea;
SET search_path = test_bytea, public;
SET idem.scope = 'test_bytea';
\set SHOW_CONTEXT never
CREATE DOMAIN digest AS bytea;
CREATE DOMAIN digests AS digest[];
CREATE TYPE signed AS (name text, mark bytea);
CREATE DOMAIN signed_domain AS signed;
CREATE TABLE t (id int PRIMARY KEY, raw bytea, hash digest, list bytea[], hashes digests,
	pair signed, pairs signed[], nested signed_domain, doc jsonb, note text, n int);

-- What is right.
SELECT outcome FROM idem_upsert('a', 't', '{"id": 1, "raw": "\\x00ff", "hash": "\\x01", "list": ["\\x02", null, "text"],
	"hashes": [["\\x03"], ["\\x04"]], "pair": {"name": "a", "mark": "\\x05"}, "pairs": [{"mark": "\\x06"}],
	"nested": {"mark": null}, "doc": {"raw": {"type": "Buffer", "data": [1]}}, "note": {"data": [1]}, "n": 1.0}');
SELECT * FROM t;
SELECT outcome FROM idem_upsert('b', 't', '{"id": 1, "list": "{\"\\\\x07\"}", "pair": "(b,\"\\\\x08\")"}');
SELECT outcome FROM idem_update('t', 1, '{"raw": "\\x0a", "list": ["\\x0b"], "pair": {"mark": "\\x0c"}}', key => 'c');
SELECT raw, list, pair FROM t;
SELECT result FROM idem_execute('d', 'SELECT $1::bytea AS a, $2::bytea[] AS b, $3::jsonb AS c', '["\\x01", ["\\x02"], {"raw": [1]}]');

-- What is not: by an upsert, an update, with a key and without, as a parameter.
SELECT idem_upsert('e', 't', '{"id": 2, "raw": {"type": "Buffer", "data": [0, 255]}}');
SELECT idem_upsert('e', 't', '{"id": 2, "raw": [0, 255]}');
SELECT idem_upsert('e', 't', '{"id": 2, "raw": {}}');
SELECT idem_upsert(NULL, 't', '{"id": 2, "n": 1, "raw": [0, 255]}', merge => '{"n": "max"}');
SELECT idem_upsert('e', 't', '{"id": 1, "raw": [0, 255]}', expected_version => 1);
SELECT idem_update('t', 1, '{"raw": [0, 255]}');
SELECT idem_update('t', 1, '{"raw": [0, 255]}', key => 'e');
SELECT idem_execute('e', 'UPDATE t SET raw = $1', '[{"type": "Buffer", "data": [0, 255]}]');
SELECT idem_check('UPDATE t SET raw = $1', '[[0, 255]]');
\set VERBOSITY terse
-- In domains, arrays and composite types, after what is right, after a value in another spelling.
SELECT idem_upsert('e', 't', '{"id": 2, "hash": [1]}');
SELECT idem_upsert('e', 't', '{"id": 2, "list": ["\\x01", {"data": [1]}]}');
SELECT idem_upsert('e', 't', '{"id": 2, "hashes": [["\\x01"], [{"data": [1]}]]}');
SELECT idem_upsert('e', 't', '{"id": 2, "pair": {"mark": [1]}}');
SELECT idem_upsert('e', 't', '{"id": 2, "pairs": [{"mark": "\\x01"}, {"name": "a", "mark": {}}]}');
SELECT idem_upsert('e', 't', '{"id": 2, "nested": {"mark": {"data": [1]}}}');
SELECT idem_upsert('e', 't', '{"n": 1.0, "id": 2, "raw": [1], "pair": {"mark": "\\x01"}}');
SELECT idem_update('t', 1, '{"pairs": [{"mark": [1]}]}');
SELECT idem_execute('e', 'SELECT $1::bytea[]', '[[{"data": [1]}]]');
SELECT idem_execute('e', 'SELECT $1::test_bytea.signed', '[{"mark": [1]}]');
SELECT idem_execute('e', 'SELECT $1::test_bytea.digest', '[[1]]');
-- A field that is no column says so first; one of a type that has no such field is passed over.
SELECT idem_upsert('e', 't', '{"id": 2, "rawr": [1]}');
SELECT outcome FROM idem_upsert('f', 't', '{"id": 2, "pair": {"marked": [1], "name": {"a": 1}}}');
-- Neither was remembered.
SELECT count(*) FROM idem_key WHERE scope = 'test_bytea' AND key = 'e';
SELECT id, raw, pair FROM t ORDER BY id;

DELETE FROM idem_key WHERE scope = 'test_bytea';
DROP SCHEMA test_bytea CASCADE;
