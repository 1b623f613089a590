-- idem's own tables, which their owner may alter, and attach code to.
CREATE SCHEMA test_own_tables;
SET search_path = test_own_tables, public;
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS idem;
CREATE EXTENSION idem SCHEMA test_own_tables;
RESET client_min_messages;
CREATE ROLE regress_idem_mallory;
CREATE TABLE t (id int PRIMARY KEY, v int);
GRANT ALL ON t TO regress_idem_mallory;
GRANT USAGE ON SCHEMA test_own_tables TO regress_idem_mallory;

-- Code on them runs as their owner, restricted, and without the caller's
-- search_path.
CREATE TABLE audit (owners boolean, path text, key text);
CREATE FUNCTION audit_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test_own_tables.audit
	SELECT current_user <> 'regress_idem_mallory', current_setting('search_path'), new.key;
	IF new.response ? 'unqualified' THEN
		EXECUTE new.response ->> 'unqualified';
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON idem_key FOR EACH ROW EXECUTE FUNCTION audit_key();
CREATE FUNCTION peep() RETURNS bigint STABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM snare);
END $$;
SET ROLE regress_idem_mallory;
SELECT outcome FROM idem_upsert('own-1', 't', '{"id": 1, "v": 1}', scope => 'test_own_tables');
SELECT outcome FROM idem_claim('own-2', lease => '1 hour', scope => 'test_own_tables');
SELECT idem_complete('own-2', '1', 1, scope => 'test_own_tables');

-- Nor does it find what the caller has put into its way: an innocent trigger
-- takes a table of the caller's for its own, and would run its triggers.
CREATE TEMP TABLE trap (i int);
CREATE FUNCTION pg_temp.spring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'sprung as %', current_user;
END $$;
CREATE TRIGGER spring BEFORE INSERT ON trap FOR EACH ROW EXECUTE FUNCTION pg_temp.spring();
CREATE TRIGGER clear BEFORE TRUNCATE ON trap EXECUTE FUNCTION pg_temp.spring();
CREATE FUNCTION pg_temp.snap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'snapped as %', current_user;
END $$;
CREATE TEMP VIEW snare AS SELECT pg_temp.snap(1) AS i;
CREATE DOMAIN pg_temp.pit AS int CHECK (pg_temp.snap(value) = value);
SET search_path = pg_temp, test_own_tables, public;
CREATE FUNCTION pg_temp.walk(text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	key text := 'own-' || md5($1);
BEGIN
	PERFORM idem_claim(key, lease => '1 hour', scope => 'test_own_tables');
	RETURN idem_complete(key, jsonb_build_object('unqualified', $1), 1, scope => 'test_own_tables');
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT step, pg_temp.walk(step) FROM unnest(ARRAY[
	'INSERT INTO trap VALUES (1)',
	'INSERT INTO pg_temp.trap VALUES (1)',
	'TRUNCATE trap',
	'WITH t AS (DELETE FROM trap RETURNING i) SELECT (SELECT count(*) FROM t)',
	'SELECT * FROM snare',
	'SELECT (SELECT i FROM snare)',
	'SELECT 1::pit']) AS step;
-- nor in a parallel worker
SELECT set_config(name, 'regress', false) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); -- until 15, since 16
SELECT pg_temp.walk('SELECT test_own_tables.peep() FROM pg_catalog.pg_class WHERE oid = 1259');
SELECT set_config(name, 'off', false) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
-- in his own name he may (the context has the number of his temporary schema)
\set SHOW_CONTEXT never
INSERT INTO trap VALUES (1);
SELECT * FROM snare;
\set SHOW_CONTEXT errors
-- what is set within the call ends with it
SHOW search_path;
SELECT current_user;
RESET ROLE;
SET search_path = test_own_tables, public;
SELECT * FROM audit ORDER BY key;
DROP TRIGGER audit ON idem_key;

