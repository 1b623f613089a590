-- What idem_check() finds in tables of all kinds.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_check_tables;
SET search_path = idem_test_check_tables, public;
\set SHOW_CONTEXT never
\pset null (null)

CREATE TABLE item (id int PRIMARY KEY, stock int, note text);
INSERT INTO item VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, NULL);
CREATE SEQUENCE counter;

-- What a check tells, and each difference on a line.
CREATE FUNCTION checked(command text, params jsonb DEFAULT '[]',
	OUT idempotent boolean, OUT same_answer boolean, OUT rewritten bigint, OUT difference jsonb)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT c.idempotent, c.same_answer, c.rewritten, d
	FROM idem_check(command, params) AS c LEFT JOIN jsonb_array_elements(c.differences) AS d ON true
$$;


-- Without a primary key, rows count by what they hold, and how often.
CREATE TABLE bag (v text, n int);
INSERT INTO bag VALUES ('a', 1), ('a', 1), ('b', NULL);
SELECT * FROM checked('INSERT INTO bag VALUES (''a'', 1), (''a'', 1)');
SELECT * FROM checked('UPDATE bag SET n = 2 WHERE v = ''a''');
SELECT * FROM checked('UPDATE bag SET n = coalesce(n, 0) + 1');
SELECT * FROM checked('DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag)');

-- A composite key, a column of each doubtful kind: dropped, added since,
-- generated, large, of a type without equality.
CREATE TABLE wide (gone int, "B" int, a int, p point, j json, big text, PRIMARY KEY (a, "B"));
ALTER TABLE wide DROP COLUMN gone;
INSERT INTO wide VALUES (1, 2, '(0,0)', '{}', repeat('x', 100000));
INSERT INTO wide SELECT 2, 2, '(0,0)', '{}', string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n;
ALTER TABLE wide ADD COLUMN later text DEFAULT 'l', ADD COLUMN sum int GENERATED ALWAYS AS (a + "B") STORED;
SELECT * FROM checked('UPDATE wide SET p = p, big = big || ''''');
SELECT idempotent, rewritten, difference - '{before,after}'::text[] AS difference,
	(SELECT jsonb_object_agg(key, left(value::text, 10)) FROM jsonb_each(difference -> 'before')) AS before,
	length(difference -> 'before' ->> 'big') AS before, length(difference -> 'after' ->> 'big') AS after
FROM checked('UPDATE wide SET big = big || ''y''');
SELECT idempotent, rewritten, difference -> 'key' AS key, difference -> 'before' -> 'j' AS before, difference -> 'after' -> 'j' AS after
FROM checked('UPDATE wide SET j = format(''{"n": %s}'', length(j::text))::json WHERE "B" = 1');
-- The image counts: 1.0 is another value than 1.00.
CREATE TABLE exact (id int PRIMARY KEY, n numeric, f float8);
INSERT INTO exact VALUES (1, 1, '-0'), (2, 'NaN', 'NaN');
SELECT * FROM checked('UPDATE exact SET n = n * 1.0, f = f + ''NaN''');

-- No columns at all.
CREATE TABLE hollow ();
SELECT * FROM checked('INSERT INTO hollow DEFAULT VALUES');

