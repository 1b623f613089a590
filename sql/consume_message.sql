-- Messages by id: what is new, what was consumed, and for how long that is known.
--
-- What expires stands in one transaction, so that a background worker, which
-- may be running, does not purge it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_consume;
SET search_path = idem_test_consume, public;
\set SHOW_CONTEXT never

CREATE TABLE effect (message text);
CREATE VIEW remembered AS
SELECT consumer, message_id FROM idem_message WHERE consumer LIKE 'test-consume%';

-- The first delivery of a message is true: do the work.  Those after it are not.
SELECT idem_consume('test-consume', 'm1');
SELECT idem_consume('test-consume', 'm1');
-- Another message, or another consumer of the same one.
SELECT idem_consume('test-consume', 'm2');
SELECT idem_consume('test-consume-2', 'm1');
TABLE remembered ORDER BY 1, 2;

-- It is remembered with the work, and forgotten with it.
BEGIN;
INSERT INTO effect SELECT 'm3' WHERE idem_consume('test-consume', 'm3');
INSERT INTO effect SELECT 'm3' WHERE idem_consume('test-consume', 'm3');
SAVEPOINT s;
INSERT INTO effect SELECT 'm4' WHERE idem_consume('test-consume', 'm4');
ROLLBACK TO s;
COMMIT;
BEGIN;
INSERT INTO effect SELECT 'm5' WHERE idem_consume('test-consume', 'm5');
ROLLBACK;
TABLE effect;
SELECT m, idem_consume('test-consume', m) FROM unnest(ARRAY['m3', 'm4', 'm5']) AS m;

