-- Errors of the work that are remembered: which, what is kept of them, what else they
-- undo, and that all others free the key.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_refusal;
SET search_path = idem_test_refusal, public;
\set SHOW_CONTEXT never
SELECT length(idem_new_key());

CREATE TABLE account (
	id int PRIMARY KEY,
	owner text NOT NULL,
	email text UNIQUE,
	balance numeric(10,2) NOT NULL CHECK (balance >= 0),
	version bigint NOT NULL DEFAULT 1
);
INSERT INTO account VALUES (1, 'ann', 'a@x', 100), (2, 'bob', 'b@x', 0);

-- What a call comes to: its row, or the SQLSTATE of its error.
CREATE FUNCTION pg_temp.pay(key text, amount numeric, remember_errors text[] DEFAULT '{23514}', OUT answer text)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT concat_ws(' ', outcome, CASE WHEN replayed THEN 'replayed' END, result->>'sqlstate', processed)
	INTO answer
	FROM idem_execute(key, 'UPDATE account SET balance = balance - $1 WHERE id = 1', jsonb_build_array(amount),
		remember_errors => remember_errors);
EXCEPTION WHEN OTHERS THEN
	answer := SQLSTATE;
END $$;

-- An error that is named is the answer, also of every retry.  What it says is kept.
SELECT outcome, replayed, jsonb_pretty(result) AS result, processed FROM idem_execute('refusal-1',
	'UPDATE account SET balance = balance - 200 WHERE id = 1', remember_errors => '{23514}');
SELECT outcome, replayed, result->>'sqlstate' AS sqlstate, result->>'constraint' AS constraint, processed
FROM idem_execute('refusal-1', 'UPDATE account SET balance = balance - 200 WHERE id = 1', remember_errors => '{23514}');
SELECT outcome, replayed, jsonb_pretty(result) AS result FROM idem_upsert('refusal-2', 'account',
	'{"id": 3, "owner": "cal", "email": "b@x", "balance": 1}', remember_errors => '{23505}');
SELECT outcome, response->>'sqlstate' AS sqlstate, fence FROM idem_lookup('refusal-2');
SELECT key, outcome, sqlstate, response->>'sqlstate' AS told, fence, lease_until, request
FROM idem_key WHERE starts_with(key, 'refusal-') ORDER BY key;

-- It stays the answer when the cause is gone; a new key is for a new try.
UPDATE account SET balance = 1000 WHERE id = 1;
SELECT outcome, replayed FROM idem_execute('refusal-1', 'UPDATE account SET balance = balance - 200 WHERE id = 1',
	remember_errors => '{23514}');
SELECT pg_temp.pay('refusal-3', 200);
SELECT balance FROM account WHERE id = 1;

-- What is to be remembered is no part of the request: with another list, or none, it
-- is the same one.
SELECT pg_temp.pay('refusal-4', 5000), pg_temp.pay('refusal-4', 5000, NULL), pg_temp.pay('refusal-4', 5000, '{P0001}');
SELECT pg_temp.pay('refusal-4', 5001);
-- nor does the list matter for work that is done
SELECT pg_temp.pay('refusal-5', 1, NULL), pg_temp.pay('refusal-5', 1, '{23}');

-- Without it, and for all other errors, the key is free.
SELECT pg_temp.pay('refusal-6', 5000, NULL), pg_temp.pay('refusal-6', 5000, '{}'), pg_temp.pay('refusal-6', 5000, '{23505,P0001}');
SELECT outcome FROM idem_lookup('refusal-6');
SELECT pg_temp.pay('refusal-6', 5001);

-- A key may be a uuid.
SELECT outcome, replayed FROM idem_execute(uuid 'AAAAAAAA-0000-4000-8000-000000000001', 'SELECT 1/0', remember_errors => '{22012}');
SELECT outcome, replayed FROM idem_execute('aaaaaaaa-0000-4000-8000-000000000001', 'SELECT 1/0', remember_errors => '{22012}');
SELECT outcome, replayed FROM idem_upsert(uuid 'AAAAAAAA-0000-4000-8000-000000000002', 'account', '{"id": 1, "owner": null}',
	remember_errors => '{23502}', wait => false, store_response => false);
SELECT outcome, replayed FROM idem_upsert(uuid 'AAAAAAAA-0000-4000-8000-000000000002', 'account', '{"id": 1, "owner": null}');

-- Single codes, and whole classes.
SELECT list, pg_temp.pay('refusal-' || list::text, 5000, list) FROM (VALUES
	('{23}'::text[]), ('{23514}'), ('{22,23}'), ('{P0,23514}'), ('{23,23514,23}'),
	('{23000}'), ('{22}'), ('{2351A}'), ('{P0}')) AS l (list);

