-- What a call costs inside the server: microseconds and bytes of WAL, for a
-- new key, for a replay, and where errors are remembered, against what a user
-- would write in plpgsql and against the two bare inserts that nobody can do
-- without.  Claims and their completion too, and how many of the latter leave the
-- indexes alone (HOT).
--
--   psql -X -f bench/cost.sql          (needs the extension's files installed)
--
-- Each contestant is a function, called for every row of one statement, so that
-- what a statement costs by itself is not counted.  All in one session and in
-- turn, so that a busy machine slows them all: read the ratios.

\set ON_ERROR_STOP on
\set QUIET on
\timing off
SET client_min_messages = warning;

DROP SCHEMA IF EXISTS idem_bench CASCADE;
CREATE SCHEMA idem_bench;
CREATE EXTENSION IF NOT EXISTS idem;
SET search_path = idem_bench, public;
DELETE FROM idem_key WHERE scope = 'idem_bench';
VACUUM idem_key;

CREATE TABLE orders (
	id bigint PRIMARY KEY,
	customer text NOT NULL,
	status text NOT NULL,
	total numeric(12,2) NOT NULL CHECK (total >= 0),
	placed_at timestamptz NOT NULL DEFAULT now()
);

-- What a user would write instead.
CREATE TABLE request (
	key text PRIMARY KEY,
	request jsonb NOT NULL,
	response jsonb,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at timestamptz NOT NULL
);
CREATE INDEX ON request (expires_at);

CREATE FUNCTION place_order(the_key text, data jsonb,
	OUT replayed boolean, OUT result jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	earlier idem_bench.request;
BEGIN
	INSERT INTO idem_bench.request (key, request, expires_at)
	VALUES (the_key, data, clock_timestamp() + interval '24 hours')
	ON CONFLICT (key) DO NOTHING;
	replayed := NOT FOUND;
	IF replayed THEN
		SELECT * INTO earlier FROM idem_bench.request WHERE key = the_key;
		IF earlier.request <> data THEN
			RAISE EXCEPTION 'key % was used for a different request', the_key;
		END IF;
		result := earlier.response;
		RETURN;
	END IF;
	INSERT INTO idem_bench.orders AS o (id, customer, status, total)
	VALUES ((data->>'id')::bigint, data->>'customer', data->>'status',
		(data->>'total')::numeric)
	ON CONFLICT (id) DO UPDATE SET customer = excluded.customer,
		status = excluded.status, total = excluded.total
	RETURNING to_jsonb(o.*) INTO result;
	UPDATE idem_bench.request SET response = result WHERE key = the_key;
END;
$$;

-- The same, with an error of the work remembered as its answer.
CREATE FUNCTION try_order(the_key text, data jsonb,
	OUT replayed boolean, OUT result jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	earlier idem_bench.request;
	message text;
	violated text;
BEGIN
	INSERT INTO idem_bench.request (key, request, expires_at)
	VALUES (the_key, data, clock_timestamp() + interval '24 hours')
	ON CONFLICT (key) DO NOTHING;
	replayed := NOT FOUND;
	IF replayed THEN
		SELECT * INTO earlier FROM idem_bench.request WHERE key = the_key;
		IF earlier.request <> data THEN
			RAISE EXCEPTION 'key % was used for a different request', the_key;
		END IF;
		result := earlier.response;
		RETURN;
	END IF;
	BEGIN
		INSERT INTO idem_bench.orders AS o (id, customer, status, total)
		VALUES ((data->>'id')::bigint, data->>'customer', data->>'status',
			(data->>'total')::numeric)
		ON CONFLICT (id) DO UPDATE SET customer = excluded.customer,
			status = excluded.status, total = excluded.total
		RETURNING to_jsonb(o.*) INTO result;
	EXCEPTION WHEN check_violation THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, violated = CONSTRAINT_NAME;
		result := jsonb_build_object('sqlstate', SQLSTATE, 'message', message, 'constraint', violated);
	END;
	UPDATE idem_bench.request SET response = result WHERE key = the_key;
END;
$$;

-- The floor: the row and a finished key row, with nothing learned or checked.
CREATE FUNCTION two_inserts(the_key text, data jsonb, OUT result jsonb)
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_bench.orders (id, customer, status, total)
	VALUES ((data->>'id')::bigint, data->>'customer', data->>'status',
		(data->>'total')::numeric);
	INSERT INTO idem_bench.request (key, request, response, expires_at)
	VALUES (the_key, data, data, clock_timestamp() + interval '24 hours');
END;
$$;

CREATE TABLE contestant (
	name text PRIMARY KEY,
	kind text,		-- what it is compared with: the one in plpgsql
	ordinal int,
	call text,		-- with a key k, data d, and data r that is refused
	base bigint		-- where its ids begin
);
INSERT INTO contestant VALUES
	('nothing', NULL, 1, 'k', 0),
	('two bare inserts', 'new key', 2, 'two_inserts(k, d)', 100000000),
	('plpgsql, new key', 'new key', 3, 'place_order(k, d)', 200000000),
	('idem, new key', 'new key', 4, 'idem_upsert(k, ''orders'', d, scope => ''idem_bench'')', 300000000),
	('plpgsql, replay', 'replay', 5, 'place_order(k, d)', 200000000),
	('idem, replay', 'replay', 6, 'idem_upsert(k, ''orders'', d, scope => ''idem_bench'')', 300000000),
	('plpgsql, in a block', 'in a block', 7, 'try_order(k, d)', 400000000),
	('idem, in a block', 'in a block', 8, 'idem_upsert(k, ''orders'', d, scope => ''idem_bench'', remember_errors => ''{23514}'')', 500000000),
	('plpgsql, refused', 'refused', 9, 'try_order(k, r)', 600000000),
	('idem, claim and completion', NULL, 11, NULL, NULL),
	('idem, refused', 'refused', 10, 'idem_upsert(k, ''orders'', r, scope => ''idem_bench'', remember_errors => ''{23514}'')', 700000000);

CREATE TABLE measured (contestant text, us float8, wal float8);

CREATE PROCEDURE measure(c contestant, base bigint, loops int)
LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
	wal pg_lsn := pg_current_wal_insert_lsn();
BEGIN
	EXECUTE format($sql$
		SELECT count(answer) FROM (
			SELECT %s AS answer FROM (
				SELECT 'key-' || i AS k, jsonb_build_object('id', i,
					'customer', 'VINET', 'status', 'PENDING',
					'total', 440.00) AS d,
					jsonb_build_object('id', i, 'customer', 'VINET',
					'status', 'PENDING', 'total', -1) AS r
				FROM generate_series($1 + 1, $1 + $2) AS i OFFSET 0) AS request
			OFFSET 0) AS call
		$sql$, c.call) USING base, loops;
	INSERT INTO idem_bench.measured
	SELECT c.name,
		extract(epoch FROM clock_timestamp() - began) * 1e6 / loops,
		(pg_current_wal_insert_lsn() - wal) / loops;
END;
$$;

-- Claims are completed soon after, in a transaction of its own: ten at a time here.
CREATE PROCEDURE measure_claims(base bigint, loops int)
LANGUAGE plpgsql AS $$
DECLARE
	wal pg_lsn := pg_current_wal_insert_lsn();
	began timestamptz;
	us float8[] := '{0, 0}';
	call text;
BEGIN
	FOR start IN base + 1..base + loops BY 10 LOOP
		FOR i IN 1..2 LOOP
			call := (ARRAY['claim(k, d, ''1 hour'', scope => ''idem_bench'')', 'complete(k, d, 1, scope => ''idem_bench'')'])[i];
			began := clock_timestamp();
			EXECUTE format($sql$
				SELECT count(idem_%s) FROM (
					SELECT 'key-' || i AS k, jsonb_build_object('id', i, 'customer', 'VINET',
						'status', 'PENDING', 'total', 440.00) AS d
					FROM generate_series($1, $1 + 9) AS i OFFSET 0) AS request
				$sql$, call) USING start;
			us[i] := us[i] + extract(epoch FROM clock_timestamp() - began) * 1e6;
			COMMIT;
		END LOOP;
	END LOOP;
	INSERT INTO idem_bench.measured
	SELECT 'idem, claim and completion', (us[1] + us[2]) / loops, (pg_current_wal_insert_lsn() - wal) / loops;
END;
$$;

\if :{?loops}
\else
\set loops 20000
\endif

CHECKPOINT;
SELECT pg_stat_reset_single_table_counters('idem_key'::regclass) \g /dev/null
SELECT set_config('idem_bench.loops', :'loops', false) \g /dev/null
DO $$
DECLARE
	c idem_bench.contestant;
	loops int := current_setting('idem_bench.loops');
BEGIN
	FOR round IN 1..9 LOOP
		FOR c IN SELECT * FROM idem_bench.contestant WHERE call IS NOT NULL ORDER BY ordinal LOOP
			CALL idem_bench.measure(c, c.base + round * loops, loops);
			COMMIT;
		END LOOP;
		CALL idem_bench.measure_claims(800000000 + round * loops, loops / 10);
		COMMIT;
	END LOOP;
END;
$$;

SELECT pg_stat_force_next_flush() \g /dev/null
\pset footer off
WITH median AS (
	SELECT name AS contestant, kind, ordinal,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY us) AS us,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY wal) AS wal
	FROM measured JOIN contestant ON name = measured.contestant
	GROUP BY name, kind, ordinal
), net AS (
	SELECT m.contestant, m.kind, m.ordinal, m.us - n.us AS us, m.wal - n.wal AS wal
	FROM median AS m, median AS n
	WHERE n.contestant = 'nothing' AND m.contestant <> 'nothing'
)
SELECT n.contestant, round(n.us::numeric, 2) AS microseconds,
	round(n.wal::numeric) AS wal_bytes,
	round((n.us / p.us)::numeric, 2) AS "time / plpgsql",
	round((n.wal / nullif(p.wal, 0))::numeric, 2) AS "wal / plpgsql"
FROM net AS n
LEFT JOIN net AS p ON p.contestant = 'plpgsql, ' || n.kind
ORDER BY n.ordinal;

SELECT 'HOT, %' AS "of completions", round(100.0 * n_tup_hot_upd / n_tup_upd, 1) AS hot
FROM pg_stat_user_tables WHERE relid = 'idem_key'::regclass AND n_tup_upd > 0;

DELETE FROM idem_key WHERE scope = 'idem_bench';
DROP SCHEMA idem_bench CASCADE;
