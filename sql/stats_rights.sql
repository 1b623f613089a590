-- Who may see which figures, and what of claims.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
\set VERBOSITY terse
CREATE ROLE regress_stats_teller;
CREATE ROLE regress_stats_clerk IN ROLE regress_stats_teller;
CREATE ROLE regress_stats_other;
CREATE ROLE regress_stats_monitor IN ROLE pg_monitor;
CREATE ROLE regress_stats_purger;
GRANT DELETE ON idem_key TO regress_stats_purger;

SELECT outcome FROM idem_claim('own', '{"card": 1}', lease => '1 hour', scope => 'stats');
SET ROLE regress_stats_teller;
SELECT outcome FROM idem_claim('held', '{"card": 4111}', lease => '1 hour', scope => 'stats');
SELECT idem_checkpoint('held', 1, 'charged', '{"receipt": 7}', scope => 'stats');
SELECT outcome FROM idem_claim('released', '{"card": 2}', lease => '1 hour', scope => 'stats');
SELECT idem_release('released', 1, scope => 'stats');
SELECT outcome FROM idem_claim('done', '{"card": 3}', lease => '1 hour', scope => 'stats');
SELECT idem_complete('done', '1', 1, scope => 'stats');
SELECT outcome FROM idem_execute('no claim', 'SELECT 1', scope => 'stats');

-- Members of the role see its claims; each of these is open.
SELECT key, scope, role, fence, lease_until > now() AS held, checkpoint, request FROM idem_claims
WHERE scope = 'stats' ORDER BY key;
SET ROLE regress_stats_clerk;
SELECT key, checkpoint, request FROM idem_claims WHERE scope = 'stats' ORDER BY key;
-- Others see none, also those who may purge; who monitors sees that they are there.
SET ROLE regress_stats_other;
SELECT key FROM idem_claims;
SELECT count(*) FROM _idem_claims();
SET ROLE regress_stats_purger;
SELECT key FROM idem_claims;
SET ROLE regress_stats_monitor;
SELECT key, role, checkpoint, request FROM idem_claims WHERE scope = 'stats' ORDER BY key;
-- A function of the caller's, however cheap, is shown no other rows.
SET ROLE regress_stats_other;
CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
$$ BEGIN RAISE NOTICE 'peeked at %', $1; RETURN true; END $$;
SELECT key FROM idem_claims WHERE pg_temp.peek(key);
-- Who may read the table sees all.
RESET ROLE;
GRANT SELECT ON idem_key TO regress_stats_other;
SET ROLE regress_stats_other;
SELECT key, request FROM idem_claims WHERE scope = 'stats' ORDER BY key;
RESET ROLE;
REVOKE SELECT ON idem_key FROM regress_stats_other;

-- Counters of this database are for all, those of others for who monitors.
SET ROLE regress_stats_other;
SELECT bool_and(datname = current_database()) FROM idem_stats;
SELECT idem_stats_reset();
SET ROLE regress_stats_monitor;
SELECT idem_stats_reset();
SET ROLE regress_stats_purger;
SELECT idem_stats_reset();
RESET ROLE;
GRANT EXECUTE ON FUNCTION idem_stats_reset() TO regress_stats_other;
SET ROLE regress_stats_other;
SELECT idem_stats_reset();
-- Nobody writes to a view.
UPDATE idem_stats SET value = 0;
DELETE FROM idem_claims;

-- Health is for all, too.
SELECT "check" FROM idem_health;
SELECT "check", severity, value FROM idem_health
WHERE "check" IN ('ttl', 'lost_acks', 'key_mismatch', 'stale_fence', 'counters');
SET idem.ttl = '3 days';
SELECT "check", severity, value FROM idem_health WHERE "check" = 'ttl';
RESET idem.ttl;
-- The arguments that the view gives are the caller's to give, and change only what it sees.
SELECT severity, value FROM _idem_health('-infinity', NULL, 'no slot') WHERE "check" = 'purge_blocked';
SELECT severity, value FROM _idem_health('infinity', NULL, NULL) WHERE "check" = 'purge_blocked';
RESET ROLE;

-- A table that was altered is noticed rather than misread.
BEGIN;
ALTER TABLE idem_key ALTER COLUMN request TYPE text;
SELECT * FROM idem_claims;
ROLLBACK;

SELECT idem_complete('held', '1', 1, scope => 'stats'), idem_complete('own', '1', 1, scope => 'stats');
SELECT idem_forget_scope('stats');
DROP FUNCTION pg_temp.peek;
REVOKE DELETE ON idem_key FROM regress_stats_purger;
REVOKE EXECUTE ON FUNCTION idem_stats_reset() FROM regress_stats_other;
DROP ROLE regress_stats_clerk, regress_stats_teller, regress_stats_other, regress_stats_monitor, regress_stats_purger;
