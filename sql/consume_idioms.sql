-- How messages are consumed from SQL: each idiom of docs/consumers.md with messages
-- of other kinds beside them, with a join, and with several lines to a message, and
-- whatever plan is made for it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_consume_idioms;
SET search_path = idem_test_consume_idioms, public;
\set SHOW_CONTEXT never

CREATE TABLE inbox (id text PRIMARY KEY, kind text);
INSERT INTO inbox SELECT i, CASE WHEN i % 2 = 0 THEN 'Payment' ELSE 'refund' END FROM generate_series(1, 10) AS i;
CREATE TABLE line (message_id text, amount int);
INSERT INTO line SELECT id, n FROM inbox, generate_series(1, 5) AS n;
CREATE TABLE done (message_id text, amount int, by text);
CREATE TABLE audit (message_id text);

-- What was done, and what is remembered of which kind.
CREATE FUNCTION outcome(consumer text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s lines of %s messages; remembered: %s, of them payments %s',
		count(*), count(DISTINCT message_id),
		(SELECT count(*) FROM idem_message AS m WHERE m.consumer = $1),
		(SELECT count(*) FROM idem_message AS m JOIN inbox AS i ON i.id = m.message_id WHERE m.consumer = $1 AND lower(kind) = 'payment'))
	FROM done WHERE by = $1 $$;

--
-- One message: ask in the transaction, then write.
--

BEGIN;
SELECT idem_consume('test-idiom-one', '2') AS is_new \gset
\if :is_new
	INSERT INTO done SELECT message_id, amount, 'test-idiom-one' FROM line JOIN inbox ON id = message_id WHERE message_id = '2' AND lower(kind) = 'payment';
\endif
COMMIT;
SELECT outcome('test-idiom-one');
BEGIN;
SELECT idem_consume('test-idiom-one', '2') AS is_new \gset
\if :is_new
	INSERT INTO done SELECT message_id, amount, 'test-idiom-one' FROM line WHERE message_id = '2';
\endif
COMMIT;
SELECT outcome('test-idiom-one');

