-- Rows that were brought from a table of keys of the user's own: they have no
-- fingerprint, so their request is not compared.  docs/migrating.md has the ways.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_imported;
SET search_path = idem_test_imported, public;
CREATE TABLE orders (id int PRIMARY KEY, note text, status order_status DEFAULT 'PENDING', version bigint DEFAULT 1);
SELECT idem_attach('orders', 'order');
CREATE FUNCTION brought(key text, outcome idem_outcome, response jsonb, expires interval = '1 hour')
RETURNS void LANGUAGE sql AS $$
	INSERT INTO idem_key (scope, key, outcome, response, fence, claimed_by, created_at, expires_at)
	VALUES ('', key, outcome, response, 1, current_user::text::idem_role, now() - interval '1 day', now() + expires)
$$;
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- any request is answered as the row says, and no row of the table is touched
SELECT brought('i1', 'inserted', '{"id": 1, "note": "then"}');
SELECT * FROM idem_upsert('i1', 'orders', '{"id": 1, "note": "then"}');
SELECT * FROM idem_upsert('i1', 'orders', '{"id": 2, "note": "other"}');
SELECT count(*) FROM orders;
SELECT brought('i2', 'executed', '{"rows": [], "processed": 1}');
SELECT outcome, replayed FROM idem_execute('i2', 'INSERT INTO orders VALUES (3)');
SELECT brought('i3', 'completed', '{"done": true}');
SELECT outcome, response FROM idem_claim('i3', '{"any": "request"}', lease => '1 minute');
SELECT outcome, response FROM idem_lookup('i3');
-- what a claim has left is no answer of an upsert, nor the other way round
SELECT pg_temp.try($$SELECT idem_upsert('i3', 'orders', '{"id": 1}')$$);
SELECT pg_temp.try($$SELECT idem_complete('i1', '{}', 1)$$);
-- an outcome that no row has is said to be what it is
SELECT brought('i5', 'claimed', '{}');
SELECT idem_complete('i5', '{}', 1);
-- an answer of another function's is found out when it is read
SELECT pg_temp.try($$SELECT idem_transition('orders', 1, 'PROCESSING', key => 'i1')$$);
SELECT pg_temp.try($$SELECT idem_execute('i1', 'SELECT 1')$$);
-- one that has expired is none
SELECT brought('i4', 'inserted', '{"id": 1, "note": "then"}', '-1 second');
SELECT outcome, replayed, result FROM idem_upsert('i4', 'orders', '{"id": 4, "note": "new"}');
SELECT pg_temp.try($$SELECT idem_upsert('i4', 'orders', '{"id": 5, "note": "new"}')$$);
-- and it is the role's that it was given to
CREATE ROLE regress_idem_stranger;
GRANT USAGE ON SCHEMA idem_test_imported TO regress_idem_stranger;
GRANT SELECT, INSERT, UPDATE ON orders TO regress_idem_stranger;
SET ROLE regress_idem_stranger;
SELECT pg_temp.try($$SELECT idem_upsert('i1', 'orders', '{"id": 1, "note": "then"}')$$);
RESET ROLE;

DELETE FROM idem_key WHERE key ~ '^i[1-5]$';
DROP SCHEMA idem_test_imported CASCADE;
DROP ROLE regress_idem_stranger;
