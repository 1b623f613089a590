-- Rights on the outbox: who may emit, who may read, and as whom.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_outbox_rights;
SET search_path = idem_test_outbox_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_relay;
CREATE ROLE regress_idem_other;
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
DECLARE
	bound CONSTANT timestamptz := clock_timestamp() + '1 minute';
BEGIN
	COMMIT;
	WHILE pg_snapshot_xmin(pg_current_snapshot()) < pg_snapshot_xmax(pg_current_snapshot())
		AND clock_timestamp() < bound
	LOOP
		PERFORM pg_sleep(0.001);
		COMMIT;
	END LOOP;
END $$;

-- No role may do anything to begin with, but the owner of the tables.
SET ROLE regress_idem_app;
SELECT idem_emit('test rights', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_outbox_read('test app', 'test rights');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_outbox_leave('test app', 'test rights');
\echo :LAST_ERROR_SQLSTATE
-- whatever else is wrong
\set VERBOSITY terse
SELECT idem_emit(NULL, NULL);
SELECT * FROM idem_outbox_read(NULL, NULL, -1);
SELECT * FROM idem_outbox;
SELECT * FROM idem_outbox_position;
SELECT * FROM idem_outbox_era;
SELECT nextval('idem_outbox_id_seq');
DELETE FROM idem_outbox_position;
RESET ROLE;

-- To emit takes the right to insert a topic, with which no row can be written.
GRANT INSERT (topic) ON idem_outbox TO regress_idem_app;
SET ROLE regress_idem_app;
SELECT idem_emit('test rights', '1') > 0 AS id;
SELECT idem_emit('test rights', '2') > 0 AS id;
INSERT INTO idem_outbox (topic) VALUES ('test rights');
INSERT INTO idem_outbox VALUES ('1', 1, now(), 1, 'test rights', NULL, '3');
SELECT * FROM idem_outbox_read('test app', 'test rights');
SELECT idem_outbox_leave('test app', 'test rights');
SELECT count(*) FROM idem_outbox;
RESET ROLE;

-- To read takes the right to read the table; positions are moved by reading only.
GRANT SELECT ON idem_outbox TO regress_idem_relay;
CALL settle();
SET ROLE regress_idem_relay;
SELECT payload FROM idem_outbox_read('test relay', 'test rights', 1);
SELECT payload FROM idem_outbox WHERE topic = 'test rights' ORDER BY id;
SELECT idem_emit('test rights', '3');
UPDATE idem_outbox_position SET id = 0;
INSERT INTO idem_outbox_era VALUES (1, now(), 9);
DELETE FROM idem_outbox;
SELECT idem_purge();
RESET ROLE;

-- A consumer that a role has defined is read for by its members only.
GRANT INSERT (consumer) ON idem_consumer TO regress_idem_relay;
GRANT SELECT ON idem_outbox TO regress_idem_other;
SET ROLE regress_idem_relay;
SELECT idem_consumer_define('test relay');
SET ROLE regress_idem_other;
SELECT payload FROM idem_outbox_read('test relay', 'test rights', 1);
SELECT idem_outbox_leave('test relay', 'test rights');
SELECT payload FROM idem_outbox_read('test other', 'test rights', 1);
SET ROLE regress_idem_relay;
SELECT payload FROM idem_outbox_read('test relay', 'test rights', 1);
SELECT idem_outbox_leave('test relay', 'test rights');
RESET ROLE;

-- A superuser that grants EXECUTE to a role means that role.
REVOKE ALL ON idem_outbox FROM regress_idem_app, regress_idem_other;
GRANT EXECUTE ON FUNCTION idem_emit, idem_outbox_read TO regress_idem_other;
SET ROLE regress_idem_other;
SELECT idem_emit('test rights', '3') > 0 AS id;
SELECT payload FROM idem_outbox_read('test other', 'test rights', 1);
SELECT idem_outbox_leave('test other', 'test rights');
SET ROLE regress_idem_app;
SELECT idem_emit('test rights', '4');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION idem_emit, idem_outbox_read FROM regress_idem_other;

-- Through a function of its owner's, a role emits what that lets it.
CREATE FUNCTION say(what text) RETURNS boolean LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, public, pg_temp
	AS $$ SELECT idem_emit('test rights', to_jsonb(what)) > 0 $$;
GRANT USAGE ON SCHEMA idem_test_outbox_rights TO regress_idem_app;
SET ROLE regress_idem_app;
SELECT idem_test_outbox_rights.say('through the owner');
RESET ROLE;

-- Code on the tables runs as their owner, whoever emits.
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	new.headers := jsonb_build_object('superuser', (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
		'path', current_setting('search_path'));
	RETURN new;
END $$;
CREATE TRIGGER test BEFORE INSERT ON idem_outbox FOR EACH ROW EXECUTE FUNCTION note();
GRANT INSERT (topic) ON idem_outbox TO regress_idem_app;
SET ROLE regress_idem_app;
SELECT idem_emit('test note', '1') > 0 AS id;
RESET ROLE;
SELECT headers FROM idem_outbox WHERE topic = 'test note';
DROP TRIGGER test ON idem_outbox;

DELETE FROM idem_outbox WHERE topic LIKE 'test %';
DELETE FROM idem_outbox_position WHERE topic LIKE 'test %';
SELECT idem_consumer_drop('test relay');
SET client_min_messages = warning;
DROP SCHEMA idem_test_outbox_rights CASCADE;
REVOKE ALL ON idem_outbox FROM regress_idem_app, regress_idem_relay;
REVOKE ALL (topic) ON idem_outbox FROM regress_idem_app;
REVOKE ALL (consumer) ON idem_consumer FROM regress_idem_relay;
DROP ROLE regress_idem_app, regress_idem_relay, regress_idem_other;
