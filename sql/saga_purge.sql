-- Sagas: purged whole, once they have ended and their time is over.
--
-- What expires stands in one transaction, so that a background worker, which
-- may be running, does not purge it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SET idem.scope = 'saga purge';
\set VERBOSITY terse
CREATE FUNCTION left_over() RETURNS TABLE (saga text, steps bigint, keys bigint) LANGUAGE sql AS $$
	SELECT saga, (SELECT count(*) FROM idem_saga_step k WHERE (k.saga, k.scope) = (s.saga, s.scope)),
		(SELECT count(*) FROM idem_key k WHERE k.scope = 'idem.saga' AND k.request->>'saga' = s.saga)
	FROM idem_saga s WHERE scope = 'saga purge' ORDER BY saga $$;
CREATE FUNCTION run(saga text, steps int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE c record; status text;
BEGIN
	FOR i IN 1..steps LOOP
		SELECT * INTO c FROM idem_saga_claim(ARRAY[saga || ' a', saga || ' b', saga || ' -a', saga || ' -b']);
		status := idem_saga_done(c.key, c.fence);
	END LOOP;
	RETURN status;
END $$;
BEGIN;
SELECT started.status FROM (VALUES ('completed', interval '1 microsecond'), ('kept', '1 day'), ('compensated', '1 microsecond'), ('stuck', '1 microsecond'), ('under way', '1 microsecond')) AS v (s, t),
	idem_saga_start(s, format('[{"do": "%1$s a", "undo": "%1$s -a"}, {"do": "%1$s b", "undo": "%1$s -b"}]', s)::jsonb, ttl => t) AS started;
SELECT run('completed', 2), run('kept', 2), run('under way', 1);
SELECT run('compensated', 1), idem_saga_cancel('compensated'), run('compensated', 1);
SELECT run('stuck', 1), idem_saga_cancel('stuck');
SELECT idem_saga_fail(key, fence, NULL, retry => true) FROM idem_saga_claim('{stuck -a}');
SELECT * FROM left_over();
-- An ordinary purge of keys takes none of a saga's, nor is a saga half purged.
SELECT idem_purge(1);
SELECT idem_purge(1);
SELECT idem_purge(1);
SELECT * FROM left_over();
SELECT count(*) FROM idem_key k WHERE scope = 'idem.saga' AND request->>'scope' = 'saga purge' AND NOT EXISTS (SELECT FROM idem_saga s WHERE s.saga = k.request->>'saga');
COMMIT;
-- The name is free again.
SELECT * FROM idem_saga_start('completed', '[{"do": "other"}]');
-- A late report finds nothing.
SELECT idem_saga_done(idem_derive_key('saga purge', 'compensated', '1', 'do'), 1);
\echo :LAST_ERROR_SQLSTATE
-- Not without a right on the table.
CREATE ROLE regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT idem_purge();
RESET ROLE;
DROP ROLE regress_idem_ann;
DROP FUNCTION left_over, run;
DELETE FROM idem_saga_step WHERE scope = 'saga purge';
DELETE FROM idem_saga WHERE scope = 'saga purge';
DELETE FROM idem_key WHERE scope = 'idem.saga';
