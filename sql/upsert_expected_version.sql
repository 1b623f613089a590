-- idem_upsert() with an expected version: the row is changed only if nobody
-- else has changed it meanwhile.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_version;
SET search_path = idem_test_version, public;
\set SHOW_CONTEXT never

-- A column named "version" holds it; idem raises it with each such change.
CREATE TABLE doc (id int PRIMARY KEY, body text, version bigint NOT NULL DEFAULT 1);
SELECT * FROM idem_upsert('version-1', 'doc', '{"id": 1, "body": "a"}');
SELECT * FROM idem_upsert('version-2', 'doc', '{"id": 1, "body": "b"}', expected_version => 1);

-- A retry replays, also when the row has moved on.
SELECT * FROM idem_upsert('version-3', 'doc', '{"id": 1, "body": "c"}', expected_version => 2);
SELECT * FROM idem_upsert('version-2', 'doc', '{"id": 1, "body": "b"}', expected_version => 1);

-- A stale version is refused, nothing is changed, and the key is free again.
SELECT * FROM idem_upsert('version-4', 'doc', '{"id": 1, "body": "d"}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM doc;
SELECT * FROM idem_upsert('version-4', 'doc', '{"id": 1, "body": "d"}', expected_version => 3);

-- So is one from the future.
SELECT * FROM idem_upsert('version-5', 'doc', '{"id": 1, "body": "e"}', expected_version => 9);
\echo :LAST_ERROR_SQLSTATE

-- Equal data raises no version.
SELECT * FROM idem_upsert('version-6', 'doc', '{"id": 1, "body": "d"}', expected_version => 4);

-- Nor does it where the version is one past the expected, which is how our own
-- change looks when its acknowledgement was lost and its key has expired.
SELECT * FROM idem_upsert('version-7', 'doc', '{"id": 1, "body": "d"}', expected_version => 3);

-- But two past it, or one past it with other data, somebody else was there.
SELECT * FROM idem_upsert('version-8', 'doc', '{"id": 1, "body": "d"}', expected_version => 2);
SELECT * FROM idem_upsert('version-8', 'doc', '{"id": 1, "body": "x"}', expected_version => 3);

-- The version expected is part of the request.
\set VERBOSITY terse
SELECT * FROM idem_upsert('version-7', 'doc', '{"id": 1, "body": "d"}', expected_version => 4);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default

-- A row that is to have a version has to be there.
SELECT * FROM idem_upsert('version-9', 'doc', '{"id": 2, "body": "a"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('version-9', 'doc', '{"id": 2}', expected_version => 1);
SELECT count(*) FROM doc;
SELECT key FROM idem_key WHERE key IN ('version-5', 'version-8', 'version-9');

-- Data that names no more than the row checks its version.
SELECT * FROM idem_upsert('version-10', 'doc', '{"id": 1}', expected_version => 4);
SELECT * FROM idem_upsert('version-11', 'doc', '{"id": 1}', expected_version => 7);

-- What data says of the version is no payload.
SELECT * FROM idem_upsert('version-12', 'doc', '{"id": 1, "version": 40}', expected_version => 4);

-- Messages name the row, not the data.
SELECT * FROM idem_upsert('version-13', 'doc',
	jsonb_build_object('id', 1, 'body', repeat('x', 100)), expected_version => 3);

-- The value is compared as the column holds it.
CREATE TABLE rounded (
	id numeric(6,1) PRIMARY KEY,
	code char(4),
	at timestamptz(0),
	version int NOT NULL DEFAULT 1
);
SELECT result -> 'version' AS version
FROM idem_upsert('version-20', 'rounded',
	'{"id": 1.26, "code": "a", "at": "2024-01-01 00:00:00.6Z"}');
SELECT outcome, result -> 'version' AS version
FROM idem_upsert('version-21', 'rounded',
	'{"id": 1.26, "code": "b", "at": "2024-01-01 00:00:00.6Z"}', expected_version => 1);
SELECT outcome, result -> 'version' AS version
FROM idem_upsert('version-22', 'rounded',
	'{"id": 1.26, "code": "b", "at": "2024-01-01 00:00:00.6Z"}', expected_version => 1);

-- A partitioned table has versions, too.
CREATE TABLE part (id int PRIMARY KEY, v int, version int NOT NULL DEFAULT 1)
	PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT * FROM idem_upsert('version-30', 'part', '{"id": 1, "v": 1}', expected_version => 1);
SELECT * FROM idem_upsert('version-30', 'part', '{"id": 1, "v": 1}');
SELECT * FROM idem_upsert('version-31', 'part', '{"id": 1, "v": 2}', expected_version => 1);
SELECT * FROM idem_upsert('version-32', 'part', '{"id": 1, "v": 3}', expected_version => 1);

-- A row without a version has not the expected one, whatever that is.
CREATE TABLE unversioned (id int PRIMARY KEY, v int, version int);
INSERT INTO unversioned VALUES (1, 1);
SELECT * FROM idem_upsert('version-35', 'unversioned', '{"id": 1, "v": 2}', expected_version => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('version-35', 'unversioned', '{"id": 1, "v": 1}', expected_version => 0);
SELECT * FROM idem_upsert('version-35', 'unversioned', '{"id": 1}', expected_version => 0);
SELECT * FROM idem_upsert('version-36', 'unversioned', '{"id": 1, "v": 1}');

-- Where a null is the same as another, it tells which row is meant.
CREATE TABLE seat (hall text, n int, v int, version int NOT NULL DEFAULT 1, UNIQUE NULLS NOT DISTINCT (hall, n));
INSERT INTO seat VALUES (NULL, 1, 10, 3), ('a', 1, 10, 7);
SELECT * FROM idem_upsert('version-37', 'seat', '{"hall": null, "n": 1, "v": 11}', '{hall,n}', expected_version => 2);
SELECT * FROM idem_upsert('version-37', 'seat', '{"hall": null, "n": 1, "v": 11}', '{hall,n}', expected_version => 3);
SELECT * FROM idem_upsert('version-38', 'seat', '{"hall": null, "n": 1}', '{hall,n}', expected_version => 4);
SELECT * FROM idem_upsert('version-39', 'seat', '{"hall": null, "n": 2, "v": 1}', '{hall,n}', expected_version => 1);
SELECT * FROM seat ORDER BY hall;

-- Without such a column there is nothing to expect.
CREATE TABLE bare (id int PRIMARY KEY, v int);
SELECT * FROM idem_upsert('version-40', 'bare', '{"id": 1, "v": 1}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE

DELETE FROM idem_key WHERE starts_with(key, 'version-');
DROP SCHEMA idem_test_version CASCADE;
