-- State machines of one's own: defining them, changing them under the tables
-- that follow them, drawing and dropping them
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_machine;
SET search_path = test_machine, public;
\set SHOW_CONTEXT never

-- Each state with the states that it leads to.  One that is only led to leads
-- nowhere itself.
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": ["APPROVED", "DENIED"], "APPROVED": ["PAID", "FAILED"], "FAILED": ["PAID"]}');
SELECT name, initial, states, owner::text = current_user AS mine
FROM idem_machine WHERE name = 'test refund';
SELECT from_state, to_state, guard FROM idem_machine_edge
WHERE machine = 'test refund' ORDER BY 1, 2;

-- The same again, however it is put, changes nothing: not a row is written.
SELECT xmin AS before FROM idem_machine WHERE name = 'test refund' \gset
SELECT idem_machine_define('test refund', 'ASKED',
	'{"PAID": [], "FAILED": [{"to": "PAID"}], "APPROVED": ["FAILED", "PAID"], "ASKED": ["DENIED", "APPROVED"]}');
SELECT xmin = :'before'::xid AS untouched FROM idem_machine WHERE name = 'test refund';

-- A table follows it, and feels a change from the next statement on.
CREATE TABLE refund (
	id int PRIMARY KEY,
	status text NOT NULL DEFAULT 'ASKED',
	version int NOT NULL DEFAULT 1
);
SELECT idem_attach('refund', 'test refund');
INSERT INTO refund SELECT generate_series(1, 4);
UPDATE refund SET status = 'APPROVED' WHERE id IN (1, 2);
UPDATE refund SET status = 'PAID' WHERE id = 3;
SELECT id, array(SELECT idem_allowed('refund', id)) AS allowed FROM refund ORDER BY id;
SELECT idem_machine_define('test refund', 'ASKED',
	'{"ASKED": ["APPROVED", "DENIED", "PAID"], "APPROVED": ["PAID", "FAILED"], "FAILED": ["PAID"]}');
UPDATE refund SET status = 'PAID' WHERE id = 3;
INSERT INTO refund VALUES (5, 'NEW');
BEGIN;
SELECT idem_machine_define('test refund', 'NEW', '{"NEW": ["ASKED"], "ASKED": ["APPROVED", "PAID"]}');
INSERT INTO refund VALUES (5, 'NEW');
UPDATE refund SET status = 'ASKED' WHERE id = 5 RETURNING *;
ROLLBACK;
INSERT INTO refund VALUES (5, 'NEW');

-- No row is left in a state that is gone, unless that is said.
SELECT idem_machine_define('test refund', 'NEW', '{"NEW": ["ASKED"], "ASKED": ["DENIED"]}');
SELECT idem_machine_define('test refund', 'NEW', '{"NEW": ["ASKED"], "ASKED": ["DENIED"], "APPROVED": []}');
BEGIN;
SELECT idem_machine_define('test refund', 'NEW', '{"NEW": ["ASKED"], "ASKED": ["DENIED"]}', force => true);
UPDATE refund SET status = 'DENIED' WHERE id = 1;
ROLLBACK;
-- States that no row is in may go, and so may transitions.
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED"], "APPROVED": ["PAID"]}');
UPDATE refund SET status = 'FAILED' WHERE id = 1;
-- Rows in states that were unknown before are no matter.
SET session_replication_role = replica;
INSERT INTO refund VALUES (6, 'FAILED');
RESET session_replication_role;
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED"], "APPROVED": ["PAID", "ASKED"]}');

-- A new state must fit into the columns of the tables.
CREATE TYPE step AS ENUM ('ASKED', 'APPROVED', 'PAID', 'CLOSED');
CREATE DOMAIN short_step AS varchar(8) CHECK (VALUE <> 'LOST');
CREATE TABLE refund_enum (id int PRIMARY KEY, step step DEFAULT 'ASKED', v bigint NOT NULL DEFAULT 1);
CREATE TABLE refund_domain (id int PRIMARY KEY, step short_step DEFAULT 'ASKED', v bigint NOT NULL DEFAULT 1);
SELECT idem_attach('refund_enum', 'test refund', 'step', 'v');
SELECT idem_attach('refund_domain', 'test refund', 'step', 'v');
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED"], "APPROVED": ["PAID"], "PAID": ["CLOSED"]}');
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED", "LOST"], "APPROVED": ["PAID"], "PAID": ["CLOSED", "WRITTEN_OFF"]}');
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED", "LOST"], "APPROVED": ["PAID"], "PAID": ["CLOSED"]}');
-- In a database at work the type comes first: a value of an enum cannot be used
-- in the transaction that adds it.
ALTER TYPE step ADD VALUE 'LOST';
SELECT idem_detach('refund_domain');
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED", "LOST"], "APPROVED": ["PAID"], "PAID": ["CLOSED"]}');
INSERT INTO refund_enum VALUES (1);
UPDATE refund_enum SET step = 'LOST' RETURNING *;

