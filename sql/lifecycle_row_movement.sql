-- Rows that an UPDATE moves to another partition: they arrive as they left, and
-- nothing else is taken for them
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_movement;
SET search_path = test_movement, public;
\set SHOW_CONTEXT never

CREATE TABLE parcel (
	id int,
	place int NOT NULL DEFAULT 1,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (id, place)
) PARTITION BY LIST (place);
CREATE TABLE parcel_1 PARTITION OF parcel FOR VALUES IN (1);
CREATE TABLE parcel_2 PARTITION OF parcel FOR VALUES IN (2);
CREATE TABLE parcel_3 PARTITION OF parcel FOR VALUES IN (3);
SELECT idem_attach('parcel', 'order', history => true);
INSERT INTO parcel SELECT generate_series(1, 9);
UPDATE parcel SET status = 'PROCESSING' WHERE id < 7;
UPDATE parcel SET status = 'SHIPPED' WHERE id < 4;
UPDATE parcel SET status = 'DELIVERED' WHERE id < 3;

-- A trigger that stamps new rows also stamps those that arrive.
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.status := coalesce(TG_ARGV[0], NEW.status::text);
	NEW.version := coalesce(TG_ARGV[1], NEW.version::text);
	NEW.id := NEW.id + coalesce(TG_ARGV[2], '0')::int;
	RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION stamp('PENDING', 1);
INSERT INTO parcel VALUES (10, 2, 'SHIPPED', 5) RETURNING *;
UPDATE parcel SET place = 2 WHERE id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE parcel SET place = 2 WHERE id = 3;
SELECT * FROM idem_transition('parcel', jsonb '{"id": 10, "place": 2}', 'PROCESSING');
-- one that is where new rows begin, of another version
UPDATE parcel SET place = 2 WHERE id = 9;
-- in the middle of others
MERGE INTO parcel p USING (VALUES (1, 2), (20, 2)) AS v (id, place) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET place = v.place
	WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.place);
DROP TRIGGER stamp ON parcel;
-- to another state that the machine allows
CREATE TRIGGER stamp BEFORE INSERT ON parcel_2
	FOR EACH ROW EXECUTE FUNCTION stamp('SHIPPED');
UPDATE parcel SET place = 2 WHERE id = 4;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id = 4 RETURNING *;
DROP TRIGGER stamp ON parcel_2;
-- One that gives it another key, or drops it: found when the transaction ends.
CREATE TRIGGER stamp BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION stamp('PENDING', 1, 70);
UPDATE parcel SET place = 2 WHERE id = 1;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
UPDATE parcel SET place = 2 WHERE id IN (1, 2);
SELECT * FROM parcel WHERE id IN (1, 2, 71, 72) ORDER BY id;
COMMIT;
BEGIN;
SAVEPOINT s;
UPDATE parcel SET place = 2 WHERE id = 1;
ROLLBACK TO s;
COMMIT;
DROP TRIGGER stamp ON parcel;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RETURN NULL;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
UPDATE parcel SET place = 2 WHERE id = 1;
-- nor does a row that is inserted afterwards stand for it
BEGIN;
UPDATE parcel SET place = 2 WHERE id = 1;
ALTER TABLE parcel DISABLE TRIGGER refuse;
INSERT INTO parcel VALUES (1, 2, 'DELIVERED', 5);
ROLLBACK;
BEGIN;
UPDATE parcel SET place = 2 WHERE id = 1;
ALTER TABLE parcel DISABLE TRIGGER refuse;
INSERT INTO parcel VALUES (1, 2);
COMMIT;
DROP TRIGGER refuse ON parcel;