-- The same in a function.
CREATE FUNCTION handle(consumer text, message text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF NOT idem_consume(consumer, message) THEN
		RETURN false;
	END IF;
	INSERT INTO done SELECT l.message_id, l.amount, consumer FROM line AS l WHERE l.message_id = message;
	INSERT INTO audit VALUES (message);
	RETURN true;
END $$;
SELECT handle('test-idiom-function', m) FROM unnest(ARRAY['2', '4', '2']) AS m;
SELECT outcome('test-idiom-function');

--
-- A set: what tells which messages these are stands in ARRAY(), what is to be done
-- with them outside.
--

-- Whatever the planner knows of the tables, and whichever way it joins.
CREATE FUNCTION run_all(consumer text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 2 LOOP
		-- other kinds
		INSERT INTO done SELECT id, 0, consumer
		FROM idem_consume_batch(consumer, ARRAY(SELECT id FROM inbox WHERE lower(kind) = 'payment')) AS id;
		RETURN NEXT outcome(consumer);
		-- a join, several lines to a message
		INSERT INTO done SELECT id, amount, consumer || '-join'
		FROM idem_consume_batch(consumer || '-join', ARRAY(SELECT id FROM inbox WHERE lower(kind) = 'payment')) AS id
		JOIN inbox USING (id) JOIN line ON message_id = id;
		RETURN NEXT outcome(consumer || '-join');
		-- several tables, of one answer
		WITH new AS MATERIALIZED (
			SELECT id FROM idem_consume_batch(consumer || '-cte', ARRAY(SELECT id FROM inbox WHERE lower(kind) = 'payment')) AS id
		), audited AS (
			INSERT INTO audit SELECT id FROM new
		)
		INSERT INTO done SELECT id, amount, consumer || '-cte' FROM new JOIN line ON message_id = id;
		RETURN NEXT outcome(consumer || '-cte');
		-- one message of many lines, in one statement
		WITH new AS MATERIALIZED (SELECT idem_consume(consumer || '-lines', '4') AS yes)
		INSERT INTO done SELECT message_id, amount, consumer || '-lines' FROM line, new WHERE yes AND message_id = '4';
		RETURN NEXT outcome(consumer || '-lines');
		-- offsets
		INSERT INTO done SELECT id, amount, consumer || '-offset'
		FROM generate_series(idem_advance(consumer || '-offset', 'log', 0, 1, 10), 10) AS o
		JOIN inbox ON id = o::text JOIN line ON message_id = id WHERE lower(kind) = 'payment';
		RETURN NEXT outcome(consumer || '-offset');
	END LOOP;
END $$;

SELECT run_all('test-idiom-plain');
ANALYZE inbox, line;
-- The same whichever way is not open to the planner.
CREATE TABLE expected AS
SELECT regexp_replace(consumer, 'test-idiom-plain', '') AS consumer, outcome(consumer)
FROM unnest(ARRAY['test-idiom-plain', 'test-idiom-plain-join', 'test-idiom-plain-cte', 'test-idiom-plain-lines', 'test-idiom-plain-offset']) AS consumer;
DO $$
DECLARE
	method text;
BEGIN
	FOREACH method IN ARRAY ARRAY['hashjoin', 'mergejoin', 'nestloop', 'seqscan', 'indexscan', 'material', 'memoize', 'sort'] LOOP
		EXECUTE format('SET LOCAL enable_%s = off', method);
		PERFORM run_all('test-idiom-' || method);
	END LOOP;
END $$;
SELECT method, e.consumer, outcome('test-idiom-' || method || e.consumer) AS other_than_expected
FROM expected AS e, unnest(ARRAY['hashjoin', 'mergejoin', 'nestloop', 'seqscan', 'indexscan', 'material', 'memoize', 'sort']) AS method
WHERE outcome('test-idiom-' || method || e.consumer) <> e.outcome;

--
-- What the guide warns of.  In WHERE, a condition that is dearer to ask comes last,
-- and idem_consume says what it costs; but the planner moves it below joins.
--

-- Several rows of one message: the first of them is new.
INSERT INTO done SELECT message_id, amount, 'test-idiom-where' FROM line WHERE message_id = '6' AND idem_consume('test-idiom-where', '6');
SELECT outcome('test-idiom-where');
-- A condition outside of ARRAY() comes when the messages are consumed.
SELECT count(*) FROM idem_consume_batch('test-idiom-outside', ARRAY(SELECT id FROM inbox)) AS id JOIN inbox USING (id) WHERE kind = 'Payment';
SELECT outcome('test-idiom-outside');

-- A batch is consumed whole, however few of its rows are asked for.
SELECT id FROM idem_consume_batch('test-idiom-whole', ARRAY['a1', 'a2', 'a3']) AS id LIMIT 1;
SELECT idem_consume_batch('test-idiom-whole', ARRAY['b1', 'b2', 'b3']) LIMIT 1;
SELECT EXISTS (SELECT FROM idem_consume_batch('test-idiom-whole', ARRAY['c1', 'c2', 'c3']));
SELECT EXISTS (SELECT idem_consume_batch('test-idiom-whole', ARRAY['d1', 'd2', 'd3']));
SELECT 'e1' IN (SELECT idem_consume_batch('test-idiom-whole', ARRAY['e1', 'e2', 'e3']));
BEGIN;
DECLARE c CURSOR FOR SELECT idem_consume_batch('test-idiom-whole', ARRAY['f1', 'f2', 'f3']);
FETCH 1 FROM c;
COMMIT;
SELECT string_agg(message_id, ' ' ORDER BY message_id) FROM idem_message WHERE consumer = 'test-idiom-whole';
-- The answer is there before it is read, so what is done meanwhile is not in it.
SELECT id, idem_consume('test-idiom-whole', 'g2') FROM idem_consume_batch('test-idiom-whole', ARRAY['g1', 'g2']) AS id;

--
-- As drivers send it: without a type, as text, and as an array.
--

PREPARE untyped AS SELECT idem_consume_batch($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
EXECUTE untyped('test-idiom-untyped', '{"a","b","c"}');
EXECUTE untyped('test-idiom-untyped', '{"b","c","d"}');
EXECUTE untyped('test-idiom-untyped', '{}');
PREPARE unknowns (unknown, unknown, unknown, unknown) AS SELECT idem_consume_batch($1, $2, $3, $4);
EXECUTE unknowns('test-idiom-untyped', '{d,e}', '1 day', '{2026-11-27,NULL}');
EXECUTE unknowns('test-idiom-untyped', '{d,e}', NULL, NULL);
SELECT idem_consume_batch('test-idiom-untyped', '{e,f}', sent_at => '{NULL,NULL}');
PREPARE arrays (text, text[]) AS SELECT idem_consume_batch($1, $2);
EXECUTE arrays('test-idiom-untyped', ARRAY['f', 'g']);
EXECUTE arrays('test-idiom-untyped', '{}');
PREPARE others (varchar, varchar[]) AS SELECT idem_consume_batch($1, $2);
EXECUTE others('test-idiom-untyped', '{g,h}');
-- A single text is no array: an error, not one message.
\set VERBOSITY terse
PREPARE texts (text, text) AS SELECT idem_consume_batch($1, $2);
PREPARE texts (text, text) AS SELECT idem_consume_batch($1, $2::text[]);
EXECUTE texts('test-idiom-untyped', '{h,i}');
-- Nor is an array one message.
SELECT idem_consume('test-idiom-untyped', ARRAY['x', 'y']);
\set VERBOSITY default
-- One message, and when it was sent.
PREPARE one AS SELECT idem_consume($1, $2, $3, $4);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'one';
EXECUTE one('test-idiom-untyped', 'z', NULL, NULL);
EXECUTE one('test-idiom-untyped', 'z', '1 day', 'now');
SELECT idem_consume('test-idiom-untyped', 'zz', '1000 years', sent_at => '2026-11-27');
SELECT idem_consume('test-idiom-untyped', NULL);
SELECT string_agg(message_id, ' ' ORDER BY message_id) FROM idem_message WHERE consumer = 'test-idiom-untyped';
DEALLOCATE ALL;

DELETE FROM idem_message WHERE consumer LIKE 'test-idiom%';
DELETE FROM idem_offset WHERE consumer LIKE 'test-idiom%';
DROP SCHEMA idem_test_consume_idioms CASCADE;
