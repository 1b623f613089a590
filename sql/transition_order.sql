-- order_transition: a change of a row's state, once per key if one is given
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_transition;
SET search_path = test_transition, public;
\set SHOW_CONTEXT never

CREATE TABLE orders (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order');
INSERT INTO orders VALUES (1), (2), (3);

-- an order goes through its life; each step raises the version
SELECT * FROM order_transition('orders', 1, 'PROCESSING');
SELECT * FROM order_transition('orders', 1, 'SHIPPED');
SELECT * FROM order_transition('orders', 1, 'DELIVERED');
TABLE orders ORDER BY id;

-- to where it is already is no transition, and changes no row
SELECT ctid AS before, xmin AS writer FROM orders WHERE id = 1 \gset
SELECT * FROM order_transition('orders', 1, 'DELIVERED');
SELECT ctid = :'before' AND xmin = :'writer' AS untouched
FROM orders WHERE id = 1;

-- only along the machine's edges
SELECT * FROM order_transition('orders', 1, 'SHIPPED');
SELECT * FROM order_transition('orders', 2, 'SHIPPED');

-- only a row that is there
SELECT * FROM order_transition('orders', 4, 'PROCESSING');

-- only from the version expected
SELECT * FROM order_transition('orders', 2, 'PROCESSING', 7);
SELECT * FROM order_transition('orders', 2, 'PROCESSING', 1);

-- sent again, since its answer was lost: the row is one past the version
SELECT * FROM order_transition('orders', 2, 'PROCESSING', 1);
SELECT * FROM order_transition('orders', 2, 'PROCESSING', 2);
-- but somebody else's doing is a conflict
UPDATE orders SET version = version WHERE id = 2;
SELECT * FROM order_transition('orders', 2, 'PROCESSING', 1);
-- the version is judged before the edge
SELECT * FROM order_transition('orders', 2, 'DELIVERED', 1);

-- with a key a retry gets the first answer, even when the row has moved on
SELECT * FROM order_transition('orders', 3, 'PROCESSING', key => 'p3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'SHIPPED', key => 's3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'PROCESSING', key => 'p3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'SHIPPED', key => 'n3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'DELIVERED', key => 'd3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'SHIPPED', key => 'n3', scope => 'test_transition');
DELETE FROM orders WHERE id = 3;
SELECT * FROM order_transition('orders', 3, 'DELIVERED', key => 'd3', scope => 'test_transition');
-- another request needs another key: other state, other row, other version
\set VERBOSITY sqlstate
SELECT * FROM order_transition('orders', 3, 'SHIPPED', key => 'p3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 2, 'PROCESSING', key => 'p3', scope => 'test_transition');
SELECT * FROM order_transition('orders', 3, 'PROCESSING', 1, key => 'p3', scope => 'test_transition');
-- and other note
SELECT replayed FROM order_transition('orders', 2, 'PROCESSING', note => '{"by": "van"}', key => 'n2', scope => 'test_transition');
SELECT replayed FROM order_transition('orders', 2, 'PROCESSING', note => '{"by":"van"}', key => 'n2', scope => 'test_transition');
SELECT replayed FROM order_transition('orders', 2, 'PROCESSING', note => '{"by": "ship"}', key => 'n2', scope => 'test_transition');
SELECT replayed FROM order_transition('orders', 2, 'PROCESSING', key => 'n2', scope => 'test_transition');
\set VERBOSITY default

-- what is refused leaves its key free
SELECT * FROM order_transition('orders', 2, 'DELIVERED', key => 'free', scope => 'test_transition');
SELECT * FROM order_transition('orders', 2, 'SHIPPED', key => 'free', scope => 'test_transition');
-- and so does what is rolled back
BEGIN;
SAVEPOINT s;
SELECT * FROM order_transition('orders', 2, 'DELIVERED', key => 'back', scope => 'test_transition');
ROLLBACK TO s;
TABLE orders ORDER BY id;
SELECT * FROM order_transition('orders', 2, 'DELIVERED', key => 'back', scope => 'test_transition');
COMMIT;

-- past its time a key counts as never used
SELECT * FROM order_transition('orders', 2, 'DELIVERED', key => 'brief', scope => 'test_transition', ttl => '1 microsecond');
SELECT replayed FROM order_transition('orders', 1, 'DELIVERED', key => 'brief', scope => 'test_transition');

-- The id may be text, bigint, uuid or jsonb, whatever the column's type is.
CREATE TABLE ids (
	small smallint PRIMARY KEY,
	status text NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1
);
SELECT idem_attach('ids', 'order');
INSERT INTO ids VALUES (5);
SELECT outcome FROM order_transition('ids', 5, 'PROCESSING');
SELECT outcome FROM order_transition('ids', 5::smallint, 'PROCESSING');
SELECT outcome FROM order_transition('ids', 5::bigint, 'PROCESSING');
SELECT outcome FROM order_transition('ids', '5', 'PROCESSING');
SELECT outcome FROM order_transition('ids', '5'::varchar, 'PROCESSING');
SELECT outcome FROM order_transition('ids', jsonb '5', 'PROCESSING');
SELECT outcome FROM order_transition('ids', jsonb '5.0', 'PROCESSING');
SELECT outcome FROM order_transition('ids', jsonb '"5"', 'PROCESSING');
SELECT outcome FROM order_transition('ids', jsonb '{"small": 5}', 'PROCESSING');
SELECT outcome FROM order_transition(id => 5, new_status => 'PROCESSING', target => 'ids');
-- parameters that the client gives no type
PREPARE untyped AS SELECT outcome FROM order_transition($1, $2, $3, $4);
EXECUTE untyped('ids', 5, 'PROCESSING', 2);
DEALLOCATE untyped;
-- however the id is given, it is the same request
SELECT replayed FROM order_transition('ids', 5, 'SHIPPED', key => 'id', scope => 'test_transition');
SELECT replayed FROM order_transition('ids', '5', 'SHIPPED', key => 'id', scope => 'test_transition');
SELECT replayed FROM order_transition('ids', jsonb '5.0', 'SHIPPED', key => 'id', scope => 'test_transition');
SELECT replayed FROM order_transition('ids', jsonb '{"small": "5"}', 'SHIPPED', key => 'id', scope => 'test_transition');

-- a UUID where the column is one, else a text like any other
CREATE DOMAIN ticket AS uuid;
CREATE TABLE by_uuid (id ticket PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
CREATE TABLE by_text (id text PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach(t, 'order') FROM unnest('{by_uuid, by_text}'::regclass[]) t;
INSERT INTO by_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
INSERT INTO by_text VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT id, (SELECT replayed FROM order_transition('by_uuid', id, 'PROCESSING', key => 'uuid', scope => 'test_transition'))
FROM unnest(ARRAY['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{a0eebc999c0b4ef8bb6d6bb9bd380a11}']) id;
SELECT replayed FROM order_transition('by_uuid', uuid 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'PROCESSING', key => 'uuid', scope => 'test_transition');
SELECT replayed FROM order_transition('by_uuid', jsonb '{"id": "A0EEBC999C0B4EF8BB6D6BB9BD380A11"}', 'PROCESSING', key => 'uuid', scope => 'test_transition');
SELECT replayed FROM idem_transition_batch('by_uuid', ARRAY[jsonb '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"'], 'SHIPPED', key => 'uuids', scope => 'test_transition');
SELECT replayed FROM idem_transition_batch('by_uuid', ARRAY[jsonb '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'], 'SHIPPED', key => 'uuids', scope => 'test_transition');
\set VERBOSITY sqlstate
SELECT replayed FROM order_transition('by_uuid', 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'PROCESSING', key => 'uuid', scope => 'test_transition');
SELECT replayed FROM order_transition('by_uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1', 'PROCESSING', key => 'uuid', scope => 'test_transition');
SELECT replayed FROM order_transition('by_uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'PROCESSING', key => 'uuid', scope => 'test_transition');
SELECT replayed FROM order_transition('by_text', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'PROCESSING', key => 'text', scope => 'test_transition');
SELECT replayed FROM order_transition('by_text', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'PROCESSING', key => 'text', scope => 'test_transition');
\set VERBOSITY default

CREATE DOMAIN code AS varchar(8) CHECK (VALUE ~ '^[a-z]');
CREATE TABLE "Odd ""names" (
	"the Id" uuid,
	"Code" code,
	"Status" order_status NOT NULL DEFAULT 'PENDING',
	"Row version" smallint NOT NULL DEFAULT 1,
	PRIMARY KEY ("Code", "the Id")
);
SELECT idem_attach('"Odd ""names"', 'order', 'Status', 'Row version');
INSERT INTO "Odd ""names" VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x');
SELECT * FROM order_transition('"Odd ""names"',
	jsonb '{"the Id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "Code": "x"}',
	'PROCESSING');
ALTER TABLE "Odd ""names" DROP CONSTRAINT "Odd ""names_pkey";
ALTER TABLE "Odd ""names" ADD PRIMARY KEY ("the Id");
SELECT * FROM order_transition('"Odd ""names"',
	uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'SHIPPED');
SELECT * FROM order_transition('"Odd ""names"',
	'{A0EEBC999C0B4EF8BB6D6BB9BD380A11}', 'DELIVERED');

-- a trigger of the user's has its say, and the answer tells what the row is
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.version = 1 THEN
		RETURN NULL;
	END IF;
	NEW.status := 'SHIPPED';
	RETURN NEW;
END $$;
CREATE TABLE meddled (
	id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('meddled', 'order');
INSERT INTO meddled VALUES (1, DEFAULT, 1), (2, DEFAULT, 2), (3, DEFAULT, 2);
UPDATE meddled SET status = 'PROCESSING' WHERE id = 2;
-- before the lifecycle, by name: what it makes of the row is validated
CREATE TRIGGER meddle BEFORE UPDATE ON meddled
	FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT * FROM order_transition('meddled', 1, 'PROCESSING');
SELECT * FROM order_transition('meddled', 2, 'SHIPPED');
SELECT * FROM order_transition('meddled', 3, 'PROCESSING');
-- behind it the trigger has the last word
DROP TRIGGER meddle ON meddled;
CREATE TRIGGER zzz_meddle BEFORE UPDATE ON meddled
	FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT * FROM order_transition('meddled', 3, 'PROCESSING');
-- what it puts back where it was is not told to have been done
SELECT * FROM order_transition('meddled', 2, 'DELIVERED');

-- Tables that inherit have rows of their own, and no primary key in common.  An
-- UPDATE of the table changes them, too: they have to follow a machine.
CREATE TABLE heir () INHERITS (orders);
INSERT INTO heir VALUES (1, 'PENDING');
SELECT * FROM order_transition('orders', 1, 'DELIVERED');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE heir ADD PRIMARY KEY (id);
SELECT idem_attach('heir', 'order');
SELECT * FROM order_transition('orders', 1, 'DELIVERED');
SELECT * FROM order_transition('heir', 1, 'PROCESSING');
SELECT * FROM ONLY orders WHERE id = 1;
TABLE heir;
DROP TABLE heir;

-- the table may change between calls, and so may its machine's columns
ALTER TABLE ids RENAME COLUMN small TO tiny;
ALTER TABLE ids ALTER COLUMN tiny TYPE text;
ALTER TABLE ids RENAME TO renamed;
SELECT * FROM order_transition('renamed', '5', 'DELIVERED');
SELECT idem_detach('renamed');
ALTER TABLE renamed RENAME COLUMN version TO revision;
SELECT idem_attach('renamed', 'order', version => 'revision');
SELECT * FROM order_transition('renamed', '5', 'DELIVERED', 4);

-- Versions count exactly the updates that were made: of 200 calls, 3 each.
CREATE TABLE counted (LIKE orders INCLUDING ALL);
SELECT idem_attach('counted', 'order');
INSERT INTO counted SELECT generate_series(1, 50);
SELECT outcome, replayed, count(*)
FROM generate_series(1, 50) AS id,
	(VALUES (1, 'PROCESSING'), (2, 'PROCESSING'), (3, 'SHIPPED'), (4, 'DELIVERED')) AS s (step, state),
	LATERAL order_transition('counted', id, state::order_status,
		key => state || id, scope => 'test_transition counted')
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT status, version, count(*) FROM counted GROUP BY 1, 2;

DELETE FROM idem_key WHERE scope LIKE 'test_transition%';
SET client_min_messages = warning;
DROP SCHEMA test_transition CASCADE;
