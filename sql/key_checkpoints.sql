-- Checkpoints: all steps that the holders of a claim have recorded, in order.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_checkpoints;
SET search_path = idem_test_checkpoints, public;
SET idem.scope = 'checkpoints';
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;

-- In the order in which they were recorded, with their data and the time.
SELECT outcome FROM idem_claim('1', '{"order": 1}', lease => '1 hour');
SELECT * FROM idem_checkpoints('1');
SELECT clock_timestamp() AS before \gset
SELECT idem_checkpoint('1', 1, 'reserved', '{"seat": "12A"}');
SELECT idem_checkpoint('1', 1, 'charged "by card"', '[1, "two", null]');
SELECT idem_checkpoint('1', 1, '', '"a name may be empty"');
SELECT idem_checkpoint('1', 1, 'nothing');
SELECT idem_checkpoint('1', 1, 'null', 'null');
SELECT name, data, data IS NULL AS none FROM idem_checkpoints('1');
SELECT bool_and(recorded_at BETWEEN :'before' AND clock_timestamp()) AS now,
	array_agg(recorded_at) = array_agg(recorded_at ORDER BY recorded_at) AS in_order FROM idem_checkpoints('1');
-- The last one is what claims and look-ups show.
SELECT outcome, response FROM idem_lookup('1');
SELECT outcome, response FROM idem_claim('1', '{"order": 1}', lease => '1 hour');
SELECT idem_checkpoint('1', 1, 'nothing');
SELECT response FROM idem_lookup('1');

-- One of the same name takes the place of the former, and is the last one then: so
-- a call that is sent again leaves one step.
SELECT recorded_at AS reserved FROM idem_checkpoints('1') WHERE name = 'reserved' \gset
SELECT idem_checkpoint('1', 1, 'reserved', '{"seat": "12B"}');
SELECT idem_checkpoint('1', 1, 'reserved', '{"seat": "12C"}');
SELECT name, data FROM idem_checkpoints('1');
SELECT recorded_at > :'reserved' AS later FROM idem_checkpoints('1') WHERE name = 'reserved';
SELECT response FROM idem_lookup('1');
-- Names are compared byte by byte.
SELECT idem_checkpoint('1', 1, 'Reserved');
SELECT count(*) FROM idem_checkpoints('1');

-- They are the same in every time zone and date style.
CREATE TABLE seen AS SELECT * FROM idem_checkpoints('1');
SET TimeZone = 'Australia/Lord_Howe';
SET DateStyle = 'SQL, DMY';
SELECT count(*) FROM (TABLE seen EXCEPT SELECT * FROM idem_checkpoints('1')) AS other;
RESET DateStyle;
RESET TimeZone;

-- Extending a lease leaves them alone.
SELECT idem_extend('1', 1, '2 hours') > clock_timestamp() AS held;
SELECT count(*) FROM idem_checkpoints('1');

-- They outlive the holder.  The next one finds them, and the request.
SELECT idem_release('1', 1);
SELECT count(*) FROM idem_checkpoints('1');
SELECT outcome, fence, response FROM idem_claim('1', lease => '1 hour');
SELECT idem_checkpoint('1', 2, 'printed');
SELECT name FROM idem_checkpoints('1');
SELECT outcome, request FROM idem_lookup('1');
-- The former holder records none.
SELECT idem_checkpoint('1', 1, 'late');
\echo :LAST_ERROR_SQLSTATE
-- And the claim's end: they are there as long as the key.
SELECT idem_complete('1', '"boarded"', 2);
SELECT outcome, response FROM idem_lookup('1');
SELECT name FROM idem_checkpoints('1');
SELECT idem_checkpoint('1', 2, 'after the end');
\echo :LAST_ERROR_SQLSTATE
UPDATE idem_key SET expires_at = clock_timestamp() WHERE key = '1' AND scope = 'checkpoints';
SELECT name FROM idem_checkpoints('1');
-- A new claim of an expired key has none of the former.
SELECT outcome, fence, response FROM idem_claim('1', lease => '1 hour');
SELECT name FROM idem_checkpoints('1');
SELECT idem_checkpoint('1', 3, 'reserved');
-- Nor has another call that uses it.
UPDATE idem_key SET expires_at = '-infinity', lease_until = '-infinity' WHERE key = '1' AND scope = 'checkpoints';
CREATE TABLE t (id int PRIMARY KEY);
SELECT outcome, replayed FROM idem_upsert('1', 't', '{"id": 1}');
SELECT name FROM idem_checkpoints('1');
SELECT checkpoints FROM idem_key WHERE key = '1' AND scope = 'checkpoints';

-- A lease that ran out, and one that was failed.
SELECT outcome FROM idem_claim('2', lease => '1 microsecond');
SELECT idem_checkpoint('2', 1, 'a');
SELECT outcome, response, fence FROM idem_claim('2', lease => '1 hour');
SELECT idem_checkpoint('2', 2, 'b');
SELECT idem_fail('2', '"no"', 2);
SELECT name FROM idem_checkpoints('2');
SELECT outcome, response FROM idem_claim('2', lease => '1 hour');

