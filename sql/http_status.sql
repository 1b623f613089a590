-- The status of HTTP that an error means.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_http_status;
SET search_path = idem_test_http_status, public;
\set SHOW_CONTEXT never

SELECT provolatile, proparallel, proisstrict FROM pg_proc WHERE proname = 'idem_http_status';

-- idem's own
SELECT code, idem_http_status(code)
FROM unnest('{ID001, ID002, ID003, ID201, ID202, ID203, ID204, ID205, ID301, ID302, ID401}'::text[]) AS code;

-- PostgreSQL's, a code before its class
SELECT idem_http_status(code) AS status, string_agg(code, ' ' ORDER BY code)
FROM unnest('{00000, 01000, 02000, P0002, P0001, 22000, 22001, 22003, 22004, 22007, 22021, 22023, 2202E, 22P02, 22P05,
	23000, 23001, 23502, 23503, 23505, 23514, 23P01, 42501, 42703, 44000,
	08000, 08003, 08006, 08P01, 25006, 25P03, 25P04, 40000, 40001, 40002, 40003, 40P01, 53000, 53100, 53200, 53300,
	53400, 55P03, 57000, 57014, 57P01, 57P02, 57P03, 57P04, 57P05,
	0A000, 21000, 25001, 25P01, 25P02, 26000, 27000, 28000, 28P01, 38000, 39P01, 3F000, 42601, 42883, 42P01, 42P10,
	54000, 54001, 55000, 55006, 58000, 58030, F0000, HV000, P0000, P0003, P0004, XX000, XX001, ID999, ZZZZZ}'::text[]) AS code
GROUP BY 1 ORDER BY 1;

-- A function may choose the status itself.
SELECT code, idem_http_status(code)
FROM unnest('{PT400, PT402, PT418, PT503, PT599, PT600, PT399, PT200, PT4A2, PTX00}'::text[]) AS code;

-- What the status is wanted for: the errors themselves
CREATE TABLE item (id int PRIMARY KEY, quantity int NOT NULL CHECK (quantity > 0), item int REFERENCES item);
CREATE FUNCTION status(command text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN idem_http_status('00000');
EXCEPTION WHEN OTHERS THEN
	RETURN idem_http_status(SQLSTATE);
END $$;
SELECT status, command
FROM unnest(ARRAY[
	$$SELECT idem_upsert('http-status', 'item', '{"id": 1, "quantity": 1}')$$,
	$$SELECT idem_upsert('http-status', 'item', '{"id": 1, "quantity": 2}')$$,
	$$SELECT idem_upsert(NULL, 'item', '{"id": 1, "quantity": 2}')$$,
	$$SELECT idem_upsert('http-status-2', 'item', '{"id": 1, "quantity": 2, "colour": "red"}')$$,
	$$SELECT idem_upsert('http-status-2', 'item', '{"id": 1, "quantity": 0}')$$,
	$$SELECT idem_upsert('http-status-2', 'item', '{"id": 1, "quantity": "many"}')$$,
	$$SELECT idem_upsert('http-status-2', 'item', '{"id": 1, "quantity": 1, "item": 7}')$$,
	$$SELECT idem_update('item', 7, '{"quantity": 3}')$$,
	$$SELECT idem_complete('http-status-none', '1', 1)$$,
	$$SELECT idem_http_key('"open')$$,
	$$SELECT nobody.knows()$$
	]) WITH ORDINALITY AS c(command, n), status(command) ORDER BY n;

-- What is no SQLSTATE is refused: a name or a message would all be 500.
SELECT idem_http_status('unique_violation');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_http_status('id001');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_http_status('');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_http_status(E'4000\u0131');
\echo :LAST_ERROR_SQLSTATE
-- A client library has no SQLSTATE for errors of its own.
SELECT idem_http_status(NULL);
\echo :LAST_ERROR_SQLSTATE

DELETE FROM idem_key WHERE key LIKE 'http-status%';
DROP SCHEMA idem_test_http_status CASCADE;
