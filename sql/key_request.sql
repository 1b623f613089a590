-- Keys: how they are named, what counts as the same request, how long a
-- result is kept.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_key;
SET search_path = idem_test_key, public;
\set SHOW_CONTEXT never

CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE u (LIKE t INCLUDING ALL);

-- What became of a call: its outcome, or the SQLSTATE and message of its error.
CREATE FUNCTION try(key text, data jsonb, scope text DEFAULT '', ttl interval DEFAULT NULL,
					target text DEFAULT 't', conflict text[] DEFAULT NULL,
					version bigint DEFAULT NULL, OUT answer text, OUT detail text)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT concat_ws(' ', outcome, CASE WHEN replayed THEN 'replayed' END) INTO answer
	FROM idem_upsert(key, target::regclass, data, conflict, version, scope, ttl);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	answer := SQLSTATE || ' ' || answer;
END $$;

-- A key has 1 to 255 bytes, a scope 0 to 255; bytes are counted, not characters.
SELECT * FROM try(NULL, '{"id": 1}');
SELECT * FROM try('', '{"id": 1}');
SELECT * FROM try(repeat('k', 255), '{"id": 1}', scope => 'key');
SELECT * FROM try(repeat('k', 255), '{"id": 1}', scope => 'key');
SELECT * FROM try(repeat('k', 256), '{"id": 1}');
SELECT * FROM try(repeat(E'\303\244', 127), '{"id": 2}', scope => 'key');
SELECT * FROM try(repeat(E'\303\244', 128), '{"id": 2}');
SELECT * FROM try(repeat('k', 100000000), '{"id": 2}');
SELECT * FROM try('key-1', '{"id": 3}', scope => repeat('s', 255));
SELECT * FROM try('key-1', '{"id": 3}', scope => repeat('s', 256));
SELECT octet_length(scope), octet_length(key), response ->> 'id' AS id FROM idem_key
WHERE scope = 'key' OR scope = repeat('s', 255) ORDER BY key;
DELETE FROM idem_key WHERE scope = 'key' OR scope = repeat('s', 255);

-- Keys are bytes: no folding, no trimming, nothing special about any of them.
SELECT left(k, 8) AS k, answer FROM (VALUES ('key-x'), ('KEY-X'), ('key-x '), (' key-x'), ('key-%'),
	('key-''"\'), (E'key-\n'), ('key-' || repeat('0', 200)), ('key-x')) AS v(k),
	try(k, '{"id": 4, "v": "same"}');
SELECT answer FROM try('x', '{"id": 4}', scope => 'key-y');
SELECT answer FROM try('key-y', '{"id": 4}', scope => 'x');

-- The same request: the order of fields, white space and the scale of numbers
-- do not count, as they do not for jsonb.
SELECT * FROM try('key-2', '{"id": 5, "v": "a"}');
SELECT * FROM try('key-2', '{"v":"a","id":5.00}');
SELECT * FROM try('key-2', '{"id": 0.5e1, "v": "b", "v": "\u0061"}');

-- Another request under the same key is refused, and told when and by whom the
-- key was used.  So it is for other data, another type of JSON, another field,
-- another table, other conflict columns and another version.
SELECT regexp_replace(answer, 'key-2', 'KEY') AS answer,
	   regexp_replace(detail, '(at ).*( by role ).*', '\1TIME\2ROLE.') AS detail
FROM try('key-2', '{"id": 5, "v": "b"}');
SELECT answer FROM try('key-2', '{"id": "5", "v": "a"}');
SELECT answer FROM try('key-2', '{"id": 5}');
SELECT answer FROM try('key-2', '{"id": 5, "v": null}');
SELECT answer FROM try('key-2', '{"id": 5, "v": "a", "w": 1}');
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}', target => 'u');
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}', conflict => '{id}');
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}', version => 1);
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}');

-- How long to keep the result is not part of the request.
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}', ttl => '1 minute');

-- The table counts by its name: made anew under its name it is the same,
-- renamed it is another.
DROP TABLE t;
CREATE TABLE t (id int PRIMARY KEY, v text);
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}');
ALTER TABLE t RENAME TO renamed;
SELECT answer FROM try('key-2', '{"id": 5, "v": "a"}', target => 'renamed');
ALTER TABLE renamed RENAME TO t;
-- a session keeps what tables are called, and hears of each change
CREATE TABLE other (id int PRIMARY KEY, v text);
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}');
SELECT answer FROM try('key-21', '{"id": 21, "v": "a"}', target => 'other');
ALTER TABLE t RENAME TO between;
ALTER TABLE other RENAME TO t;
ALTER TABLE between RENAME TO other;
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}');
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}', target => 'other');
SELECT answer FROM try('key-21', '{"id": 21, "v": "a"}', target => 'other');
ALTER TABLE t RENAME TO between;
ALTER TABLE other RENAME TO t;
ALTER TABLE between RENAME TO other;
ALTER SCHEMA idem_test_key RENAME TO idem_test_other;
SELECT answer FROM idem_test_other.try('key-20', '{"id": 20, "v": "a"}', target => 'idem_test_other.t');
ALTER SCHEMA idem_test_other RENAME TO idem_test_key;
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}');
CREATE SCHEMA idem_test_other;
ALTER TABLE t SET SCHEMA idem_test_other;
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}', target => 'idem_test_other.t');
ALTER TABLE idem_test_other.t SET SCHEMA idem_test_key;
SELECT answer FROM try('key-20', '{"id": 20, "v": "a"}');
DROP SCHEMA idem_test_other;

-- Fingerprints are stored, dumped and replicated, so they must never change.
-- These were made by version 1.0 and hold on every server and architecture.
CREATE TABLE f (id int PRIMARY KEY, a text, b jsonb, c numeric, d int[],
				version int NOT NULL DEFAULT 1, UNIQUE (a, id));