-- What it may not name: what is no code, and what is no answer.
CREATE FUNCTION pg_temp.named(list text[], OUT answer text) LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	SELECT outcome INTO answer
	FROM idem_execute('refusal-named', 'SELECT 1', remember_errors => list);
	DELETE FROM idem_key WHERE key = 'refusal-named';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	answer := concat_ws(' | ', SQLSTATE, SQLERRM, detail, hint);
END $$;
\pset format unaligned
SELECT list, pg_temp.named(list) FROM (VALUES
	('{2350}'::text[]), ('{235055}'), ('{2}'), ('{""}'), ('{235}'), ('{p0001}'), ('{unique_violation}'), ('{"23505 "}'), ('{23-05}'),
	('{23505,NULL}'), ('{{23505},{23514}}'),
	('{40}'), ('{53}'), ('{57}'), ('{58}'), ('{XX}'), ('{08}'), ('{25}'), ('{72}'), ('{HV}'), ('{55}'),
	('{40001}'), ('{40P01}'), ('{40002}'), ('{53200}'), ('{57014}'), ('{57P01}'), ('{58030}'), ('{XX000}'), ('{08006}'), ('{25006}'), ('{55P03}'), ('{72000}'), ('{HV00N}'),
	('{23505,40001}'),
	('{55000}'), ('{ID}'), ('{ID203}'), ('{42}'), ('{54}'), ('{P0001}'), ('{ZZ}'), ('{ZZ999}'), ('{0A000}')) AS l (list);
\pset format aligned
SELECT outcome FROM idem_lookup('refusal-named');
-- also where the key has an answer already
SELECT pg_temp.pay('refusal-1', 5000, '{40001}');

-- Without a key there is nothing to remember by.
SELECT * FROM idem_upsert(NULL, 'account', '{"id": 9, "owner": "x", "balance": -1}', merge => '{}', remember_errors => '{23514}');
SELECT outcome FROM idem_upsert(NULL, 'account', '{"id": 1, "owner": "ann", "balance": 0}', merge => '{}', wait => false, store_response => false);

-- The work is undone, all of it, and nothing else: what the transaction did before and
-- what it does later stays.
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION post(amount numeric, OUT left_over numeric) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO log (what) VALUES ('post');
	SET LOCAL work_mem = '123kB';
	CREATE TEMP TABLE made ON COMMIT DROP AS SELECT 1;
	PERFORM pg_advisory_xact_lock(8801);
	UPDATE account SET balance = balance - amount WHERE id = 1 RETURNING balance INTO left_over;
END $$;
UPDATE account SET balance = 100 WHERE id = 1;
BEGIN;
INSERT INTO log (what) VALUES ('before');
SELECT outcome, replayed FROM idem_execute('refusal-10', 'SELECT post(200)', remember_errors => '{23514}');
SHOW work_mem;
SELECT to_regclass('pg_temp.made');
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT outcome, replayed, result FROM idem_execute('refusal-11', 'SELECT post(30)', remember_errors => '{23514}');
SHOW work_mem;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT outcome, replayed FROM idem_execute('refusal-10', 'SELECT post(200)', remember_errors => '{23514}');
INSERT INTO log (what) VALUES ('after');
COMMIT;
SELECT string_agg(what, ' ' ORDER BY n) AS log FROM log;
SELECT outcome, replayed FROM idem_execute('refusal-10', 'SELECT post(200)', remember_errors => '{23514}');

-- It goes with the transaction, or the savepoint, that the call is in.
BEGIN;
SAVEPOINT s;
SELECT pg_temp.pay('refusal-12', 200);
ROLLBACK TO s;
SELECT outcome FROM idem_lookup('refusal-12');
SELECT pg_temp.pay('refusal-12', 200);
RELEASE s;
ROLLBACK;
SELECT outcome FROM idem_lookup('refusal-12');
SELECT pg_temp.pay('refusal-12', 10);

-- Many in one statement, some of which are refused.
UPDATE account SET balance = 10 WHERE id = 1;
SELECT outcome, count(*), count(DISTINCT result->>'sqlstate') AS sqlstates
FROM generate_series(1, 200) AS n, LATERAL idem_execute('refusal-many-' || n,
	'UPDATE account SET balance = balance - 1 WHERE id = 1', remember_errors => '{23514}') GROUP BY outcome ORDER BY outcome;
SELECT balance FROM account WHERE id = 1;