-- A partitioned table is one table, whatever its partitions are like.
CREATE TABLE part (id int, kind text, n int, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE part_b (n int, extra int, kind text NOT NULL, id int NOT NULL);
ALTER TABLE part_b DROP COLUMN extra;
ALTER TABLE part ATTACH PARTITION part_b FOR VALUES IN ('b');
INSERT INTO part VALUES (1, 'a', 1), (2, 'b', 2);
SELECT * FROM checked('UPDATE part SET kind = ''a''');
SELECT * FROM checked('UPDATE part SET kind = CASE kind WHEN ''a'' THEN ''b'' ELSE ''a'' END WHERE id = 1');
SELECT * FROM checked('UPDATE part_b SET n = n + 1');
CREATE TABLE moving (id int, kind text, n int) PARTITION BY LIST (kind);
CREATE TABLE moving_a PARTITION OF moving FOR VALUES IN ('a');
CREATE TABLE moving_b PARTITION OF moving DEFAULT;
INSERT INTO moving VALUES (1, 'a', 1);
SELECT * FROM checked('UPDATE moving SET kind = CASE kind WHEN ''a'' THEN ''b'' ELSE ''a'' END, n = 1');

-- Views lead to their tables, temporary tables are tables.
CREATE VIEW seen AS SELECT id, stock FROM item WHERE stock > 10;
SELECT * FROM checked('UPDATE seen SET stock = stock + 1 WHERE id = 2');
CREATE TEMPORARY TABLE draft (id int);
SELECT * FROM checked('INSERT INTO draft VALUES (1)');

-- What is emptied and filled anew is compared by what is in it.
CREATE FUNCTION refill(volatile boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE bag;
	INSERT INTO bag SELECT note || repeat('z', 3000), CASE WHEN volatile THEN nextval('counter') END
	FROM item WHERE note IS NOT NULL;
	INSERT INTO bag VALUES ('always');
END $$;
SELECT * FROM checked('SELECT refill(false)');
SELECT count(difference), sum((difference -> 'before' <> 'null')::int) AS before, sum((difference -> 'after' <> 'null')::int) AS after
FROM checked('SELECT refill(true)');
SELECT * FROM bag ORDER BY v, n;

CREATE MATERIALIZED VIEW summary AS SELECT sum(stock) FROM item;
CREATE FUNCTION refresh(change int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE item SET stock = stock + change WHERE id = 1;
	REFRESH MATERIALIZED VIEW summary;
END $$;
SELECT * FROM checked('SELECT refresh(0)');
SELECT * FROM checked('SELECT refresh(1)');

-- So is what is dropped and made again, by its name.
CREATE FUNCTION rebuild(filler text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS copy, draft;
	EXECUTE format('CREATE TABLE copy AS SELECT id, %s AS v FROM item', filler);
	CREATE TEMPORARY TABLE draft AS VALUES (1), (2);
	CREATE TEMPORARY TABLE passing (id int) ON COMMIT DROP;
	INSERT INTO passing VALUES (1);
	DROP TABLE passing;
END $$;
SELECT * FROM checked('SELECT rebuild($1)', '["stock"]');
SELECT * FROM checked('SELECT rebuild($1)', '["nextval(''counter'') > 0"]');
SELECT count(difference) FROM checked('SELECT rebuild($1)', '["nextval(''counter'')"]');
SELECT to_regclass('copy') AS copy;

-- A table that the second run drops, or makes.
CREATE FUNCTION toggle() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF to_regclass('copy') IS NULL THEN
		CREATE TABLE copy AS SELECT id FROM item WHERE id < 3;
	ELSE
		DROP TABLE copy;
	END IF;
END $$;
SELECT * FROM checked('SELECT toggle()');
CREATE TABLE copy ();
SELECT * FROM checked('SELECT toggle()');
DROP TABLE copy;

-- A table whose columns change, into a type that is gone when all is undone.
CREATE TABLE shifting (id int PRIMARY KEY, v text);
INSERT INTO shifting VALUES (1, 'x');
CREATE FUNCTION shift() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE shifting ALTER v TYPE text;
	DROP DOMAIN IF EXISTS shifted;
	CREATE DOMAIN shifted AS text;
	ALTER TABLE shifting ALTER v TYPE shifted USING v || '!';
END $$;
SELECT * FROM checked('SELECT shift()');

-- What cannot be looked at is told, and nobody is certain then.
CREATE FOREIGN DATA WRAPPER idem_test_check_far;
CREATE SERVER idem_test_check_far FOREIGN DATA WRAPPER idem_test_check_far;
CREATE FOREIGN TABLE far (id int) SERVER idem_test_check_far;
CREATE ACCESS METHOD idem_test_check_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE strange (id int) USING idem_test_check_heap;
CREATE FUNCTION reach() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER FOREIGN TABLE far ADD COLUMN IF NOT EXISTS more int;
	INSERT INTO strange VALUES (1);
END $$;
SELECT * FROM checked('SELECT reach()');
-- Catalogs are the server's own affair.
CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	LOCK TABLE pg_catalog.pg_description IN ROW EXCLUSIVE MODE;
END $$;
SELECT * FROM checked('SELECT hold()');
DROP TABLE strange;
DROP ACCESS METHOD idem_test_check_heap;
DROP FOREIGN DATA WRAPPER idem_test_check_far CASCADE;

-- A hundred rows are listed, the rest is counted.
CREATE TABLE many (id int PRIMARY KEY, v text);
INSERT INTO many SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n;
SELECT count(*), min(difference ->> 'table') AS table, max((difference -> 'key' -> 'id')::int) AS last,
	max((difference -> 'rows')::int) AS rows, max(difference ->> 'note') AS note
FROM (SELECT * FROM checked('UPDATE many SET v = v || ''y''')) AS d;
SET work_mem = '64kB';
SELECT idempotent, rewritten, difference FROM checked('UPDATE many SET v = CASE WHEN id = 7 THEN v || ''y'' ELSE v END');
SELECT idempotent, rewritten, difference FROM checked('WITH gone AS (DELETE FROM many WHERE id % 1000 = 0 AND v NOT LIKE ''%y'' RETURNING id, v)
	SELECT id FROM gone WHERE false');
RESET work_mem;

-- Of long rows, only as many as an answer can hold: ten million bytes or so.
CREATE TABLE long (id int PRIMARY KEY, v text);
ALTER TABLE long ALTER v SET STORAGE EXTERNAL;
INSERT INTO long SELECT n, repeat('x', 2000000) FROM generate_series(1, 5) AS n;
SELECT difference -> 'key' AS key, length(difference #>> '{after,v}'), difference -> 'rows' AS rows, difference -> 'note' AS note
FROM checked('UPDATE long SET v = v || ''y''');
SELECT * FROM checked('UPDATE long SET v = repeat(''y'', 11000000) || v WHERE id = 1');

DROP SCHEMA idem_test_check_tables CASCADE;
