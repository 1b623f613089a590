-- The outbox: messages that are emitted with a transaction, and read in its order.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_outbox;
SET search_path = idem_test_outbox, public;
\set SHOW_CONTEXT never

-- Until nothing that runs elsewhere in the cluster (autovacuum, say) is in the way.
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
-- What there is, by numbers counted from the first.
CREATE VIEW messages AS
SELECT topic, dense_rank() OVER (ORDER BY xid) AS transaction, rank() OVER (ORDER BY id) AS message,
	key, payload, headers
FROM idem_outbox WHERE topic LIKE 'test %';

-- A message commits with its transaction, savepoints included.
BEGIN;
SELECT idem_emit('test a', '{"n": 1}') > 0 AS id;
SAVEPOINT s;
SELECT idem_emit('test a', '{"n": 2}') > 0 AS id;
ROLLBACK TO s;
SELECT idem_emit('test a', '{"n": 3}', 'key', '{"from": "test"}') > 0 AS id;
COMMIT;
BEGIN;
SELECT idem_emit('test a', '4') > 0 AS id;
ROLLBACK;
SELECT idem_emit('test a', 'null', headers => '{}') > 0 AS id;
SELECT count(idem_emit('test b', to_jsonb(i))) FROM generate_series(1, 5) AS i;
TABLE messages ORDER BY message;

-- A consumer reads on from where it is, and what it has read commits, too.
CALL settle();
SELECT key, payload, headers, message_id > 0 AS id, emitted_at <= clock_timestamp() AS past
FROM idem_outbox_read('test one', 'test a', 2);
BEGIN;
SELECT key, payload, headers FROM idem_outbox_read('test one', 'test a');
ROLLBACK;
SELECT key, payload, headers FROM idem_outbox_read('test one', 'test a');
SELECT key, payload, headers FROM idem_outbox_read('test one', 'test a');
SELECT key, payload, headers FROM idem_outbox_read('test two', 'test a', max => 1);
-- all that the call returns is read, also where only some of it is looked at
SELECT payload FROM idem_outbox_read('test one', 'test b', 4) LIMIT 1;
SELECT payload FROM idem_outbox_read('test one', 'test b');
-- in one transaction, one after the other
BEGIN;
SELECT payload FROM idem_outbox_read('test three', 'test b', 2);
SELECT payload FROM idem_outbox_read('test three', 'test b', 2);
SAVEPOINT s;
SELECT payload FROM idem_outbox_read('test three', 'test b', 2);
ROLLBACK TO s;
SELECT payload FROM idem_outbox_read('test three', 'test b', 2);
COMMIT;
SELECT payload FROM idem_outbox_read('test three', 'test b', 2);
-- from a topic that nobody has emitted to
SELECT payload FROM idem_outbox_read('test one', 'test none');

-- A transaction does not read what it has emitted itself: it has not committed.
BEGIN;
SELECT idem_emit('test a', '"own"') > 0 AS id;
SELECT payload FROM idem_outbox_read('test one', 'test a');
COMMIT;
CALL settle();
SELECT payload FROM idem_outbox_read('test one', 'test a');
-- nor does one with a snapshot from before
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM messages;
SELECT idem_emit('test a', '"own"') > 0 AS id;
SELECT payload FROM idem_outbox_read('test one', 'test a');
COMMIT;
CALL settle();
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT payload FROM idem_outbox_read('test one', 'test a');
COMMIT;

-- An empty answer writes nothing.
SELECT xmin AS before FROM idem_outbox_position WHERE (consumer, topic) = ('test one', 'test a') \gset
SELECT payload FROM idem_outbox_read('test one', 'test a');
SELECT xmin = :'before' AS same FROM idem_outbox_position WHERE (consumer, topic) = ('test one', 'test a');

-- What all consumers of a topic have read goes, and what one has still to read stays.
SELECT count(*) FROM messages WHERE topic = 'test a';
SELECT idem_purge() > 0 AS purged;
SELECT topic, payload FROM messages ORDER BY message;
-- one that is registered keeps all that comes, without having read any
SELECT count(*) FROM idem_outbox_read('test four', 'test c', 0);
SELECT idem_emit('test c', '1') > 0 AS id;
CALL settle();
SELECT payload FROM idem_outbox_read('test five', 'test c');
SELECT count(*) FROM idem_purge();
SELECT topic, payload FROM messages ORDER BY message;
-- one that has left does not; a topic that nobody reads stays
SELECT idem_outbox_leave('test four', 'test c'), idem_outbox_leave('test four', 'test c');
SELECT idem_outbox_leave('test two', 'test a');
SELECT idem_emit('test d', '1') > 0 AS id;
SELECT idem_purge() > 0 AS purged;
SELECT topic, payload FROM messages ORDER BY message;
-- a new one begins with what is left
SELECT payload FROM idem_outbox_read('test six', 'test a');
SELECT payload FROM idem_outbox_read('test six', 'test d');

