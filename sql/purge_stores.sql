-- Purging: what has expired in stores goes as what has in the tables of the extension.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_purge_stores;
SET search_path = idem_test_purge_stores, public;
SELECT FROM idem_purge();

SELECT idem_store_create('purge_a');
SELECT idem_store_create('purge_b', 'uuid');
SET idem.store = 'purge_a';
SELECT count(outcome) FROM generate_series(1, 500) AS i, idem_execute('p' || i, 'SELECT 1', ttl => '1 microsecond');
SELECT outcome FROM idem_claim('leased', lease => '1 microsecond', ttl => '1 microsecond');
SELECT outcome FROM idem_execute('live', 'SELECT 1');
SELECT idem_consume('purge', 'm1', '1 microsecond'), idem_consume('purge', 'm2');
SET idem.store = 'purge_b';
SELECT outcome FROM idem_execute('p', 'SELECT 1', scope => '6f3a2b1c-0d4e-4f5a-8b6c-7d8e9f0a1b2c', ttl => '1 microsecond');

-- Bounded, then all; a claim that was leased stays for its fence.
SELECT idem_purge(100);
SELECT count(*) FROM purge_a.idem_key;
SELECT idem_purge();
SELECT key FROM purge_a.idem_key ORDER BY key;
SELECT message_id FROM purge_a.idem_message;
SELECT count(*) FROM purge_b.idem_key;
SELECT idem_purge();

-- What no call would use is passed by, and runs no code: neither is what only has the name.
RESET idem.store;
CREATE ROLE regress_idem_keeper;
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'spied as %', current_user; END$$;
UPDATE purge_a.idem_key SET expires_at = '-infinity', lease_until = NULL;
ALTER TABLE purge_a.idem_key OWNER TO regress_idem_keeper;
CREATE TRIGGER spy BEFORE DELETE ON purge_a.idem_key FOR EACH ROW EXECUTE FUNCTION spy();
CREATE TABLE idem_test_purge_stores.idem_key (expires_at timestamptz, lease_until timestamptz);
INSERT INTO idem_test_purge_stores.idem_key VALUES ('-infinity');
SELECT idem_purge();
SELECT count(*) FROM purge_a.idem_key;
SELECT count(*) FROM idem_test_purge_stores.idem_key;
DROP TRIGGER spy ON purge_a.idem_key;
-- an archive that is like it, and a column of another name
CREATE SCHEMA purge_archive;
CREATE TABLE purge_archive.idem_key (LIKE purge_a.idem_key);
INSERT INTO purge_archive.idem_key SELECT * FROM purge_a.idem_key;
ALTER TABLE purge_a.idem_key RENAME created_at TO made_at;
SELECT idem_purge();
SELECT count(*) FROM purge_archive.idem_key;
ALTER TABLE purge_a.idem_key RENAME made_at TO created_at;
SELECT idem_purge();
SELECT count(*) FROM purge_archive.idem_key;
DROP SCHEMA purge_archive CASCADE;

-- One that cannot be purged keeps no other from it, and the statement goes on.
SET client_min_messages = error;
CREATE PUBLICATION idem_test_purge_stores FOR TABLE purge_a.idem_key;
SET client_min_messages = warning;
TRUNCATE purge_a.idem_key;
ALTER TABLE purge_a.idem_key REPLICA IDENTITY NOTHING;
SET idem.store = 'purge_b';
SELECT outcome FROM idem_execute('p', 'SELECT 1', scope => '6f3a2b1c-0d4e-4f5a-8b6c-7d8e9f0a1b2c', ttl => '1 microsecond');
RESET idem.store;
SELECT idem_purge(), 'and goes on' AS then;
DROP PUBLICATION idem_test_purge_stores;

-- A store of which nothing goes is not locked any longer.
BEGIN;
SELECT idem_purge();
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
	AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'purge_b'::regnamespace);
COMMIT;

-- A function that catches what cancels a purge is in its own savepoint then.
CREATE FUNCTION purge_in_time() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_purge();
	RETURN 'purged';
EXCEPTION WHEN query_canceled THEN
	RETURN 'too late';
END$$;
SELECT purge_in_time();
SET idem.store = 'purge_b';
SELECT outcome FROM idem_execute('p', 'SELECT 1', scope => '6f3a2b1c-0d4e-4f5a-8b6c-7d8e9f0a1b2c');
RESET idem.store;
INSERT INTO purge_b.idem_key
	SELECT created_at, '-infinity', fence, NULL, fingerprint, outcome, claimed_by, scope, i::text,
		response, request, sqlstate, checkpoints
	FROM purge_b.idem_key, generate_series(1, 600000) AS i;
SET statement_timeout = '50ms';
SELECT purge_in_time();
RESET statement_timeout;
SELECT now() = statement_timestamp() AS in_no_transaction;
SELECT idem_purge();

DROP SCHEMA purge_a, purge_b, idem_test_purge_stores CASCADE;
DROP ROLE regress_idem_keeper;
