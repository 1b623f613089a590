-- idem_check(): does a statement do any more when it is run again?
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_check;
SET search_path = idem_test_check, public;
\set SHOW_CONTEXT never
\pset null (null)

CREATE TABLE item (id int PRIMARY KEY, stock int, note text);
INSERT INTO item VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, NULL);

-- What a check tells, and each difference on a line.
CREATE FUNCTION checked(command text, params jsonb DEFAULT '[]',
	OUT idempotent boolean, OUT same_answer boolean, OUT rewritten bigint, OUT difference jsonb)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT c.idempotent, c.same_answer, c.rewritten, d
	FROM idem_check(command, params) AS c LEFT JOIN jsonb_array_elements(c.differences) AS d ON true
$$;

-- The whole answer: the second run changed a row again.
SELECT * FROM idem_check('UPDATE item SET stock = stock - 1 WHERE id = 1 RETURNING stock');

-- Nothing of it is left.
SELECT * FROM item ORDER BY id;

--
-- What can be repeated
--

SELECT * FROM checked('UPDATE item SET stock = 5');
SELECT * FROM checked('DELETE FROM item WHERE stock < 25');
SELECT * FROM checked('INSERT INTO item VALUES (4, 40) ON CONFLICT DO NOTHING');
SELECT * FROM checked('INSERT INTO item VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET stock = excluded.stock', '[1, 11]');
SELECT * FROM checked('INSERT INTO item VALUES (1, 11) ON CONFLICT (id) DO UPDATE SET stock = excluded.stock
	WHERE item.stock <> excluded.stock');
SELECT * FROM checked('MERGE INTO item USING (VALUES (3), (4)) AS v (id) ON item.id = v.id
	WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND v.id = 5 THEN INSERT VALUES (v.id)');
SELECT * FROM checked('SELECT * FROM item FOR UPDATE');
SELECT * FROM checked('VALUES (1)');

-- Whatever is done under a key.  An answer that tells whether it is a replay is
-- not the same, of course.
SELECT * FROM checked($$SELECT outcome, result FROM idem_upsert('check-1', 'item', '{"id": 4, "stock": 1}')$$);
SELECT * FROM checked($$SELECT * FROM idem_upsert('check-1', 'item', '{"id": 4, "stock": 1}')$$);
SELECT * FROM checked($$SELECT result FROM idem_execute('check-1', 'UPDATE item SET stock = stock - 1 RETURNING *')$$);
SELECT * FROM checked($$SELECT idem_complete('check-1', 'true') FROM idem_claim('check-1') WHERE outcome = 'claimed'$$);
-- A key that has expired by then is no protection.  (Its row is changed, too.)
SELECT difference #- '{before}' #- '{after}' AS difference FROM checked($$SELECT outcome FROM
	idem_execute('check-1', 'UPDATE item SET stock = stock - 1 WHERE id = 1', ttl => '1 microsecond')$$) ORDER BY 1;
SELECT count(*) FROM idem_key WHERE key LIKE 'check-%';

--
-- What cannot
--

SELECT * FROM checked('UPDATE item SET stock = stock * 2 WHERE id > 1');
SELECT * FROM checked('DELETE FROM item WHERE id = (SELECT min(id) FROM item)');
SELECT * FROM checked('UPDATE item SET id = id + 10 WHERE id IN (SELECT max(id) FROM item)');
CREATE TABLE journal (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text);
SELECT * FROM checked('INSERT INTO journal (line) VALUES ($1)', '["x"]');

-- An error of the second run is an answer, too.
SELECT idempotent, same_answer, differences, first, second
FROM idem_check('INSERT INTO item VALUES (4, 40)');

-- Several tables, in their order.
SELECT * FROM checked('WITH line AS (INSERT INTO journal (line) OVERRIDING USER VALUE VALUES (''y''))
	UPDATE item SET stock = stock + 1 WHERE id = 2');

-- What a trigger does counts.
CREATE FUNCTION log_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO journal (id, line) OVERRIDING SYSTEM VALUE
	SELECT count(*), format('item %s has %s', new.id, new.stock) FROM journal;
	RETURN NULL;
END $$;
CREATE TRIGGER log AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION log_item();
SELECT * FROM checked('UPDATE item SET stock = 5 WHERE id = 2');
SELECT * FROM checked('UPDATE item SET stock = 5 WHERE id = 2 AND stock <> 5');
DROP TRIGGER log ON item;

-- So does what a function does, but not what it has undone.
CREATE FUNCTION place(quantity int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE item SET stock = stock + 1000 WHERE id = 3;
	BEGIN
		INSERT INTO journal (line) VALUES ('undone');
		UPDATE item SET stock = stock - quantity WHERE id = 1;
		RAISE EXCEPTION 'no';
	EXCEPTION WHEN raise_exception THEN
		UPDATE item SET stock = stock WHERE id = 2;
	END;
	UPDATE item SET stock = stock - 1000 WHERE id = 3;
	RETURN 'done';
END $$;
SELECT * FROM checked('SELECT place(1)');

-- Time passes between two runs for clock_timestamp(), not for now().
CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz);
INSERT INTO stamped VALUES (1);
SELECT idempotent FROM checked('UPDATE stamped SET at = now()');
SELECT idempotent FROM checked('UPDATE stamped SET at = clock_timestamp()');

-- An answer may differ where nothing else does.
SELECT idempotent, same_answer FROM idem_check('SELECT clock_timestamp()');

DROP SCHEMA idem_test_check CASCADE;
