-- For every function, operator and type that the server comes with there is one of
-- the same name, and of the same arguments, that comes first in search_path and
-- raises an error.  Nothing that idem writes as SQL runs any of them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_mallory;
CREATE SCHEMA idem_test_captured;
CREATE SCHEMA idem_test_traps AUTHORIZATION regress_idem_mallory;
GRANT USAGE ON SCHEMA idem_test_traps TO PUBLIC;
CREATE TABLE idem_test_captured.t (id int PRIMARY KEY, name text, n numeric(6,2), tags text[], seen timestamptz,
	status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
CREATE TABLE idem_test_captured.p (tenant uuid, id text, status public.order_status NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
CREATE TABLE idem_test_captured.p1 PARTITION OF idem_test_captured.p DEFAULT;

CREATE FUNCTION idem_test_captured.set_traps() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	trap record;
	number int := 0;
	functions int := 0;
	operators int := 0;
	types int := 0;
BEGIN
	FOR trap IN
		SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
			CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || p.prorettype::regtype AS result
		FROM pg_proc AS p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
			AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[]) AND p.prorettype <> 'internal'::regtype
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION idem_test_traps.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', trap.name,
				regexp_replace(trap.arguments, '\mOUT [^,]*(, )?', '', 'g'), trap.result,
				format('BEGIN RAISE ''sprung: %s''; END', trap.name));
			functions := functions + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;	-- of a kind that only functions in C can have
		END;
	END LOOP;
	FOR trap IN
		SELECT o.oprname AS name, o.oprleft::regtype AS left_type, o.oprright::regtype AS right_type,
			o.oprresult::regtype AS result
		FROM pg_operator AS o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode <> 0
	LOOP
		BEGIN
			number := number + 1;
			EXECUTE format('CREATE FUNCTION idem_test_traps.trap_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', number,
				concat_ws(', ', nullif(trap.left_type::text, '-'), trap.right_type), trap.result,
				format('BEGIN RAISE ''sprung: %%'', %L; END', trap.name));
			EXECUTE format('CREATE OPERATOR idem_test_traps.%s (%s RIGHTARG = %s, FUNCTION = idem_test_traps.trap_%s)',
				trap.name, 'LEFTARG = ' || nullif(trap.left_type::text, '-') || ',', trap.right_type, number);
			operators := operators + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	FOR trap IN
		SELECT t.oid::regtype AS type, t.typname AS name FROM pg_type AS t
		WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
	LOOP
		EXECUTE format('CREATE DOMAIN idem_test_traps.%I AS %s CHECK (false)', trap.name, trap.type);
		types := types + 1;
	END LOOP;
	RETURN functions > 2000 AND operators > 700 AND types > 40;
END $$;
ALTER FUNCTION idem_test_captured.set_traps() OWNER TO regress_idem_mallory;
GRANT USAGE ON SCHEMA idem_test_captured TO regress_idem_mallory;
SET ROLE regress_idem_mallory;
SELECT idem_test_captured.set_traps();
RESET ROLE;

\set VERBOSITY terse
SET search_path = idem_test_traps, pg_catalog, public;
-- They are good traps.
SELECT 1 + 1;
SELECT length('a'::pg_catalog.text);
SELECT 'x'::text;

-- idem does not walk into them.
SELECT public.idem_attach('idem_test_captured.t', 'order', history => true);
SELECT public.idem_attach('idem_test_captured.p', 'order', history => true);
SELECT public.idem_machine_define('captured', 'a', '{"a": ["b"]}');
SELECT public.idem_machine_define('captured', 'a', '{"a": ["b", "c"], "c": ["a"]}');
SELECT public.idem_machine_define('captured', 'a', '{"a": ["b"]}');
SELECT public.idem_machine_graph('captured');
SELECT public.idem_machine_drop('captured');
SELECT outcome FROM public.idem_upsert('captured-1', 'idem_test_captured.t',
	'{"id": 1, "name": "a", "n": 1.5, "tags": ["x"], "seen": "2026-01-01"}', ttl => '1 microsecond');
SELECT outcome FROM public.idem_upsert('captured-1', 'idem_test_captured.t',
	'{"id": 1, "name": "b", "n": 1.5, "tags": ["x"], "seen": "2026-01-01"}');
SELECT outcome FROM public.idem_upsert('captured-1', 'idem_test_captured.t',
	'{"id": 1, "name": "b", "n": 1.5, "tags": ["x"], "seen": "2026-01-01"}');
