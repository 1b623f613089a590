-- Primary keys of type jsonb, by which rows are found for an update or a transition
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_jsonb_id;
SET search_path = idem_test_jsonb_id, public;
\set SHOW_CONTEXT never

-- Of a primary key of type jsonb, a string is no other value than the number that it
-- spells, and a retry that names the one is not answered for the other.
CREATE TABLE fact (
    id      jsonb PRIMARY KEY,
    note    text,
    status  order_status NOT NULL DEFAULT 'PENDING',
    version bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('fact', 'order', history => true);
INSERT INTO fact VALUES ('1', 'number'), ('"1"', 'string'), ('true', 'yes'), ('"true"', 'word'),
    ('"a"', 'letter'), ('"\"a\""', 'quoted letter');

SELECT result->'note' AS note FROM idem_update('fact', '1'::jsonb, '{"note": "number"}');
SELECT result->'note' AS note FROM idem_update('fact', '"1"'::jsonb, '{"note": "string"}');
SELECT result->'note' AS note FROM idem_update('fact', '{"id": "1"}'::jsonb, '{"note": "string"}');
SELECT result->'note' AS note FROM idem_update('fact', 1, '{"note": "number"}');
SELECT result->'note' AS note FROM idem_update('fact', '1'::text, '{"note": "number"}');
SELECT result->'note' AS note FROM idem_update('fact', '"1"'::text, '{"note": "string"}');
SELECT result->'note' AS note FROM idem_update('fact', '"a"'::jsonb, '{"note": "letter"}');
SELECT result->'note' AS note FROM idem_update('fact', '"a"'::text, '{"note": "letter"}');

SELECT outcome, replayed FROM order_transition('fact', '"1"'::jsonb, 'PROCESSING', key => 'fact-1');
SELECT outcome, replayed FROM order_transition('fact', '"1"'::text, 'PROCESSING', key => 'fact-1');
SELECT outcome, replayed FROM order_transition('fact', '{"id": "1"}'::jsonb, 'PROCESSING', key => 'fact-1');
\set VERBOSITY terse
SELECT outcome, replayed FROM order_transition('fact', '1'::jsonb, 'PROCESSING', key => 'fact-1');
SELECT outcome, replayed FROM order_transition('fact', '"true"'::jsonb, 'PROCESSING', key => 'fact-2');
SELECT outcome, replayed FROM order_transition('fact', 'true'::jsonb, 'PROCESSING', key => 'fact-2');
SELECT outcome, replayed FROM order_transition('fact', '"\"a\""'::jsonb, 'PROCESSING', key => 'fact-3');
SELECT outcome, replayed FROM order_transition('fact', '"a"'::text, 'PROCESSING', key => 'fact-3');
\set VERBOSITY default
SELECT * FROM idem_transition_batch('fact', ARRAY['"1"', '"true"', '1']::jsonb[], 'PROCESSING');
SELECT version, to_state, key FROM idem_history('fact', '"1"'::jsonb);
SELECT version, to_state, key FROM idem_history('fact', 1);
SELECT id, note, status FROM fact ORDER BY note;

-- Of a domain over jsonb, and as a part of a key, likewise.
CREATE DOMAIN label AS jsonb;
CREATE TABLE tagged (tenant int, tag label, n int, PRIMARY KEY (tenant, tag));
INSERT INTO tagged VALUES (7, '"5"', 1), (7, '5', 2);
SELECT result->'n' AS n FROM idem_update('tagged', '{"tenant": "7", "tag": "5"}'::jsonb, '{"n": 1}');
SELECT result->'n' AS n FROM idem_update('tagged', '{"tenant": "7", "tag": 5}'::jsonb, '{"n": 2}');

DROP TABLE fact, tagged;
DROP DOMAIN label;
DELETE FROM idem_key WHERE key LIKE 'fact-%';
DROP SCHEMA idem_test_jsonb_id CASCADE;