-- Released to be forgotten: they go with the request.
SELECT outcome FROM idem_claim('3', '"secret"', lease => '1 hour');
SELECT idem_checkpoint('3', 1, 'secret');
SELECT idem_release('3', 1, forget => true);
SELECT name FROM idem_checkpoints('3');
SELECT outcome, response, request FROM idem_lookup('3');
SELECT checkpoints FROM idem_key WHERE key = '3' AND scope = 'checkpoints';

-- A claim without a lease that takes over finds them, and leaves them.
SELECT outcome FROM idem_claim('4', lease => '1 microsecond');
SELECT idem_checkpoint('4', 1, 'half');
BEGIN;
SELECT outcome, response, fence FROM idem_claim('4');
SELECT name FROM idem_checkpoints('4');
SELECT outcome, response FROM idem_lookup('4');
SELECT idem_release('4');
COMMIT;
SELECT name FROM idem_checkpoints('4');
BEGIN;
SELECT outcome, response, fence FROM idem_claim('4');
SELECT idem_complete('4', '"all"');
COMMIT;
SELECT outcome, response FROM idem_lookup('4');
SELECT name FROM idem_checkpoints('4');

-- One stands or falls with the writes of its step.
SELECT outcome FROM idem_claim('5', lease => '1 hour');
BEGIN;
SELECT idem_checkpoint('5', 1, 'a');
SAVEPOINT s;
SELECT idem_checkpoint('5', 1, 'b');
SELECT name FROM idem_checkpoints('5');
ROLLBACK TO s;
SELECT name FROM idem_checkpoints('5');
COMMIT;
SELECT name FROM idem_checkpoints('5');

-- Many, and a long one.
SELECT count(idem_checkpoint('5', 1, 'step ' || i, to_jsonb(i))) FROM generate_series(1, 100) AS i;
SELECT idem_checkpoint('5', 1, 'long', to_jsonb(string_agg(md5(i::text), ''))) FROM generate_series(1, 10000) AS i;
SELECT count(*), sum(data::int) FILTER (WHERE name LIKE 'step %'), max(length(data::text)),
	string_agg(name, ' ' ORDER BY ordinality) FILTER (WHERE ordinality < 4) AS first
FROM ROWS FROM (idem_checkpoints('5')) WITH ORDINALITY;
SELECT name FROM idem_checkpoints('5') LIMIT 1;

-- Keys that were never claimed, or belong to another call, have none.
SELECT count(*) FROM idem_checkpoints('never');
SELECT idem_checkpoints(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_checkpoints(repeat('k', 256));
\echo :LAST_ERROR_SQLSTATE
-- Scopes keep them apart.
SELECT name FROM idem_checkpoints('5', scope => 'another') LIMIT 1;
SELECT name FROM idem_checkpoints('5', 'checkpoints') LIMIT 1;

-- They are for the members of the claim's role, as all of a key is; a role that
-- takes over has them from then on.
GRANT regress_idem_ann TO regress_idem_bob;
SET ROLE regress_idem_ann;
SELECT outcome FROM idem_claim('6', '{"secret": 1}', lease => '1 microsecond');
SELECT idem_checkpoint('6', 1, 'secret');
RESET ROLE;
SET ROLE regress_idem_bob;
SELECT name FROM idem_checkpoints('6');
SELECT outcome, response, fence FROM idem_claim('6', lease => '1 hour');
SELECT name FROM idem_checkpoints('6');
SELECT outcome, request FROM idem_lookup('6');
SELECT idem_checkpoint('6', 2, 'of bob');
SELECT name FROM idem_checkpoints('6');
RESET ROLE;
SET ROLE regress_idem_ann;
SELECT name FROM idem_checkpoints('6');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT idem_scope_define('checkpoints');
SET ROLE regress_idem_bob;
SELECT name FROM idem_checkpoints('6');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT idem_scope_drop('checkpoints');

-- Reading is free for a transaction that may not write.
BEGIN READ ONLY;
SELECT name FROM idem_checkpoints('6');
ROLLBACK;

-- What a role that may write to the table has left there is no reason to crash, and
-- none for which a claim could not be ended.
SELECT outcome FROM idem_claim('7', lease => '1 hour');
CREATE FUNCTION try(call text, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
EXCEPTION WHEN OTHERS THEN
	answer := SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION try_with(checkpoints jsonb, OUT read text, OUT told text, OUT added text) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE idem_key AS k SET checkpoints = $1 WHERE key = '7' AND scope = 'checkpoints';
	read := try('count(*) FROM idem_checkpoints(''7'')');
	told := try('response FROM idem_lookup(''7'')');
	added := try('idem_checkpoint(''7'', 1, ''a'')');
END $$;
SELECT v, read, told, added
FROM unnest(ARRAY['1', '"x"', 'null', '{}', '[]', '[1]', '[[]]', '[{}]', '[{"name": 1}]', '[{"name": null, "at": null}]',
	'[{"name": "a", "at": "x"}]', '[{"name": "a", "at": "2026-01-01", "data": [1]}]', '[{"name": "b"}]',
	'[{"at": "2026-01-01"}, 1]']::jsonb[]) AS v, try_with(v);
SELECT idem_complete('7', '1', 1);

DELETE FROM idem_key WHERE scope = 'checkpoints';
DROP SCHEMA idem_test_checkpoints CASCADE;
DROP ROLE regress_idem_ann, regress_idem_bob;
