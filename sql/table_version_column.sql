-- Which column holds the version, and what a call that names it means: clients
-- send back the row as they have read it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_column;
SET search_path = idem_test_column, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse

-- Where a version is expected, the column "version" holds it.  What the data says
-- of it is no payload: of two who send back what they read, one is refused.
CREATE TABLE d (id int PRIMARY KEY, t text, version bigint NOT NULL DEFAULT 1);
INSERT INTO d VALUES (1, 'x');
SELECT * FROM idem_upsert('column-a', 'd', '{"id": 1, "t": "A", "version": 1}', expected_version => 1);
SELECT * FROM idem_upsert('column-b', 'd', '{"id": 1, "t": "B", "version": 1}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('d', 1, '{"t": "B", "version": 1}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_update('d', 1, '{"t": "B", "version": 2}', expected_version => 2);
-- Sent again, without a key, it is our own change.
SELECT * FROM idem_update('d', 1, '{"t": "B", "version": 2}', expected_version => 2);
SELECT * FROM idem_upsert(NULL, 'd', '{"id": 1, "t": "B", "version": 2}', expected_version => 2, merge => '{}');
-- A version and nothing else is a question.
SELECT * FROM idem_update('d', 1, '{"version": 7}', expected_version => 3);
SELECT * FROM idem_upsert('column-c', 'd', '{"id": 1, "version": 7}', expected_version => 3);
SELECT * FROM idem_upsert('column-d', 'd', '{"id": 1, "version": 3}', expected_version => 7);
SELECT idem_upsert(NULL, 'd', '{"id": 1, "version": 7}', expected_version => 3, merge => '{"version": "max"}');
\echo :LAST_ERROR_SQLSTATE

-- Where none is expected, a column that is named so is one like any other.
CREATE TABLE product (id int PRIMARY KEY, name text, version int);
INSERT INTO product VALUES (1, 'idem', 15);
SELECT * FROM idem_update('product', 1, '{"name": "Idem"}');
SELECT * FROM idem_update('product', 1, '{"version": 17}');
SELECT * FROM idem_upsert('column-e', 'product', '{"id": 1, "name": "IDEM"}');
SELECT * FROM idem_upsert('column-f', 'product', '{"id": 1, "version": 18}');
SELECT * FROM idem_upsert(NULL, 'product', '{"id": 1, "version": 16}', merge => '{"version": "max"}');

-- One that a trigger raises is managed whether or not a version is expected: it is
-- the first version of a row that is inserted, and no difference in one that is there.
CREATE TABLE page (id int PRIMARY KEY, body text, revision int NOT NULL DEFAULT 1);
CREATE TRIGGER raise BEFORE UPDATE ON page FOR EACH ROW EXECUTE FUNCTION idem_version('revision');
SELECT * FROM idem_upsert('column-g', 'page', '{"id": 1, "body": "a", "revision": 5}');
SELECT * FROM idem_upsert('column-h', 'page', '{"id": 1, "body": "a", "revision": 9}');
SELECT * FROM idem_upsert('column-i', 'page', '{"id": 1, "body": "b", "revision": 9}');
SELECT * FROM idem_upsert(NULL, 'page', '{"id": 1, "body": "c", "revision": 6}', expected_version => 6, merge => '{}');
SELECT * FROM idem_upsert(NULL, 'page', '{"id": 1, "body": "c", "revision": 6}', expected_version => 6, merge => '{}');
SELECT * FROM idem_update('page', 1, '{"body": "d", "revision": 7}');
SELECT * FROM idem_update('page', 1, '{"body": "d", "revision": 7}');
SELECT * FROM idem_upsert('column-j', 'page', '{"id": 1, "revision": 2}');

-- A row that is to have a version has to be there: that comes before anything that
-- is wrong with the data of a new one.
CREATE TABLE item (
	id int PRIMARY KEY,
	state order_status NOT NULL DEFAULT 'PENDING',
	n int NOT NULL CHECK (n > 0),
	version int NOT NULL DEFAULT 1
);
SELECT idem_attach('item', 'order', 'state');
\set VERBOSITY sqlstate
SELECT idem_upsert('column-k', 'item', '{"id": 1, "n": 1, "state": "SHIPPED"}', expected_version => 1);
SELECT idem_upsert('column-k', 'item', '{"id": 1, "n": 0}', expected_version => 1);
SELECT idem_upsert('column-k', 'item', '{"id": 1, "n": null}', expected_version => 1);
SELECT idem_upsert('column-k', 'item', '{"id": 1, "state": "PENDING"}', expected_version => 1);
SELECT idem_upsert('column-k', 'item', '{"id": 1}', expected_version => 1);
\set VERBOSITY terse
-- Of one that is there, columns may be left out that a new one must have.
INSERT INTO item VALUES (1, 'PENDING', 1);
SELECT * FROM idem_upsert('column-k', 'item', '{"id": 1, "state": "PROCESSING"}', expected_version => 1);
SELECT * FROM idem_upsert('column-l', 'item', '{"id": 1, "state": "DELIVERED"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_upsert('column-m', 'item', '{"id": 1, "state": "DELIVERED"}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
-- A value that the column cannot hold is refused, not cut short.
CREATE TABLE narrow (id int PRIMARY KEY, a varchar(3), b char(3), c bit(3), d varbit(3), version int DEFAULT 1);
INSERT INTO narrow VALUES (1, 'abc', 'abc', '101', '101');
SELECT data, outcome, result FROM unnest('{"{\"id\": 1, \"a\": \"abc\", \"b\": \"abc \"}","{\"id\": 1, \"c\": \"101\", \"d\": \"101\"}"}'::jsonb[]) AS data,
	LATERAL idem_upsert(NULL, 'narrow', data, expected_version => 1, merge => '{}');
SELECT idem_upsert('column-n', 'narrow', '{"id": 1, "a": "abcd"}', expected_version => 1);
SELECT idem_upsert('column-n', 'narrow', '{"id": 1, "b": "abcd"}', expected_version => 1);
SELECT idem_upsert('column-n', 'narrow', '{"id": 1, "c": "1011"}', expected_version => 1);
SELECT idem_upsert('column-n', 'narrow', '{"id": 1, "d": "1011"}', expected_version => 1);

-- The error names the row, and nothing of what is in it.
SELECT idem_upsert('column-o', 'd', '{"id": 1, "t": "secret"}', expected_version => 9);

-- A trigger that makes something else of what is written: sent again, it is our
-- own change all the same.  What it does meanwhile is undone.
CREATE TABLE account (id int PRIMARY KEY, email text, at timestamptz, version int NOT NULL DEFAULT 1);
CREATE TABLE account_log (email text);
CREATE FUNCTION normalise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.email = 'refused' THEN
		RAISE EXCEPTION 'refused';
	END IF;
	NEW.email := lower(NEW.email);
	NEW.at := clock_timestamp();
	INSERT INTO idem_test_column.account_log VALUES (NEW.email);
	RETURN NEW;
END $$;
CREATE TRIGGER normalise BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION normalise();
INSERT INTO account VALUES (1, 'a@example.com');
SELECT outcome, version, result -> 'email' AS email FROM idem_update('account', 1, '{"email": "B@Example.com"}', expected_version => 1);
SELECT outcome, version, result -> 'email' AS email FROM idem_update('account', 1, '{"email": "B@Example.com"}', expected_version => 1);
SELECT outcome FROM idem_update('account', 1, '{"email": "C@Example.com"}', expected_version => 1);
SELECT outcome FROM idem_update('account', 1, '{"email": "refused"}', expected_version => 1);
SELECT outcome FROM idem_upsert('column-p', 'account', '{"id": 1, "email": "D@Example.com", "version": 2}', expected_version => 2);
SELECT outcome FROM idem_upsert('column-q', 'account', '{"id": 1, "email": "D@Example.com", "version": 2}', expected_version => 2);
SELECT outcome FROM idem_upsert('column-r', 'account', '{"id": 1, "email": "E@Example.com"}', expected_version => 2);
SELECT outcome FROM idem_upsert('column-r', 'account', '{"id": 1, "email": "refused"}', expected_version => 2);
SELECT email, version FROM account;
SELECT * FROM account_log;
-- So it is of a partition's own trigger, and where idem_version() raises the version.
CREATE TABLE part (id int PRIMARY KEY, email text, at timestamptz, version int NOT NULL DEFAULT 1) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TRIGGER normalise BEFORE UPDATE ON part_0 FOR EACH ROW EXECUTE FUNCTION normalise();
CREATE TRIGGER raise BEFORE UPDATE ON part FOR EACH ROW EXECUTE FUNCTION idem_version('version');
INSERT INTO part VALUES (1, 'a@example.com');
SELECT outcome, version FROM idem_update('part', 1, '{"email": "B@Example.com"}', expected_version => 1);
SELECT outcome, version FROM idem_update('part', 1, '{"email": "B@Example.com"}', expected_version => 1);
SELECT outcome FROM idem_upsert('column-s', 'part', '{"id": 1, "email": "B@Example.com"}', expected_version => 1);
SELECT outcome FROM idem_upsert('column-t', 'part', '{"id": 1, "email": "C@Example.com"}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE

-- A trigger that returns the old row keeps it from being updated.
CREATE TABLE kept (id int PRIMARY KEY, v int, version int NOT NULL DEFAULT 1);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO kept VALUES (1, 1);
SELECT idem_update('kept', 1, '{"v": 2}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_update('kept', 1, '{"v": 2}', expected_version => 1, key => 'column-u');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_update('kept', 1, '{"v": 1}');
SELECT count(*) FROM idem_key WHERE key = 'column-u';
CREATE TRIGGER keep BEFORE UPDATE ON part_0 FOR EACH ROW EXECUTE FUNCTION keep();
DROP TRIGGER raise ON part;
SELECT idem_update('part', 1, '{"email": "d@example.com"}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
-- So does it keep a row from an upsert, which then is unchanged, as it is where
-- the trigger returns none.
SELECT * FROM idem_upsert('column-v', 'kept', '{"id": 1, "v": 2}');
SELECT * FROM idem_upsert('column-w', 'kept', '{"id": 1, "v": 2}', expected_version => 1);
SELECT * FROM idem_upsert('column-x', 'kept', '{"id": 2, "v": 2}');

DELETE FROM idem_key WHERE starts_with(key, 'column-');
DROP SCHEMA idem_test_column CASCADE;
