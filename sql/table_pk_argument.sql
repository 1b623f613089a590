-- Rows named by ids of different types, of states as text and as an enum, and sets of
-- them by arrays of any of those types
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_pk_argument;
SET search_path = test_pk_argument, public;
SET idem.scope = 'test_pk_argument';
\set SHOW_CONTEXT never

-- A composite primary key as text.
CREATE TABLE paired (
	tenant int, id int, status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1, note text, PRIMARY KEY (tenant, id));
SELECT idem_attach('paired', 'order', history => true);
INSERT INTO paired SELECT 7, generate_series(1, 9);
SELECT * FROM order_transition('paired', '{"tenant": 7, "id": 1}', 'PROCESSING', key => 'a');
SELECT replayed FROM order_transition('paired', '{"id": 1, "tenant": 7}'::text, 'PROCESSING'::text, key => 'a');
SELECT replayed FROM order_transition('paired', E'\n {"id" : "1", "tenant": 7.0}'::varchar, 'PROCESSING'::order_status, key => 'a');
SELECT replayed FROM order_transition('paired', '{"id": 1, "tenant": 7}'::jsonb, 'PROCESSING', key => 'a');
SELECT * FROM idem_transition('paired', '{"tenant": 7, "id": 1}', 'SHIPPED');
SELECT * FROM idem_update('paired', '{"tenant": 7, "id": 1}', '{"note": "n"}', key => 'b');
SELECT replayed FROM idem_update('paired', jsonb '{"tenant": 7, "id": 1}', '{"note": "n"}', key => 'b');
SELECT * FROM idem_allowed('paired', '{"tenant": 7, "id": 1}');
SELECT version, from_state, to_state FROM idem_history('paired', '{"tenant": 7, "id": 1}');
SELECT * FROM idem_transition_batch('paired', ARRAY['{"tenant": 7, "id": 3}', '{"tenant": 7, "id": 2}'], 'PROCESSING', key => 'c');
SELECT id, replayed FROM idem_transition_batch('paired', '{"{\"id\": 3, \"tenant\": 7}","{\"tenant\": 7, \"id\": 2}"}', 'PROCESSING', key => 'c');
SELECT id, replayed FROM idem_transition_batch('paired', ARRAY[jsonb '{"tenant": 7, "id": 3}', '{"tenant": 7, "id": 2}'], 'PROCESSING', key => 'c');
-- What is no such object.
SELECT * FROM order_transition('paired', '7', 'PROCESSING');
SELECT * FROM order_transition('paired', '[7, 2]', 'PROCESSING');
SELECT * FROM order_transition('paired', '{7, 2}', 'PROCESSING');
SELECT * FROM order_transition('paired', '{}', 'PROCESSING');
SELECT * FROM order_transition('paired', '', 'PROCESSING');
SELECT * FROM order_transition('paired', '{"tenant": 7}', 'PROCESSING');
SELECT * FROM order_transition('paired', '{"tenant": 7, "id": 99}', 'PROCESSING');
SELECT * FROM order_transition('paired', '{"tenant": 7, "id": null}', 'PROCESSING');
SELECT * FROM order_transition('paired', '{"tenant": 7, "idd": 2}', 'PROCESSING');
SELECT * FROM order_transition('paired', '{"tenant": 7, "id": [2]}', 'PROCESSING');
\set VERBOSITY terse
SELECT * FROM order_transition('paired', '{"tenant": 7, "id": 2', 'PROCESSING');
\set VERBOSITY default
SELECT * FROM idem_transition_batch('paired', ARRAY['{"tenant": 7, "id": 4}', '5'], 'PROCESSING');
SELECT * FROM order_transition(NULL, '{"tenant": 7, "id": 2}', 'PROCESSING');
SELECT * FROM order_transition(0, '{"tenant": 7, "id": 2}', 'PROCESSING');

