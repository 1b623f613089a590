-- Consumers: what is refused, and what the refusal says.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_consumer_errors;
SET search_path = idem_test_consumer_errors, public;
\set SHOW_CONTEXT never

-- What became of a call: its result, or the SQLSTATE and message of its error.
CREATE FUNCTION try(call text, OUT answer text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	answer := SQLSTATE || ' ' || answer;
	detail := regexp_replace(detail, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*[+-]\d\d(:\d\d)?', 'TIME', 'g');
END $$;

-- Names have 1 to 255 bytes, ids of messages up to 1024, and none may be null.
SELECT call, try.answer, try.detail FROM unnest(ARRAY[
	$$idem_consume(NULL, 'm')$$,
	$$idem_consume('', 'm')$$,
	$$idem_consume(repeat('c', 256), 'm')$$,
	$$idem_consume('test-errors', NULL::text)$$,
	$$idem_consume('test-errors', '')$$,
	$$idem_consume('test-errors', repeat('m', 1025))$$,
	$$idem_consume_batch(NULL, ARRAY['m'])$$,
	$$idem_consume_batch('test-errors', NULL)$$,
	$$idem_consume_batch('test-errors', ARRAY['m', NULL])$$,
	$$idem_consume_batch('test-errors', ARRAY['m', ''])$$,
	$$idem_consume_batch('test-errors', ARRAY['m', repeat('m', 1025)])$$,
	$$idem_seen(NULL, 'm')$$,
	$$idem_seen('test-errors', NULL)$$,
	$$idem_seen('test-errors', '')$$,
	$$idem_seen('test-errors', repeat('m', 1025))$$,
	$$idem_consumer_drop(NULL)$$,
	$$idem_consumer_drop('')$$,
	$$idem_advance(NULL, 't', 0, 0, 0)$$,
	$$idem_advance('', 't', 0, 0, 0)$$,
	$$idem_advance('test-errors', NULL, 0, 0, 0)$$,
	$$idem_advance('test-errors', '', 0, 0, 0)$$,
	$$idem_advance('test-errors', repeat('t', 256), 0, 0, 0)$$,
	$$idem_advance('test-errors', 't', NULL, 0, 0)$$,
	$$idem_advance('test-errors', 't', 0, NULL, 0)$$,
	$$idem_advance('test-errors', 't', 0, 0, NULL)$$,
	$$idem_advance('test-errors', 't', 0, 0, 0, NULL)$$,
	$$idem_offset(NULL, 't', 0)$$,
	$$idem_offset('test-errors', NULL, 0)$$,
	$$idem_offset('test-errors', 't', NULL)$$,
	$$idem_consumer_define(NULL)$$,
	$$idem_consumer_define('')$$,
	$$idem_consumer_define(repeat('c', 256))$$,
	$$idem_consumer_define('test-errors', late => NULL)$$]) AS call, try(call);

-- A time is positive.
SELECT call, try.answer FROM unnest(ARRAY[
	$$idem_consume('test-errors', 'm', '0')$$,
	$$idem_consume('test-errors', 'm', '-1 second')$$,
	$$idem_consume('test-errors', 'm', '1 month -31 days')$$,
	$$idem_consume_batch('test-errors', ARRAY['m'], '0')$$,
	$$idem_consumer_define('test-errors', '0')$$,
	$$idem_consumer_define('test-errors', '-178000000 years')$$]) AS call, try(call);

-- A late message is set aside, or the consumer takes such as new.
SELECT try.* FROM try($$idem_consume('test-errors', 'm', '1 hour', '2001-01-01'::timestamptz)$$);
SELECT try.* FROM try($$idem_consumer_define('test-errors', late => 'ignore')$$);

-- Times are given for each message of a batch, or for none.
SELECT call, try.* FROM unnest(ARRAY[
	$$idem_consume_batch('test-errors', ARRAY['m', 'n'], sent_at => ARRAY[now()])$$,
	$$idem_consume_batch('test-errors', '{}'::text[], sent_at => ARRAY[now()])$$]) AS call, try(call);

-- Offsets go up, and begin at zero.
SELECT call, try.answer, try.detail FROM unnest(ARRAY[
	$$idem_advance('test-errors', 't', 0, 1, 0)$$,
	$$idem_advance('test-errors', 't', 0, -1, 0)$$,
	$$idem_advance('test-errors', 't', 0, 0, 9223372036854775807)$$]) AS call, try(call);

-- What is refused leaves nothing behind.
SELECT count(*) FROM idem_message WHERE consumer = 'test-errors';
SELECT count(*) FROM idem_offset WHERE consumer = 'test-errors';
SELECT count(*) FROM idem_consumer WHERE consumer = 'test-errors';

-- A batch with one late message is refused whole.
SELECT try.answer FROM try($$idem_consume_batch('test-errors', ARRAY['n', 'm'], '1 hour', ARRAY[now(), '2001-01-01'])$$);
SELECT count(*) FROM idem_message WHERE consumer = 'test-errors';

-- Nothing is written in a read-only transaction.
BEGIN READ ONLY;
SELECT call, try.answer FROM unnest(ARRAY[
	$$idem_consume('test-errors', 'm')$$,
	$$idem_consume_batch('test-errors', ARRAY['m'])$$,
	$$idem_advance('test-errors', 't', 0, 0, 0)$$,
	$$idem_consumer_define('test-errors')$$,
	$$idem_consumer_drop('test-errors')$$]) AS call, try(call);
ROLLBACK;

-- A batch has a name of its own: what is given without a type is no single id.
SELECT try.* FROM try($$idem_consume_batch('test-errors', '{a,b}')$$);
SELECT message_id FROM idem_message WHERE consumer = 'test-errors';

-- The trigger of the definitions is none for other uses.
SELECT _idem_consumer_changed();

DELETE FROM idem_message WHERE consumer = 'test-errors';
DROP SCHEMA idem_test_consumer_errors CASCADE;
