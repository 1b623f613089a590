-- What a key keeps of an answer: all of it, up to idem.max_response, or nothing but
-- the outcome.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_answer;
SET search_path = idem_test_answer, public;
\set SHOW_CONTEXT never
SELECT length(idem_new_key());

CREATE TABLE card (id int PRIMARY KEY, number text NOT NULL CHECK (number <> ''), version bigint NOT NULL DEFAULT 1);

-- store_response => false: the first call gets all, a retry the outcome.
SELECT * FROM idem_upsert('answer-1', 'card', '{"id": 1, "number": "4111"}', store_response => false);
SELECT * FROM idem_upsert('answer-1', 'card', '{"id": 1, "number": "4111"}', store_response => false);
-- it is no part of the request, and a retry cannot have what is not there
SELECT * FROM idem_upsert('answer-1', 'card', '{"id": 1, "number": "4111"}');
SELECT * FROM idem_upsert('answer-2', 'card', '{"id": 2, "number": "4222"}');
SELECT * FROM idem_upsert('answer-2', 'card', '{"id": 2, "number": "4222"}', store_response => false);
SELECT * FROM idem_execute('answer-3', 'SELECT number FROM card', store_response => false);
SELECT * FROM idem_execute('answer-3', 'SELECT number FROM card', store_response => false);
SELECT * FROM idem_execute('answer-3', 'SELECT number FROM card');
SELECT * FROM idem_execute('answer-4', 'UPDATE card SET number = ''4112'' WHERE id = 1', store_response => false);
SELECT * FROM idem_execute('answer-4', 'UPDATE card SET number = ''4112'' WHERE id = 1', store_response => false);
SELECT number FROM card WHERE id = 1;
\set VERBOSITY terse
SELECT * FROM idem_execute('answer-4', 'SELECT 1', store_response => false);
\set VERBOSITY default
-- so too of an error that is remembered
SELECT outcome, replayed, result->>'detail' AS detail FROM idem_upsert('answer-5', 'card', '{"id": 5, "number": ""}',
	remember_errors => '{23514}', store_response => false);
SELECT outcome, replayed, result FROM idem_upsert('answer-5', 'card', '{"id": 5, "number": ""}',
	remember_errors => '{23514}', store_response => false);
SELECT outcome, replayed, result->>'detail' AS detail, processed FROM idem_execute('answer-6', 'INSERT INTO card VALUES (6, '''')',
	remember_errors => '{23514}', store_response => false);
SELECT * FROM idem_execute('answer-6', 'INSERT INTO card VALUES (6, '''')',
	remember_errors => '{23514}', store_response => false);
-- nothing of the answer is there
SELECT key, outcome, response, request, sqlstate FROM idem_key WHERE starts_with(key, 'answer-') AND key <> 'answer-2' ORDER BY key;
SELECT outcome, response FROM idem_lookup('answer-1');
-- where the key has expired, the work is done again
UPDATE idem_key SET expires_at = clock_timestamp() WHERE key = 'answer-1';
SELECT outcome, replayed, result->>'number' AS number FROM idem_upsert('answer-1', 'card', '{"id": 1, "number": "4111"}', store_response => false);
-- a claim says so by a response that is null
SELECT outcome FROM idem_claim('answer-7', lease => '1 hour');
SELECT idem_complete('answer-7', NULL, 1);
SELECT outcome, response FROM idem_claim('answer-7', lease => '1 hour');
-- a row that the caller may not read has no result that could be withheld
CREATE ROLE regress_idem_ann;
GRANT USAGE ON SCHEMA idem_test_answer TO regress_idem_ann;
GRANT INSERT ON card TO regress_idem_ann;
SET ROLE regress_idem_ann;
SELECT * FROM idem_execute('answer-8', 'INSERT INTO card VALUES (8, ''4888'')', store_response => false);
SELECT * FROM idem_execute('answer-8', 'INSERT INTO card VALUES (8, ''4888'')', store_response => false);
-- and who may not set the limit is held to it
SET idem.max_response = '1kB';
RESET ROLE;

-- Neither yes nor no.
SELECT * FROM idem_upsert('answer-9', 'card', '{"id": 9}', store_response => NULL);
SELECT * FROM idem_upsert('answer-9', 'card', '{"id": 9}', wait => NULL);
SELECT * FROM idem_execute('answer-9', 'SELECT 1', store_response => NULL);
SELECT * FROM idem_execute('answer-9', 'SELECT 1', wait => NULL);

-- idem.max_response: in bytes or with a unit, none by default; for superusers.
SHOW idem.max_response;
SELECT name, setting, unit, context, vartype FROM pg_settings WHERE name = 'idem.max_response';
SET idem.max_response = '1kB';
SHOW idem.max_response;
SET idem.max_response = 200;
SHOW idem.max_response;
\set VERBOSITY sqlstate
SET idem.max_response = -1;
\set VERBOSITY default

