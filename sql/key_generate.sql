-- Keys for those who have none: new ones, and ones made of what is known.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_new_key;
SET search_path = idem_test_new_key, public;
\set SHOW_CONTEXT never

-- A new key is another each time, to the planner too; a derived one is not.
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc
WHERE proname IN ('idem_new_key', 'idem_derive_key') ORDER BY proname;

-- A hundred thousand new keys are as many version 7 UUIDs, each of which sorts
-- after the one before, as text and as uuid.
CREATE TABLE made (n int, key text COLLATE "C", earlier text COLLATE "C");
SELECT clock_timestamp() AS started \gset
INSERT INTO made
	SELECT n, key, lag(key) OVER (ORDER BY n)
	FROM (SELECT n, idem_new_key() AS key FROM generate_series(1, 100000) AS n OFFSET 0) AS m;
SELECT count(DISTINCT key) AS keys, count(DISTINCT substr(key, 20)) AS random_parts,
	   bool_and(key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS version_7,
	   bool_and(key > earlier) AS sorts_as_text,
	   bool_and(key::uuid > earlier::uuid) AS sorts_as_uuid
FROM made;

-- Both values of each random bit occur, so 62 of them are random.
SELECT bit_or(r) = x'3fffffffffffffff' AND bit_and(r) = x'0000000000000000' AS all_bits_vary
FROM (SELECT ('x' || translate(substr(key, 20), '-', ''))::bit(64) & x'3fffffffffffffff' AS r
	  FROM made) AS m;

-- The first 48 bits are the milliseconds since 1970, the 12 after the version
-- the fraction of one.  (A minute leaves room for a clock that is set meanwhile.)
SELECT bool_and(at BETWEEN :'started'::timestamptz - interval '1 minute'
					   AND clock_timestamp() + interval '1 minute') AS tells_the_time,
	   count(DISTINCT at) > count(DISTINCT date_trunc('milliseconds', at)) AS to_its_fraction
FROM (SELECT to_timestamp((('x0000' || left(key, 8) || substr(key, 10, 4))::bit(64)::bigint
						   + ('x0' || substr(key, 16, 3))::bit(16)::int / 4096.0) / 1000) AS at
	  FROM made) AS m;
DROP TABLE made;

-- It takes no right to write, and is a default like any.
BEGIN READ ONLY;
SELECT length(idem_new_key());
COMMIT;
CREATE TABLE job (id int PRIMARY KEY, key text NOT NULL DEFAULT idem_new_key());
INSERT INTO job SELECT generate_series(1, 3);
SELECT outcome, replayed FROM job AS j,
	LATERAL idem_upsert(j.key, 'job', jsonb_build_object('id', 4, 'key', j.key)) WHERE j.id = 1;
SELECT outcome, replayed FROM job AS j,
	LATERAL idem_upsert(j.key, 'job', jsonb_build_object('id', 4, 'key', j.key)) WHERE j.id = 1;

-- Derived keys are stored and sent to others, so they must never change.  Each
-- is the first half of a SHA-256 digest, with the version, 8, and the variant
-- put in; digested is each part's length in four bytes and its UTF-8.  These
-- digests are a shell's: printf '\0\0\0\1a\0\0\0\2bc' | sha256sum | cut -c 1-32
CREATE TABLE vector (parts text[], digest text);
INSERT INTO vector VALUES
	('{a}', '72ff6b02949dad95006c343e3db31500'),
	('{a,bc}', 'b534ce16ac9c8b36823f39a395ce8e0e'),
	('{ab,c}', 'f2939f903016e5bb29b1e4a61cdbd376'),
	('{abc}', 'd04b72a650ce0f8ce4963330a53ee283'),
	('{abc,""}', '2ddb14a1438cb06f0658085e174f50ef'),
	('{"",abc}', 'c3494ca1a2cf8eeb8a11ded316fb55b8'),
	('{""}', 'df3f619804a92fdb4057192dc43dd748'),
	(ARRAY[convert_from('\xc3a4', 'UTF8')], '01e812b68f232911362a0e00e94545a8');
SELECT key, key = concat_ws('-', substr(digest, 1, 8), substr(digest, 9, 4),
							'8' || substr(digest, 14, 3),
							translate(substr(digest, 17, 1), '01234567cdef', '89ab89ab89ab')
							|| substr(digest, 18, 3), substr(digest, 21)) AS as_digested
FROM vector, idem_derive_key(VARIADIC parts) AS key;

-- Parts count by their bytes and their order, and by where one ends: however
-- they are cut, the keys differ.
SELECT count(*) AS lists, count(DISTINCT idem_derive_key(VARIADIC parts)) AS keys
FROM (VALUES (ARRAY['order', '17']), ('{17,order}'), ('{order17}'), ('{"order,17"}'), ('{order,17,""}'),
	('{"",order,17}'), ('{order,"",17}'), ('{"order ",17}'), ('{Order,17}'), ('{order,1,7}'),
	(ARRAY[E'order\001', '17'])) AS v(parts);

-- The same array is the same list, whatever its lower bound; and a part is
-- itself, stored in the row or outside it, compressed or not.
SELECT idem_derive_key(VARIADIC '[5:6]={a,bc}') = idem_derive_key('a', 'bc') AS same;
CREATE TABLE long (part text);
INSERT INTO long VALUES (repeat('long', 100000));
ALTER TABLE long ALTER part SET STORAGE EXTERNAL;
INSERT INTO long VALUES (repeat('long', 100000));
SELECT idem_derive_key('a', part) FROM long;

-- A database in another encoding makes the same keys.
SELECT current_database() AS home \gset
CREATE DATABASE regress_idem_latin1 TEMPLATE template0
	ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_idem_latin1
SET client_min_messages = warning;
CREATE EXTENSION idem;
SELECT octet_length(a_umlaut), idem_derive_key(a_umlaut), idem_derive_key('a', 'bc')
FROM convert_from('\xc3a4', 'UTF8') AS a_umlaut;
\c :home
DROP DATABASE regress_idem_latin1;
SET client_min_messages = warning;
SET search_path = idem_test_new_key, public;

-- As it is immutable, a key may be derived by a generated column or an index.
CREATE TABLE invoice (number int, year int,
	key text GENERATED ALWAYS AS (idem_derive_key('invoice', year::text, number::text)) STORED);
CREATE UNIQUE INDEX ON invoice (idem_derive_key(year::text, number::text));
INSERT INTO invoice VALUES (1, 2024), (12, 2024), (2, 20241);
INSERT INTO invoice VALUES (12, 2024);
SELECT count(DISTINCT key) FROM invoice;

-- No null passes silently, and there must be something to make a key of.
SELECT idem_derive_key(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_derive_key('a', NULL, 'c');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_derive_key(VARIADIC NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT idem_derive_key(VARIADIC '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_derive_key(VARIADIC '{{a,b},{c,d}}');
\echo :LAST_ERROR_SQLSTATE

DELETE FROM idem_key WHERE key IN (SELECT key FROM job);
DROP SCHEMA idem_test_new_key CASCADE;