-- Ids are bytes: no folding, no trimming, no normalisation.
SELECT left(m, 2) AS m, octet_length(m), idem_consume('test-consume', m)
FROM unnest(ARRAY['x', 'X', 'x ', ' x', '%', '''', '"', repeat('x', 1024), 'x']) AS m;
SELECT octet_length(m), idem_consume('test-consume', m)
FROM unnest(ARRAY[E'\303\244', E'a\314\210', E'\303\244', E'\n']) AS m;

--
-- Asking only
--

SELECT m, idem_seen('test-consume', m) FROM unnest(ARRAY['m1', 'm3', 'm5', 'never', 'x']) AS m;
SELECT idem_seen('test-consume-2', 'm2');
-- Nothing is written, and the message is new afterwards.
BEGIN READ ONLY;
SELECT idem_seen('test-consume', 'never'), idem_seen('test-consume', 'm1');
ROLLBACK;
BEGIN;
SELECT idem_consume('test-consume', 'asked'), idem_seen('test-consume', 'asked'), idem_consume('test-consume', 'asked');
SELECT idem_consume('test-consume', 'short', '1 microsecond'), idem_seen('test-consume', 'short');
ROLLBACK;
SELECT idem_seen('test-consume', 'asked');

--
-- Batches
--

-- The new ones come back, in the order given; what is in it twice counts once.
SELECT idem_consume_batch('test-consume', ARRAY['b3', 'b1', 'm1', 'b2', 'b1', 'b3', 'm2']);
SELECT idem_consume_batch('test-consume', ARRAY['b4', 'b3', 'b2', 'b1', 'b0']);
SELECT idem_consume_batch('test-consume', ARRAY['b4', 'b4']);
-- Bytes decide here, too, and one id may begin with another.
SELECT * FROM idem_consume_batch('test-consume', ARRAY['bb', 'b', 'B', 'bbb', 'b b', 'B']) WITH ORDINALITY AS m (id, i);
-- Nothing is nothing.
SELECT count(*) FROM idem_consume_batch('test-consume', '{}'::text[]);

-- All at once: the work of the new ones, in the transaction that remembers them.
INSERT INTO effect SELECT id FROM idem_consume_batch('test-consume', ARRAY['b5', 'b4', 'b6']) AS id;
TABLE effect;

-- A batch is remembered whole, however many of its rows are asked for.
SELECT idem_consume_batch('test-consume', ARRAY['b7', 'b8', 'b9']) LIMIT 1;
SELECT idem_consume_batch('test-consume', ARRAY['b7', 'b8', 'b9']);

-- A hundred thousand in one statement, half of them twice.
BEGIN;
CREATE TEMP TABLE many AS
SELECT array_agg((i * 7919 % 100000 / 2)::text ORDER BY i) AS ids FROM generate_series(1, 100000) AS i;
SELECT count(*), count(DISTINCT id), min(i), max(i)
FROM many, idem_consume_batch('test-consume', ids) WITH ORDINALITY AS m (id, i);
SELECT count(*) FROM many, idem_consume_batch('test-consume', ids);
ROLLBACK;

--
-- How long a message is remembered
--

-- As the call says, or else for idem.ttl; if the consumer is defined, as its
-- definition says, or longer if the call does.
SET idem.ttl = '2h';
SELECT idem_consume('test-consume-ttl', 'setting');
SELECT idem_consume('test-consume-ttl', 'call', '3 hours');
SELECT idem_consumer_define('test-consume-ttl', '4 days');
SELECT idem_consume('test-consume-ttl', 'definition');
SELECT idem_consume('test-consume-ttl', 'call is shorter', '5 hours');
SELECT idem_consume('test-consume-ttl', 'call is longer', '5 days');
SELECT idem_consume_batch('test-consume-ttl', ARRAY['batch is shorter'], '1 microsecond');
SELECT idem_consume('test-consume-ttl', 'batch is shorter');
SELECT idem_consumer_define('test-consume-ttl');
SELECT idem_consume('test-consume-ttl', 'no longer');
SELECT idem_consume('test-consume-ttl', 'nor this', '1 hour');
RESET idem.ttl;
SELECT message_id, round(extract(epoch FROM expires_at - now()) / 3600) AS hours
FROM idem_message WHERE consumer = 'test-consume-ttl' ORDER BY hours, message_id;
-- A month is 30 days, so that a window is as long at any time of the year; and
-- what lies past the end of time is for ever.
SELECT idem_consume('test-consume-ttl', 'month', '1 month');
SELECT idem_consume('test-consume-ttl', 'long', '178000000 years');
SELECT message_id, CASE WHEN isfinite(expires_at) THEN round(extract(epoch FROM expires_at - now()) / 86400) END AS days
FROM idem_message WHERE consumer = 'test-consume-ttl' AND message_id IN ('month', 'long') ORDER BY expires_at;

-- What has expired counts as never consumed, though its row is there.
BEGIN;
SELECT idem_consume('test-consume', 'e1', '1 microsecond');
SELECT idem_consume('test-consume', 'e1', '1 microsecond');
SELECT idem_consume('test-consume', 'e1', '1 hour');
SELECT idem_consume('test-consume', 'e1', '1 hour');
SELECT idem_consume_batch('test-consume', ARRAY['e2', 'e3'], '1 microsecond');
SELECT idem_consume_batch('test-consume', ARRAY['e4', 'e3', 'e1', 'e3', 'e2']);
SELECT idem_consume_batch('test-consume', ARRAY['e4', 'e3', 'e1', 'e3', 'e2']);
SELECT message_id, expires_at > now() + interval '1 minute' AS live FROM idem_message
WHERE consumer = 'test-consume' AND message_id LIKE 'e_' ORDER BY 1;
ROLLBACK;

-- A delivery of what is remembered does not prolong that.
SELECT expires_at AS before FROM idem_message WHERE (consumer, message_id) = ('test-consume', 'm1') \gset
SELECT idem_consume('test-consume', 'm1', '10 years');
SELECT expires_at = :'before' AS same FROM idem_message WHERE (consumer, message_id) = ('test-consume', 'm1');

-- The purge takes what has expired.
BEGIN;
SELECT idem_consume_batch('test-consume', ARRAY['p1', 'p2', 'p3'], '1 microsecond');
SELECT idem_consume('test-consume', 'p2');
SELECT idem_purge() >= 2 AS purged;
SELECT message_id FROM remembered WHERE message_id LIKE 'p_';
SELECT idem_consume_batch('test-consume', ARRAY['p1', 'p2', 'p3']);
ROLLBACK;

--
-- Late messages: sent so long ago that they may have been forgotten
--

\set VERBOSITY terse
-- One sent within the window is either remembered or new.
SELECT idem_consume('test-consume', 'l1', '1 hour', now() - interval '59 minutes');
SELECT idem_consume('test-consume', 'l1', '1 hour', now() - interval '59 minutes');
-- One sent before is refused, but not if it is remembered after all.
SELECT idem_consume('test-consume', 'l2', '1 hour', now() - interval '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_consume('test-consume', 'l2', '2 hours', now() - interval '1 hour');
SELECT idem_consume('test-consume', 'l2', '1 hour', now() - interval '1 year');
SELECT idem_consume('test-consume', 'l2', '1 hour', timestamptz '-infinity');
-- It is not remembered any longer once it has expired.
BEGIN;
SELECT idem_consume('test-consume', 'l3', '1 microsecond');
SELECT idem_consume('test-consume', 'l3', '1 hour', now() - interval '1 hour');
ROLLBACK;

-- Or it is taken as new, where the consumer is defined so.
SELECT idem_consumer_define('test-consume-late', '1 hour', 'apply');
SELECT idem_consume('test-consume-late', 'l4', NULL, now() - interval '1 day');
SELECT idem_consume('test-consume-late', 'l4', NULL, now() - interval '1 day');
SELECT idem_consume_batch('test-consume-late', ARRAY['l4', 'l5'], NULL, ARRAY[now() - interval '1 day', '-infinity']);
SELECT idem_consumer_define('test-consume-late', '1 hour', 'reject');
SELECT idem_consume_batch('test-consume-late', ARRAY['l4', 'l5'], NULL, ARRAY[now() - interval '1 day', '-infinity']);
SELECT idem_consume_batch('test-consume-late', ARRAY['l6', 'l4'], NULL, ARRAY[NULL, now() - interval '1 day']);
SELECT idem_consume_batch('test-consume-late', ARRAY['l7', 'l8'], NULL, ARRAY[NULL, now() - interval '1 day']);
\echo :LAST_ERROR_SQLSTATE
SELECT message_id FROM remembered WHERE consumer = 'test-consume-late' ORDER BY 1;
-- What was sent before the window of the definition may have been forgotten,
-- whatever window the call has; what was sent within it, never.
BEGIN;
SELECT idem_consumer_define('test-consume-late', '1 day');
SELECT idem_consume('test-consume-late', 'l10', '1 microsecond', now() - interval '1 hour');
SELECT idem_consume('test-consume-late', 'l10', NULL, now() - interval '1 hour');
SELECT idem_consume('test-consume-late', 'l10', '1 microsecond', now() - interval '1 hour');
SELECT idem_consume('test-consume-late', 'l11', '10 days', now() - interval '2 days');
ROLLBACK;
-- For ever is never too late.
SELECT idem_consume('test-consume', 'l9', '178000000 years', timestamptz '-infinity');

-- A sender whose clock is ahead: its messages are remembered until they look
-- late by that very clock.
SELECT idem_consume('test-consume', 'f1', '1 hour', now() + interval '1 day');
SELECT idem_consume_batch('test-consume', ARRAY['f2', 'f3'], '1 hour', ARRAY[now() + interval '2 days', NULL]);
SELECT message_id, round(extract(epoch FROM expires_at - now()) / 3600) AS hours
FROM idem_message WHERE consumer = 'test-consume' AND message_id LIKE 'f_' ORDER BY 1;

--
-- Definitions
--

-- A definition is there from the next call on, also within the transaction, and
-- is gone with it.
BEGIN;
SELECT idem_consumer_define('test-consume-def', '1 day');
SELECT idem_consume('test-consume-def', 'd1');
SELECT idem_consumer_define('test-consume-def', '2 days');
SELECT idem_consume('test-consume-def', 'd2');
SAVEPOINT s;
SELECT idem_consumer_define('test-consume-def', '3 days');
SELECT idem_consume('test-consume-def', 'd3');
ROLLBACK TO s;
SELECT idem_consume('test-consume-def', 'd4');
SELECT message_id, round(extract(epoch FROM expires_at - now()) / 86400) AS days
FROM idem_message WHERE consumer = 'test-consume-def' ORDER BY 1;
ROLLBACK;
SET idem.ttl = '7d';
SELECT idem_consume('test-consume-def', 'd5');
SELECT round(extract(epoch FROM expires_at - now()) / 86400) AS days
FROM idem_message WHERE consumer = 'test-consume-def';
RESET idem.ttl;

-- The same again changes nothing, not even the row.
SELECT idem_consumer_define('test-consume-def', '24 hours', 'apply');
SELECT ctid AS before FROM idem_consumer WHERE consumer = 'test-consume-def' \gset
SELECT idem_consumer_define('test-consume-def', '1 day', 'apply');
SELECT ttl, late, owner::text = current_user AS mine, ctid = :'before' AS same FROM idem_consumer WHERE consumer = 'test-consume-def';
SELECT idem_consumer_define('test-consume-def', late => 'apply');
SELECT ttl, late FROM idem_consumer WHERE consumer = 'test-consume-def';

-- A definition can be taken back, and be there again; what was consumed stays so.
SELECT idem_consumer_drop('test-consume-def');
SELECT idem_consumer_drop('test-consume-def');
SELECT idem_consume('test-consume-def', 'd5');
BEGIN;
SELECT idem_consumer_define('test-consume-def', late => 'apply');
SELECT idem_consumer_drop('test-consume-def');
SELECT idem_consumer_define('test-consume-def', '3 days');
SAVEPOINT s;
SELECT idem_consumer_drop('test-consume-def');
ROLLBACK TO s;
COMMIT;
SELECT ttl, late FROM idem_consumer WHERE consumer = 'test-consume-def';
-- A role that may write to the table can do so, too.
DELETE FROM idem_consumer WHERE consumer = 'test-consume-def';
SELECT idem_consume('test-consume-def', 'd6', '1 hour', now() - interval '1 day');

-- Names beyond number do not fill a session's memory.
BEGIN;
SELECT idem_consumer_define('test-consume-def');
SELECT count(*) FILTER (WHERE idem_consume('test-consume-' || i, 'm')) FROM generate_series(1000, 3000) AS i;
SELECT sum(total_bytes) BETWEEN 100000 AND 1000000 AS bounded FROM pg_backend_memory_contexts WHERE name LIKE 'idem definitions%';
ROLLBACK;

\set VERBOSITY default

-- What the caller's search path finds does not matter.
BEGIN;
CREATE FUNCTION lies(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR idem_test_consume.<= (FUNCTION = lies, LEFTARG = timestamptz, RIGHTARG = timestamptz);
CREATE FUNCTION unnest(text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT 'lies'::text $$;
SET LOCAL search_path = idem_test_consume, pg_catalog, public;
SELECT idem_consume_batch('test-consume', ARRAY['m1', 's1']);
ROLLBACK;

DELETE FROM idem_message WHERE consumer LIKE 'test-consume%';
DELETE FROM idem_consumer WHERE consumer LIKE 'test-consume%';
DROP SCHEMA idem_test_consume CASCADE;