-- What is longer is not kept, and its work not done.
SELECT outcome FROM idem_execute('answer-10', 'INSERT INTO card VALUES (10, $1) RETURNING *', jsonb_build_array(repeat('x', 300)));
SELECT outcome FROM idem_upsert('answer-11', 'card', jsonb_build_object('id', 11, 'number', repeat('x', 300)));
SELECT outcome FROM idem_update('card', 2, jsonb_build_object('number', repeat('x', 300)), key => 'answer-12');
SELECT count(*) FROM card WHERE length(number) > 10;
SELECT key, outcome FROM idem_key WHERE key IN ('answer-10', 'answer-11', 'answer-12');
-- but for what was not to be kept
SELECT outcome FROM idem_execute('answer-10', 'INSERT INTO card VALUES (10, $1) RETURNING *', jsonb_build_array(repeat('x', 300)), store_response => false);
SELECT outcome FROM idem_upsert('answer-11', 'card', jsonb_build_object('id', 11, 'number', repeat('x', 300)), store_response => false);
SELECT outcome FROM idem_execute('answer-13', 'INSERT INTO card VALUES (13, $1)', jsonb_build_array(repeat('x', 300)));
SELECT length(number) FROM card WHERE id IN (10, 11, 13);
-- an error that is remembered is an answer
\set VERBOSITY terse
SELECT outcome FROM idem_execute('answer-14', 'INSERT INTO card VALUES (1, $1)', jsonb_build_array(repeat('x', 300)), remember_errors => '{23505}');
\set VERBOSITY default
SELECT outcome FROM idem_lookup('answer-14');
SELECT outcome, replayed, length(result->>'message') FROM idem_execute('answer-15', 'SELECT * FROM nowhere', remember_errors => '{42P01}');
-- which is kept in short where all of it would be too long
SET idem.max_response = '1kB';
CREATE FUNCTION refuse_at_length() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '%', repeat('é', 600) USING errcode = 'P0007', detail = repeat('d', 2000), hint = 'h', constraint = 'limits';
END $$;
SELECT outcome, replayed, result->>'sqlstate' AS sqlstate, length(result->>'message') AS message,
	result ? 'detail' AS detail, result ? 'hint' AS hint, result->>'constraint' AS "constraint"
FROM idem_execute('answer-16', 'SELECT refuse_at_length()', remember_errors => '{P0007}');
\g
SET idem.max_response = 200;
-- it is no error of the work that could be remembered
SELECT outcome FROM idem_execute('answer-10', 'SELECT $1::text', jsonb_build_array(repeat('x', 300)), remember_errors => '{54}', scope => 'other');

-- Claims: the request, checkpoints, response and error.
SELECT outcome FROM idem_claim('answer-20', jsonb_build_array(repeat('x', 300)), lease => '1 hour');
SELECT outcome FROM idem_lookup('answer-20');
SELECT outcome FROM idem_claim('answer-20', '[1]', lease => '1 hour');
-- a checkpoint has its time, which takes more or less
\set VERBOSITY terse
SELECT idem_checkpoint('answer-20', 1, 'x', jsonb_build_array(repeat('x', 300)));
SELECT idem_checkpoint('answer-20', 1, repeat('x', 300));
\set VERBOSITY default
SELECT idem_complete('answer-20', jsonb_build_array(repeat('x', 300)), 1);
SELECT idem_fail('answer-20', jsonb_build_array(repeat('x', 300)), 1);
SELECT outcome, response FROM idem_lookup('answer-20');
SELECT idem_checkpoint('answer-20', 1, 'x', '1');
SELECT idem_complete('answer-20', '1', 1);
-- without a lease the request is not kept
BEGIN;
SELECT outcome FROM idem_claim('answer-21', jsonb_build_array(repeat('x', 300)));
SELECT idem_complete('answer-21', '1');
COMMIT;

-- The size is that of the jsonb, to the byte, before it is compressed.
SELECT pg_column_size(jsonb_build_array(repeat('x', 100))) AS size \gset
SELECT set_config('idem.max_response', :'size', false) = :'size' || 'B' AS to_the_byte;
SELECT outcome FROM idem_claim('answer-22', lease => '1 hour');
SELECT idem_complete('answer-22', jsonb_build_array(repeat('x', 101)), 1);
SELECT idem_complete('answer-22', jsonb_build_array(repeat('x', 100)), 1);
-- what was kept before is still the answer
SET idem.max_response = 1;
SELECT outcome, length(response->>0) FROM idem_claim('answer-22', lease => '1 hour');
RESET idem.max_response;

-- A fence never goes round, whatever others have written there.
SELECT outcome FROM idem_claim('answer-23', lease => '1 hour');
UPDATE idem_key SET fence = 9223372036854775807, lease_until = '2000-01-01' WHERE key = 'answer-23';
SELECT outcome, fence FROM idem_claim('answer-23', lease => '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_lookup('answer-23');
SELECT idem_forget('answer-23');

DELETE FROM idem_key WHERE starts_with(key, 'answer-');
DROP SCHEMA idem_test_answer CASCADE;
DROP ROLE regress_idem_ann;
