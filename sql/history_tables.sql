-- What a history is of: tables that are renamed, dropped, attached and detached,
-- and how it names them elsewhere
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_history_tables;
SET search_path = test_history_tables, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_idem_reader;
GRANT USAGE ON SCHEMA test_history_tables TO regress_idem_reader;

--
-- Partitions
--

CREATE TABLE year (
	id int, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1, PRIMARY KEY (id)
);
CREATE TABLE ledger (LIKE year INCLUDING ALL) PARTITION BY RANGE (id);
CREATE TABLE other PARTITION OF ledger FOR VALUES FROM (10) TO (20);
SELECT idem_attach('year', 'order', history => true);
INSERT INTO year VALUES (1), (2);
UPDATE year SET status = 'PROCESSING' WHERE id = 1;
SELECT idem_detach('year');
SELECT idem_attach('ledger', 'order', history => true);
ALTER TABLE ledger ATTACH PARTITION year FOR VALUES FROM (0) TO (10);
-- what the partition had before is the table's, too
SELECT version, to_state FROM idem_history('ledger', 1);
UPDATE ledger SET status = 'SHIPPED' WHERE id = 1;
SELECT version, to_state FROM idem_history('ledger', 1);
SELECT version, to_state FROM idem_history('year', 1);
SELECT version, target, partition FROM idem_history WHERE row_key = '{"id": 1}'
AND target IN ('ledger'::regclass, 'year'::regclass) ORDER BY version;
-- a row that has come from another partition
INSERT INTO ledger VALUES (12);
UPDATE ledger SET status = 'PROCESSING' WHERE id = 12;
-- once it is detached, it has what it had in the table
ALTER TABLE ledger DETACH PARTITION year;
SELECT version, to_state FROM idem_history('year', 1);
SELECT version, to_state FROM idem_history('ledger', 1);
SELECT version, to_state FROM idem_history('year', 2);
SELECT version, to_state FROM idem_history('year', 12);
SELECT idem_attach('year', 'order', history => true);
UPDATE year SET status = 'DELIVERED' WHERE id = 1;
SELECT version, to_state FROM idem_history('year', 1);
-- what is done to it by itself is no business of the table's
SELECT version, to_state FROM idem_history('ledger', 1);
-- nor is what the table does with another row of that key a business of its
CREATE TABLE year_2 PARTITION OF ledger FOR VALUES FROM (0) TO (10);
INSERT INTO ledger VALUES (1);
UPDATE ledger SET status = 'PROCESSING' WHERE id = 1;
SELECT version, to_state FROM idem_history('ledger', 1);
SELECT version, to_state FROM idem_history('year', 1);
-- it takes the rights on the table that is asked
GRANT SELECT ON year TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT version, to_state FROM idem_history('year', 1);
SELECT version, to_state FROM idem_history('ledger', 1);
RESET ROLE;
DROP TABLE ledger;
SELECT version, to_state FROM idem_history('year', 1);

-- rows that move between partitions, some of them nested, before they are detached
CREATE TABLE parcel (
	id int, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1, PRIMARY KEY (id, status)
) PARTITION BY LIST (status);
CREATE TABLE parcel_open PARTITION OF parcel FOR VALUES IN ('PENDING', 'PROCESSING') PARTITION BY RANGE (id);
CREATE TABLE parcel_low PARTITION OF parcel_open DEFAULT;
CREATE TABLE parcel_done PARTITION OF parcel DEFAULT;
SELECT idem_attach('parcel', 'order', history => true);
INSERT INTO parcel VALUES (1), (2);
UPDATE parcel SET status = 'PROCESSING';
UPDATE parcel SET status = 'SHIPPED' WHERE id = 1;
SELECT version, to_state, target, partition FROM idem_history
WHERE target = 'parcel'::regclass ORDER BY id;
-- (whether idem knows which column of the key is the state, or not)
ALTER TABLE parcel DETACH PARTITION parcel_open;
SELECT version, to_state FROM idem_history('parcel_open', '{"id": 2, "status": "PROCESSING"}'::jsonb);
SELECT idem_attach('parcel_open', 'order');
SELECT version, to_state FROM idem_history('parcel_open', '{"id": 2, "status": "PROCESSING"}'::jsonb);
SELECT version, to_state FROM idem_history('parcel_low', '{"id": 2, "status": "PROCESSING"}'::jsonb);
SELECT version, to_state FROM idem_history('parcel', '{"id": 1, "status": "SHIPPED"}'::jsonb);
ALTER TABLE parcel DETACH PARTITION parcel_done;
SELECT version, to_state FROM idem_history('parcel_done', '{"id": 1, "status": "SHIPPED"}'::jsonb);
SELECT idem_detach('parcel_open');
ALTER TABLE parcel ATTACH PARTITION parcel_open FOR VALUES IN ('PENDING', 'PROCESSING');
ALTER TABLE parcel ATTACH PARTITION parcel_done DEFAULT;
SELECT version, to_state FROM idem_history('parcel_low', '{"id": 1, "status": "SHIPPED"}'::jsonb);

