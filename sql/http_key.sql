-- The key in an Idempotency-Key header: the draft's structured field, and a key without quotes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_http_key;
SET search_path = idem_test_http_key, public;
\set SHOW_CONTEXT never
\set VERBOSITY default

SELECT provolatile, proparallel, proisstrict FROM pg_proc WHERE proname = 'idem_http_key';

-- A String of RFC 8941: what stands between the quotes, with two escapes.
SELECT idem_http_key('"8e03978e-40d5-43dd-bc93-6894a57f9324"');
CREATE TABLE header (header text, key text);
INSERT INTO header VALUES
	('"order 17"', 'order 17'),
	('"say \"hi\""', 'say "hi"'),
	('"c:\\temp"', 'c:\temp'),
	('"\\\""', '\"'),
	('" "', ' '),
	('  "k"  ', 'k'),
	(E'\t"k"\t', 'k'),
	(format('"%s"', (SELECT string_agg(CASE WHEN chr(c) IN ('"', '\') THEN '\' ELSE '' END || chr(c), '' ORDER BY c)
					 FROM generate_series(32, 126) AS c)),
	 (SELECT string_agg(chr(c), '' ORDER BY c) FROM generate_series(32, 126) AS c)),
	-- a key without quotes may have the characters of a Token, in any order
	('8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'),
	(' order-17 ', 'order-17'),
	('*a/b:c', '*a/b:c'),
	('!#$%&''*+-.^_`|~:/09azAZ', '!#$%&''*+-.^_`|~:/09azAZ'),
	('17', '17'),
	-- parameters after a String do not count
	('"k";a', 'k'),
	('"k";a=1;b=-1.5;c=?0;d=tok/en:x;e=:aGVsbG8=:;f="x;\"y";*g;  h=123456789012345', 'k'),
	('"k;a=1"', 'k;a=1');
SELECT header, idem_http_key(header) AS key FROM header WHERE idem_http_key(header) IS DISTINCT FROM key;
SELECT count(*) FROM header WHERE idem_http_key(header) = key;

-- What is malformed is refused, and no key is made of a part of it.
CREATE FUNCTION answer(header text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'KEY ' || idem_http_key(header);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || detail;
END $$;
SELECT header, answer(header)
FROM (VALUES (1, ''), (2, '   '), (3, '""'), (4, '"'), (5, '"open'), (6, '"open\'), (7, '"a\b"'), (8, '"open\"'),
	-- two headers arrive as one value
	(9, '"a", "b"'), (10, 'a, b'), (11, '"a""b"'), (12, '"a" b'), (13, 'a b'),
	-- other types of structured fields
	(14, '?1'), (15, ':aGVsbG8=:'), (16, '("a")'), (17, '@1659578233'),
	-- base64 without quotes: = is no character of a Token
	(18, 'aGVsbG8='), (19, 'a"b"'), (20, '{"a":1}'),
	-- two keys to those who have not read RFC 8941
	(21, 'order;a'), (22, 'order;a=1'),
	-- parameters
	(23, '"k";'), (24, '"k";A=1'), (25, '"k" ;a'), (26, '"k";a='), (27, '"k";a=1.'), (28, '"k";a=1.2345'),
	(29, '"k";a=1234567890123456'), (30, '"k";a=1234567890123.1'), (31, '"k";a=-'), (32, '"k";a=?2'), (33, '"k";a=:a'),
	(34, '"k";a="x'), (35, '"k";a=1 '), (36, '"k";a=1,'), (37, '"k";a=#')) AS v(n, header)
ORDER BY n;
SELECT answer(header)
FROM unnest(ARRAY[E'"a\tb"', E'"a\nb"', E'"a\x7f"', '"a' || chr(228) || '"', chr(228)]) AS header;

SELECT idem_http_key('"order 17');
\echo :LAST_ERROR_SQLSTATE
-- No header is an error, too: a missing key must not pass silently.
SELECT idem_http_key(NULL);
\echo :LAST_ERROR_SQLSTATE

-- A key may be longer than an idempotency key, to make one of it; a long one costs no more for each byte.
SELECT length(idem_http_key('"' || repeat('x', 300) || '"')), idem_derive_key(idem_http_key(repeat('x', 300)));
SELECT length(idem_http_key('"' || repeat('\\', 1000000) || '"'));
SELECT length(idem_http_key('"k"' || repeat(';a', 1000000)));
SELECT outcome FROM idem_claim(idem_http_key(repeat('x', 300)), lease => '1 minute');

-- Quoted or not, the key is the same.
BEGIN;
SELECT outcome FROM idem_claim(idem_http_key('http-key-17'), '1');
SELECT outcome FROM idem_claim(idem_http_key('"http-key-17"'), '1');
ROLLBACK;

-- In a database of another encoding
SELECT current_database() AS home \gset
CREATE DATABASE regress_idem_http TEMPLATE template0
	ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_idem_http
SET client_min_messages = warning;
CREATE EXTENSION idem;
SELECT idem_http_key('"k"'), idem_http_key(convert_from('\x22c3a422', 'UTF8'));
\c :home
DROP DATABASE regress_idem_http;

-- Any role may call it.
SET client_min_messages = warning;
CREATE ROLE regress_idem_http;
SET ROLE regress_idem_http;
SELECT idem_http_key('"k"');
RESET ROLE;
DROP ROLE regress_idem_http;
DROP SCHEMA idem_test_http_key CASCADE;
