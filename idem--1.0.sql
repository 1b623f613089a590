/* idem--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION idem" to load this file. \quit

--
-- Keys
--

CREATE TYPE @extschema@.idem_outcome AS ENUM (
	'inserted', 'updated', 'unchanged', 'executed', 'claimed',
	'in_progress', 'completed', 'failed', 'applied', 'noop'
);
COMMENT ON TYPE @extschema@.idem_outcome IS
'what came of a call, and what its key says of it';

-- Columns of fixed width first, which saves the padding between them.
CREATE TABLE @extschema@.idem_key (
	created_at timestamp with time zone NOT NULL,
	expires_at timestamp with time zone NOT NULL,
	fence bigint NOT NULL,
	fingerprint bigint,
	lease_until timestamp with time zone,
	outcome @extschema@.idem_outcome NOT NULL,
	scope text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	claimed_by text NOT NULL,
	response jsonb,
	CONSTRAINT idem_key_pkey PRIMARY KEY (scope, key)
) WITH (
	-- rows come, stay for the time they are kept, and go: by the thousand, not
	-- by the share of a table that may hold a day of them
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX idem_key_expires_at_idx ON @extschema@.idem_key (expires_at);

COMMENT ON TABLE @extschema@.idem_key IS
'idempotency keys, and what the calls that used them came to';
COMMENT ON COLUMN @extschema@.idem_key.scope IS
'namespace of the key, such as a tenant';
COMMENT ON COLUMN @extschema@.idem_key.key IS
'idempotency key, chosen by the client';
COMMENT ON COLUMN @extschema@.idem_key.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_key.fingerprint IS
'digest of the request, to tell a retry from another request';
COMMENT ON COLUMN @extschema@.idem_key.response IS
'what a retry is answered';
COMMENT ON COLUMN @extschema@.idem_key.fence IS
'how often the key was claimed anew before its row was purged, counted from 1';
COMMENT ON COLUMN @extschema@.idem_key.claimed_by IS
'name of the role that used the key';
COMMENT ON COLUMN @extschema@.idem_key.created_at IS
'when the key was claimed';
COMMENT ON COLUMN @extschema@.idem_key.expires_at IS
'from when on the key counts as never used';
COMMENT ON COLUMN @extschema@.idem_key.lease_until IS
'until when a claim is held; null for a call that ran in one transaction';

-- Whoever installs idem may dump the keys, even where a superuser owns them.
REVOKE ALL ON TABLE @extschema@.idem_key FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_key TO @extowner@;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_key', '');

CREATE FUNCTION @extschema@.idem_upsert(
	key text, target regclass, data jsonb,
	conflict text[] DEFAULT NULL, expected_version bigint DEFAULT NULL,
	scope text DEFAULT '', ttl interval DEFAULT NULL,
	OUT outcome @extschema@.idem_outcome, OUT replayed boolean,
	OUT result jsonb)
AS 'MODULE_PATHNAME', 'idem_upsert'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_upsert(text, regclass, jsonb, text[],
	bigint, text, interval) IS
'insert or update a row of a table once per key, and replay the result';


CREATE FUNCTION @extschema@.idem_upsert_met(changes boolean)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_upsert_met'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_upsert_met(boolean) IS
'for the statements of idem_upsert: notes that the row was there already';