-- All levels: the same.  40001 is none that could be named.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.pay('refusal-13', 200), pg_temp.pay('refusal-13', 200);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.pay('refusal-14', 200), pg_temp.pay('refusal-14', 200), pg_temp.pay('refusal-13', 200);
COMMIT;

-- idem's own errors of the row are errors of the work; those of the key are not.
SELECT outcome, result->>'sqlstate' AS sqlstate, result->>'detail' AS detail FROM idem_upsert('refusal-15', 'account',
	'{"id": 1, "owner": "ann", "balance": 7}', expected_version => 5, remember_errors => '{ID}');
SELECT outcome, replayed, result->>'sqlstate' AS sqlstate FROM idem_upsert('refusal-15', 'account',
	'{"id": 1, "owner": "ann", "balance": 7}', expected_version => 5, remember_errors => '{ID203}');
SELECT outcome, result->>'sqlstate' AS sqlstate FROM idem_upsert('refusal-16', 'account',
	'{"id": 99, "owner": "ann", "balance": 7}', expected_version => 5, remember_errors => '{ID205}');
\set VERBOSITY terse
SELECT outcome FROM idem_upsert('refusal-15', 'account', '{"id": 1}', remember_errors => '{ID}');
\set VERBOSITY default
CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
INSERT INTO orders VALUES (1);
SELECT outcome, result->>'sqlstate' AS sqlstate, result->>'message' AS message FROM idem_upsert('refusal-17', 'orders',
	'{"id": 1, "status": "DELIVERED"}', remember_errors => '{ID201}');
-- of a mistake in the command, if that is what is wanted
SELECT outcome, result FROM idem_execute('refusal-18', 'SELEC 1', remember_errors => '{42601}');
SELECT outcome, result->>'sqlstate' AS sqlstate FROM idem_execute('refusal-19', 'SELECT $1::int', '["x"]', remember_errors => '{22}');
SELECT outcome, result->>'sqlstate' AS sqlstate FROM idem_upsert('refusal-20', 'account', '{"nothing": 1}', remember_errors => '{42703}');

-- Where rows keep being new, an insert is tried first.
SELECT outcome, result->>'constraint' AS constraint FROM generate_series(10, 19) AS n, LATERAL idem_upsert('refusal-new-' || n, 'account',
	jsonb_build_object('id', n, 'owner', 'x', 'email', CASE WHEN n = 16 THEN 'b@x' ELSE n || '@x' END, 'balance', n - 18), remember_errors => '{23505,23514}')
WHERE n <> 17;
SELECT outcome, count(*) FROM generate_series(20, 29) AS n, LATERAL idem_upsert('refusal-new-' || n, 'account',
	jsonb_build_object('id', n, 'owner', 'x', 'email', CASE WHEN n = 26 THEN 'b@x' ELSE n || '@x' END, 'balance', 1), remember_errors => '{23505}')
GROUP BY outcome ORDER BY outcome;
SELECT count(*) FROM account WHERE id >= 20;

