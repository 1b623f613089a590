-- What keeping a history costs: microseconds and bytes of WAL for a row that is
-- inserted, and for a transition, of a table without one, with one, and with the
-- trigger that a user would write instead.
--
--   psql -X -f bench/history.sql       (needs the extension's files installed)
--
-- Each contestant moves the same number of rows, one by one, in one statement,
-- so that what a statement costs by itself is not counted.  All in one session
-- and in turn, so that a busy machine slows them all: read the ratios.

\set ON_ERROR_STOP on
\set QUIET on
\timing off
SET client_min_messages = warning;

DROP SCHEMA IF EXISTS idem_bench CASCADE;
CREATE SCHEMA idem_bench;
CREATE EXTENSION IF NOT EXISTS idem;
SET search_path = idem_bench, public;

CREATE TABLE without_history (
	id bigint PRIMARY KEY,
	customer text NOT NULL,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 50, autovacuum_enabled = off);
CREATE TABLE with_history (LIKE without_history INCLUDING ALL)
	WITH (fillfactor = 50, autovacuum_enabled = off);
CREATE TABLE with_trigger (LIKE without_history INCLUDING ALL)
	WITH (fillfactor = 50, autovacuum_enabled = off);
SELECT idem_attach('without_history', 'order'),
	idem_attach('with_history', 'order', history => true),
	idem_attach('with_trigger', 'order') \g /dev/null

-- What a user would write instead, with the same columns and as many indexes.
CREATE TABLE audit (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	changed_by text NOT NULL DEFAULT current_user,
	table_name text NOT NULL,
	row_key jsonb NOT NULL,
	version bigint NOT NULL,
	from_state text,
	to_state text NOT NULL
);
CREATE INDEX ON audit (table_name, row_key);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO idem_bench.audit (table_name, row_key, version, to_state)
		VALUES (TG_TABLE_NAME, jsonb_build_object('id', NEW.id), NEW.version, NEW.status);
	ELSIF NEW.status IS DISTINCT FROM OLD.status THEN
		INSERT INTO idem_bench.audit (table_name, row_key, version, from_state, to_state)
		VALUES (TG_TABLE_NAME, jsonb_build_object('id', NEW.id), NEW.version,
			OLD.status, NEW.status);
	END IF;
	RETURN NULL;
END;
$$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON with_trigger
	FOR EACH ROW EXECUTE FUNCTION audit();

CREATE TABLE measured (what text, contestant text, us float8, wal float8);

CREATE PROCEDURE measure(what text, contestant text, command text, loops int)
LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	wal pg_lsn;
BEGIN
	EXECUTE format('TRUNCATE %I', contestant);
	EXECUTE format('INSERT INTO %I SELECT i, ''VINET'' FROM generate_series(1, %s) AS i',
		contestant, loops);
	COMMIT;
	began := clock_timestamp();
	wal := pg_current_wal_insert_lsn();
	EXECUTE format(command, contestant) USING loops;
	INSERT INTO idem_bench.measured VALUES (what, contestant,
		extract(epoch FROM clock_timestamp() - began) * 1e6 / loops,
		(pg_current_wal_insert_lsn() - wal) / loops);
END;
$$;

\if :{?loops}
\else
\set loops 20000
\endif

CHECKPOINT;
SELECT set_config('idem_bench.loops', :'loops', false) \g /dev/null
DO $$
DECLARE
	c text;
	loops int := current_setting('idem_bench.loops');
BEGIN
	FOR round IN 1..7 LOOP
		FOREACH c IN ARRAY '{without_history, with_history, with_trigger}'::text[] LOOP
			CALL idem_bench.measure('order_transition()', c,
				'SELECT count(t) FROM generate_series(1, $1) AS i,
					order_transition(%L, i, ''PROCESSING'') AS t', loops);
			COMMIT;
			CALL idem_bench.measure('INSERT of as many rows', c,
				'INSERT INTO %I SELECT i + $1, ''VINET'' FROM generate_series(1, $1) AS i', loops);
			COMMIT;
			CALL idem_bench.measure('UPDATE of all rows', c,
				'UPDATE %I SET status = ''PROCESSING''', loops);
			COMMIT;
			CALL idem_bench.measure('UPDATE of another column', c,
				'UPDATE %I SET customer = ''TOMSP''', loops);
			COMMIT;
		END LOOP;
	END LOOP;
END;
$$;

\pset footer off
SELECT what, contestant,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY us)::numeric, 2) AS microseconds,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY wal)::numeric) AS wal_bytes
FROM measured GROUP BY what, contestant ORDER BY what, microseconds;

DELETE FROM idem_history WHERE target = 'with_history'::regclass;
DROP SCHEMA idem_bench CASCADE;