-- Partitions count with their table.
CREATE TABLE refund_parts (LIKE refund INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE refund_part PARTITION OF refund_parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT idem_attach('refund_parts', 'test refund');
INSERT INTO refund_parts SELECT generate_series(1, 12);
UPDATE refund_parts SET status = 'LOST' WHERE id > 2;
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["APPROVED"], "APPROVED": ["PAID"], "PAID": ["CLOSED"]}');

-- A machine is dropped when nothing follows it any more.
SELECT idem_machine_drop('test refund');
DROP TABLE refund, refund_enum, refund_parts;
SELECT idem_machine_drop('test refund');
SELECT idem_machine_drop('test refund');
SELECT count(*) FROM idem_machine_edge WHERE machine = 'test refund';

-- The one that comes with idem may be changed, but stays.
SELECT idem_machine_drop('order');
BEGIN;
SELECT idem_machine_define('order', 'PENDING',
	'{"PENDING": ["PROCESSING"], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"], "DELIVERED": []}');
SELECT idem_machine_define('order', 'PENDING',
	'{"PENDING": ["PROCESSING", "CANCELLED"], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"]}');
SELECT idem_machine_graph('order');
-- Only now is it a row of the table.
SELECT name, states FROM idem_machine WHERE name = 'order';
SELECT idem_machine_define('order', 'PENDING',
	'{"PENDING": ["PROCESSING"], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"]}');
SELECT idem_machine_graph('order');
ROLLBACK;

-- Odd but possible: one state, a state that leads to itself, names of all kinds.
SELECT idem_machine_define('test odd', 'only', '{"only": []}');
SELECT idem_machine_define('test odd', 'a', '{"a": ["a", "b"]}');
SELECT idem_machine_define('test odd', 'in "transit"', '{"in \"transit\"": ["x;y", "<b>"], "x;y": ["note"], "note": ["Note_2", "100%"]}');
SELECT states FROM idem_machine WHERE name = 'test odd';
-- What nothing leads to is told, since it is often a slip.
SELECT idem_machine_define('test odd', 'PENDING', '{"PENDING": ["SHIPED"], "SHIPPED": ["DONE"]}');

-- As a picture, in Mermaid's language.
SELECT idem_machine_graph('order');
SELECT idem_machine_define('test odd', 'in "transit"', '{"in \"transit\"": ["x;y", "<b>"], "x;y": ["note", "in \"transit\""], "note": ["Note_2", "100%"]}', true);
SELECT idem_machine_graph('test odd');
SELECT idem_machine_define('test odd', 'End', '{"End": ["root_1"], "root_1": ["stateDiagram", "Root"]}', true);
SELECT idem_machine_graph('test odd');
SELECT idem_machine_graph('test none');
SELECT idem_machine_drop('test odd');

-- What will not do.
SELECT idem_machine_define(NULL, 'a', '{"a": []}');
SELECT idem_machine_define('test bad', NULL, '{"a": []}');
SELECT idem_machine_define('test bad', 'a', NULL);
SELECT idem_machine_define('test bad', 'a', '{"a": []}', NULL);
SELECT idem_machine_define('', 'a', '{"a": []}');
SELECT idem_machine_define(repeat('m', 256), 'a', '{"a": []}');
SELECT idem_machine_define('test bad', 'a', '["a"]');
SELECT idem_machine_define('test bad', 'a', '"a"');
SELECT idem_machine_define('test bad', 'a', '{}');
SELECT idem_machine_define('test bad', 'c', '{"a": ["b"]}');
SELECT idem_machine_define('test bad', 'a', '{"a": "b"}');
SELECT idem_machine_define('test bad', 'a', '{"a": {"to": "b"}}');
SELECT idem_machine_define('test bad', 'a', '{"a": [1]}');
SELECT idem_machine_define('test bad', 'a', '{"a": [["b"]]}');
SELECT idem_machine_define('test bad', 'a', '{"a": [{"guard": "b"}]}');
SELECT idem_machine_define('test bad', 'a', '{"a": [{"to": "b", "gaurd": "c"}]}');
SELECT idem_machine_define('test bad', 'a', '{"a": [{"to": "b", "guard": null}]}');
SELECT idem_machine_define('test bad', 'a', '{"a": ["b", "c", {"to": "b"}]}');
SELECT idem_machine_define('test bad', 'a', '{"a": [""]}');
SELECT idem_machine_define('test bad', '', '{"": []}');
SELECT idem_machine_define('test bad', 'a', jsonb_build_object('a', jsonb_build_array(repeat('b', 256))));
-- What is shown of it ends between two characters.
DO $$
DECLARE
	shown text;