-- So does an index on an expression, and a check.
CREATE FUNCTION whose(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% owner, path %', CASE current_user WHEN 'regress_idem_mallory' THEN 'not the' ELSE 'the' END, current_setting('search_path');
	RETURN $1;
END $$;
-- CREATE INDEX, which PostgreSQL itself restricts from 17 on, is not to be seen
SET client_min_messages = warning;
CREATE INDEX own_tables_idx ON idem_key (whose(key));
RESET client_min_messages;
SET ROLE regress_idem_mallory;
SET search_path = pg_temp, test_own_tables, public;
SELECT outcome FROM idem_upsert('own-3', 't', '{"id": 3}', scope => 'test_own_tables');
RESET ROLE;
SET search_path = test_own_tables, public;
DROP INDEX own_tables_idx;
ALTER TABLE idem_key ADD CONSTRAINT own_tables_check CHECK (whose(key) = key) NOT VALID;
SET ROLE regress_idem_mallory;
SET search_path = pg_temp, test_own_tables, public;
SELECT outcome FROM idem_upsert('own-4', 't', '{"id": 4}', scope => 'test_own_tables');
RESET ROLE;
SET search_path = test_own_tables, public;
ALTER TABLE idem_key DROP CONSTRAINT own_tables_check;

-- A domain, too, which checks a column that is left null, and what belongs to a
-- table that inherits.
CREATE DOMAIN checked AS text CHECK (whose(coalesce(value, 'none')) IS NOT NULL);
BEGIN;
SET LOCAL client_min_messages = warning;
ALTER TABLE idem_key ADD COLUMN more checked;
SET LOCAL client_min_messages = notice;
SET LOCAL ROLE regress_idem_mallory;
SET LOCAL search_path = pg_temp, test_own_tables, public;
SELECT outcome FROM idem_claim('own-9', lease => '1 hour', scope => 'test_own_tables');
ROLLBACK;
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE TABLE heir (CHECK (whose('own-9') < key)) INHERITS (idem_key);
SET LOCAL client_min_messages = notice;
SET LOCAL ROLE regress_idem_mallory;
SET LOCAL search_path = pg_temp, test_own_tables, public;
SELECT outcome FROM idem_claim('own-9', lease => '1 hour', scope => 'test_own_tables');
SELECT idem_complete('own-9', '1', 1, scope => 'test_own_tables');
ROLLBACK;

-- A deferred trigger cannot fire within a call, since it would fire without
-- the restriction: it is refused.
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON idem_key DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION later();
SELECT outcome FROM idem_upsert('own-5', 't', '{"id": 5}', scope => 'test_own_tables');
DROP TRIGGER later ON idem_key;

-- A rule counts, as for any statement.
CREATE RULE elsewhere AS ON INSERT TO idem_key WHERE new.key = 'own-6'
	DO ALSO INSERT INTO test_own_tables.audit VALUES (NULL, 'rule', new.key);
SELECT outcome FROM idem_upsert('own-6', 't', '{"id": 6}', scope => 'test_own_tables');
SELECT path, key FROM audit WHERE key = 'own-6';
DROP RULE elsewhere ON idem_key;

-- A trigger may call idem again, while the statement's plan is out of date.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	ANALYZE test_own_tables.idem_key;
	IF new.scope = 'test_own_tables' AND new.key LIKE 'own-7%' AND length(new.key) < 12 THEN
		PERFORM test_own_tables.idem_execute(new.key || '+', 'SELECT 1', scope => 'test_own_tables');
	END IF;
	RETURN NULL;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN NULL;
END $$;
CREATE FUNCTION stale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.scope = 'test_own_tables' AND new.key LIKE 'own-7%' AND length(new.key) < 12 THEN
		EXECUTE format('COMMENT ON TABLE test_own_tables.audit IS %L', new.key);
		PERFORM test_own_tables.idem_execute(new.key || '+', 'SELECT 1', scope => 'test_own_tables');
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT ON idem_key FOR EACH ROW EXECUTE FUNCTION again();
CREATE TRIGGER stale AFTER INSERT ON idem_key FOR EACH ROW EXECUTE FUNCTION stale();
SELECT outcome FROM idem_execute('own-7', 'SELECT 1', scope => 'test_own_tables');
SELECT key, outcome FROM idem_key WHERE scope = 'test_own_tables' AND key LIKE 'own-7%' ORDER BY key;
DROP TRIGGER again ON idem_key;
DROP TRIGGER stale ON idem_key;

-- What has been altered is an error, not a misreading; a new name is not.
CREATE FUNCTION answer(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
CREATE FUNCTION attempt(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	key text := 'own-' || md5(attempt.change);
BEGIN
	BEGIN
		EXECUTE attempt.change;
		RETURN QUERY SELECT DISTINCT regexp_replace(answer(format(c, key)), 'column .*', 'column ...')
			FROM unnest(ARRAY[
				'SELECT idem_execute(%L, ''SELECT 1'', scope => ''test_own_tables'')',
				'SELECT idem_lookup(%L, ''test_own_tables'')',
				'SELECT idem_consume(''own'', %L)',
				'SELECT idem_advance(''own'', %L, 0, 0, 1)',
				'SELECT idem_purge()']) AS c;
		RAISE EXCEPTION 'undo' USING ERRCODE = 'P9999';
	EXCEPTION WHEN SQLSTATE 'P9999' THEN
		NULL;
	END;
END $$;
SELECT change, answer FROM unnest(ARRAY[
	'ALTER TABLE test_own_tables.idem_key RENAME CONSTRAINT idem_key_pkey TO other_name',
	'ALTER TABLE test_own_tables.idem_key ADD COLUMN more int DEFAULT 1',
	'ALTER TABLE test_own_tables.idem_key ALTER response TYPE bigint USING 1',
	'ALTER TABLE test_own_tables.idem_key ALTER claimed_by DROP NOT NULL',
	'ALTER TABLE test_own_tables.idem_key DROP CONSTRAINT idem_key_pkey',
	'ALTER TABLE test_own_tables.idem_key DROP CONSTRAINT idem_key_pkey, ADD PRIMARY KEY (scope, key)',
	'ALTER TABLE test_own_tables.idem_key DROP CONSTRAINT idem_key_pkey, ADD PRIMARY KEY (key, scope, fence)',
	'ALTER TABLE test_own_tables.idem_message ALTER expires_at TYPE text',
	'ALTER TABLE test_own_tables.idem_offset ALTER next_offset TYPE numeric',
	'ALTER TYPE test_own_tables.idem_outcome RENAME VALUE ''failed'' TO ''broken''',
	'ALTER TYPE test_own_tables.idem_execute_result ADD ATTRIBUTE more int',
	'ALTER TYPE test_own_tables.idem_execute_result ALTER ATTRIBUTE processed TYPE text']) AS change, attempt(change) AS answer
ORDER BY change, answer;
-- a table that calls do without until it is to be purged
BEGIN;
ALTER TABLE test_own_tables.idem_history RENAME TO other_name;
SET LOCAL idem.history_retention = '1h';
SELECT idem_purge();
ROLLBACK;
-- nothing of that is left
SELECT outcome FROM idem_execute('own-8', 'SELECT 1', scope => 'test_own_tables');

-- What belongs to a role follows it when it is renamed, and belongs to nobody
-- when it is dropped; a new role of its name inherits nothing.
CREATE ROLE regress_idem_one;
CREATE TABLE owned (role idem_role);
INSERT INTO owned VALUES ('regress_idem_one'), (''), ('regress_idem_nobody');
SELECT role, role::oid = 0 AS nobody FROM owned;
ALTER ROLE regress_idem_one RENAME TO regress_idem_two;
SELECT role FROM owned;
DROP ROLE regress_idem_two;
CREATE ROLE regress_idem_one;
CREATE ROLE regress_idem_two;
SELECT role FROM owned;
COPY owned TO STDOUT;
SELECT encode(_idem_role_send('regress_idem_one'), 'escape');
DROP TABLE owned;
DROP ROLE regress_idem_one, regress_idem_two;

SET client_min_messages = warning;
DROP EXTENSION idem;
DROP SCHEMA test_own_tables CASCADE;
DROP OWNED BY regress_idem_mallory;
DROP ROLE regress_idem_mallory;
