-- What a transition costs inside the server: microseconds and bytes of WAL,
-- against the update that one would write by hand, on a table that nothing
-- protects, and against the same rule as a trigger in plpgsql with a plain
-- update, once written out and once for machines in a table; and how many of the
-- updates were HOT.
--
--   psql -X -f bench/transition.sql    (needs the extension's files installed)
--
-- Each contestant is a function, called for every row of one statement, so that
-- what a statement costs by itself is not counted.  All in one session and in
-- turn, so that a busy machine slows them all: read the ratios.  What a client
-- pays, who sends each as a statement of its own, bench/transition-client tells.

\set ON_ERROR_STOP on
\set QUIET on
\timing off
SET client_min_messages = warning;

DROP SCHEMA IF EXISTS idem_bench CASCADE;
CREATE SCHEMA idem_bench;
CREATE EXTENSION IF NOT EXISTS idem;
SET search_path = idem_bench, public;
DELETE FROM idem_key WHERE scope = 'idem_bench';

\ir transition-tables.sql

-- An update by hand: the right version, and a state from which one may go.
CREATE FUNCTION by_hand(the_id bigint, wanted order_status, expected bigint,
	allowed order_status[], OUT status order_status, OUT version bigint)
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_bench.hand AS o SET status = wanted, version = o.version + 1
	WHERE o.id = the_id AND o.version = expected AND o.status = ANY (allowed)
	RETURNING o.status, o.version INTO status, version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'order % cannot become %', the_id, wanted;
	END IF;
END;
$$;

-- A plain update, where a trigger knows the rule.
CREATE FUNCTION by_trigger(the_id bigint, wanted order_status, expected bigint,
	OUT status order_status, OUT version bigint)
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_bench.plpgsql AS o SET status = wanted
	WHERE o.id = the_id AND o.version = expected
	RETURNING o.status, o.version INTO status, version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'order % cannot become %', the_id, wanted;
	END IF;
END;
$$;

CREATE FUNCTION by_edges(the_id bigint, wanted order_status, expected bigint,
	OUT status order_status, OUT version bigint)
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_bench.plpgsql_edges AS o SET status = wanted
	WHERE o.id = the_id AND o.version = expected
	RETURNING o.status, o.version INTO status, version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'order % cannot become %', the_id, wanted;
	END IF;
END;
$$;

-- A hundred rows in a call, the last of which counts for all.
CREATE FUNCTION hundred(the_id bigint, wanted order_status) RETURNS bigint
LANGUAGE sql AS $$
	SELECT count(t) FROM idem_transition_batch('idem_bench.idem_set',
		ARRAY(SELECT to_jsonb(n) FROM generate_series(the_id - 99, the_id) AS n),
		wanted::text) AS t;
$$;

CREATE TABLE contestant (
	name text PRIMARY KEY,
	ordinal int,
	call text		-- with an id i, a state s, a version v, and states from
);
INSERT INTO contestant VALUES
	('nothing', 1, 'i'),
	('by hand', 2, 'by_hand(i, s, v, from_states)'),
	('plpgsql trigger', 3, 'by_trigger(i, s, v)'),
	('plpgsql trigger, table of edges', 4, 'by_edges(i, s, v)'),
	('idem', 5, 'order_transition(''idem'', i, s, v)'),
	('idem, no version', 6, 'order_transition(''idem_plain'', i, s)'),
	('idem, in sets of 100', 7, 'CASE i % 100 WHEN 0 THEN hundred(i, s) END'),
	('idem, with a key', 8, 'order_transition(''idem_keyed'', i, s, v, ''key-'' || i || s, ''idem_bench'')');

CREATE TABLE measured (contestant text, us float8, wal float8);

CREATE PROCEDURE measure(c contestant, step int, loops int)
LANGUAGE plpgsql AS $$
DECLARE
	states order_status[] := enum_range(NULL::order_status);
	began timestamptz;
	wal pg_lsn;
BEGIN
	wal := pg_current_wal_insert_lsn();
	began := clock_timestamp();
	EXECUTE format($sql$
		SELECT count(answer) FROM (
			SELECT %s AS answer FROM (
				SELECT i::bigint, $2 AS s, $3 AS v, $4 AS from_states
				FROM generate_series(1, $1) AS i OFFSET 0) AS request
			OFFSET 0) AS call
		$sql$, c.call)
	USING loops, states[step + 1], step::bigint, states[step:step];
	INSERT INTO idem_bench.measured
	SELECT c.name,
		extract(epoch FROM clock_timestamp() - began) * 1e6 / loops,
		(pg_current_wal_insert_lsn() - wal) / loops;
END;
$$;

\if :{?loops}
\else
\set loops 10000
\endif

SELECT set_config('idem_bench.loops', :'loops', false) \g /dev/null
DO $$
DECLARE
	c idem_bench.contestant;
	loops int := current_setting('idem_bench.loops');
BEGIN
	FOR round IN 1..5 LOOP
		CALL idem_bench.begin_anew(loops);
		COMMIT;
		FOR step IN 1..3 LOOP
			FOR c IN SELECT * FROM idem_bench.contestant ORDER BY ordinal LOOP
				CALL idem_bench.measure(c, step, loops);
				COMMIT;
			END LOOP;
		END LOOP;
		DELETE FROM public.idem_key WHERE scope = 'idem_bench';
		COMMIT;
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
	SELECT m.contestant, m.us - n.us AS us, m.wal - n.wal AS wal
	FROM median AS m, median AS n
	WHERE n.contestant = 'nothing' AND m.contestant <> 'nothing'
)
SELECT n.contestant, round(n.us::numeric, 2) AS microseconds,
	round(n.wal::numeric) AS wal_bytes,
	round((n.us / h.us)::numeric, 2) AS "time / by hand",
	round((n.us / t.us)::numeric, 2) AS "time / plpgsql",
	round((n.wal / h.wal)::numeric, 2) AS "wal / by hand"
FROM net AS n, net AS h, net AS t
WHERE h.contestant = 'by hand' AND t.contestant = 'plpgsql trigger'
ORDER BY n.us;

SELECT pg_stat_force_next_flush() \g /dev/null
SELECT relname AS "table", round(n_tup_hot_upd::numeric / n_tup_upd, 3) AS "HOT share"
FROM pg_stat_user_tables
WHERE schemaname = 'idem_bench' AND n_tup_upd > 0 ORDER BY relname;

DELETE FROM idem_key WHERE scope = 'idem_bench';
DROP SCHEMA idem_bench CASCADE;
