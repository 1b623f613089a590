-- A claim without a lease lasts as long as its transaction.  Where that is the
-- client's one statement, which does nothing else, it is refused: it would be over
-- before any work is done.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_claim_block;
SET search_path = idem_test_claim_block, public;
\set SHOW_CONTEXT never
SET idem.scope = 'claim_block';
CREATE TABLE done (what text);
CREATE FUNCTION work(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO idem_test_claim_block.done VALUES (what);
	RETURN what;
END $$;
CREATE FUNCTION claim(key text) RETURNS text LANGUAGE sql AS
	'SELECT outcome::text FROM idem_claim(key)';
CREATE PROCEDURE claim_and_work(key text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_claim(key);
	PERFORM work(key);
END $$;

SELECT outcome FROM idem_claim('a');
\set VERBOSITY sqlstate
SELECT * FROM idem_claim('a', '{"amount": 1}');
SELECT idem_claim('a');
SELECT (idem_claim('a')).outcome;
SELECT (idem_claim('a')).*;
SELECT outcome, fence > 1 AS again, upper(outcome::text) FROM idem_claim('a') WHERE fence IS NOT NULL ORDER BY fence LIMIT 1;
SELECT count(*) FROM idem_claim('a');
SELECT upper(outcome) FROM (SELECT outcome::text FROM idem_claim('a') OFFSET 0) AS claim;
SELECT key, outcome FROM (VALUES ('a'), ('b')) AS k (key), idem_claim(key);
SELECT outcome FROM idem_claim(work('a'));
PREPARE prepared(text) AS SELECT outcome FROM idem_claim($1);
EXECUTE prepared('a');
SELECT count(*) FROM idem_key WHERE scope = 'claim_block';
SELECT * FROM done;

-- Under a lease,
SELECT outcome FROM idem_claim('leased', lease => '1 hour');
-- in a transaction block, be it one of the protocol's,
BEGIN;
SELECT outcome FROM idem_claim('block');
SELECT idem_complete('block', '1');
COMMIT;
BEGIN;
EXECUTE prepared('prepared');
COMMIT;
EXECUTE prepared('several prepared')\; SELECT work('several prepared');
SELECT outcome FROM idem_claim('several')\; SELECT work('several');
-- or where something else is done as well.
SELECT outcome, work('target list') FROM idem_claim('target list');
SELECT idem_claim('beside') IS NOT NULL AS claimed, work('beside');
SELECT outcome, w FROM idem_claim('joined'), work('joined') AS w;
INSERT INTO done SELECT outcome || ' for an insert' FROM idem_claim('insert');
CREATE TABLE copy AS SELECT outcome FROM idem_claim('copy');
WITH c AS (SELECT * FROM idem_claim('cte')) SELECT outcome FROM c;
WITH w AS (INSERT INTO done VALUES ('beside a CTE') RETURNING what)
SELECT outcome, what FROM idem_claim('beside a CTE'), w;
SELECT claim('function');
SELECT outcome FROM claim('function 2') AS outcome;
DO $$
DECLARE
	claim record;
BEGIN
	PERFORM idem_claim('do');
	FOR claim IN SELECT * FROM idem_claim('do, in a loop') LOOP
		PERFORM work('loop');
	END LOOP;
END $$;
CALL claim_and_work('procedure');
SELECT key, outcome FROM idem_key WHERE scope = 'claim_block' ORDER BY key;
SELECT what FROM done ORDER BY what;

DEALLOCATE prepared;
DELETE FROM idem_key WHERE scope = 'claim_block';
DROP SCHEMA idem_test_claim_block CASCADE;
