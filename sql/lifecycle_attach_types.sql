-- Which columns can hold the states of a machine: those whose type gives each of
-- them back as it was put in
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_attach_types;
SET search_path = test_attach_types, public;
\set SHOW_CONTEXT never
SELECT idem_machine_define('test ticket', 'NEW', '{"NEW": ["IN WORK"], "IN WORK": ["Done", "NEW"]}');

-- Lets a table of one such column follow the machine, and walks a row through
-- all its states, by which the type shows what it does with them.
CREATE FUNCTION try(type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	walk text;
BEGIN
	EXECUTE format('CREATE TABLE test_attach_types.t (id int PRIMARY KEY,'
		' status %s, version int NOT NULL DEFAULT 1)', type);
	PERFORM idem_attach('test_attach_types.t', 'test ticket');
	INSERT INTO test_attach_types.t VALUES (1, 'NEW');
	UPDATE test_attach_types.t SET status = 'IN WORK';
	UPDATE test_attach_types.t SET status = 'NEW';
	UPDATE test_attach_types.t SET status = 'IN WORK';
	UPDATE test_attach_types.t SET status = 'Done';
	SELECT format('%s, version %s', status, version) INTO walk FROM test_attach_types.t;
	DROP TABLE test_attach_types.t;
	RETURN walk;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s', SQLSTATE, detail);
END $$;

CREATE TYPE step AS ENUM ('Done', 'IN WORK', 'NEW');
CREATE TYPE later AS ENUM ('Done', 'NEW', 'in work');
CREATE DOMAIN dstep AS step;
CREATE DOMAIN ddstep AS dstep NOT NULL CHECK (VALUE::step >= 'Done');
CREATE DOMAIN unworked AS dstep CHECK (VALUE::text <> 'IN WORK');
CREATE DOMAIN upper_word AS varchar(20) CHECK (VALUE = upper(VALUE));
CREATE DOMAIN short_upper_word AS upper_word CHECK (length(VALUE) <= 4) CHECK (VALUE ~ '^[A-Z ]+$');
CREATE DOMAIN word AS text CHECK (VALUE <> '');
CREATE DOMAIN words AS text[];
SELECT type, try(type) FROM unnest('{step, dstep, ddstep, text, "text COLLATE \"C\"",
	varchar, varchar(7), word, name}'::text[]) AS type;
SELECT type, try(type) FROM unnest('{later, unworked, varchar(6), upper_word, short_upper_word,
	char(7), "char(2)", int, words, text[], bytea, json}'::text[]) AS type;
-- Where all states are as long as the column, padding does no harm.
SELECT idem_machine_define('test ticket', 'NEW', '{"NEW": ["RUN"], "RUN": ["END"]}', true);
CREATE TABLE padded (id int PRIMARY KEY, status char(3) NOT NULL DEFAULT 'NEW', version int NOT NULL DEFAULT 1);
SELECT idem_attach('padded', 'test ticket');
INSERT INTO padded VALUES (1);
UPDATE padded SET status = 'RUN' RETURNING *;
UPDATE padded SET status = 'NEW';

-- Labels of an enum are not longer than a name; states may be.
SELECT idem_machine_define('test ticket', 'NEW', jsonb_build_object('NEW', jsonb_build_array(repeat('x', 64))), true);
SELECT try('step');
SELECT try('name');
SELECT idem_machine_define('test ticket', 'NEW', '{"NEW": ["IN WORK"], "IN WORK": ["Done", "NEW"]}', true);

-- A constraint that fails itself is told as it is.
CREATE DOMAIN hasty AS text CHECK (1 / (length(VALUE) - 7) IS NOT NULL);
CREATE TABLE hasty_table (id int PRIMARY KEY, status hasty, version int NOT NULL DEFAULT 1);
SELECT idem_attach('hasty_table', 'test ticket');

-- Triggers made by hand are not held up, and the rows are: what the type does
-- not hold is refused by the type, what the machine does not know by the machine.
CREATE TABLE handmade (id int PRIMARY KEY, status upper_word, version int NOT NULL DEFAULT 1);
CREATE TRIGGER follow_update BEFORE UPDATE ON handmade
	FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('test ticket', 'status', 'version');
CREATE TRIGGER follow_insert AFTER INSERT ON handmade
	FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('test ticket', 'status', 'version');
INSERT INTO handmade VALUES (1, 'NEW');
UPDATE handmade SET status = 'IN WORK' RETURNING *;
SELECT idem_allowed('handmade', 1);
UPDATE handmade SET status = 'Done';
UPDATE handmade SET status = 'DONE';

-- Partitions by the state, under a composite key.
CREATE TABLE parted (tenant int, id int, status dstep NOT NULL DEFAULT 'NEW',
	version bigint NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id, status)) PARTITION BY LIST (status);
CREATE TABLE parted_open PARTITION OF parted FOR VALUES IN ('NEW', 'IN WORK');
CREATE TABLE parted_done PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT 1, g FROM generate_series(1, 2) AS g;
SELECT idem_attach('parted', 'test ticket');
UPDATE parted SET status = 'IN WORK';
UPDATE parted SET status = 'Done' WHERE id = 1;
SELECT idem_allowed('parted', '{"tenant": 1, "id": 2, "status": "IN WORK"}'::jsonb);
SELECT * FROM idem_transition('parted', '{"tenant": 1, "id": 2, "status": "IN WORK"}'::jsonb, 'NEW');
SELECT * FROM idem_transition('parted', '{"tenant": 1, "id": 2, "status": "NEW"}'::jsonb, 'IN WORK');
UPDATE parted SET status = 'NEW' WHERE id = 1;
SELECT tableoid::regclass, * FROM parted ORDER BY id;
-- Rows that do not fit are told wherever they are.
SELECT idem_detach('parted');
ALTER TYPE step ADD VALUE 'LOST';
UPDATE parted SET status = 'LOST' WHERE id = 2;
SELECT idem_attach('parted', 'test ticket');

SET client_min_messages = warning;
DROP SCHEMA test_attach_types CASCADE;
SELECT idem_machine_drop('test ticket');
