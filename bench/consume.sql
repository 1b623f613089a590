-- What a message costs inside the server: microseconds and bytes of WAL, one by
-- one and in batches of 1,000, new and redelivered, against a bare INSERT ...
-- ON CONFLICT DO NOTHING RETURNING into an equal table.  Then what a message
-- takes on disk, by id and by offset, and what it costs to purge it.
--
--   psql -X -f bench/consume.sql       (needs the extension's files installed)
--
-- Needs a superuser, and no other consumer in the database: it compacts
-- idem_message, and counts its bytes.  All in one session and in turn, so that a busy machine slows them all: read
-- the ratios.  The ids are in no order.

\set ON_ERROR_STOP on
\set QUIET on
\timing off
SET client_min_messages = warning;

DROP SCHEMA IF EXISTS idem_bench CASCADE;
CREATE SCHEMA idem_bench;
CREATE EXTENSION IF NOT EXISTS idem;
SET search_path = idem_bench, public;
DELETE FROM idem_message WHERE consumer IN ('bench-single', 'bench-batch');
VACUUM idem_message;

\if :{?loops}
\else
\set loops 20000
\endif
SELECT set_config('idem_bench.loops', :'loops', false) \g /dev/null

-- Two equal tables, so that single and batched inserts meet tables as large as
-- those of idem do.
CREATE TABLE bare (LIKE idem_message INCLUDING ALL);

CREATE TABLE measured (contestant text, us float8, wal float8);

CREATE PROCEDURE measure_single(contestant text, reader text, ids text[], expect boolean)
LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
	wal pg_lsn := pg_current_wal_insert_lsn();
	id text;
	new_id text;
BEGIN
	IF contestant LIKE 'nothing%' THEN
		FOREACH id IN ARRAY ids LOOP
			new_id := id;
		END LOOP;
	ELSIF contestant LIKE 'bare%' THEN
		FOREACH id IN ARRAY ids LOOP
			INSERT INTO idem_bench.bare (expires_at, consumer, message_id)
			VALUES (clock_timestamp() + interval '24 hours', reader, id)
			ON CONFLICT (consumer, message_id) DO NOTHING
			RETURNING message_id INTO new_id;
			ASSERT (new_id IS NOT NULL) = expect;
		END LOOP;
	ELSE
		FOREACH id IN ARRAY ids LOOP
			ASSERT idem_consume(reader, id) = expect;
		END LOOP;
	END IF;
	INSERT INTO idem_bench.measured
	SELECT contestant,
		extract(epoch FROM clock_timestamp() - began) * 1e6 / cardinality(ids),
		(pg_current_wal_insert_lsn() - wal) / cardinality(ids);
END;
$$;

CREATE PROCEDURE measure_batch(contestant text, reader text, ids text[], expect boolean)
LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
	wal pg_lsn := pg_current_wal_insert_lsn();
	size CONSTANT int := 1000;
	batch text[];
	new_ids text[];
BEGIN
	FOR i IN 0 .. cardinality(ids) / size - 1 LOOP
		batch := ids[i * size + 1 : (i + 1) * size];
		IF contestant LIKE 'bare%' THEN
			WITH new AS (
				INSERT INTO idem_bench.bare (expires_at, consumer, message_id)
				SELECT clock_timestamp() + interval '24 hours', reader, unnest(batch)
				ON CONFLICT (consumer, message_id) DO NOTHING
				RETURNING message_id)
			SELECT array_agg(message_id) INTO new_ids FROM new;
		ELSIF contestant LIKE 'idem%' THEN
			SELECT array_agg(id) INTO new_ids FROM idem_consume_batch(reader, batch) AS id;
		ELSE
			CONTINUE;
		END IF;
		ASSERT coalesce(cardinality(new_ids), 0) = CASE WHEN expect THEN size ELSE 0 END;
	END LOOP;
	INSERT INTO idem_bench.measured
	SELECT contestant,
		extract(epoch FROM clock_timestamp() - began) * 1e6 / cardinality(ids),
		(pg_current_wal_insert_lsn() - wal) / cardinality(ids);
END;
$$;

CHECKPOINT;
DO $$
DECLARE
	loops int := current_setting('idem_bench.loops');
	ids text[];
	what text;
	who text;
BEGIN
	FOR round IN 1 .. 9 LOOP
		SELECT array_agg(md5(i::text)) INTO ids
		FROM generate_series(round * loops + 1, (round + 1) * loops) AS i;
		CALL idem_bench.measure_single('nothing, single', 'bench-single', ids, true);
		CALL idem_bench.measure_batch('nothing, batch', 'bench-batch', ids, true);
		FOREACH what IN ARRAY ARRAY['new', 'redelivered'] LOOP
			-- each goes first as often as the other
			FOR turn IN 0 .. 1 LOOP
				who := CASE (round + turn) % 2 WHEN 0 THEN 'bare' ELSE 'idem' END;
				CALL idem_bench.measure_single(format('%s, single, %s', who, what), 'bench-single', ids, what = 'new');
				COMMIT;
				CALL idem_bench.measure_batch(format('%s, batch, %s', who, what), 'bench-batch', ids, what = 'new');
				COMMIT;
			END LOOP;
		END LOOP;
	END LOOP;
END;
$$;

\pset footer off
WITH median AS (
	SELECT contestant,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY us) AS us,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY wal) AS wal
	FROM measured GROUP BY contestant
), net AS (
	SELECT split_part(m.contestant, ', ', 1) AS who,
		split_part(m.contestant, ', ', 2) || ', ' || split_part(m.contestant, ', ', 3) AS what,
		m.us - n.us AS us, m.wal AS wal
	FROM median AS m JOIN median AS n
		ON n.contestant = 'nothing, ' || split_part(m.contestant, ', ', 2)
	WHERE m.contestant NOT LIKE 'nothing%'
)
SELECT i.what AS message, round(b.us::numeric, 2) AS "bare, microseconds",
	round(i.us::numeric, 2) AS "idem, microseconds",
	round((i.us / b.us)::numeric, 2) AS "idem / bare",
	round(b.wal::numeric) AS "bare, bytes of WAL", round(i.wal::numeric) AS "idem, bytes of WAL"
