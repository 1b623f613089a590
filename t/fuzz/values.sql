-- What t/fuzz/values.pl sends values to, and what is to be true of their answers.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE TYPE fuzz_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE fuzz_pair AS (a int, b text, c numeric[]);
CREATE DOMAIN fuzz_short AS varchar(4) CHECK (VALUE <> 'no');
CREATE TABLE fuzz_value (
	id int PRIMARY KEY,
	small smallint, big bigint, exact numeric(12, 3), real8 float8, truth boolean,
	text text, short varchar(5), fixed char(3), name name, bytes bytea,
	moment timestamptz, day date, span interval, uuid uuid, inet inet, bits bit(3),
	document jsonb, raw json, numbers int[], texts text[], grid int[][],
	mood fuzz_mood, pair fuzz_pair, pairs fuzz_pair[], domain fuzz_short, range int4range,
	"Odd ""name""" text, generated int GENERATED ALWAYS AS (id * 2) STORED,
	version bigint NOT NULL DEFAULT 1
);
CREATE TRIGGER version BEFORE UPDATE ON fuzz_value FOR EACH ROW EXECUTE FUNCTION idem_version('version');
CREATE TABLE fuzz_order (id int PRIMARY KEY, status text NOT NULL DEFAULT 'S0', version bigint NOT NULL DEFAULT 1);
CREATE FUNCTION fuzz_guard(fuzz_order, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).id > 0';
SELECT idem_machine_define('fuzz', 'S0', '{"S0": ["S1"], "S1": ["S0"]}');
SELECT idem_attach('fuzz_order', 'fuzz');
INSERT INTO fuzz_order SELECT generate_series(1, 20);
CREATE SEQUENCE fuzz_key;

-- A finding.  The logs are read for it, so that it counts whatever the client makes of it.
CREATE FUNCTION fuzz_finding(what text, VARIADIC details text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE LOG 'idem fuzz: % %', what, array_to_json(details);
END
$$;

-- An upsert answers what is there, and answers it again.
CREATE FUNCTION fuzz_upsert(data jsonb, merge jsonb, conflict text[], version bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k text := nextval('fuzz_key');
	first idem_upsert_result;
	again idem_upsert_result;
	there jsonb;
BEGIN
	first := idem_upsert(k, 'fuzz_value', data, conflict, version, merge => merge);
	again := idem_upsert(k, 'fuzz_value', data, conflict, version, merge => merge);
	IF NOT again.replayed OR first.replayed OR first.outcome <> again.outcome OR first.result <> again.result THEN
		PERFORM fuzz_finding('a replay differs', first::text, again::text, data::text, merge::text);
	END IF;
	SELECT to_jsonb(f) INTO there FROM fuzz_value f WHERE id = (first.result->>'id')::int;
	IF there IS DISTINCT FROM first.result THEN
		PERFORM fuzz_finding('an answer is not the row', first.result::text, there::text, data::text);
	END IF;
	RETURN first.outcome;
END
$$;

-- Merging again does nothing more.
CREATE FUNCTION fuzz_merge(data jsonb, merge jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	first idem_upsert_result;
	again idem_upsert_result;
BEGIN
	first := idem_upsert(NULL, 'fuzz_value', data, merge => merge);
	again := idem_upsert(NULL, 'fuzz_value', data, merge => merge);
	IF again.result - 'version' <> first.result - 'version' THEN
		PERFORM fuzz_finding('a merge is not idempotent', first::text, again::text, data::text, merge::text);
	END IF;
	RETURN first.outcome;
END
$$;

-- An update answers the row that is there then.
CREATE FUNCTION fuzz_update(id jsonb, patch jsonb, version bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer idem_update_result;
	there jsonb;
BEGIN
	answer := idem_update('fuzz_value', id, patch, version, nextval('fuzz_key')::text);
	SELECT to_jsonb(f) INTO there FROM fuzz_value f WHERE f.id = (answer.result->>'id')::int;
	IF there IS DISTINCT FROM answer.result THEN
		PERFORM fuzz_finding('an answer is not the row', answer.result::text, there::text, patch::text);
	END IF;
	RETURN answer.outcome;
END
$$;

-- What is defined is what was said, and to say it again changes nothing.
CREATE FUNCTION fuzz_define(initial text, transitions jsonb, force boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	changed boolean := idem_machine_define('fuzz', initial, transitions, force);
	drawn text := idem_machine_graph('fuzz');
BEGIN
	IF idem_machine_define('fuzz', initial, transitions, force) THEN
		PERFORM fuzz_finding('the same definition changes something', initial, transitions::text, drawn);
	END IF;
	IF EXISTS (SELECT s FROM jsonb_object_keys(transitions) s
			   EXCEPT SELECT unnest(states) FROM idem_machine WHERE name = 'fuzz') THEN
		PERFORM fuzz_finding('a state is missing', initial, transitions::text, drawn);
	END IF;
	RETURN changed;
END
$$;

-- Who sqlsmith is: no superuser, whose functions end servers, but one who may write to these tables.
CREATE ROLE fuzz LOGIN;
GRANT CREATE ON SCHEMA public TO fuzz;
GRANT ALL ON fuzz_value, fuzz_order TO fuzz;
