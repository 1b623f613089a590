-- What tells the statements of a transaction apart is the same on every version of the
-- server: a retry may come after an upgrade.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_session_words;
SET search_path = idem_test_session_words, public;
CREATE TABLE t (id int PRIMARY KEY, path text, source text, target text, error text, string text, keys jsonb);

-- Names that newer versions have as keywords, an operator that they have as a token.
BEGIN;
SELECT idem_begin('session-words-1');
INSERT INTO t (id, path, source, target, error, string, keys) VALUES (1, 'p', 's', 't', 'e', 'st', '{"a": [1]}');
SELECT keys -> 'a', keys->'a'->-1, keys ->> 'a', keys::text FROM t;
SELECT json, format FROM (VALUES (1, 2)) AS absent (json, format);
SELECT id | 4, id|4, id || '|', |/ 4.0, id & 4, id ^ 4, id # 4, id << 4 FROM t;
COMMIT;
SELECT ordinality, statement ->> 'exact' AS exact FROM idem_key, jsonb_array_elements(response -> 'statements')
WITH ORDINALITY AS s (statement, ordinality) WHERE key = 'session-words-1' ORDER BY 1;

-- A token is not another one.
BEGIN;
SELECT idem_begin('session-words-2');
INSERT INTO t (id) VALUES (2);
PREPARE arrow AS SELECT $1::jsonb -> 'a' AS x;
EXECUTE arrow('{"a": 1}');
COMMIT;
BEGIN;
SELECT idem_begin('session-words-3');
INSERT INTO t (id) VALUES (3);
SELECT 1 AS path, 1 AS "path", 1 AS select;
SELECT 1 AS "path", 1 AS path, 1 AS select;
SELECT 1 AS path, 1 AS "path", 1 AS "select";
COMMIT;
SELECT count(*), count(DISTINCT statement ->> 'exact') FROM idem_key, jsonb_array_elements(response -> 'statements') AS s (statement)
WHERE key = 'session-words-3';

-- The keywords that count as such, of all that the server has.
BEGIN;
SELECT idem_begin('session-words-4');
INSERT INTO t (id) VALUES (4);
\set ECHO none
\o /dev/null
SELECT 'SELECT 1 AS ' || word, 'SELECT 1 AS "' || word || '"' FROM pg_get_keywords() ORDER BY word COLLATE "C" \gexec
\o
\set ECHO all
COMMIT;
WITH statements AS (
	SELECT ordinality - 3 AS place, statement ->> 'exact' AS exact FROM idem_key, jsonb_array_elements(response -> 'statements')
	WITH ORDINALITY AS s (statement, ordinality) WHERE key = 'session-words-4' AND ordinality > 2
), words AS (
	SELECT word, row_number() OVER (ORDER BY word COLLATE "C") - 1 AS place FROM pg_get_keywords()
)
SELECT count(*), md5(string_agg(word, ' ' ORDER BY word COLLATE "C")) FROM words
JOIN statements AS bare ON bare.place = words.place * 2 JOIN statements AS quoted ON quoted.place = words.place * 2 + 1
WHERE bare.exact <> quoted.exact;

DROP SCHEMA idem_test_session_words CASCADE;
