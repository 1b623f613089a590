-- What is counted, and that it is counted whatever becomes of the transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
\set VERBOSITY sqlstate
CREATE SCHEMA test_stats;
SET search_path = test_stats, public;
SET idem.ttl = '1h';
-- the worker may purge meanwhile
CREATE VIEW counted AS
SELECT counter, value FROM idem_stats
WHERE datname = current_database() AND value > 0 AND counter !~ '^purge_';

-- All of them have a name, and begin at zero.
SELECT idem_stats_reset();
SELECT counter FROM idem_stats WHERE datname = current_database();
SELECT * FROM counted;
SELECT reset_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS reset_now
FROM idem_stats WHERE counter = 'key_new' AND datname = current_database();

-- Keys.
SELECT outcome, replayed FROM idem_execute('counted-1', 'SELECT 1');
SELECT outcome, replayed FROM idem_execute('counted-1', 'SELECT 1');
SELECT outcome, replayed FROM idem_execute('counted-1', 'SELECT 2');
SELECT outcome, replayed FROM idem_execute('counted-2', 'SELECT 1/0');
SELECT outcome, replayed FROM idem_execute('counted-3', 'SELECT 1/0', remember_errors => '{22012}');
SELECT outcome, replayed FROM idem_execute('counted-3', 'SELECT 1/0', remember_errors => '{22012}');
SELECT * FROM counted;

-- What is rolled back has been counted.
SELECT idem_stats_reset();
BEGIN;
SELECT outcome, replayed FROM idem_execute('counted-4', 'SELECT 1');
SAVEPOINT s;
SELECT outcome, replayed FROM idem_execute('counted-5', 'SELECT 1');
ROLLBACK TO s;
SELECT outcome, replayed FROM idem_execute('counted-5', 'SELECT 1');
ROLLBACK;
SELECT * FROM counted;

-- Claims.
SELECT idem_stats_reset();
SELECT outcome, fence FROM idem_claim('counted-6', lease => '1 hour');
SELECT outcome, fence FROM idem_claim('counted-6', lease => '1 hour');
SELECT idem_release('counted-6', 1);
SELECT outcome, fence FROM idem_claim('counted-6', lease => '1 hour');
SELECT idem_complete('counted-6', '1', 1);
SELECT idem_extend('counted-6', 1, '1 hour');
SELECT idem_complete('counted-6', '1', 2);
SELECT idem_complete('counted-6', '1', 2);
SELECT outcome, fence FROM idem_claim('counted-6', lease => '1 hour');
SELECT outcome, fence FROM idem_claim('counted-7', '{"a": 1}', lease => '1 hour');
SELECT idem_fail('counted-7', '"no"', 1);
SELECT outcome, fence FROM idem_claim('counted-7', '{"a": 2}', lease => '1 hour');
SELECT * FROM counted;

-- Transitions and versions.
SELECT idem_stats_reset();
CREATE TABLE lamp (id int PRIMARY KEY, watts int, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
CREATE FUNCTION is_small(lamp, jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.watts < 100';
SELECT idem_machine_define('counted lamp', 'OFF',
	'{"OFF": [{"to": "ON", "guard": "is_small"}], "ON": ["OFF"], "BROKEN": []}');
SELECT idem_attach('lamp', 'counted lamp');
INSERT INTO lamp VALUES (1, 40), (2, 400);
SELECT outcome FROM idem_transition('lamp', 1, 'ON');
SELECT outcome FROM idem_transition('lamp', 1, 'ON');
SELECT outcome FROM idem_transition('lamp', 2, 'ON');
SELECT outcome FROM idem_transition('lamp', 1, 'BROKEN');
SELECT outcome FROM idem_transition('lamp', 1, 'OFF', expected_version => 9);
SELECT outcome FROM idem_transition('lamp', 1, 'OFF', expected_state => 'BROKEN');
SELECT outcome FROM idem_transition_batch('lamp', '{1,2}'::int[], 'OFF');
UPDATE lamp SET status = 'BROKEN' WHERE id = 1;
SELECT outcome FROM idem_update('lamp', 1, '{"watts": 30}', expected_version => 1);
SELECT outcome FROM idem_upsert('counted-8', 'lamp', '{"id": 1, "watts": 20}', expected_version => 1);
SELECT * FROM counted;

-- Messages.
SELECT idem_stats_reset();
SELECT idem_consume('counted', 'm1');
SELECT idem_consume('counted', 'm1');
SELECT array_agg(m) FROM idem_consume_batch('counted', '{m1,m2,m3,m2}') AS m;
SELECT idem_consume('counted', 'm4', sent_at => now() - interval '1 year');
SELECT idem_advance('counted', 't', 0, 10, 19, epoch => 2);
SELECT idem_advance('counted', 't', 0, 15, 24, epoch => 2);
SELECT idem_advance('counted', 't', 0, 15, 24, epoch => 2);
SELECT idem_advance('counted', 't', 0, 30, 31, epoch => 2);
SELECT idem_advance('counted', 't', 0, 1, 2, epoch => 2);
SELECT idem_advance('counted', 't', 0, 25, 29, epoch => 1);
SELECT * FROM counted;

-- Sagas.
SELECT idem_saga_start('counted', '[{"do": "counted", "undo": "not counted", "attempts": 1}, {"do": "x"}]', scope => 'counted');
SELECT idem_saga_done(key, fence) FROM idem_saga_claim(ARRAY['counted'], scope => 'counted');
SELECT idem_saga_cancel('counted', scope => 'counted');
SELECT idem_saga_fail(key, fence, NULL) FROM idem_saga_claim(ARRAY['not counted'], scope => 'counted');
SELECT idem_saga_resolve('counted', 1, 'undone', scope => 'counted');
SELECT idem_saga_start('counted 2', '[{"do": "counted"}]', scope => 'counted');
SELECT idem_saga_done(key, fence) FROM idem_saga_claim(ARRAY['counted'], scope => 'counted');
SELECT * FROM counted;
SELECT severity, value FROM idem_health WHERE "check" = 'saga_stuck';
DELETE FROM idem_saga_step WHERE scope = 'counted';
DELETE FROM idem_saga WHERE scope = 'counted';
DELETE FROM idem_key WHERE scope = 'idem.saga' AND request->>'scope' = 'counted';

-- Purging.  The worker may come before.
INSERT INTO idem_message (expires_at, consumer, message_id)
SELECT now() - interval '1 hour', 'counted', 'old' || i FROM generate_series(1, 5) AS i;
SELECT idem_purge() BETWEEN 0 AND 5;
SELECT counter, value > 0 AS counted FROM idem_stats
WHERE datname = current_database() AND counter ~ '^purge';

SET client_min_messages = warning;
DROP SCHEMA test_stats CASCADE;
SELECT idem_machine_drop('counted lamp');
