-- The tables that bench/transition.sql and bench/transition-client move rows in,
-- each with room on its pages for the versions to come.  To be included with the
-- schema to put them in first in the search_path.

CREATE TABLE hand (
	id bigint PRIMARY KEY,
	customer text NOT NULL DEFAULT 'VINET',
	total numeric(12,2) NOT NULL DEFAULT 440.00,
	placed_at timestamptz NOT NULL DEFAULT now(),
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE plpgsql (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE plpgsql_edges (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE idem (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE idem_plain (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE idem_keyed (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);
CREATE TABLE idem_set (LIKE hand INCLUDING ALL)
	WITH (fillfactor = 40, autovacuum_enabled = off);

-- the rule in plpgsql: three transitions, and a version that every update raises
CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status <> OLD.status AND NOT (
		OLD.status = 'PENDING' AND NEW.status = 'PROCESSING' OR
		OLD.status = 'PROCESSING' AND NEW.status = 'SHIPPED' OR
		OLD.status = 'SHIPPED' AND NEW.status = 'DELIVERED')
	THEN
		RAISE EXCEPTION 'order % cannot go from % to %', OLD.id, OLD.status, NEW.status;
	END IF;
	NEW.version := OLD.version + 1;
	RETURN NEW;
END;
$$;
CREATE TRIGGER rule BEFORE UPDATE ON plpgsql
	FOR EACH ROW EXECUTE FUNCTION rule();

-- the same for any machine, with its transitions in a table
CREATE TABLE edge (from_state text, to_state text, PRIMARY KEY (from_state, to_state));
INSERT INTO edge VALUES
	('PENDING', 'PROCESSING'), ('PROCESSING', 'SHIPPED'), ('SHIPPED', 'DELIVERED');
CREATE FUNCTION rule_of_edges() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status <> OLD.status THEN
		PERFORM FROM idem_bench.edge
		WHERE from_state = OLD.status::text AND to_state = NEW.status::text;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'order % cannot go from % to %', OLD.id, OLD.status, NEW.status;
		END IF;
	END IF;
	NEW.version := OLD.version + 1;
	RETURN NEW;
END;
$$;
CREATE TRIGGER rule BEFORE UPDATE ON plpgsql_edges
	FOR EACH ROW EXECUTE FUNCTION rule_of_edges();

DO $$ BEGIN
	PERFORM idem_attach('idem', 'order');
	PERFORM idem_attach('idem_plain', 'order');
	PERFORM idem_attach('idem_keyed', 'order');
	PERFORM idem_attach('idem_set', 'order');
END $$;

CREATE PROCEDURE begin_anew(rows int) LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{hand,plpgsql,plpgsql_edges,idem,idem_plain,idem_keyed,idem_set}'::text[] LOOP
		EXECUTE format('TRUNCATE idem_bench.%I', name);
		EXECUTE format('INSERT INTO idem_bench.%I SELECT generate_series(1, $1)', name)
		USING rows;
	END LOOP;
END;
$$;