-- a key that was another row's before the table was given its own is none of those
CREATE TABLE tenants (id int PRIMARY KEY, tenant text NOT NULL DEFAULT 'a', status text DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('tenants', 'order', history => true);
INSERT INTO tenants VALUES (1, 'b');
ALTER TABLE tenants DROP CONSTRAINT tenants_pkey, ADD PRIMARY KEY (tenant, id);
INSERT INTO tenants VALUES (1, 'a');
SELECT version, to_state FROM idem_history('tenants', '{"tenant": "a", "id": 1}'::jsonb);
SELECT idem_detach('tenants');
SELECT version, to_state FROM idem_history('tenants', '{"tenant": "a", "id": 1}'::jsonb);

--
-- A table that keeps no history
--

CREATE TABLE plain (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
INSERT INTO plain VALUES (1), (2);
SELECT * FROM idem_history('plain', 1);
SELECT idem_attach('plain', 'order');
SELECT * FROM idem_history('plain', 1);
\set VERBOSITY default
SELECT * FROM idem_history('plain', 1);
\set VERBOSITY terse
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_idem_reader;
SELECT * FROM idem_history('plain', 1);
RESET ROLE;
SELECT idem_attach('plain', 'order', history => true);
SELECT count(*) FROM idem_history('plain', 1);
UPDATE plain SET status = 'PROCESSING' WHERE id = 1;
SELECT idem_detach('plain');
-- what there was stays, and of the other rows there was none
SELECT version, to_state FROM idem_history('plain', 1);
SELECT count(*) FROM idem_history('plain', 2);

--
-- A column that is called as the row is in idem's statements
--

CREATE TABLE named (id int PRIMARY KEY, idem_row int, status text NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1, secret text);
SELECT idem_attach('named', 'order', history => true);
INSERT INTO named VALUES (1);
UPDATE named SET status = 'PROCESSING';
SELECT idem_detach('named');
GRANT SELECT (id, idem_row) ON named TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT version FROM idem_history('named', 1);
RESET ROLE;
GRANT SELECT ON named TO regress_idem_reader;
SET ROLE regress_idem_reader;
SELECT version FROM idem_history('named', 1);
RESET ROLE;

--
-- A table that has lost its primary key
--

CREATE TABLE keyless (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('keyless', 'order', history => true);
INSERT INTO keyless VALUES (1);
ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
UPDATE keyless SET status = 'PROCESSING';
\echo :LAST_ERROR_SQLSTATE
UPDATE keyless SET version = 1;
ALTER TABLE keyless ADD PRIMARY KEY (status);
UPDATE keyless SET status = 'PROCESSING';
DROP TRIGGER "!idem_lifecycle_history" ON keyless;
UPDATE keyless SET status = 'PROCESSING';
SELECT count(*) FROM idem_history WHERE target = 'keyless'::regclass;

--
-- How a table is written, and read
--

CREATE TABLE "Odd ""one""" (id int PRIMARY KEY);
CREATE TABLE gone (id int PRIMARY KEY);
CREATE TEMP TABLE fleeting (id int PRIMARY KEY);
CREATE TEMP TABLE tables (name idem_table);
INSERT INTO tables VALUES ('plain'::regclass), ('"Odd ""one"""'::regclass), ('gone'::regclass),
	('test_history_tables.plain'), ('test_history_tables."Odd ""one"""');
SELECT name, name::regclass, name = 'plain'::regclass AS plain FROM tables;
-- what leads to no table is kept as it is
SELECT t.name, t.name::oid FROM (VALUES ('plain'::idem_table), ('test_history_tables.none'), ('none.plain'),
	('TEST_HISTORY_TABLES.plain'), ('"test_history_tables".plain'), (' test_history_tables.plain'),
	('test_history_tables.plain '), ('a.b.c'), ('"'), (''), ('0'), ('-'), ('1259'), ('pg_temp.fleeting')) AS t (name);
SELECT ('pg_temp_' || 'x.fleeting')::idem_table::oid;
SELECT 'fleeting'::regclass::idem_table::oid = 'fleeting'::regclass AS here,
	'fleeting'::regclass::idem_table::text::idem_table::oid AS there;
-- a table is what it was when the name came
SELECT 'gone'::regclass::oid AS dropped \gset
ALTER TABLE plain RENAME TO renamed;
DROP TABLE gone;
CREATE TABLE gone (id int PRIMARY KEY);
SELECT replace(name::text, :'dropped', 'OID') AS name, name::oid = 'gone'::regclass AS new,
	replace(name::text, :'dropped', 'OID') = replace(name::text::idem_table::text, :'dropped', 'OID') AS same,
	name::text::idem_table::oid = 0 AS unknown
FROM tables;
-- in binary form, too
COPY tables TO PROGRAM 'cat > /dev/null' (FORMAT binary);
SELECT encode(_idem_table_send('renamed'::regclass::idem_table), 'escape');

--
-- What the name of led to no table, waits for one of that name
--

INSERT INTO idem_history (changed_at, version, target, row_key, to_state, changed_by, partition, status_column)
VALUES ('2026-01-01', 2, 'test_history_tables.later', '{"id": 1}', 'PROCESSING', 'somebody', NULL, 'status'),
	('2026-01-02', 3, 'test_history_tables.whole', '{"id": 1}', 'SHIPPED', 'somebody', 'test_history_tables.later', 'status'),
	('2026-01-03', 4, 'test_history_tables.whole', '{"id": 1}', 'DELIVERED', 'somebody', 'test_history_tables.another', 'status'),
	('2026-01-01', 9, 'test_history_tables.else', '{"id": 1}', 'PROCESSING', 'somebody', NULL, 'status');
CREATE TABLE later (id int PRIMARY KEY);
SELECT version, to_state FROM idem_history('later', 1);

--
-- Whatever has been done to the table of it is an error, or harmless
--

\set VERBOSITY sqlstate
CREATE TABLE kept (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('kept', 'order', history => true);
INSERT INTO kept VALUES (1);
UPDATE kept SET status = 'PROCESSING';
BEGIN;
ALTER TABLE idem_history ALTER version TYPE text, ALTER changed_by DROP NOT NULL, ALTER to_state DROP NOT NULL,
	ALTER version DROP NOT NULL, ALTER key TYPE jsonb USING NULL, ALTER note TYPE text, ALTER from_state TYPE varchar;
UPDATE idem_history SET version = NULL, to_state = NULL, changed_by = NULL WHERE target = 'kept'::regclass;
SELECT version, from_state, to_state, changed_by, key, note FROM idem_history('kept', 1);
SAVEPOINT s;
UPDATE idem_history SET version = 'two' WHERE target = 'kept'::regclass;
SELECT version FROM idem_history('kept', 1);
ROLLBACK TO s;
UPDATE kept SET status = 'SHIPPED';
ROLLBACK;
BEGIN;
ALTER TABLE idem_history DROP note;
SAVEPOINT s;
SELECT version FROM idem_history('kept', 1);
ROLLBACK TO s;
UPDATE kept SET status = 'SHIPPED';
ROLLBACK;
BEGIN;
ALTER TABLE idem_history ADD more int DEFAULT 1 NOT NULL;
UPDATE kept SET status = 'SHIPPED';
SELECT version, to_state FROM idem_history('kept', 1);
ROLLBACK;
BEGIN;
DROP INDEX idem_history_row_idx;
ALTER TABLE idem_history ALTER target TYPE text;
SAVEPOINT s;
SELECT version FROM idem_history('kept', 1);
ROLLBACK TO s;
UPDATE kept SET status = 'SHIPPED';
ROLLBACK;
BEGIN;
ALTER TABLE idem_history ALTER changed_at TYPE date, DROP partition, ADD partition regclass;
SAVEPOINT s;
UPDATE kept SET status = 'SHIPPED';
ROLLBACK TO s;
SELECT version, changed_at::date = current_date AS today FROM idem_history('kept', 1);
ROLLBACK;
SELECT version, to_state FROM idem_history('kept', 1);
-- what cannot be recorded is not done
BEGIN;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing BEFORE INSERT ON idem_history FOR EACH ROW EXECUTE FUNCTION nothing();
UPDATE kept SET status = 'SHIPPED';
ROLLBACK;

DELETE FROM idem_history WHERE target::text LIKE 'test\_history\_tables.%';
SET client_min_messages = warning;
DROP SCHEMA test_history_tables CASCADE;
DROP ROLE regress_idem_reader;
