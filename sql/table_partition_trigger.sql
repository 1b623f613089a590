-- A trigger that only one partition of a table has
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_partition_trigger;
SET search_path = idem_test_partition_trigger, public;
\set SHOW_CONTEXT never

-- A trigger that only one partition has may put the old row back.  Nobody is told
-- then that the row was updated.
CREATE TABLE parcel (
    id      int,
    weight  int,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE TABLE parcel_1 PARTITION OF parcel FOR VALUES FROM (0) TO (100);
CREATE TABLE parcel_2 PARTITION OF parcel FOR VALUES FROM (100) TO (200);
CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';
INSERT INTO parcel VALUES (1, 10), (101, 10);

-- in use before there is such a trigger
SELECT outcome, result FROM idem_update('parcel', 1, '{"weight": 11}');
SELECT outcome, result FROM idem_update('parcel', 101, '{"weight": 11}');
SELECT outcome, result FROM idem_upsert('parcel-1', 'parcel', '{"id": 1, "weight": 12}');
SELECT outcome, result FROM idem_upsert('parcel-2', 'parcel', '{"id": 101, "weight": 12}');
CREATE TRIGGER put_back BEFORE UPDATE ON parcel_1
    FOR EACH ROW EXECUTE FUNCTION put_back();

SELECT outcome, result FROM idem_update('parcel', 1, '{"weight": 13}');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, result FROM idem_update('parcel', 1, '{"weight": 13}', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, result FROM idem_upsert('parcel-3', 'parcel', '{"id": 1, "weight": 13}');
SELECT outcome, result FROM idem_upsert('parcel-4', 'parcel', '{"id": 1, "weight": 13}',
    expected_version => 1);
SELECT outcome, result FROM idem_upsert(NULL, 'parcel', '{"id": 1, "weight": 13}',
    merge => '{"weight": "max"}');

-- in the other partition all goes on
SELECT outcome, result FROM idem_update('parcel', 101, '{"weight": 13}');
SELECT outcome, result FROM idem_upsert('parcel-5', 'parcel', '{"id": 101, "weight": 14}');
TABLE parcel ORDER BY id;

DROP TABLE parcel;
DROP FUNCTION put_back;
DELETE FROM idem_key WHERE key LIKE 'parcel-%';
DROP SCHEMA idem_test_partition_trigger CASCADE;