-- Where the key is one column, of which such a text may be a value, it is that value.
CREATE TABLE named (id text PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('named', 'order');
INSERT INTO named VALUES ('{"id": "a"}'), ('a'), ('{a}');
SELECT outcome, version FROM order_transition('named', '{"id": "a"}', 'PROCESSING');
SELECT outcome, version FROM order_transition('named', '{"id": "a"}'::jsonb, 'PROCESSING');
SELECT * FROM named ORDER BY id COLLATE "C";
SELECT * FROM idem_transition_batch('named', ARRAY['{"id": "a"}', '{a}'], 'PROCESSING');
CREATE TABLE doc (id jsonb PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('doc', 'order');
INSERT INTO doc VALUES ('{"id": "a"}');
SELECT outcome FROM order_transition('doc', '{"id": "a"}', 'PROCESSING');
-- Else it is an object, as jsonb is.
CREATE TABLE by_uuid (id uuid PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('by_uuid', 'order');
INSERT INTO by_uuid VALUES ('abcdef01-2345-6789-abcd-ef0123456789'), ('abcdef01-2345-6789-abcd-ef0123456790');
SELECT outcome FROM order_transition('by_uuid', '{"id": "ABCDEF01-2345-6789-ABCD-EF0123456789"}', 'PROCESSING', key => 'd');
SELECT replayed FROM order_transition('by_uuid', '{abcdef01-2345-6789-abcd-ef0123456789}', 'PROCESSING', key => 'd');
SELECT replayed FROM order_transition('by_uuid', uuid '{abcdef01-2345-6789-abcd-ef0123456789}', 'PROCESSING', key => 'd');

-- The state of an order as text.
CREATE TABLE orders (id bigint PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
INSERT INTO orders SELECT generate_series(1, 99);
SELECT outcome, to_state, replayed FROM order_transition('orders', 1, text 'PROCESSING', key => 'e');
SELECT outcome, to_state, replayed FROM order_transition('orders', '1', varchar 'PROCESSING', key => 'e');
SELECT outcome, to_state, replayed FROM order_transition('orders', 1, order_status 'PROCESSING', key => 'e');
SELECT order_transition('orders', 1, 'PROCESSED');
SELECT order_transition('orders', 1, NULL::text);
SELECT order_transition('orders', 1, '');
PREPARE untyped AS SELECT outcome, to_state FROM order_transition($1, $2, $3, $4);
EXECUTE untyped ('orders', 1, 'SHIPPED', 2);
DEALLOCATE ALL;

-- The state as an enum, whichever the column is of.
CREATE TYPE ticket_state AS ENUM ('open', 'closed');
CREATE DOMAIN ticket_state_domain AS ticket_state;
SELECT idem_machine_define('test_pk_argument', 'open', '{"open": ["closed"]}');
CREATE TABLE ticket (id int PRIMARY KEY, status ticket_state NOT NULL DEFAULT 'open', version int NOT NULL DEFAULT 1);
SELECT idem_attach('ticket', 'test_pk_argument');
INSERT INTO ticket SELECT generate_series(1, 9);
SELECT outcome, to_state, replayed FROM idem_transition('ticket', 1, ticket_state 'closed', key => 'f');
SELECT outcome, to_state, replayed FROM idem_transition('ticket', 1, 'closed', key => 'f');
SELECT outcome, replayed FROM idem_transition('ticket', '1', 'closed'::ticket_state_domain::ticket_state, key => 'f');
SELECT idem_transition('ticket', 1, order_status 'SHIPPED');
SELECT idem_transition('ticket', 1, NULL::ticket_state);
SELECT id, outcome FROM idem_transition_batch('ticket', ARRAY[3, 2], ticket_state 'closed');
DO $$
DECLARE
	wanted ticket_state := 'closed';
	answer record;
BEGIN
	answer := idem_transition('ticket', 4, wanted);
	RAISE WARNING '%', answer;
END $$;
PREPARE typed (int[], ticket_state) AS SELECT id, outcome FROM idem_transition_batch('ticket', $1, $2);
EXECUTE typed ('{6,5}', 'closed');
DEALLOCATE ALL;

-- A set of rows by arrays of each type: it is the same request, with the same answer.
SELECT * FROM idem_transition_batch('orders', '{12, 11}', 'PROCESSING', key => 'g');
CREATE DOMAIN number AS bigint CHECK (VALUE > 0);
CREATE DOMAIN numbers AS int[];
CREATE TABLE given (nr int GENERATED ALWAYS AS IDENTITY, type regtype, answer text);
DO $$
DECLARE
	kind text;
	answer text;
BEGIN
	FOREACH kind IN ARRAY ARRAY['smallint[]', 'int[]', 'bigint[]', 'text[]', 'varchar[]', 'varchar(2)[]', 'char(5)[]',
		'name[]', 'jsonb[]', 'number[]', 'numbers', 'int2vector']
	LOOP
		EXECUTE format('SELECT string_agg(t::text, chr(32) ORDER BY id DESC) FROM idem_transition_batch(%L, %L::%s, %L, key => %L) AS t',
			'orders', CASE kind WHEN 'int2vector' THEN '12 11' ELSE '{12,11}' END, kind, 'PROCESSING', 'g') INTO answer;
		INSERT INTO given (type, answer) VALUES (kind::regtype, answer);
	END LOOP;
END $$;
SELECT type, answer FROM given ORDER BY nr;
SELECT id, jsonb_typeof(id), replayed FROM idem_transition_batch('orders', ARRAY[jsonb '"12"', '{"id": 11.0}'], 'PROCESSING', key => 'g');
SELECT * FROM idem_transition_batch('by_uuid', ARRAY[uuid 'ABCDEF01-2345-6789-abcd-ef0123456790'], 'PROCESSING', key => 'h');
SELECT * FROM idem_transition_batch('by_uuid', '{ABCDEF01-2345-6789-abcd-ef0123456790}', 'PROCESSING', key => 'h');
-- What is not an integer's own spelling stays a string.
SELECT id FROM idem_transition_batch('orders', ARRAY[' 13', '+14', '015', '-0', '16 '], 'PROCESSING') ORDER BY 1;
SELECT id FROM idem_transition_batch('orders', ARRAY[' 13', '+14', '015', '16 '], 'PROCESSING');
SELECT id FROM idem_transition_batch('orders', ARRAY['99999999999999999999'], 'PROCESSING');
-- Types that ids are not of.
SELECT * FROM idem_transition_batch('orders', ARRAY[1.5], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY[true], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY[ROW(1)], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', ARRAY[json '1'], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{}'::date[], 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{{1,2},{3,4}}', 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', '{1,NULL}', 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', NULL, 'PROCESSING');
SELECT * FROM idem_transition_batch('orders', NULL::bigint[], 'PROCESSING');
\set VERBOSITY terse
SELECT * FROM idem_transition_batch('orders', '1'::text, 'PROCESSING');
\set VERBOSITY default
SELECT * FROM idem_transition_batch(NULL, '{1}', 'PROCESSING');
SELECT * FROM idem_transition_batch(0, '{1}', 'PROCESSING', key => 'i');
-- A replay needs no primary key any more.
ALTER TABLE orders DROP CONSTRAINT orders_pkey;
SELECT id, jsonb_typeof(id), replayed FROM idem_transition_batch('orders', '{12, 11}', 'PROCESSING', key => 'g');
SELECT id, jsonb_typeof(id), replayed FROM idem_transition_batch('orders', ARRAY[12, 11], 'PROCESSING', key => 'g');

-- Made into other things, by anybody.
\set VERBOSITY sqlstate
CREATE AGGREGATE moved(anycompatiblearray, text, bigint[], text, text, interval, jsonb, text, name) (SFUNC = idem_transition_batch, STYPE = regclass);
CREATE AGGREGATE moved(int, anyenum) (SFUNC = idem_transition, STYPE = regclass);
CREATE AGGREGATE moved(bigint, anyenum, bigint, text, text, interval, jsonb, text, name) (SFUNC = idem_transition, STYPE = idem_transition_result);
CREATE OPERATOR ?> (LEFTARG = regclass, RIGHTARG = uuid, FUNCTION = idem_history);
SELECT count(*) FROM (SELECT 'paired'::regclass ?> uuid 'abcdef01-2345-6789-abcd-ef0123456790') AS h;
CREATE OPERATOR ?> (LEFTARG = regclass, RIGHTARG = text, FUNCTION = idem_history);
SELECT count(*) FROM (SELECT 'paired'::regclass ?> '{"tenant": 7, "id": 1}'::text) AS h;
SELECT * FROM idem_transition_batch('orders', (SELECT most_common_vals FROM pg_stats LIMIT 1), 'PROCESSING');
\set VERBOSITY default

DELETE FROM idem_key WHERE scope = 'test_pk_argument';
DELETE FROM idem_history WHERE target = 'paired'::regclass;
DROP SCHEMA test_pk_argument CASCADE;
SELECT idem_machine_drop('test_pk_argument');