-- Constraints that are put off are checked at COMMIT, which is too late, or where the
-- transaction says so.
CREATE TABLE seat (id int PRIMARY KEY, place text UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO seat VALUES (1, 'A1');
SELECT outcome FROM idem_upsert('refusal-21', 'seat', '{"id": 2, "place": "A1"}', remember_errors => '{23505}');
SELECT outcome FROM idem_lookup('refusal-21');
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT outcome, result->>'constraint' AS constraint FROM idem_upsert('refusal-21', 'seat', '{"id": 2, "place": "A1"}', remember_errors => '{23505}');
COMMIT;
SELECT outcome FROM idem_lookup('refusal-21');
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too late' USING ERRCODE = 'AB123'; END $$;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON seat DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
BEGIN;
SELECT outcome FROM idem_execute('refusal-22', 'UPDATE seat SET place = ''B1'' WHERE id = 1', remember_errors => '{AB123}');
COMMIT;
SELECT outcome FROM idem_lookup('refusal-22');
SELECT place FROM seat;
-- what the refused work had put off is undone, too, and is not checked
BEGIN;
SELECT outcome, result->>'sqlstate' AS sqlstate FROM idem_execute('refusal-23',
	'WITH u AS (UPDATE seat SET place = ''B1'' WHERE id = 1 RETURNING id) SELECT 1 / (id - 1) FROM u', remember_errors => '{22012}');
COMMIT;
SELECT outcome FROM idem_lookup('refusal-23');

-- Triggers: codes of their own, all that an error can tell, and nothing of the context.
CREATE TABLE box (id int PRIMARY KEY, v text);
CREATE FUNCTION box() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.v = 'all' THEN
		RAISE EXCEPTION 'no "%"', new.v USING ERRCODE = 'AB123', DETAIL = 'a detail', HINT = 'a hint',
			COLUMN = 'v', CONSTRAINT = 'c', DATATYPE = 'text', TABLE = 'box', SCHEMA = 'idem_test_refusal';
	ELSIF new.v = 'plain' THEN
		RAISE EXCEPTION 'plain';
	ELSIF new.v = 'role' THEN
		SET ROLE regress_idem_ann;
		SET LOCAL search_path = pg_catalog;
		RAISE EXCEPTION 'as %', current_user;
	ELSIF new.v = 'nested' THEN
		BEGIN
			PERFORM 1 / 0;
		EXCEPTION WHEN division_by_zero THEN
			BEGIN
				RAISE EXCEPTION 'inner' USING ERRCODE = 'AB124';
			EXCEPTION WHEN SQLSTATE 'AB123' THEN
				NULL;
			END;
		END;
	ELSIF new.v = 'call' THEN
		-- a call of idem's inside of it goes with it
		PERFORM idem_execute('refusal-inner', 'INSERT INTO box VALUES (77)');
		RAISE EXCEPTION 'after the call';
	ELSIF new.v = 'refused call' THEN
		PERFORM idem_execute('refusal-inner-2', 'INSERT INTO box VALUES (78, ''plain'')', remember_errors => '{P0001}');
	ELSIF new.v = 'raised call' THEN
		PERFORM idem_execute('refusal-inner-3', 'INSERT INTO box VALUES (79, ''plain'')', remember_errors => '{23}');
	ELSIF new.v = 'same key' THEN
		PERFORM idem_execute('refusal-same key', 'SELECT 1');
	ELSIF new.v = 'assert' THEN
		ASSERT false;
	ELSIF new.v = 'cancel' THEN
		RAISE query_canceled;
	ELSIF new.v = 'deadlock' THEN
		RAISE deadlock_detected;
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER box BEFORE INSERT ON box FOR EACH ROW EXECUTE FUNCTION box();
CREATE ROLE regress_idem_ann;
CREATE FUNCTION pg_temp.put(v text, remember_errors text[] DEFAULT '{P0,AB,22,55006}', OUT answer text)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT concat_ws(' ', outcome, CASE WHEN replayed THEN 'replayed' END, result) INTO answer
	FROM idem_upsert('refusal-' || v, 'box', jsonb_build_object('id', 1, 'v', v), remember_errors => remember_errors);
EXCEPTION WHEN OTHERS OR query_canceled THEN
	answer := SQLSTATE;
END $$;
SELECT v, pg_temp.put(v) FROM unnest(ARRAY['all', 'plain', 'role', 'nested', 'call', 'assert', 'cancel', 'deadlock', 'same key']) AS v;
SELECT current_user = session_user AS is_self, current_setting('search_path');
SELECT v, pg_temp.put(v) FROM unnest(ARRAY['refused call', 'raised call']) AS v;
SELECT key, outcome, sqlstate FROM idem_key WHERE starts_with(key, 'refusal-inner') ORDER BY key;
SELECT * FROM box ORDER BY id;
SELECT v, pg_temp.put(v) FROM unnest(ARRAY['plain', 'refused call']) AS v;

-- A remembered error is no end of a claim, though both have failed.
\set VERBOSITY terse
SELECT outcome FROM idem_claim('refusal-1', lease => '1 hour');
SELECT outcome FROM idem_claim('refusal-1', '{"a": 1}', lease => '1 hour');
SELECT idem_complete('refusal-1', '1', 1);
SELECT idem_fail('refusal-1', '1');
SELECT idem_release('refusal-1', 1);
SELECT idem_extend('refusal-1', 1, '1 hour');
SELECT idem_checkpoint('refusal-1', 1, 'x');
SELECT outcome FROM idem_claim('refusal-30', '{"a": 1}', lease => '1 hour');
SELECT idem_fail('refusal-30', '{"sqlstate": "23514"}', 1);
SELECT outcome, response FROM idem_claim('refusal-30', '{"a": 1}', lease => '1 hour');
SELECT outcome FROM idem_execute('refusal-30', 'SELECT 1', remember_errors => '{23514}');
SELECT outcome, sqlstate FROM idem_key WHERE key = 'refusal-30';
\set VERBOSITY default

-- It expires as any answer does: then the work is done again, also by a claim.
UPDATE idem_key SET expires_at = clock_timestamp() WHERE key IN ('refusal-1', 'refusal-2', 'refusal-4');
SELECT pg_temp.pay('refusal-1', 5000);
SELECT pg_temp.pay('refusal-1', 5000);
SELECT pg_temp.pay('refusal-4', 1);
SELECT outcome, fence, response FROM idem_claim('refusal-2', lease => '1 hour');
SELECT idem_complete('refusal-2', '2', 2);
SELECT key, outcome, sqlstate, fence, response->>'sqlstate' AS told FROM idem_key WHERE key IN ('refusal-1', 'refusal-2', 'refusal-4') ORDER BY key;

-- A role gets what it may, and an error is kept for those of the role that made the
-- call: others learn nothing of it.
CREATE ROLE regress_idem_bob;
GRANT USAGE ON SCHEMA idem_test_refusal TO regress_idem_ann, regress_idem_bob;
GRANT SELECT, UPDATE ON account TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT outcome, result->>'constraint' AS constraint FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1', remember_errors => '{23}');
SELECT outcome, replayed, result->>'constraint' AS constraint FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1', remember_errors => '{23}');
SELECT outcome, result->>'sqlstate' AS sqlstate FROM idem_execute('refusal-41', 'DELETE FROM account', remember_errors => '{42501}');
SELECT outcome FROM idem_execute('refusal-42', 'DELETE FROM account', remember_errors => '{23}');
SELECT outcome FROM idem_lookup('refusal-42');
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1', remember_errors => '{23}');
SELECT outcome FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1', remember_errors => '{42}');
SELECT outcome FROM idem_lookup('refusal-40');
RESET ROLE;
-- work that changes the role is the caller's all the same, and the role comes back
CREATE FUNCTION as_owner(OUT who text) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	RAISE EXCEPTION 'as %', current_user = session_user;
END $$;
SET ROLE regress_idem_ann;
SELECT outcome, result->>'message' AS message FROM idem_execute('refusal-43', 'SELECT as_owner()', remember_errors => '{P0001}');
SELECT current_user;
SELECT outcome, replayed FROM idem_execute('refusal-43', 'SELECT as_owner()', remember_errors => '{P0001}');
RESET ROLE;
SELECT claimed_by FROM idem_key WHERE key = 'refusal-43';

-- Cursors that the refused work has opened are gone, those of before are as they were.
CREATE FUNCTION with_cursor() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'inner';
BEGIN
	OPEN c FOR SELECT generate_series(1, 3);
	MOVE FORWARD 1 FROM c;
	RAISE EXCEPTION 'with a cursor';
END $$;
BEGIN;
DECLARE outer_one CURSOR FOR SELECT outcome, result->>'message' AS message FROM generate_series(1, 3) AS n,
	LATERAL idem_execute('refusal-cursor-' || n, 'SELECT with_cursor()', remember_errors => '{P0}');
FETCH 1 FROM outer_one;
SELECT name FROM pg_cursors ORDER BY name;
FETCH 2 FROM outer_one;
COMMIT;

-- A time limit and a cancel end the work, and are no answer.
SET statement_timeout = '50ms';
SELECT outcome FROM idem_execute('refusal-50', 'SELECT pg_sleep(60)', remember_errors => '{P0,22,23,42,54,ID}');
RESET statement_timeout;
SELECT outcome FROM idem_lookup('refusal-50');

-- A key that somebody has tampered with is told to be one.
UPDATE idem_key SET response = '7' WHERE key = 'refusal-40';
SELECT outcome FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1');
UPDATE idem_key SET response = NULL WHERE key = 'refusal-40';
SELECT outcome FROM idem_execute('refusal-40', 'UPDATE account SET balance = -1 WHERE id = 1');

-- Where code is attached to the table of keys, they are written by statements.
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER pass BEFORE INSERT OR UPDATE ON idem_key FOR EACH ROW EXECUTE FUNCTION pass();
SELECT pg_temp.pay('refusal-60', 5000), pg_temp.pay('refusal-60', 5000);
UPDATE idem_key SET expires_at = clock_timestamp() WHERE key = 'refusal-60';
SELECT pg_temp.pay('refusal-60', 5000), pg_temp.pay('refusal-60', 5000);
SELECT sqlstate, fence FROM idem_key WHERE key = 'refusal-60';
-- an error of theirs is none of the work's
CREATE OR REPLACE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one' USING ERRCODE = '23514'; END $$;
SELECT pg_temp.pay('refusal-61', 1);
DROP TRIGGER pass ON idem_key;
SELECT pg_temp.pay('refusal-61', 1);

DELETE FROM idem_key WHERE starts_with(key, 'refusal-') OR starts_with(key, 'aaaaaaaa-');
DROP SCHEMA idem_test_refusal CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob;