BEGIN
	PERFORM idem_machine_define('test bad', 'a', to_jsonb(repeat('x', 198) || repeat(chr(233), 9)));
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS shown = PG_EXCEPTION_DETAIL;
	RAISE NOTICE 'well encoded: %', convert_to(shown, getdatabaseencoding()) IS NOT NULL;
END $$;
SELECT idem_machine_drop(NULL);
SELECT idem_machine_graph(NULL);
BEGIN READ ONLY;
SELECT idem_machine_define('test bad', 'a', '{"a": []}');
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_machine_drop('test bad');
ROLLBACK;
SELECT count(*) FROM idem_machine WHERE name IN ('test bad', '');

-- As long as can be.
SELECT idem_machine_define(repeat('m', 255), repeat('a', 255),
	jsonb_build_object(repeat('a', 255), jsonb_build_array(repeat('b', 255))));
SELECT idem_machine_drop(repeat('m', 255));

-- A machine of many states takes no longer than it must: this would take minutes
-- if each were looked for among all.  A server that is made to be slow has other bounds.
\set states 20000
\getenv states IDEM_TEST_STATES
\set bound 20s
\getenv bound IDEM_TEST_BOUND
SET statement_timeout = :'bound';
SELECT idem_machine_define('test large', 's1', jsonb_object_agg('s' || i,
	jsonb_build_array('s' || i % :states + 1, 's' || (i + 7) % :states + 1)))
FROM generate_series(1, :states) AS i;
SELECT idem_machine_define('test large', 's1', jsonb_object_agg('s' || i,
	jsonb_build_array('s' || i % :states + 1, 's' || (i + 7) % :states + 1)))
FROM generate_series(1, :states) AS i;
-- each is the from and the to of two transitions
SELECT length(idem_machine_graph('test large')) - sum(20 + 4 * length('s' || i)) AS beginning
FROM generate_series(1, :states) AS i;
SELECT idem_machine_define('test large', 'hub', jsonb_build_object('hub', jsonb_agg('s ' || 20000 - i)), force => true)
FROM generate_series(0, :states - 1) AS i;
-- each has a short name, which is written three times
SELECT length(idem_machine_graph('test large')) -
	sum(46 + length('s ' || 20000 - i) + 3 * length((i + 2)::text)) AS beginning
FROM generate_series(0, :states - 1) AS i;
CREATE TABLE parts (id int PRIMARY KEY, status text NOT NULL DEFAULT 'hub', version int NOT NULL DEFAULT 1);
SELECT idem_attach('parts', 'test large');
INSERT INTO parts SELECT generate_series(1, 1000);
UPDATE parts SET status = 's 19999';
UPDATE parts SET status = 's 20000';
RESET statement_timeout;
DROP TABLE parts;
SELECT idem_machine_drop('test large');

