-- Triggers and rules on the tables of consumers that keep rows from being written:
-- the call fails, rather than to try for ever, or to say that all is done.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_prevented;
SET search_path = idem_test_prevented, public;
\set SHOW_CONTEXT never
SET statement_timeout = '60s';

CREATE FUNCTION no_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION other_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.message_id := 'other'; RETURN NEW; END $$;

-- What became of a call: its result, or its error.
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
	detail text;
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s: %s', SQLSTATE, SQLERRM, detail);
END $$;

-- All in transactions that are undone, so that others are not disturbed.
BEGIN;
SELECT idem_consume('test-prevented', 'old', '1 microsecond');
CREATE TRIGGER stop BEFORE INSERT ON idem_message FOR EACH ROW EXECUTE FUNCTION no_row();
SELECT call, try(call) FROM unnest(ARRAY[
	$$idem_consume('test-prevented', 'new')$$,
	$$idem_consume('test-prevented', 'old')$$,
	$$idem_consume_batch('test-prevented', ARRAY['new', 'old'])$$]) AS call;
ROLLBACK;
BEGIN;
SELECT idem_consume('test-prevented', 'old', '1 microsecond');
CREATE TRIGGER stop BEFORE DELETE ON idem_message FOR EACH ROW EXECUTE FUNCTION no_row();
SELECT call, try(call) FROM unnest(ARRAY[
	$$idem_consume('test-prevented', 'new')$$,
	$$idem_consume('test-prevented', 'old')$$,
	$$idem_consume_batch('test-prevented', ARRAY['newer', 'old'])$$]) AS call;
ROLLBACK;
BEGIN;
CREATE TRIGGER change BEFORE INSERT ON idem_message FOR EACH ROW EXECUTE FUNCTION other_row();
SELECT try($$idem_consume_batch('test-prevented', ARRAY['new', 'newer'])$$);
ROLLBACK;
BEGIN;
CREATE RULE stop AS ON INSERT TO idem_message DO INSTEAD NOTHING;
SELECT try($$idem_consume('test-prevented', 'new')$$);
ROLLBACK;

-- A trigger that lets rows pass does no harm, and is fired by a renewal as by a
-- deletion and an insertion.
BEGIN;
CREATE TABLE fired (what text, message_id text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO idem_test_prevented.fired VALUES (TG_OP, CASE WHEN TG_OP = 'DELETE' THEN OLD.message_id ELSE NEW.message_id END);
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON idem_message FOR EACH ROW EXECUTE FUNCTION note();
SELECT idem_consume('test-prevented', 'a', '1 microsecond'), idem_consume('test-prevented', 'a'), idem_consume('test-prevented', 'a');
SELECT idem_consume_batch('test-prevented', ARRAY['c', 'b', 'a'], '1 microsecond');
SELECT idem_consume_batch('test-prevented', ARRAY['d', 'c', 'b', 'a']);
TABLE fired;
ROLLBACK;

BEGIN;
SELECT idem_advance('test-prevented', 'log', 0, 0, 9);
SELECT idem_advance('test-prevented', 'epoch', 0, 0, 9, epoch => 1);
CREATE TRIGGER stop BEFORE INSERT OR UPDATE ON idem_offset FOR EACH ROW EXECUTE FUNCTION no_row();
SELECT call, try(call) FROM unnest(ARRAY[
	$$idem_advance('test-prevented', 'log', 1, 0, 9)$$,
	$$idem_advance('test-prevented', 'log', 0, 10, 19)$$,
	$$idem_advance('test-prevented', 'log', 0, 0, 9)$$,
	$$idem_advance('test-prevented', 'log', 0, 0, 9, epoch => 1)$$,
	$$idem_advance('test-prevented', 'log', 0, 20, 29)$$,
	$$idem_advance('test-prevented', 'epoch', 0, 0, 9, epoch => 1)$$,
	$$idem_advance('test-prevented', 'epoch', 0, 0, 9, epoch => 2)$$]) AS call;
ROLLBACK;
-- as far as an update goes
BEGIN;
SELECT idem_advance('test-prevented', 'log', 0, 0, 9);
CREATE TRIGGER stop BEFORE UPDATE ON idem_offset FOR EACH ROW EXECUTE FUNCTION no_row();
SELECT call, try(call) FROM unnest(ARRAY[
	$$idem_advance('test-prevented', 'log', 1, 0, 9)$$,
	$$idem_advance('test-prevented', 'log', 0, 10, 19)$$,
	$$idem_advance('test-prevented', 'log', 0, 0, 9)$$,
	$$idem_advance('test-prevented', 'log', 0, 0, 9, epoch => 1)$$]) AS call;
ROLLBACK;

BEGIN;
SELECT idem_consumer_define('test-prevented', '1 hour');
CREATE TRIGGER stop BEFORE INSERT OR UPDATE OR DELETE ON idem_consumer FOR EACH ROW EXECUTE FUNCTION no_row();
SELECT call, try(call) FROM unnest(ARRAY[
	$$idem_consumer_define('test-prevented', '2 hours')$$,
	$$idem_consumer_define('test-prevented-2')$$,
	$$idem_consumer_drop('test-prevented')$$,
	$$idem_consumer_drop('test-prevented-2')$$]) AS call;
ROLLBACK;

DROP SCHEMA idem_test_prevented CASCADE;