-- Long payloads, which are kept apart; names of all sorts.
SELECT idem_emit('test "Ä"; --', jsonb_build_object('long', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)),
	repeat('k', 1024)) > 0 AS id;
CALL settle();
SELECT length(payload ->> 'long'), length(key) FROM idem_outbox_read('test "Ä"', 'test "Ä"; --');

-- What is refused.
CREATE FUNCTION try(call text, OUT answer text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || call INTO answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	answer := SQLSTATE || ' ' || answer;
END $$;
SELECT call, try.answer, try.detail FROM unnest(ARRAY[
	$$idem_emit(NULL, '1')$$,
	$$idem_emit('', '1')$$,
	$$idem_emit(repeat('t', 256), '1')$$,
	$$idem_emit('test e', NULL)$$,
	$$idem_emit('test e', '1', '')$$,
	$$idem_emit('test e', '1', repeat('k', 1025))$$,
	$$idem_emit('test e', '1', headers => '[]')$$,
	$$idem_outbox_read(NULL, 'test e')$$,
	$$idem_outbox_read('', 'test e')$$,
	$$idem_outbox_read(repeat('c', 256), 'test e')$$,
	$$idem_outbox_read('test e', NULL)$$,
	$$idem_outbox_read('test e', '')$$,
	$$idem_outbox_read('test e', repeat('t', 256))$$,
	$$idem_outbox_read('test e', 'test e', NULL)$$,
	$$idem_outbox_read('test e', 'test e', -1)$$,
	$$idem_outbox_leave(NULL, 'test e')$$,
	$$idem_outbox_leave('test e', NULL)$$]) AS call, try(call);
BEGIN READ ONLY;
SELECT idem_emit('test e', '1');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM idem_outbox_read('test e', 'test e');
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_outbox_leave('test e', 'test e');
ROLLBACK;

-- Triggers on the tables run, and what they do not let through is told.
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.headers := '{"marked": true}'; RETURN new; END $$;
CREATE TRIGGER test BEFORE INSERT ON idem_outbox FOR EACH ROW EXECUTE FUNCTION mark();
SELECT idem_emit('test f', '1') > 0 AS id;
CALL settle();
SELECT payload, headers FROM idem_outbox_read('test f', 'test f');
SELECT count(*) FROM idem_purge();
DROP TRIGGER test ON idem_outbox;
CREATE TRIGGER test BEFORE INSERT ON idem_outbox FOR EACH ROW EXECUTE FUNCTION stop();
SELECT idem_emit('test f', '2');
DROP TRIGGER test ON idem_outbox;
SELECT idem_emit('test f', '3') > 0 AS id;
CALL settle();
CREATE TRIGGER test BEFORE INSERT OR UPDATE ON idem_outbox_position FOR EACH ROW EXECUTE FUNCTION stop();
SELECT payload FROM idem_outbox_read('test f', 'test f');
SELECT payload FROM idem_outbox_read('test g', 'test f');
DROP TRIGGER test ON idem_outbox_position;
SELECT payload FROM idem_outbox_read('test f', 'test f');
SELECT idem_emit('test g', '1') > 0 AS id FROM idem_outbox_read('test g', 'test g', 0);
SELECT count(*) FROM idem_outbox_read('test g', 'test g', 0);

-- A table that has been altered is not read.
ALTER TABLE idem_outbox_position ALTER id TYPE numeric;
SELECT payload FROM idem_outbox_read('test f', 'test f');
ALTER TABLE idem_outbox_position ALTER id TYPE bigint;
ALTER SEQUENCE idem_outbox_id_seq RENAME TO elsewhere;
SELECT idem_emit('test f', '4');
ALTER SEQUENCE elsewhere RENAME TO idem_outbox_id_seq;

-- Nor is an era that no cluster comes to.
INSERT INTO idem_outbox VALUES ('18446744073709551615', -5, now(), 2147483647, 'test h', NULL, '1');
SELECT payload FROM idem_outbox_read('test h', 'test h');
DELETE FROM idem_outbox WHERE topic = 'test h';
BEGIN;
INSERT INTO idem_outbox_position VALUES ('1', 1, now(), 2147483647, 'test i', 'test i');
ALTER TABLE idem_outbox_era RESET (fillfactor);
SELECT idem_emit('test i', '1');
ROLLBACK;

DELETE FROM idem_outbox WHERE topic LIKE 'test %';
DELETE FROM idem_outbox_position WHERE topic LIKE 'test %';
SET client_min_messages = warning;
DROP SCHEMA idem_test_outbox CASCADE;