SELECT outcome FROM public.idem_upsert('captured-2', 'idem_test_captured.t', '{"id": 1, "name": "c"}', expected_version => 2);
SELECT outcome FROM public.idem_upsert('captured-3', 'idem_test_captured.t',
	'{"id": 1, "n": 7, "tags": ["y"], "seen": "2026-02-02", "name": "z"}',
	merge => '{"n": "max", "tags": "union", "seen": "min", "name": "keep"}');
SELECT outcome FROM public.idem_upsert('captured-4', 'idem_test_captured.p',
	'{"tenant": "00000000-0000-0000-0000-000000000001", "id": "x"}');
SELECT outcome FROM public.idem_update('idem_test_captured.t', 1, '{"name": "d"}', key => 'captured-5');
SELECT outcome FROM public.idem_update('idem_test_captured.t', 1, '{"name": "d"}', expected_version => 4);
SELECT outcome FROM public.order_transition('idem_test_captured.t', 1, 'PROCESSING', key => 'captured-6');
SELECT outcome FROM public.idem_transition('idem_test_captured.p',
	'{"tenant": "00000000-0000-0000-0000-000000000001", "id": "x"}'::pg_catalog.jsonb, 'PROCESSING', note => '{"a": 1}');
SELECT outcome FROM public.idem_transition_batch('idem_test_captured.t', '{1}', 'SHIPPED', key => 'captured-7');
SELECT public.idem_allowed('idem_test_captured.t', 1);
SELECT to_state FROM public.idem_history('idem_test_captured.t', 1);
SELECT to_state FROM public.idem_history('idem_test_captured.p',
	'{"tenant": "00000000-0000-0000-0000-000000000001", "id": "x"}'::pg_catalog.jsonb);
SELECT outcome FROM public.idem_execute('captured-8', 'SELECT 1');
SELECT fence FROM public.idem_claim('captured-9', '{"a": 1}', lease => '1 hour');
SELECT public.idem_extend('captured-9', 1, '2 hours') IS NOT NULL;
SELECT public.idem_checkpoint('captured-9', 1, 'half', '{}');
SELECT public.idem_release('captured-9', 1);
SELECT fence FROM public.idem_claim('captured-9', '{"a": 1}', lease => '1 hour');
SELECT public.idem_complete('captured-9', '{}', 2);
SELECT outcome FROM public.idem_lookup('captured-9');
SELECT outcome FROM public.idem_wait('captured-9', '1 s');
SELECT name FROM public.idem_checkpoints('captured-9');
SELECT public.idem_forget('captured-9');
SELECT public.idem_scope_define('captured');
SELECT outcome FROM public.idem_execute('captured-10', 'SELECT 1', scope => 'captured', ttl => '1 microsecond');
SELECT public.idem_scope_drop('captured');
SELECT outcome FROM public.idem_execute('captured-11', 'SELECT 1', scope => 'captured');
SELECT * FROM public.idem_forget_scope('captured');
SELECT public.idem_consumer_define('captured', '1 day');
SELECT public.idem_consume('captured', 'm1');
SELECT public.idem_consume('captured', 'm1');
SELECT public.idem_consume_batch('captured', '{m1,m2}');
SELECT public.idem_consume('captured too', 'm1', '1 microsecond');
SELECT public.idem_consume('captured too', 'm1', '1 microsecond');
SELECT public.idem_seen('captured', 'm1');
SELECT public.idem_advance('captured', 'log', 0, 0, 9);
SELECT public.idem_advance('captured', 'log', 0, 5, 19);
SELECT public.idem_offset('captured', 'log', 0);
SELECT idempotent FROM public.idem_check('SELECT 1');
SELECT public.idem_purge(1) IS NOT NULL;
SELECT public.idem_consumer_drop('captured');
SELECT public.idem_detach('idem_test_captured.t');
RESET search_path;
SET client_min_messages = warning;

DELETE FROM idem_key WHERE starts_with(key, 'captured-');
DELETE FROM idem_message WHERE starts_with(consumer, 'captured');
DELETE FROM idem_offset WHERE consumer = 'captured';
DELETE FROM idem_history WHERE target IN ('idem_test_captured.t'::regclass, 'idem_test_captured.p'::regclass);
DROP SCHEMA idem_test_captured CASCADE;
-- In two steps: each object dropped takes a lock.
DO $$
DECLARE
	trap regoperator;
BEGIN
	FOR trap IN SELECT oid FROM pg_operator WHERE oprnamespace = 'idem_test_traps'::regnamespace LOOP
		EXECUTE format('DROP OPERATOR %s', trap);
	END LOOP;
END $$;
DROP OWNED BY regress_idem_mallory;
DROP ROLE regress_idem_mallory;
