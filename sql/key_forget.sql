-- Forgetting keys, one or those of a scope: what goes, what stays, and for whom.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_forget;
SET search_path = idem_test_forget, public;
SET idem.scope = 'forget';
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_operator;
GRANT USAGE ON SCHEMA idem_test_forget TO PUBLIC;
CREATE FUNCTION try(call text, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	answer := coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
	answer := SQLSTATE || ' ' || SQLERRM;
END $$;

-- Whatever it remembers: then the key was never used.
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
SELECT outcome, replayed FROM idem_upsert('upsert', 't', '{"id": 1}');
SELECT idem_forget('upsert'), idem_forget('upsert');
SELECT * FROM idem_lookup('upsert');
SELECT outcome, replayed FROM idem_upsert('upsert', 't', '{"id": 1, "n": 2}');
SELECT outcome, replayed FROM idem_execute('execute', 'UPDATE t SET n = n + 1');
SELECT idem_forget('execute');
SELECT outcome, replayed FROM idem_execute('execute', 'UPDATE t SET n = n + 1');
SELECT * FROM t;
SELECT outcome FROM idem_claim('done', '"r"', lease => '1 hour');
SELECT idem_checkpoint('done', 1, 'half'), idem_complete('done', '"x"', 1);
SELECT outcome FROM idem_claim('refused', lease => '1 hour');
SELECT idem_fail('refused', '"x"', 1);
SELECT outcome FROM idem_claim('released', '"r"', lease => '1 hour');
SELECT idem_release('released', 1);
SELECT outcome FROM idem_claim('ran out', '"r"', lease => '1 microsecond');
SELECT outcome FROM idem_claim('expired', '"r"', lease => '1 microsecond', ttl => '1 microsecond');
SELECT key, idem_forget(key) FROM unnest(ARRAY['done', 'refused', 'released', 'ran out', 'expired', 'never']) AS key;
SELECT key, idem_forget(key) FROM unnest(ARRAY['done', 'refused', 'released', 'ran out', 'expired']) AS key;
-- Nothing is left but fences, where there was a lease.
SELECT key, fence, expires_at <= clock_timestamp() AS expired, lease_until,
	num_nonnulls(fingerprint, response, request, checkpoints, sqlstate) AS remembered
FROM idem_key WHERE scope = 'forget' ORDER BY key;
SELECT idem_complete('done', '"again"', 1);
\echo :LAST_ERROR_SQLSTATE
-- So a former holder is told from a new one.
SELECT outcome, fence, response FROM idem_claim('done', '"another"', lease => '1 hour');
SELECT name FROM idem_checkpoints('done');
SELECT idem_complete('done', '"late"', 1);
\echo :LAST_ERROR_SQLSTATE
-- An upsert that takes the key after a lease, with an error that is its answer.
SELECT outcome, replayed FROM idem_execute('refused', 'SELECT 1 / 0', remember_errors => '{22}');
SELECT idem_forget('refused'), idem_forget('refused');
SELECT key, fence, lease_until, sqlstate FROM idem_key WHERE key = 'refused' AND scope = 'forget';
-- A purge takes fences when they have been kept long enough; where none are kept, they go at once.
BEGIN;
SET LOCAL idem.fence_retention = 0;
-- what was forgotten but for its fence goes altogether
SELECT idem_forget('refused'), idem_forget('refused');
SELECT count(*) FROM idem_key WHERE key = 'refused' AND scope = 'forget';
SELECT outcome FROM idem_claim('no fence', lease => '1 microsecond');
SELECT idem_forget('no fence'), idem_forget('no fence');
SELECT key FROM idem_key WHERE key = 'no fence';
SELECT outcome FROM idem_claim('no fence', lease => '1 microsecond', scope => 'forget e');
SELECT * FROM idem_forget_scope('forget e');
SELECT key FROM idem_key WHERE key = 'no fence';
ROLLBACK;

-- A claim whose lease runs is in use.
DO $$
DECLARE
	detail text;
	hint text;
BEGIN
	PERFORM idem_forget('done');
EXCEPTION WHEN object_in_use THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE WARNING '% | % | %', SQLERRM, regexp_replace(
		replace(detail, quote_ident(current_user), 'me'), '\d{4}-\d\d-\d\d [-.:+\d]*\d', 'then', 'g'), hint;
END $$;
SELECT idem_release('done', 2), idem_forget('done');

-- A call does not forget the key that it runs under.
CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING '%', try($q$idem_forget('nested')$q$);
	RAISE WARNING '%', try($q$idem_forget_scope('forget')$q$);
	RETURN NEW;
END $$;
CREATE TRIGGER forget BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION forget();
SELECT outcome, replayed FROM idem_upsert('nested', 't', '{"id": 2}');
SELECT outcome, replayed FROM idem_upsert('nested', 't', '{"id": 2}');
DROP TRIGGER forget ON t;

-- What a transaction has used it may forget, and use again.
BEGIN;
SELECT outcome, replayed FROM idem_execute('own', 'SELECT 1');
SELECT idem_forget('own');
SELECT outcome, replayed FROM idem_execute('own', 'SELECT 2');
SAVEPOINT s;
SELECT idem_forget('own');
SELECT outcome FROM idem_lookup('own');
ROLLBACK TO s;
SELECT outcome, replayed FROM idem_execute('own', 'SELECT 2');
SELECT outcome FROM idem_claim('own claim');
SELECT idem_forget('own claim'), idem_forget('own claim');
COMMIT;
SELECT outcome FROM idem_lookup('own');
SELECT outcome FROM idem_lookup('own claim');

-- Many in one statement.
SELECT count(*) FROM generate_series(1, 1000) AS i, idem_execute('many ' || i, 'SELECT 1');
SELECT count(*) FILTER (WHERE idem_forget('many ' || i)) FROM generate_series(1, 1001) AS i;

-- Arguments.
SELECT call, answer FROM unnest(ARRAY[
	$$idem_forget(NULL)$$,
	$$idem_forget('')$$,
	$$idem_forget('own', repeat('s', 256))$$,
	$$idem_forget('own', 'another scope')$$,
	$$idem_forget(key => 'own', scope => 'forget')$$,
	$$idem_forget_scope(NULL)$$,
	$$idem_forget_scope(repeat('s', 256))$$,
	$$idem_forget_scope('forget', 0)$$,
	$$idem_forget_scope('forget', -1)$$,
	$$idem_forget_scope(scope => 'never used', max_rows => 1)$$]) AS call, try(call);
BEGIN READ ONLY;
SELECT idem_forget('own');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_forget_scope('forget');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- The keys of a scope, all or so many; those of other scopes stay.
SELECT count(outcome) FROM generate_series(1, 20) AS i, idem_execute('k' || i, 'SELECT 1', scope => 'forget a');
SELECT count(outcome) FROM generate_series(1, 3) AS i, idem_execute('k' || i, 'SELECT 1', scope => 'forget b');
SELECT outcome FROM idem_claim('held', lease => '1 hour', scope => 'forget a');
SELECT outcome FROM idem_claim('ran out', lease => '1 microsecond', scope => 'forget a');
SELECT outcome FROM idem_execute('expired', 'SELECT 1', scope => 'forget a', ttl => '1 microsecond');
SELECT * FROM idem_forget_scope('forget a', 5);
SELECT forgotten FROM idem_forget_scope('forget a', 5);
SELECT * FROM idem_forget_scope('forget a');
SELECT * FROM idem_forget_scope('forget a');
SELECT scope, count(*) FROM idem_key WHERE scope LIKE 'forget _' GROUP BY 1 ORDER BY 1;
SELECT idem_release('held', 1, 'forget a');
SELECT * FROM idem_forget_scope('forget a');
SELECT * FROM idem_forget_scope('forget a');
SELECT key, fence, expires_at <= clock_timestamp() AS expired, lease_until,
	num_nonnulls(fingerprint, response, request, checkpoints, sqlstate) AS remembered
FROM idem_key WHERE scope = 'forget a' ORDER BY key;
SELECT outcome, fence FROM idem_claim('held', lease => '1 microsecond', scope => 'forget a');
SELECT * FROM idem_forget_scope('forget a');
-- The scope that is none is one, and is to be said.
SELECT outcome FROM idem_execute('forget in none', 'SELECT 1', scope => '');
BEGIN;
SELECT forgotten > 0 AS forgotten FROM idem_forget_scope('');
SELECT outcome FROM idem_lookup('forget in none', '');
ROLLBACK;
SELECT idem_forget('forget in none', '');
-- With what the same transaction has done, and undone.
BEGIN;
SELECT count(outcome) FROM generate_series(1, 3) AS i, idem_execute('k' || i, 'SELECT 1', scope => 'forget a');
SAVEPOINT s;
SELECT * FROM idem_forget_scope('forget a');
SELECT outcome FROM idem_lookup('k1', 'forget a');
ROLLBACK TO s;
SELECT outcome FROM idem_lookup('k1', 'forget a');
SELECT * FROM idem_forget_scope('forget a', 2);
SELECT outcome, replayed FROM idem_execute('k1', 'SELECT 1', scope => 'forget a');
COMMIT;
SELECT key FROM idem_key WHERE scope = 'forget a' ORDER BY key;

-- A role forgets the keys of the roles that it is a member of, and of no other.
SELECT outcome FROM idem_execute('of the owner', 'SELECT 1');
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_execute('of ann', 'SELECT 1');
SELECT outcome FROM idem_execute('of ann 2', 'SELECT 1');
SELECT outcome FROM idem_execute('expired', 'SELECT 1', ttl => '1 microsecond');
SET ROLE regress_idem_bob;
SELECT outcome FROM idem_execute('of bob', 'SELECT 1');
SELECT call, answer FROM unnest(ARRAY[
	$$idem_forget('of ann')$$,
	$$idem_forget('of the owner')$$,
	$$idem_forget('expired')$$,
	$$idem_forget('never')$$,
	$$idem_forget('of bob')$$]) AS call, try(call);
SELECT outcome FROM idem_execute('of bob', 'SELECT 1');
SELECT * FROM idem_forget_scope('forget');
RESET ROLE;
SELECT key FROM idem_key WHERE scope = 'forget' AND key ~ '^of|^expired' ORDER BY key;
GRANT regress_idem_ann TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_forget('of ann'), idem_forget('expired');
SELECT * FROM idem_forget_scope('forget');
RESET ROLE;
SELECT key FROM idem_key WHERE scope = 'forget' AND key ~ '^of|^expired' ORDER BY key;
REVOKE regress_idem_ann FROM regress_idem_bob;

-- Who may delete from the table of keys forgets any, in any scope; a scope that a
-- role has defined is closed to the others.
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_execute('of ann', 'SELECT 1');
SELECT outcome FROM idem_execute('of ann 2', 'SELECT 1');
SELECT outcome FROM idem_execute('of ann 3', 'SELECT 1');
RESET ROLE;
GRANT INSERT (scope) ON idem_scope TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_scope_define('forget');
SET ROLE regress_idem_ann;
SELECT try($$idem_forget('of ann')$$), try($$idem_forget_scope('forget')$$);
RESET ROLE;
GRANT DELETE ON idem_key TO regress_idem_operator;
SET ROLE regress_idem_operator;
SELECT try($$outcome FROM idem_lookup('of ann')$$), try($$outcome FROM idem_claim('of ann', lease => '1 hour')$$);
SELECT idem_forget('of ann'), idem_forget('of ann');
SELECT * FROM idem_forget_scope('forget', 1);
RESET ROLE;
SELECT count(*) FROM idem_key WHERE scope = 'forget' AND key LIKE 'of ann%';
REVOKE DELETE ON idem_key FROM regress_idem_operator;
SET ROLE regress_idem_operator;
SELECT try($$idem_forget('of ann 3')$$);
RESET ROLE;
SELECT idem_scope_drop('forget');
REVOKE INSERT (scope) ON idem_scope FROM regress_idem_bob;

-- Keys of a role that is gone are the operator's.
CREATE ROLE regress_idem_gone;
SET ROLE regress_idem_gone;
SELECT outcome FROM idem_execute('of one gone', 'SELECT 1');
SELECT outcome FROM idem_execute('of one gone', 'SELECT 1', scope => 'forget c');
RESET ROLE;
DROP ROLE regress_idem_gone;
SET ROLE regress_idem_bob;
SELECT try($$idem_forget('of one gone')$$);
SELECT * FROM idem_forget_scope('forget c');
RESET ROLE;
SELECT idem_forget('of one gone');
SELECT * FROM idem_forget_scope('forget c');

-- Triggers on the table see the rows go, and may keep them, which is no answer.
CREATE TABLE gone (key text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO idem_test_forget.gone VALUES (OLD.key);
	RETURN OLD;
END $$;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT count(outcome) FROM generate_series(1, 1500) AS i, idem_execute('k' || i, 'SELECT 1', scope => 'forget d');
CREATE TRIGGER note BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION note();
SELECT idem_forget('k1', 'forget d');
SELECT * FROM idem_forget_scope('forget d', 2);
SELECT * FROM idem_forget_scope('forget d', 1200);
SELECT count(*), count(DISTINCT key) FROM gone;
CREATE TRIGGER zzz_keep BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION keep();
SELECT try($$idem_forget('k1500', 'forget d')$$), try($$idem_forget_scope('forget d')$$);
DROP TRIGGER zzz_keep ON idem_key;
DROP TRIGGER note ON idem_key;
SELECT count(*), count(DISTINCT key) FROM gone;
SELECT * FROM idem_forget_scope('forget d');

-- At SERIALIZABLE nothing that was read is locked: no neighbour of a key is in the way.
SELECT count(*) FROM generate_series(1, 60) AS i, idem_claim('k' || i, '1', lease => '1 microsecond', scope => 'forget f') AS c;
BEGIN ISOLATION LEVEL SERIALIZABLE;
-- so that the planner would rather read the table
SET LOCAL random_page_cost = 1000000;
SELECT * FROM idem_forget_scope('forget f');
SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND pid = pg_backend_pid() AND relation = 'idem_key'::regclass;
ROLLBACK;

-- The history keeps the name of the key that a row was moved under, and messages are
-- of consumers, not of keys.
CREATE TABLE o (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('o', 'order', history => true);
INSERT INTO o VALUES (1);
SELECT outcome FROM order_transition('o', 1, 'PROCESSING', key => 'move');
SELECT idem_forget('move');
SELECT to_state, key FROM idem_history('o', 1);
SELECT outcome FROM order_transition('o', 1, 'PROCESSING', key => 'move');

DELETE FROM idem_key WHERE scope LIKE 'forget%';
DROP SCHEMA idem_test_forget CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob, regress_idem_operator;
