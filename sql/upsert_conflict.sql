-- Which row an upsert means: that which the unique index finds, as ON CONFLICT
-- would in the statement of a person.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_conflict;
SET search_path = idem_test_conflict, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

-- Rows of a table that inherits are not the table's, whatever their key.
CREATE TABLE parent (id int PRIMARY KEY, v int, version int NOT NULL DEFAULT 1);
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, 10), (2, 20);
SELECT * FROM idem_upsert('conflict-1', 'parent', '{"id": 2, "v": 1}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO parent VALUES (1, 1);
SELECT * FROM idem_upsert('conflict-2', 'parent', '{"id": 1}');
SELECT * FROM idem_upsert('conflict-3', 'parent', '{"id": 1}', expected_version => 1);
SELECT * FROM idem_upsert('conflict-4', 'parent', '{"id": 1, "v": 2}', expected_version => 1);
SELECT tableoid::regclass, * FROM parent ORDER BY 1, 2;
DROP TABLE child, parent;

-- An index may have another collation than its column, and compare by that.
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE tag (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, n int, version int DEFAULT 1);
CREATE UNIQUE INDEX tag_blind ON tag (name COLLATE blind);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-10', 'tag', '{"name": "Red", "n": 1}', '{name}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-11', 'tag', '{"name": "RED", "n": 2}', '{name}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-12', 'tag', '{"name": "RED"}', '{name}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-13', 'tag', '{"name": "red", "n": 3}', '{name}', 1);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-14', 'tag', '{"name": "red", "n": 3}', '{name}', 1);
-- Where there are several, each finds the row.
CREATE UNIQUE INDEX tag_plain ON tag (name);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-15', 'tag', '{"name": "Red", "n": 4}', '{name}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-16', 'tag', '{"name": "red", "n": 5}', '{name}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-17', 'tag', '{"name": "rED"}', '{name}');
DROP INDEX tag_blind;
CREATE UNIQUE INDEX tag_again ON tag (name);
CREATE UNIQUE INDEX tag_blind ON tag (name COLLATE blind);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-18', 'tag', '{"name": "red", "n": 6}', '{name}');
DROP TABLE tag;

-- Where the index takes nulls for equal, a null tells a repeat.
CREATE TABLE seat (hall text, row_ int, n int, UNIQUE NULLS NOT DISTINCT (hall, row_));
SELECT * FROM idem_upsert(NULL, 'seat', '{"hall": "a", "row_": null, "n": 1}', '{hall,row_}', merge => '{}');
SELECT * FROM idem_upsert(NULL, 'seat', '{"hall": "a", "row_": null, "n": 1}', '{hall,row_}', merge => '{}');
SELECT * FROM idem_upsert(NULL, 'seat', '{"hall": "a", "row_": null, "n": 2}', '{hall,row_}', merge => '{"n": "max"}');
ALTER TABLE seat DROP CONSTRAINT seat_hall_row__key, ADD UNIQUE (hall, row_);
SELECT * FROM idem_upsert(NULL, 'seat', '{"hall": "a", "row_": null, "n": 2}', '{hall,row_}', merge => '{}');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE seat;

-- A generated column tells a row from others without being given.
CREATE TABLE member (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	email text NOT NULL,
	folded text GENERATED ALWAYS AS (lower(email)) STORED UNIQUE,
	name text,
	version int DEFAULT 1
);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-20', 'member', '{"email": "A@x", "name": "a"}', '{folded}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-21', 'member', '{"email": "a@X", "name": "b"}', '{folded}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-22', 'member', '{"email": "a@X", "name": "b"}', '{folded}');
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-23', 'member', '{"email": "a@X", "name": "c"}', '{folded}', 1);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-24', 'member', '{"email": "a@X", "name": "d"}', '{folded}', 1);
SELECT outcome, result - 'id' AS result FROM idem_upsert('conflict-25', 'member', '{"email": "b@X", "name": "d"}', '{folded}', 1);
\set VERBOSITY default
SELECT idem_upsert('conflict-26', 'member', '{"folded": "a@x", "email": "a@x"}', '{folded}');
-- One that is made up anew does not; nor, without a key, one that may be null.
SELECT idem_upsert('conflict-27', 'member', '{"email": "a@x"}', '{id}');
SELECT idem_upsert(NULL, 'member', '{"email": "a@x"}', '{folded}', merge => '{}');
\set VERBOSITY terse
ALTER TABLE member ALTER folded SET NOT NULL;
SELECT outcome FROM idem_upsert(NULL, 'member', '{"email": "a@X", "name": "c"}', '{folded}', merge => '{}');
DROP TABLE member;

DELETE FROM idem_key WHERE starts_with(key, 'conflict-');
DROP SCHEMA idem_test_conflict CASCADE;