-- What did not leave is forgotten: nothing can take its place.
CREATE TRIGGER refuse BEFORE DELETE ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id = 5;
SAVEPOINT s;
INSERT INTO parcel VALUES (5, 2, 'SHIPPED', 3);
ROLLBACK TO s;
-- the initial state is for rows that begin there
INSERT INTO parcel VALUES (5, 2);
-- and the row may still leave, for there or for elsewhere
DROP TRIGGER refuse ON parcel;
UPDATE parcel SET place = 3, status = 'SHIPPED' WHERE id = 5 AND place = 1;
COMMIT;
CREATE TRIGGER refuse BEFORE DELETE ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id = 6;
UPDATE parcel SET place = 2 WHERE id = 6;
DROP TRIGGER refuse ON parcel;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id = 6;
COMMIT;
CREATE TRIGGER zzz_refuse BEFORE UPDATE ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE parcel SET place = 3, status = 'DELIVERED' WHERE id = 6;
INSERT INTO parcel VALUES (6, 3, 'DELIVERED', 4);
COMMIT;
DROP TRIGGER zzz_refuse ON parcel;
SELECT tableoid::regclass, * FROM parcel ORDER BY id, place;

-- A trigger that comes after ours may have its way with a row, but not move it.
CREATE FUNCTION divert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.place := CASE WHEN NEW.id IN (1, 7) THEN 2 ELSE NEW.place END;
	RETURN CASE WHEN NEW.id < 9 THEN NEW END;
END $$;
CREATE TRIGGER zzz_divert BEFORE UPDATE ON parcel
	FOR EACH ROW EXECUTE FUNCTION divert();
UPDATE parcel SET version = version WHERE id = 1;
UPDATE parcel SET version = version WHERE id = 7;
UPDATE parcel SET version = version WHERE id IN (1, 2, 3, 8, 9);
CREATE TRIGGER stamp BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION stamp('PENDING', 1);
UPDATE parcel SET version = version WHERE id IN (1, 2, 3);
DROP TRIGGER stamp ON parcel;
UPDATE parcel SET version = version WHERE id IN (2, 3, 8, 9) RETURNING *;
BEGIN;
UPDATE parcel SET place = 3 WHERE id IN (3, 9);
SET LOCAL session_replication_role = replica;
UPDATE parcel SET place = 2 WHERE id IN (2, 8, 9);
COMMIT;
DROP TRIGGER zzz_divert ON parcel;
SELECT tableoid::regclass, * FROM parcel WHERE id IN (1, 2, 3, 7, 8, 9) ORDER BY id, place;
UPDATE parcel SET place = 1 WHERE id IN (2, 8, 9);

-- Many rows, new ones among them, in one statement and in many.
BEGIN;
MERGE INTO parcel p USING generate_series(1, 3000) AS v (id) ON p.id = v.id AND p.place = 1
	WHEN MATCHED THEN UPDATE SET place = 2
	WHEN NOT MATCHED THEN INSERT VALUES (v.id + 9000, 3);
SELECT place, count(*) FROM parcel GROUP BY 1 ORDER BY 1;
ROLLBACK;
INSERT INTO parcel SELECT generate_series(100, 2099);
UPDATE parcel SET place = 2, status = 'PROCESSING' WHERE id >= 100;
DO $$
BEGIN
	FOR n IN 100 .. 1999 LOOP
		BEGIN
			UPDATE parcel SET place = 3 WHERE id = n;
			IF n % 2 = 0 THEN
				RAISE EXCEPTION 'undone';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
		UPDATE parcel SET place = 1 WHERE id = n;
	END LOOP;
END $$;
WITH moved AS (UPDATE parcel SET place = 3, status = 'SHIPPED' WHERE id BETWEEN 2000 AND 2009 RETURNING id)
INSERT INTO parcel SELECT id + 1000, 3 FROM moved;
SELECT place, status, version, count(*) FROM parcel WHERE id >= 100 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- Rows moved by the trigger of one that moves.
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE parcel SET place = 4 - place, status = 'SHIPPED' WHERE id = OLD.id + 1;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER follow BEFORE DELETE ON parcel
	FOR EACH ROW WHEN (OLD.id BETWEEN 200 AND 202) EXECUTE FUNCTION follow();