-- What else becomes of idem's tables changes no machine: each is still what it was,
-- and what it has become where it was changed by hand or rolled back.
SELECT idem_machine_define('test kept', 'a', '{"a": ["b"], "b": ["a"]}');
CREATE TABLE kept (id int PRIMARY KEY, status text NOT NULL DEFAULT 'a', version int NOT NULL DEFAULT 1);
SELECT idem_attach('kept', 'test kept');
INSERT INTO kept VALUES (1);
UPDATE kept SET status = 'b';
VACUUM ANALYZE idem_machine, idem_machine_edge;
UPDATE kept SET status = 'a';
VACUUM FULL idem_machine;
VACUUM FULL idem_machine_edge;
REINDEX TABLE idem_machine_edge;
UPDATE kept SET status = 'b';
BEGIN;
SELECT idem_machine_define('test kept', 'a', '{"a": ["b"], "b": ["c"]}');
SAVEPOINT s;
UPDATE kept SET status = 'c';
ROLLBACK TO s;
UPDATE kept SET status = 'a';
ROLLBACK;
UPDATE kept SET status = 'c';
UPDATE kept SET status = 'a' RETURNING *;
-- The new rows stand where the old ones stood, and were written by one transaction.
BEGIN;
TRUNCATE idem_machine_edge;
INSERT INTO idem_machine_edge (machine, from_state, to_state) VALUES ('test kept', 'a', 'b');
SELECT * FROM idem_allowed('kept', 1);
TRUNCATE idem_machine_edge;
INSERT INTO idem_machine_edge (machine, from_state, to_state) VALUES ('test kept', 'a', 'c');
SELECT * FROM idem_allowed('kept', 1);
SAVEPOINT s;
UPDATE idem_machine_edge SET to_state = 'b';
SELECT * FROM idem_allowed('kept', 1);
ROLLBACK TO s;
SELECT * FROM idem_allowed('kept', 1);
ROLLBACK;
SELECT * FROM idem_allowed('kept', 1);
DROP TABLE kept;
SELECT idem_machine_drop('test kept');

-- A transition from a state to itself is one that can be made again and again: a
-- call applies it, and raises the version, each time.  Without such an edge there
-- is nothing to do.
SELECT idem_machine_define('test loop', 'a', '{"a": ["a", "b"]}');
CREATE TABLE loop (id int PRIMARY KEY, status text NOT NULL DEFAULT 'a', version int NOT NULL DEFAULT 1);
SELECT idem_attach('loop', 'test loop');
INSERT INTO loop VALUES (1);
SELECT * FROM idem_allowed('loop', 1);
SELECT * FROM idem_transition('loop', 1, 'a');
SELECT * FROM idem_transition('loop', 1, 'a');
SELECT * FROM idem_transition('loop', 1, 'b');
SELECT * FROM idem_transition('loop', 1, 'b');
SELECT * FROM idem_allowed('loop', 1);
DROP TABLE loop;
SELECT idem_machine_drop('test loop');

-- Where a row may go now.
SELECT * FROM idem_allowed(NULL, 1);
CREATE TABLE refund (tenant int, id uuid, status order_status NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id));
SELECT * FROM idem_allowed('refund', 1);
SELECT idem_attach('refund', 'order');
INSERT INTO refund VALUES (1, '00000000-0000-0000-0000-000000000001');
SELECT * FROM idem_allowed('refund', '{"tenant": 1, "id": "00000000-0000-0000-0000-000000000001"}'::jsonb);
SELECT * FROM idem_allowed('refund', '{"tenant": 2, "id": "00000000-0000-0000-0000-000000000001"}'::jsonb);
SELECT * FROM idem_allowed('refund', 1);
SELECT * FROM idem_allowed('refund', NULL::text);
SELECT * FROM idem_allowed('refund', NULL::bigint);
SELECT * FROM idem_allowed('refund', NULL::uuid);
SELECT * FROM idem_allowed('refund', NULL::jsonb);
SELECT * FROM idem_allowed('refund_pkey', 1);
CREATE TABLE parcel (id uuid PRIMARY KEY, status text, version int NOT NULL DEFAULT 1);
SELECT idem_attach('parcel', 'order');
ALTER TABLE parcel DISABLE TRIGGER USER;
INSERT INTO parcel VALUES ('00000000-0000-0000-0000-000000000001', 'SHIPPED'),
	('00000000-0000-0000-0000-000000000002', 'DELIVERED'), ('00000000-0000-0000-0000-000000000003', NULL);
SELECT * FROM idem_allowed('parcel', '00000000-0000-0000-0000-000000000001');
ALTER TABLE parcel ENABLE TRIGGER USER;
-- It reads only.  A row without a state may begin.
BEGIN READ ONLY;
SELECT id, s FROM parcel, LATERAL idem_allowed('parcel', id) AS s ORDER BY id;
SELECT idem_allowed('parcel', '00000000-0000-0000-0000-000000000001'::text);
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA test_machine CASCADE;
