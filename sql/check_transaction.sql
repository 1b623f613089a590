-- idem_check() and the transaction that it is called in.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_check_transaction;
SET search_path = idem_test_check_transaction, public;
\set SHOW_CONTEXT never
\pset null (null)

CREATE TABLE item (id int PRIMARY KEY, stock int, note text);
INSERT INTO item VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, NULL);
CREATE TABLE journal (line text);
CREATE SEQUENCE counter;

-- What a check tells, and each difference on a line.
CREATE FUNCTION checked(command text, params jsonb DEFAULT '[]',
	OUT idempotent boolean, OUT same_answer boolean, OUT rewritten bigint, OUT difference jsonb)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT c.idempotent, c.same_answer, c.rewritten, d
	FROM idem_check(command, params) AS c LEFT JOIN jsonb_array_elements(c.differences) AS d ON true
$$;

--
-- Constraints and triggers that wait for the end
--

CREATE TABLE hen (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY IMMEDIATE;
CREATE FUNCTION hatch() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO egg SELECT coalesce(max(id), 0) + 1, coalesce(max(id), 0) + 1 FROM egg;
	INSERT INTO hen SELECT coalesce(max(id), 0) + 1, coalesce(max(id), 0) + 1 FROM hen;
END $$;
-- The one is checked at the end of each run, not between.
SELECT * FROM checked('SELECT hatch()');
-- The other is checked at once, in both runs.
CREATE FUNCTION lay() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO hen VALUES (0, 99);
	RETURN 'later';
EXCEPTION WHEN foreign_key_violation THEN
	RETURN 'at once';
END $$;
SELECT idempotent, first, second FROM idem_check('SELECT lay()');
SELECT idempotent, first, second FROM idem_check('SELECT hatch(), lay()');
-- A first run that could not be committed is an error; a second one is not.
SELECT idem_check('INSERT INTO egg VALUES (1, 2)');
CREATE TABLE slot (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT idempotent, second FROM idem_check('INSERT INTO slot VALUES (1)');
-- A deferred trigger takes part.
CREATE FUNCTION log_late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO journal VALUES (''late''); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON item DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION log_late();
SELECT * FROM checked('UPDATE item SET stock = 5 WHERE id = 2');
-- One that was waiting before is no part of either run, and still waits then.
BEGIN;
UPDATE item SET stock = stock WHERE id = 2;
SELECT same_answer, first FROM idem_check('SELECT count(*) FROM journal');
SELECT count(*) FROM journal;
COMMIT;
SELECT count(*) FROM journal;
DROP TRIGGER late ON item;
-- A partition may put off what its table does not.
CREATE TABLE part (n int UNIQUE DEFERRABLE) PARTITION BY LIST (n);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES IN (2);
CREATE FUNCTION add_twice(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO part VALUES (n), (n);
	DELETE FROM part;
	RETURN 'later';
EXCEPTION WHEN unique_violation THEN
	RETURN 'at once';
END $$;
SELECT add_twice(1) AS first, add_twice(2) AS second;
SELECT first, second FROM idem_check('SELECT add_twice(1) AS first, add_twice(2) AS second');
-- How they were set before is how they are set afterwards.
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT idempotent, first FROM idem_check('SELECT lay()');
SELECT lay();
ROLLBACK;

--
-- In a transaction
--

-- What the transaction has done is there, and stays as it is.
CREATE FUNCTION refill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE journal;
	INSERT INTO journal SELECT id FROM item;
END $$;
BEGIN;
INSERT INTO item VALUES (4, 40);
SELECT * FROM checked('UPDATE item SET stock = stock + 1 WHERE id = 4');
SAVEPOINT s;
UPDATE item SET stock = 41 WHERE id = 4;
SELECT * FROM checked('UPDATE item SET stock = 42 WHERE id = 4');
ROLLBACK TO s;
SELECT stock FROM item WHERE id = 4;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO item VALUES (4, 40);
SELECT * FROM checked('UPDATE item SET stock = stock + 1 WHERE id = 4');
SELECT * FROM checked('SELECT refill()');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM checked('UPDATE item SET stock = stock + 1 WHERE id = 2');
SELECT * FROM checked('SELECT refill()');
COMMIT;

-- A check may be checked, and one may be part of a query.
SELECT * FROM checked('SELECT idempotent, rewritten FROM idem_check(''UPDATE item SET stock = stock + 1'')');
SELECT command, idempotent FROM (VALUES ('UPDATE item SET stock = 1'), ('UPDATE item SET stock = stock + 1'),
	('TABLE item')) AS v (command), idem_check(command);

-- It works under an exception block, and an error that is caught leaves nothing.
CREATE FUNCTION catch(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE item SET note = 'kept' WHERE id = 1;
	BEGIN
		RETURN (SELECT 'idempotent: ' || idempotent FROM idem_check(command));
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE || ', stock: ' || (SELECT sum(stock) FROM item);
	END;
END $$;
BEGIN;
SELECT catch('UPDATE item SET stock = 5'), catch('UPDATE item SET stock = stock + 1');
SELECT catch('UPDATE item SET stock = stock + 1 RETURNING 1 / (id - 3)'), catch('UPDATE nothing SET x = 1');
SELECT * FROM item ORDER BY id;
COMMIT;

-- A trigger that is put off may put off others, and a commit does all of them.
CREATE TABLE outer_row (n int);
CREATE TABLE inner_row (n int CHECK (n <> 3));
CREATE TABLE done (n int);
CREATE FUNCTION put_off() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET CONSTRAINTS ALL DEFERRED;
	INSERT INTO inner_row VALUES (new.n);
	RETURN NULL;
END $$;
CREATE FUNCTION do_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.n = 2 THEN
		RAISE insufficient_privilege USING MESSAGE = 'not two';
	END IF;
	INSERT INTO done VALUES (new.n);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON outer_row DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION put_off();
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON inner_row DEFERRABLE
	FOR EACH ROW EXECUTE FUNCTION do_it();
CREATE FUNCTION insert_once(number int) RETURNS void
BEGIN ATOMIC
	INSERT INTO outer_row SELECT number WHERE NOT EXISTS (SELECT FROM outer_row WHERE n = number);
END;
SELECT idempotent, differences FROM idem_check('SELECT insert_once(1)');
SELECT idempotent FROM idem_check('INSERT INTO outer_row VALUES (1)');
SELECT idempotent FROM idem_check('SELECT insert_once(2)');
SELECT idempotent FROM idem_check('SELECT insert_once(3)');
-- To a depth of ten.
CREATE TABLE link (chain int, n int);
CREATE FUNCTION shorten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET CONSTRAINTS ALL DEFERRED;
	IF new.n > 1 THEN
		INSERT INTO link VALUES (new.chain, new.n - 1);
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON link DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION shorten();
CREATE FUNCTION link_once(number int, length int) RETURNS void
BEGIN ATOMIC
	INSERT INTO link SELECT number, length WHERE NOT EXISTS (SELECT FROM link WHERE chain = number);
END;
SELECT idempotent, differences FROM idem_check('SELECT link_once(1, 10)');
SELECT idempotent, jsonb_array_length(differences) AS differences FROM idem_check('INSERT INTO link VALUES (1, 10)');
SELECT idem_check('SELECT link_once(1, 11)');
SELECT idem_check('INSERT INTO link SELECT 1, 1 + 10 * count(*) FROM link');
-- What is to be done at the end of a statement that a check is part of is not the command's,
-- nor what is being done by a trigger that checks.
WITH w AS (INSERT INTO link VALUES (2, 2), (3, 2) RETURNING chain)
	SELECT chain, idempotent FROM w, idem_check('SELECT link_once(4, 9)');
SELECT * FROM link ORDER BY chain, n;
CREATE TABLE coop (id int PRIMARY KEY);
INSERT INTO coop VALUES (1);
CREATE TABLE chick (coop int REFERENCES coop);
CREATE FUNCTION make_deferrable() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE chick ALTER CONSTRAINT chick_coop_fkey DEFERRABLE;
END $$;
WITH d AS (DELETE FROM coop RETURNING id)
	SELECT id, idempotent FROM d, idem_check('SELECT make_deferrable()');
CREATE FUNCTION check_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO done SELECT 1000 + count(*) FROM idem_check('SELECT insert_once(5)') WHERE idempotent;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_it AFTER INSERT ON link DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (new.chain = 6 AND new.n = 1) EXECUTE FUNCTION check_it();
INSERT INTO link VALUES (6, 2);
TABLE done;

-- Nothing stays but what no transaction undoes: sequences.
BEGIN;
SELECT idempotent FROM idem_check($$SELECT pg_advisory_xact_lock(5108031), set_config('idem.ttl', '61min', true),
	nextval('counter') > 0$$);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT current_setting('idem.ttl') <> '61min' AS reset;
SELECT nextval('counter');
COMMIT;
CREATE FUNCTION open_cursor() RETURNS refcursor LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'idem_test_check_cursor';
BEGIN
	OPEN c FOR SELECT 1;
	RETURN c;
END $$;
BEGIN;
SELECT idempotent, second -> 'error' ->> 'sqlstate' AS error FROM idem_check('SELECT open_cursor()');
SELECT count(*) FROM pg_cursors WHERE name LIKE 'idem%';
DECLARE idem_test_check_own CURSOR FOR SELECT generate_series(1, 3);
FETCH idem_test_check_own;
SELECT idempotent FROM idem_check('UPDATE item SET stock = 5');
FETCH idem_test_check_own;
COMMIT;

-- A retry comes from another transaction, and often another session: settings that
-- the first run has made are not there in the second.
SELECT idempotent FROM idem_check($$UPDATE item SET stock = stock + 1
	WHERE current_setting('idem_test.done', true) IS DISTINCT FROM '1' AND id = 1
	AND set_config('idem_test.done', '1', true) = '1'$$);
SELECT idempotent FROM idem_check($$UPDATE item SET stock = stock + 1
	WHERE current_setting('idem_test.done', true) IS DISTINCT FROM '1' AND id = 1
	AND set_config('idem_test.done', '1', false) = '1'$$);
SELECT nullif(current_setting('idem_test.done', true), '') AS left_behind;

-- Rows are the same in another order, in which the first run may have put them.
CREATE TABLE heap (id int);
INSERT INTO heap VALUES (1), (2), (3);
CREATE FUNCTION turn() RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
	UPDATE heap SET id = id WHERE id = (SELECT id FROM heap LIMIT 1);
	RETURN QUERY SELECT id FROM heap;
END $$;
SELECT idempotent, same_answer, first -> 'rows' = second -> 'rows' AS same_order FROM idem_check('SELECT turn()');
SELECT same_answer FROM idem_check('WITH t AS (INSERT INTO heap VALUES (1)) SELECT id FROM heap');

DROP SCHEMA idem_test_check_transaction CASCADE;