UPDATE parcel SET place = 3, status = 'SHIPPED' WHERE id = 200;
SELECT tableoid::regclass, * FROM parcel WHERE id BETWEEN 200 AND 204 ORDER BY id;
DROP TRIGGER follow ON parcel;

-- At every level of isolation, locked by the transaction beforehand, and back.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT id FROM parcel WHERE id IN (210, 211) FOR KEY SHARE;
SAVEPOINT s;
SELECT id FROM parcel WHERE id = 210 FOR UPDATE;
SAVEPOINT t;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id IN (210, 211);
RELEASE s;
UPDATE parcel SET place = 1, status = 'DELIVERED' WHERE id IN (210, 211);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SAVEPOINT s;
UPDATE parcel SET place = 2 WHERE id IN (210, 211);
ROLLBACK TO s;
UPDATE parcel SET place = 3 WHERE id = 210;
UPDATE parcel SET place = 2 WHERE id = 210;
COMMIT;
SELECT * FROM parcel WHERE id IN (210, 211) ORDER BY id;
-- A row that was inserted, and updated, by the transaction itself.
BEGIN;
INSERT INTO parcel VALUES (3100);
UPDATE parcel SET status = 'PROCESSING' WHERE id = 3100;
UPDATE parcel SET place = 2, status = 'SHIPPED' WHERE id = 3100;
INSERT INTO parcel VALUES (3100, 3, 'SHIPPED', 3);
ROLLBACK;

-- A table that was emptied, or dropped, in the same transaction.
BEGIN;
CREATE TRIGGER refuse BEFORE DELETE ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
UPDATE parcel SET place = 2 WHERE id = 8;
DROP TRIGGER refuse ON parcel;
CREATE TRIGGER refuse BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
UPDATE parcel SET place = 2 WHERE id = 9;
TRUNCATE parcel;
COMMIT;
DROP TRIGGER refuse ON parcel;
INSERT INTO parcel VALUES (1);
CREATE TRIGGER refuse BEFORE INSERT ON parcel
	FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE parcel SET place = 2 WHERE id = 1;
ALTER TABLE parcel DETACH PARTITION parcel_1;
DROP TABLE parcel_1;
COMMIT;
DROP TRIGGER refuse ON parcel;
TABLE parcel;

--
-- A partition without the machine's trigger, or with one that is disabled
--
CREATE TABLE parcel_1 PARTITION OF parcel FOR VALUES IN (1);
ALTER TABLE parcel_1 DISABLE TRIGGER USER;
INSERT INTO parcel VALUES (1, 1), (2, 2);
SELECT * FROM idem_transition('parcel', jsonb '{"id": 1, "place": 1}', 'PROCESSING');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_transition_batch('parcel', ARRAY['{"id": 1, "place": 1}', '{"id": 2, "place": 2}']::jsonb[], 'PROCESSING');
-- the others go on
SELECT * FROM idem_transition('parcel', jsonb '{"id": 2, "place": 2}', 'PROCESSING');
-- and a row that moves has to be received
UPDATE parcel SET place = 1 WHERE id = 2;
ALTER TABLE parcel_1 ENABLE TRIGGER USER;
UPDATE parcel SET place = 1 WHERE id = 2;
SELECT * FROM idem_transition('parcel', jsonb '{"id": 1, "place": 1}', 'PROCESSING');
TABLE parcel ORDER BY id;

-- a trigger of one's own on the lifecycle must not be deferred
CREATE TABLE handmade (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON handmade DEFERRABLE
	FOR EACH ROW EXECUTE FUNCTION idem_lifecycle('order', 'status', 'version');
INSERT INTO handmade VALUES (1);

DELETE FROM idem_history WHERE target = 'parcel'::regclass;
SET client_min_messages = warning;
DROP SCHEMA test_movement CASCADE;