FROM net AS i JOIN net AS b USING (what)
WHERE i.who = 'idem' AND b.who = 'bare'
ORDER BY i.what DESC;

DELETE FROM idem_message WHERE consumer IN ('bench-single', 'bench-batch');

-- A million messages by id, all of them expired, under ids in the order of time
-- and in no order; then purged in transactions of 1,000 each.
CREATE TABLE purged (ids text, bytes float8, us float8);
CREATE PROCEDURE measure_store(ids text, id_of text, messages int)
LANGUAGE plpgsql AS $$
DECLARE
	bytes bigint := pg_total_relation_size('idem_message');
	began timestamptz;
	batch text[];
BEGIN
	FOR i IN 0 .. messages / 1000 - 1 LOOP
		EXECUTE format('SELECT array_agg(%s) FROM generate_series($1 * 1000 + 1, ($1 + 1) * 1000) AS i', id_of)
		INTO batch USING i;
		PERFORM idem_consume_batch('bench-store', batch, '1 microsecond');
		COMMIT;
	END LOOP;
	bytes := pg_total_relation_size('idem_message') - bytes;
	began := clock_timestamp();
	WHILE idem_purge(1000) > 0 LOOP
		COMMIT;
	END LOOP;
	INSERT INTO idem_bench.purged
	SELECT ids, bytes::float8 / messages, extract(epoch FROM clock_timestamp() - began) * 1e6 / messages;
	COMMIT;
END;
$$;
VACUUM FULL idem_message;
CALL measure_store('time-ordered UUIDs', $$format('01890000-%s-7%s-8000-%s', lpad(to_hex(i / 4096), 4, '0'), lpad(to_hex(i % 4096), 3, '0'), left(md5(i::text), 12))$$, 1000000);
VACUUM FULL idem_message;
CALL measure_store('random UUIDs', 'md5(i::text)::uuid::text', 1000000);
VACUUM idem_message;
SELECT ids, round(bytes::numeric) AS "bytes a message", round(us::numeric, 2) AS "purge, microseconds",
	round(1e6 / us::numeric) AS "purged a second"
FROM purged;

-- Ten million by offset, over 8 partitions, 1,000 at a time.
DO $$
DECLARE
	bytes bigint := pg_total_relation_size('idem_offset');
	began timestamptz := clock_timestamp();
	loops CONSTANT int := 10000;
BEGIN
	DELETE FROM idem_offset WHERE consumer = 'bench-offset';
	FOR i IN 0 .. loops - 1 LOOP
		ASSERT idem_advance('bench-offset', 'log', i % 8, i / 8 * 1000, i / 8 * 1000 + 999) = i / 8 * 1000;
		COMMIT;
	END LOOP;
	PERFORM set_config('idem_bench.us', round(extract(epoch FROM clock_timestamp() - began) * 1e6 / loops, 1)::text, false),
		set_config('idem_bench.bytes', (pg_total_relation_size('idem_offset') - bytes)::text, false);
END;
$$;
SELECT count(*) AS rows, sum(next_offset) AS messages,
	current_setting('idem_bench.us') AS "microseconds a call, with its commit",
	current_setting('idem_bench.bytes') AS "bytes grown"
FROM idem_offset WHERE consumer = 'bench-offset';
DELETE FROM idem_offset WHERE consumer = 'bench-offset';

DROP SCHEMA idem_bench CASCADE;
