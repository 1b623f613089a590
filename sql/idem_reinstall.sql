-- The extension is dropped and created again while a session has machines,
-- guards and plans in use: what it goes by afterwards is what is there then
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA test_reinstall;
SET search_path = test_reinstall, public;
\set SHOW_CONTEXT never

CREATE TABLE refund (id int PRIMARY KEY, status text NOT NULL DEFAULT 'ASKED', version int NOT NULL DEFAULT 1);
CREATE FUNCTION may_pay(refund, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT $1.id < 10';
INSERT INTO refund SELECT generate_series(1, 9);
INSERT INTO refund VALUES (11);
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["DENIED", {"to": "PAID", "guard": "may_pay"}]}');
SELECT idem_attach('refund', 'test refund');
PREPARE pay(int) AS UPDATE refund SET status = 'PAID' WHERE id = $1 RETURNING *;
PREPARE move(int, text) AS SELECT outcome::text, from_state, to_state, version FROM idem_transition('refund', $1, $2);
PREPARE look(int) AS SELECT * FROM idem_allowed('refund', $1);
EXECUTE pay(1);
EXECUTE pay(11);
EXECUTE move(2, 'PAID');
EXECUTE look(3);

-- Not under a statement that its triggers belong to.
CREATE FUNCTION pull_the_rug() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DROP EXTENSION idem CASCADE;
	RETURN NEW;
END $$;
CREATE TRIGGER pull_the_rug BEFORE UPDATE ON refund FOR EACH ROW EXECUTE FUNCTION pull_the_rug();
DO $$
BEGIN
	UPDATE refund SET status = 'PAID' WHERE id = 3;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'refused';
END $$;
DROP TRIGGER pull_the_rug ON refund;
EXECUTE look(3);

-- Without it a table follows nothing.
DROP EXTENSION idem CASCADE;
UPDATE refund SET status = 'LOST' WHERE id = 4 RETURNING *;
\set VERBOSITY sqlstate
EXECUTE look(3);
\set VERBOSITY default

-- Nor does a function of the library do anything that is called in another way.
CREATE FUNCTION stray(text, text) RETURNS boolean LANGUAGE c AS '$libdir/idem', 'idem_seen';
SELECT stray('consumer', 'message');
DROP FUNCTION stray;

-- Created again, in another schema: no machine but the one it comes with, then
-- another under the old name.
CREATE SCHEMA test_reinstall_home;
CREATE EXTENSION idem SCHEMA test_reinstall_home;
SET search_path = test_reinstall, test_reinstall_home, public;
SELECT name, initial FROM idem_machine;
SELECT idem_attach('refund', 'test refund');
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["DENIED"], "DENIED": ["ASKED"]}');
UPDATE refund SET status = 'DENIED' WHERE status NOT IN ('ASKED', 'DENIED');
SELECT idem_attach('refund', 'test refund');
EXECUTE pay(3);
EXECUTE move(3, 'DENIED');
EXECUTE look(3);
EXECUTE look(4);

-- All of that in one transaction, and undone.
BEGIN;
SELECT idem_machine_define('test refund', 'ASKED', '{"ASKED": ["DENIED", "PAID"]}');
EXECUTE pay(5);
DROP EXTENSION idem CASCADE;
CREATE EXTENSION idem SCHEMA public;
SELECT idem_machine_define('test refund', 'ASKED', '{"PAID": ["ASKED"], "ASKED": ["LOST"], "DENIED": []}', true);
SELECT idem_attach('refund', 'test refund');
EXECUTE look(5);
UPDATE refund SET status = 'ASKED' WHERE id = 5 RETURNING *;
ROLLBACK;
EXECUTE look(3);
EXECUTE look(5);
EXECUTE pay(5);

-- And inside one function call.
CREATE FUNCTION renew() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT 'before: ' || s FROM idem_allowed('refund', 6) AS s;
	DROP EXTENSION idem CASCADE;
	CREATE EXTENSION idem SCHEMA test_reinstall_home;
	PERFORM idem_machine_define('test refund', 'DENIED', '{"DENIED": ["ASKED"], "ASKED": ["PAID"]}');
	PERFORM idem_attach('refund', 'test refund');
	RETURN QUERY SELECT 'after: ' || s FROM idem_allowed('refund', 6) AS s;
END $$;
SELECT renew();
EXECUTE pay(6);
EXECUTE pay(3);

DROP EXTENSION idem CASCADE;
DROP SCHEMA test_reinstall, test_reinstall_home CASCADE;