DO $$
DECLARE
	requests text[] := ARRAY[
		'{"id": 1}',
		'{"id": 1, "a": null}',
		'{"id": 1, "a": ""}',
		'{"id": 1, "a": "12345678"}',
		'{"id": 1, "a": "123456789"}',
		'{"id": 1, "a": "true"}',
		'{"id": 1, "b": true}',
		'{"id": 1, "b": false}',
		'{"id": 1, "b": {}}',
		'{"id": 1, "b": []}',
		'{"id": 1, "b": [[]]}',
		'{"id": 1, "b": {"x": [1, "2", null, {"y": -0.50}]}}',
		'{"id": 1, "c": 1e30}',
		'{"id": 1, "c": 12345678901234567890.0987654321}',
		'{"id": 1, "d": [1, 2]}'];
BEGIN
	FOR i IN 1 .. cardinality(requests) LOOP
		PERFORM idem_upsert('key-f-' || lpad(i::text, 2, '0'), 'f', requests[i]::jsonb);
	END LOOP;
	PERFORM idem_upsert('key-f-16', 'f', '{"id": 2, "a": "x"}', conflict => '{id,a}');
	PERFORM idem_upsert('key-f-17', 'f', '{"id": 2, "a": "x"}', conflict => '{a,id}');
	PERFORM idem_upsert('key-f-18', 'f', '{"id": 2, "a": "y"}', expected_version => 1);
END $$;
SELECT key, fingerprint FROM idem_key WHERE starts_with(key, 'key-f-') ORDER BY key;

-- A key's time may be given with the call, or else is idem.ttl.
SELECT answer FROM try('key-3', '{"id": 6}', ttl => '0');
SELECT answer FROM try('key-3', '{"id": 6}', ttl => '-1 second');
SELECT answer FROM try('key-3', '{"id": 6}', ttl => '1 day -26 hours');
SELECT answer FROM try('key-3', '{"id": 6}', ttl => '178000000 years');
SELECT answer FROM try('key-3', '{"id": 6}', ttl => '1000 years');
SET idem.ttl = '90min';
SELECT answer FROM try('key-4', '{"id": 6}');
SET idem.ttl = '10s';
SELECT answer FROM try('key-5', '{"id": 6}');
SELECT answer FROM try('key-6', '{"id": 6}', ttl => '2 hours 1 microsecond');
RESET idem.ttl;
SELECT key, expires_at - created_at AS kept FROM idem_key
WHERE key IN ('key-4', 'key-5', 'key-6') ORDER BY key;
\set VERBOSITY sqlstate
SET idem.ttl = 0;
SET idem.ttl = '-1s';

-- The settings' prefix is reserved: a misspelt one is an error.
SET idem.tll = '1h';
\set VERBOSITY default

-- A key past its time counts as absent, for whatever request, whether or not
-- its row is still there.  The fence counts such uses.  (One transaction, so
-- that a purge cannot come between.)
BEGIN;
SELECT answer FROM try('key-7', '{"id": 7, "v": "a"}', ttl => '1 microsecond');
SELECT answer FROM try('key-7', '{"id": 7, "v": "b"}', ttl => '1 microsecond');
SELECT answer FROM try('key-7', '{"id": 8, "v": "c"}', ttl => '1 hour');
SELECT answer FROM try('key-7', '{"id": 8, "v": "c"}');
SELECT answer FROM try('key-7', '{"id": 7, "v": "a"}');
SELECT outcome, response, fence, expires_at - created_at AS kept, created_at > now() AS at_the_call
FROM idem_key WHERE key = 'key-7';
COMMIT;
SELECT * FROM t WHERE id IN (7, 8) ORDER BY id;

-- A retry does not prolong a key's time.
SELECT created_at AS created, expires_at AS expires FROM idem_key WHERE key = 'key-7' \gset
SELECT answer FROM try('key-7', '{"id": 8, "v": "c"}', ttl => '2 hours');
SELECT created_at = :'created' AND expires_at = :'expires' AS as_before
FROM idem_key WHERE key = 'key-7';

-- A trigger that runs under a key cannot use that key again; it can afterwards.
CREATE TABLE again (id int PRIMARY KEY, key text);
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_upsert(NEW.key, 'idem_test_key.t', '{"id": 9}');
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT ON again FOR EACH ROW EXECUTE FUNCTION again();
SELECT * FROM idem_upsert('key-8', 'again', '{"id": 1, "key": "key-8"}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM again;
SELECT answer FROM try('key-8', '{"id": 1, "key": "key-9"}', target => 'again');
SELECT answer FROM try('key-9', '{"id": 9}');

-- The same, caught in a subtransaction: the outer call goes on as if nothing
-- had been.
CREATE OR REPLACE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_upsert(NEW.key, 'idem_test_key.t', '{"id": 10}');
	RETURN NULL;
EXCEPTION WHEN object_in_use THEN
	RETURN NULL;
END $$;
SELECT answer FROM try('key-10', '{"id": 2, "key": "key-10"}', target => 'again');
SELECT answer FROM try('key-10', '{"id": 2, "key": "key-10"}', target => 'again');

-- No lock of a key outlives its call.
BEGIN;
SELECT answer FROM try('key-11', '{"id": 11}');
SELECT answer FROM try('key-11', '{"id": 12}');
SELECT answer FROM try('key-12', '{"id": 11, "no": 12}');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
ROLLBACK;

DELETE FROM idem_key WHERE starts_with(lower(ltrim(key)), 'key-') OR scope = 'key-y';
DROP SCHEMA idem_test_key CASCADE;
