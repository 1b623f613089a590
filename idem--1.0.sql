/* idem--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION idem" to load this file. \quit

--
-- Contents
--
--   Outcomes and roles   types idem_outcome, idem_role
--   Keys                 tables idem_key, idem_key_range; idem_lookup, idem_wait,
--                        idem_forget, idem_forget_scope, idem_new_key, idem_derive_key
--   Scopes               table idem_scope; idem_scope_define, idem_scope_drop
--   Upserts              idem_upsert, idem_upsert_batch
--   Updates              idem_update
--   Statements           idem_execute
--   Transactions         idem_begin
--   Claims               idem_claim, idem_complete, idem_fail, idem_release,
--                        idem_extend, idem_checkpoint, idem_checkpoints
--   State machines       type order_status; tables idem_machine, idem_machine_edge;
--                        idem_machine_define, idem_machine_drop, idem_machine_graph,
--                        idem_attach, idem_detach, idem_lifecycle, idem_version,
--                        idem_allowed
--   Transitions          order_transition, idem_transition, idem_transition_batch
--   History              type idem_table; table idem_history; idem_history
--   Consumers            tables idem_consumer, idem_message, idem_offset;
--                        idem_consumer_define, idem_consumer_drop, idem_consume,
--                        idem_consume_batch, idem_seen, idem_advance, idem_offset
--   Stores               idem_store_create
--   Outbox               tables idem_outbox, idem_outbox_era, idem_outbox_position;
--                        idem_emit, idem_outbox_read, idem_outbox_leave
--   HTTP                 idem_http_key, idem_http_status
--   Sagas                tables idem_saga, idem_saga_step; views idem_saga_status,
--                        idem_saga_work; idem_saga_start, idem_saga_claim,
--                        idem_saga_done, idem_saga_fail, idem_saga_do,
--                        idem_saga_cancel, idem_saga_resolve, idem_barrier
--   Testing              idem_check
--   Purging              idem_purge, idem_worker_start, idem_worker_stop
--   Figures              views idem_stats, idem_health, idem_claims;
--                        idem_stats_reset, idem_audit
--   Other types          the same functions for keys as uuid, for states as text
--                        and as an enum
--   Internal             what only idem's own statements and tables call
--   Rights               who owns all this
--
-- Each object is followed by its comment and, if PUBLIC may not use it as it may
-- any of its kind, by its rights.  Names that begin with an underscore are internal;
-- a function that a type, a cast or an index is made of stands with that.
--

-- What is there when this script begins: for the rights, at the end.
SELECT pg_catalog.set_config('idem_script.present', COALESCE((
	SELECT pg_catalog.array_agg(pg_catalog.format('%s/%s', d.classid, d.objid))
	FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_depend AS d ON d.refobjid OPERATOR(pg_catalog.=) e.oid
			AND d.refclassid OPERATOR(pg_catalog.=) e.tableoid
	WHERE e.extname OPERATOR(pg_catalog.=) 'idem' AND d.deptype OPERATOR(pg_catalog.=) 'e'
)::pg_catalog.text, '{}'), true);

--
-- Outcomes and roles
--

CREATE TYPE @extschema@.idem_outcome AS ENUM (
	'inserted', 'updated', 'unchanged', 'executed', 'claimed',
	'in_progress', 'abandoned', 'completed', 'failed', 'applied', 'noop'
);
COMMENT ON TYPE @extschema@.idem_outcome IS
'what came of a call, and what its key says of it';

-- A role, kept by its OID and written by its name.
CREATE TYPE @extschema@.idem_role;
CREATE FUNCTION @extschema@._idem_role_in(cstring) RETURNS @extschema@.idem_role
AS 'MODULE_PATHNAME', 'idem_role_in' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_role_in(cstring) IS 'I/O';
CREATE FUNCTION @extschema@._idem_role_out(@extschema@.idem_role) RETURNS cstring
AS 'MODULE_PATHNAME', 'idem_role_out' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_role_out(@extschema@.idem_role) IS 'I/O';
CREATE FUNCTION @extschema@._idem_role_recv(internal) RETURNS @extschema@.idem_role
AS 'MODULE_PATHNAME', 'idem_role_recv' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_role_recv(internal) IS 'I/O';
CREATE FUNCTION @extschema@._idem_role_send(@extschema@.idem_role) RETURNS bytea
AS 'MODULE_PATHNAME', 'idem_role_send' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_role_send(@extschema@.idem_role) IS 'I/O';
CREATE TYPE @extschema@.idem_role (
	INPUT = @extschema@._idem_role_in, OUTPUT = @extschema@._idem_role_out,
	RECEIVE = @extschema@._idem_role_recv, SEND = @extschema@._idem_role_send,
	LIKE = pg_catalog.oid
);
COMMENT ON TYPE @extschema@.idem_role IS
'role to which something belongs: follows a role that is renamed, and is empty once it is dropped';
CREATE CAST (@extschema@.idem_role AS oid) WITHOUT FUNCTION;
COMMENT ON CAST (@extschema@.idem_role AS oid) IS 'OID of the role';
CREATE CAST (oid AS @extschema@.idem_role) WITHOUT FUNCTION;
COMMENT ON CAST (oid AS @extschema@.idem_role) IS 'role with that OID';

--
-- Keys
--

-- Columns of fixed width first, which saves the padding between them.
CREATE TABLE @extschema@.idem_key (
	created_at timestamp with time zone NOT NULL,
	expires_at timestamp with time zone NOT NULL,
	fence bigint NOT NULL,
	lease_until timestamp with time zone,
	fingerprint uuid,
	outcome @extschema@.idem_outcome NOT NULL,
	claimed_by @extschema@.idem_role NOT NULL,
	scope text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	response jsonb,
	request jsonb,
	sqlstate text COLLATE "C",
	checkpoints jsonb,
	-- the key first, which tells more: most comparisons end there
	CONSTRAINT idem_key_pkey PRIMARY KEY (key, scope)
) WITH (
	-- rows come, stay for the time they are kept, and go: by the thousand, not
	-- by the share of a table that may hold a day of them
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
-- An answer of some kilobytes is compressed in a third of the time that pglz takes.
-- A server that was built without lz4 keeps to its default.
DO $do$
BEGIN
	ALTER TABLE @extschema@.idem_key
		ALTER COLUMN response SET COMPRESSION lz4,
		ALTER COLUMN request SET COMPRESSION lz4,
		ALTER COLUMN checkpoints SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END
$do$;
COMMENT ON TABLE @extschema@.idem_key IS
'idempotency keys, and what the calls that used them came to';
COMMENT ON COLUMN @extschema@.idem_key.scope IS
'namespace of the key, such as a tenant';
COMMENT ON COLUMN @extschema@.idem_key.key IS
'idempotency key, chosen by the client';
COMMENT ON COLUMN @extschema@.idem_key.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_key.fingerprint IS
'digest of the request, 128 bits of a SHA-256, to tell a retry from another request';
COMMENT ON COLUMN @extschema@.idem_key.response IS
'what a retry is answered';
COMMENT ON COLUMN @extschema@.idem_key.fence IS
'how often the key was claimed anew before its row was purged, counted from 1';
COMMENT ON COLUMN @extschema@.idem_key.request IS
'what a claim under a lease was made for';
COMMENT ON COLUMN @extschema@.idem_key.sqlstate IS
'of the error that a call is remembered to have failed with; null for all else';
COMMENT ON COLUMN @extschema@.idem_key.checkpoints IS
'steps that the holders of a claim have recorded, in that order';
COMMENT ON COLUMN @extschema@.idem_key.claimed_by IS
'role that used the key, whose members may know of it';
COMMENT ON COLUMN @extschema@.idem_key.created_at IS
'when the key was claimed';
COMMENT ON COLUMN @extschema@.idem_key.expires_at IS
'from when on the key counts as never used';
COMMENT ON COLUMN @extschema@.idem_key.lease_until IS
'until when a claim is held; -infinity once it is answered, null where no call has had a lease';
REVOKE ALL ON TABLE @extschema@.idem_key FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_key', '');

-- What purging knows of idem_key, which no index leads to what has expired in: one
-- would have to be written with each key, and again where a claim is completed.  It is
-- neither dumped nor replicated, and empty after a crash, since it tells of one file
-- on one server.
CREATE UNLOGGED TABLE @extschema@.idem_key_range (
	visited_at timestamp with time zone NOT NULL,
	purge_at timestamp with time zone NOT NULL,
	lease_since timestamp with time zone,
	lease_until timestamp with time zone,
	file oid NOT NULL,
	range integer NOT NULL,
	blocks integer NOT NULL
);
COMMENT ON TABLE @extschema@.idem_key_range IS
'what purging has seen in each range of 128 blocks of idem_key; the latest row of a range counts';
COMMENT ON COLUMN @extschema@.idem_key_range.file IS
'file of idem_key that the range is of: pg_class.relfilenode';
COMMENT ON COLUMN @extschema@.idem_key_range.range IS
'number of the range, from 0';
COMMENT ON COLUMN @extschema@.idem_key_range.blocks IS
'how many blocks it had';
COMMENT ON COLUMN @extschema@.idem_key_range.visited_at IS
'when the range was last read';
COMMENT ON COLUMN @extschema@.idem_key_range.purge_at IS
'when there will be enough to purge in it for a visit to pay; infinity if never';
COMMENT ON COLUMN @extschema@.idem_key_range.lease_until IS
'end of the lease that ends first, of those of open claims; null if there are none';
COMMENT ON COLUMN @extschema@.idem_key_range.lease_since IS
'when that claim was made';
REVOKE ALL ON TABLE @extschema@.idem_key_range FROM PUBLIC;

CREATE TYPE @extschema@.idem_lookup_result AS (
	outcome @extschema@.idem_outcome,
	response jsonb,
	fence bigint,
	created_at timestamp with time zone,
	expires_at timestamp with time zone,
	lease_until timestamp with time zone,
	request jsonb
);
COMMENT ON TYPE @extschema@.idem_lookup_result IS
'what idem_lookup() and idem_wait() answer';
COMMENT ON COLUMN @extschema@.idem_lookup_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_lookup_result.response IS
'what a retry is answered; the last checkpoint of a claim that is in progress or abandoned';
COMMENT ON COLUMN @extschema@.idem_lookup_result.fence IS
'number of the claim';
COMMENT ON COLUMN @extschema@.idem_lookup_result.created_at IS
'when the key was claimed';
COMMENT ON COLUMN @extschema@.idem_lookup_result.expires_at IS
'from when on the key counts as never used';
COMMENT ON COLUMN @extschema@.idem_lookup_result.lease_until IS
'until when the claim is held, or was';
COMMENT ON COLUMN @extschema@.idem_lookup_result.request IS
'what a claim under a lease was made for';

CREATE FUNCTION @extschema@.idem_lookup(
	key text, scope text DEFAULT NULL)
RETURNS @extschema@.idem_lookup_result
AS 'MODULE_PATHNAME', 'idem_lookup'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_lookup(text, text) IS
'tell what came of a key, as committed now; all null if it was not used, or has expired';

CREATE FUNCTION @extschema@.idem_wait(
	key text, timeout interval, scope text DEFAULT NULL)
RETURNS @extschema@.idem_lookup_result
AS 'MODULE_PATHNAME', 'idem_wait'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_wait(text, interval, text) IS
'wait until the key is in progress no longer, for a minute at most, then tell what came of it as idem_lookup() does';

CREATE FUNCTION @extschema@.idem_forget(
	key text, scope text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_forget'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_forget(text, text) IS
'erase what is remembered of a key, as if it had never been used; false if there is nothing';

CREATE TYPE @extschema@.idem_forget_scope_result AS (
	forgotten bigint,
	in_use bigint
);
COMMENT ON TYPE @extschema@.idem_forget_scope_result IS
'what idem_forget_scope() answers';
COMMENT ON COLUMN @extschema@.idem_forget_scope_result.forgotten IS
'number of keys that were forgotten';
COMMENT ON COLUMN @extschema@.idem_forget_scope_result.in_use IS
'number of keys that were left, since a claim or another transaction had them';

CREATE FUNCTION @extschema@.idem_forget_scope(
	scope text, max_rows bigint DEFAULT NULL)
RETURNS @extschema@.idem_forget_scope_result
AS 'MODULE_PATHNAME', 'idem_forget_scope'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_forget_scope(text, bigint) IS
'erase what is remembered of all keys of a scope, or of so many, and tell how many were in use';

CREATE FUNCTION @extschema@.idem_new_key()
RETURNS text
AS 'MODULE_PATHNAME', 'idem_new_key'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.idem_new_key() IS
'a key that nobody has, a version 7 UUID that sorts after those made before in the session';

CREATE FUNCTION @extschema@.idem_derive_key(VARIADIC parts text[])
RETURNS text
AS 'MODULE_PATHNAME', 'idem_derive_key'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.idem_derive_key(text[]) IS
'the key that the same parts always give, a version 8 UUID made of their SHA-256 digest';

--
-- Scopes
--

CREATE TABLE @extschema@.idem_scope (
	scope text COLLATE "C" NOT NULL,
	owner @extschema@.idem_role NOT NULL,
	CONSTRAINT idem_scope_pkey PRIMARY KEY (scope)
);
COMMENT ON TABLE @extschema@.idem_scope IS
'scopes of keys that are some role''s own; others are for all';
COMMENT ON COLUMN @extschema@.idem_scope.scope IS
'scope of keys, such as a tenant';
COMMENT ON COLUMN @extschema@.idem_scope.owner IS
'role that defined it, whose members alone may use keys there';
REVOKE ALL ON TABLE @extschema@.idem_scope FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_scope', '');

CREATE FUNCTION @extschema@.idem_scope_define(scope text)
RETURNS void
AS 'MODULE_PATHNAME', 'idem_scope_define'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_scope_define(text) IS
'make a scope one''s own, so that only members of the role may use keys there';

CREATE FUNCTION @extschema@.idem_scope_drop(scope text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_scope_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_scope_drop(text) IS
'take the definition of a scope back, and leave its keys; false if there is none';

--
-- Upserts
--

CREATE TYPE @extschema@.idem_upsert_result AS (
	outcome @extschema@.idem_outcome,
	replayed boolean,
	result jsonb
);
COMMENT ON TYPE @extschema@.idem_upsert_result IS
'what idem_upsert() answers';
COMMENT ON COLUMN @extschema@.idem_upsert_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_upsert_result.replayed IS
'whether the call was made before, and this is the answer it got then';
COMMENT ON COLUMN @extschema@.idem_upsert_result.result IS
'the row as it then was; or the error that is remembered';

CREATE FUNCTION @extschema@.idem_upsert(
	key text, target regclass, data jsonb,
	conflict text[] DEFAULT NULL, expected_version bigint DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	merge jsonb DEFAULT NULL, remember_errors text[] DEFAULT NULL,
	wait boolean DEFAULT true, store_response boolean DEFAULT true)
RETURNS @extschema@.idem_upsert_result
AS 'MODULE_PATHNAME', 'idem_upsert'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_upsert(text, regclass, jsonb, text[],
	bigint, text, interval, jsonb, text[], boolean, boolean) IS
'insert or update a row of a table once per key, and replay the result';

CREATE TYPE @extschema@.idem_upsert_batch_result AS (
	ordinal bigint,
	key text,
	outcome @extschema@.idem_outcome,
	replayed boolean,
	result jsonb
);
COMMENT ON TYPE @extschema@.idem_upsert_batch_result IS
'what idem_upsert_batch() answers for each key';
COMMENT ON COLUMN @extschema@.idem_upsert_batch_result.ordinal IS
'place of the key among those given, from 1';
COMMENT ON COLUMN @extschema@.idem_upsert_batch_result.key IS
'the key';
COMMENT ON COLUMN @extschema@.idem_upsert_batch_result.outcome IS
'what came of its upsert';
COMMENT ON COLUMN @extschema@.idem_upsert_batch_result.replayed IS
'whether the upsert was made before, and this is the answer of then';
COMMENT ON COLUMN @extschema@.idem_upsert_batch_result.result IS
'the row as it then was';

CREATE FUNCTION @extschema@.idem_upsert_batch(
	keys anycompatiblearray, target regclass, data jsonb[],
	conflict text[] DEFAULT NULL, scope text DEFAULT NULL,
	ttl interval DEFAULT NULL, merge jsonb DEFAULT NULL)
RETURNS SETOF @extschema@.idem_upsert_batch_result
AS 'MODULE_PATHNAME', 'idem_upsert_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_upsert_batch(anycompatiblearray, regclass, jsonb[],
	text[], text, interval, jsonb) IS
'insert or update rows of a table, each once per key of its own, all or none, and replay the results';

--
-- Updates
--

CREATE TYPE @extschema@.idem_update_result AS (
	outcome @extschema@.idem_outcome,
	replayed boolean,
	result jsonb,
	version bigint
);
COMMENT ON TYPE @extschema@.idem_update_result IS
'what idem_update() answers';
COMMENT ON COLUMN @extschema@.idem_update_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_update_result.replayed IS
'whether the call was made before, and this is the answer it got then';
COMMENT ON COLUMN @extschema@.idem_update_result.result IS
'the row as it then was';
COMMENT ON COLUMN @extschema@.idem_update_result.version IS
'version of the row';

-- One for each type that an id may have.
CREATE FUNCTION @extschema@.idem_update(target regclass, id text, patch jsonb,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS @extschema@.idem_update_result AS 'MODULE_PATHNAME', 'idem_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_update(regclass, text, jsonb, bigint, text, text,
	interval) IS
'set some columns of a row, if it has the version expected, once per key if one is given';
CREATE FUNCTION @extschema@.idem_update(target regclass, id bigint, patch jsonb,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS @extschema@.idem_update_result AS 'MODULE_PATHNAME', 'idem_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_update(regclass, bigint, jsonb, bigint, text,
	text, interval) IS
'set some columns of a row, if it has the version expected, once per key if one is given';
CREATE FUNCTION @extschema@.idem_update(target regclass, id uuid, patch jsonb,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS @extschema@.idem_update_result AS 'MODULE_PATHNAME', 'idem_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_update(regclass, uuid, jsonb, bigint, text, text,
	interval) IS
'set some columns of a row, if it has the version expected, once per key if one is given';
CREATE FUNCTION @extschema@.idem_update(target regclass, id jsonb, patch jsonb,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS @extschema@.idem_update_result AS 'MODULE_PATHNAME', 'idem_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_update(regclass, jsonb, jsonb, bigint, text, text,
	interval) IS
'set some columns of a row, if it has the version expected, once per key if one is given';

--
-- Statements
--

CREATE TYPE @extschema@.idem_execute_result AS (
	outcome @extschema@.idem_outcome,
	replayed boolean,
	result jsonb,
	processed bigint
);
COMMENT ON TYPE @extschema@.idem_execute_result IS
'what idem_execute() answers';
COMMENT ON COLUMN @extschema@.idem_execute_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_execute_result.replayed IS
'whether the call was made before, and this is the answer it got then';
COMMENT ON COLUMN @extschema@.idem_execute_result.result IS
'the rows of the statement, null if it returns none; or the error that is remembered';
COMMENT ON COLUMN @extschema@.idem_execute_result.processed IS
'number of rows that the command processed; null if it was not run, or that is not kept';

CREATE FUNCTION @extschema@.idem_execute(
	key text, command text, params jsonb DEFAULT '[]',
	scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	remember_errors text[] DEFAULT NULL, wait boolean DEFAULT true,
	store_response boolean DEFAULT true)
RETURNS @extschema@.idem_execute_result
AS 'MODULE_PATHNAME', 'idem_execute'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_execute(text, text, jsonb, text,
	interval, text[], boolean, boolean) IS
'run a statement once per key, and replay its rows';

--
-- Transactions
--

CREATE FUNCTION @extschema@.idem_begin(key text, scope text DEFAULT NULL,
	ttl interval DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_begin'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_begin(text, text, interval) IS
'make the transaction one request: sent again under the key, its writes do not run again, and all is answered as the first time';

--
-- Claims
--

CREATE TYPE @extschema@.idem_claim_result AS (
	outcome @extschema@.idem_outcome,
	response jsonb,
	fence bigint,
	expires_at timestamp with time zone,
	lease_until timestamp with time zone
);
COMMENT ON TYPE @extschema@.idem_claim_result IS
'what idem_claim() answers';
COMMENT ON COLUMN @extschema@.idem_claim_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_claim_result.response IS
'what the claim was completed or failed with; the last checkpoint while it is in progress';
COMMENT ON COLUMN @extschema@.idem_claim_result.fence IS
'number of the claim, for its holder';
COMMENT ON COLUMN @extschema@.idem_claim_result.expires_at IS
'from when on the key counts as never used';
COMMENT ON COLUMN @extschema@.idem_claim_result.lease_until IS
'until when the claim is held';

CREATE FUNCTION @extschema@.idem_claim(
	key text, request jsonb DEFAULT NULL, lease interval DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	wait boolean DEFAULT true)
RETURNS @extschema@.idem_claim_result
AS 'MODULE_PATHNAME', 'idem_claim'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_claim(text, jsonb, interval, text,
	interval, boolean) IS
'claim a key for the transaction or under a lease, or tell what came of it';

CREATE FUNCTION @extschema@.idem_complete(
	key text, response jsonb, fence bigint DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_complete'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_complete(text, jsonb, bigint, text,
	interval) IS
'end a claim whose work is done; false if it has ended already';

CREATE FUNCTION @extschema@.idem_fail(
	key text, error jsonb, fence bigint DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_fail'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_fail(text, jsonb, bigint, text,
	interval) IS
'end a claim whose work is refused for good; false if it has ended already';

CREATE FUNCTION @extschema@.idem_release(
	key text, fence bigint DEFAULT NULL, scope text DEFAULT NULL,
	forget boolean DEFAULT false)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_release(text, bigint, text, boolean) IS
'give up a claim, so that its key can be claimed again at once, for the same request or, with forget, for any; false if it has ended already';

CREATE FUNCTION @extschema@.idem_extend(
	key text, fence bigint, lease interval, scope text DEFAULT NULL)
RETURNS timestamp with time zone
AS 'MODULE_PATHNAME', 'idem_extend'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_extend(text, bigint, interval, text) IS
'prolong a claim''s lease, from now on, and return until when it is held, never earlier than before';

CREATE FUNCTION @extschema@.idem_checkpoint(
	key text, fence bigint, name text, data jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'idem_checkpoint'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_checkpoint(text, bigint, text, jsonb,
	text) IS
'record how far the holder of a claim has come, for the session that takes it over';

CREATE TYPE @extschema@.idem_checkpoints_result AS (
	name text,
	data jsonb,
	recorded_at timestamp with time zone
);
COMMENT ON TYPE @extschema@.idem_checkpoints_result IS
'what idem_checkpoints() answers';
COMMENT ON COLUMN @extschema@.idem_checkpoints_result.name IS
'what had been reached';
COMMENT ON COLUMN @extschema@.idem_checkpoints_result.data IS
'what the next holder needs to go on; null if none was given';
COMMENT ON COLUMN @extschema@.idem_checkpoints_result.recorded_at IS
'when it was recorded, the last time';

CREATE FUNCTION @extschema@.idem_checkpoints(
	key text, scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_checkpoints_result
AS 'MODULE_PATHNAME', 'idem_checkpoints'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.idem_checkpoints(text, text) IS
'return the steps that the holders of a claim have recorded, in that order, as committed now';

--
-- State machines
--

CREATE TYPE @extschema@.order_status AS ENUM (
	'PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED'
);
COMMENT ON TYPE @extschema@.order_status IS
'states of an order, each of which leads to the next only';

-- The machine that comes with idem is not among them: the library knows it, and
-- a row of its name takes its place.  So what is dumped, or replicated, meets
-- nothing where it arrives, and a later version of idem nothing of the user's.
CREATE TABLE @extschema@.idem_machine (
	name text COLLATE "C" NOT NULL,
	initial text COLLATE "C" NOT NULL,
	states text[] COLLATE "C" NOT NULL DEFAULT '{}',
	owner @extschema@.idem_role NOT NULL
		DEFAULT CAST(CAST(CURRENT_USER AS text) AS @extschema@.idem_role),
	CONSTRAINT idem_machine_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE @extschema@.idem_machine IS
'state machines that have been defined; order, which comes with idem, need not be';
COMMENT ON COLUMN @extschema@.idem_machine.name IS
'name of the state machine';
COMMENT ON COLUMN @extschema@.idem_machine.initial IS
'state that a row begins in';
COMMENT ON COLUMN @extschema@.idem_machine.states IS
'all states, those that a row reaches first first';
COMMENT ON COLUMN @extschema@.idem_machine.owner IS
'role that defined the state machine, and may change it; empty once it was dropped';
REVOKE ALL ON TABLE @extschema@.idem_machine FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_machine TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_machine', '');

-- No foreign key: pg_restore --jobs fills both tables at once, while the
-- constraint of an extension would be there beforehand.
CREATE TABLE @extschema@.idem_machine_edge (
	machine text COLLATE "C" NOT NULL,
	from_state text COLLATE "C" NOT NULL,
	to_state text COLLATE "C" NOT NULL,
	guard text,
	CONSTRAINT idem_machine_edge_pkey
		PRIMARY KEY (machine, from_state, to_state)
);
COMMENT ON TABLE @extschema@.idem_machine_edge IS
'transitions that state machines allow';
COMMENT ON COLUMN @extschema@.idem_machine_edge.machine IS
'name of the state machine';
COMMENT ON COLUMN @extschema@.idem_machine_edge.from_state IS
'state that a row may leave';
COMMENT ON COLUMN @extschema@.idem_machine_edge.to_state IS
'state that it may go to';
COMMENT ON COLUMN @extschema@.idem_machine_edge.guard IS
'function that decides about each row, with its schema and the types of its arguments; null: every row may go';
REVOKE ALL ON TABLE @extschema@.idem_machine_edge FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_machine_edge TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_machine_edge', '');

CREATE FUNCTION @extschema@.idem_machine_define(
	name text, initial text, transitions jsonb, force boolean DEFAULT false)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_machine_define'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_machine_define(text, text, jsonb,
	boolean) IS
'make or change a state machine; false if it is as described already';

CREATE FUNCTION @extschema@.idem_machine_drop(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_machine_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_machine_drop(text) IS
'drop a state machine that no table follows; false if there is none of that name';

CREATE FUNCTION @extschema@.idem_machine_graph(name text)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_machine_graph'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.idem_machine_graph(text) IS
'picture of a state machine as a Mermaid state diagram';

CREATE FUNCTION @extschema@.idem_attach(
	target regclass, machine text,
	status name DEFAULT 'status', version name DEFAULT 'version',
	history boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'idem_attach'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_attach(regclass, text, name, name,
	boolean) IS
'let a table follow a state machine, by a column that does not follow one yet';

CREATE FUNCTION @extschema@.idem_detach(
	target regclass, status name DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'idem_detach'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_detach(regclass, name) IS
'let a table no longer follow the state machine of a column, or any';

CREATE FUNCTION @extschema@.idem_lifecycle() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_lifecycle'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_lifecycle() IS
'trigger that validates changes of state, raises the version of each updated row, and where a history is kept records transitions and the state that rows begin in; its arguments are the state machine, the column with the state, and the column with the version';

CREATE FUNCTION @extschema@.idem_version() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_version'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_version() IS
'trigger that raises the version of each updated row; its argument is the column with the version';

-- One for each type that an id may have.
CREATE FUNCTION @extschema@.idem_allowed(target regclass, id text,
	note jsonb DEFAULT NULL, status name DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'idem_allowed' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION @extschema@.idem_allowed(regclass, text, jsonb, name) IS
'states that a row may go to now, by all machines that its table follows or by the one whose column is named';
CREATE FUNCTION @extschema@.idem_allowed(target regclass, id bigint,
	note jsonb DEFAULT NULL, status name DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'idem_allowed' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION @extschema@.idem_allowed(regclass, bigint, jsonb, name) IS
'states that a row may go to now, by all machines that its table follows or by the one whose column is named';
CREATE FUNCTION @extschema@.idem_allowed(target regclass, id uuid,
	note jsonb DEFAULT NULL, status name DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'idem_allowed' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION @extschema@.idem_allowed(regclass, uuid, jsonb, name) IS
'states that a row may go to now, by all machines that its table follows or by the one whose column is named';
CREATE FUNCTION @extschema@.idem_allowed(target regclass, id jsonb,
	note jsonb DEFAULT NULL, status name DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'idem_allowed' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION @extschema@.idem_allowed(regclass, jsonb, jsonb, name) IS
'states that a row may go to now, by all machines that its table follows or by the one whose column is named';

--
-- Transitions
--

CREATE TYPE @extschema@.idem_transition_result AS (
	outcome @extschema@.idem_outcome,
	replayed boolean,
	from_state text,
	to_state text,
	version bigint
);
COMMENT ON TYPE @extschema@.idem_transition_result IS
'what a transition of one row answers';
COMMENT ON COLUMN @extschema@.idem_transition_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_transition_result.replayed IS
'whether the call was made before, and this is the answer it got then';
COMMENT ON COLUMN @extschema@.idem_transition_result.from_state IS
'state that the row left';
COMMENT ON COLUMN @extschema@.idem_transition_result.to_state IS
'state that the row is in';
COMMENT ON COLUMN @extschema@.idem_transition_result.version IS
'version of the row';

-- One for each type that an id may have.
CREATE FUNCTION @extschema@.order_transition(target regclass, id text,
	new_status @extschema@.order_status, expected_version bigint DEFAULT NULL,
	key text DEFAULT NULL, scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	note jsonb DEFAULT NULL, expected_state text DEFAULT NULL,
	status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'order_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.order_transition(regclass, text,
	@extschema@.order_status, bigint, text, text, interval, jsonb, text, name) IS
'move an order to its next state, once per key if one is given';
CREATE FUNCTION @extschema@.order_transition(target regclass, id bigint,
	new_status @extschema@.order_status, expected_version bigint DEFAULT NULL,
	key text DEFAULT NULL, scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	note jsonb DEFAULT NULL, expected_state text DEFAULT NULL,
	status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'order_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.order_transition(regclass, bigint,
	@extschema@.order_status, bigint, text, text, interval, jsonb, text, name) IS
'move an order to its next state, once per key if one is given';
CREATE FUNCTION @extschema@.order_transition(target regclass, id uuid,
	new_status @extschema@.order_status, expected_version bigint DEFAULT NULL,
	key text DEFAULT NULL, scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	note jsonb DEFAULT NULL, expected_state text DEFAULT NULL,
	status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'order_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.order_transition(regclass, uuid,
	@extschema@.order_status, bigint, text, text, interval, jsonb, text, name) IS
'move an order to its next state, once per key if one is given';
CREATE FUNCTION @extschema@.order_transition(target regclass, id jsonb,
	new_status @extschema@.order_status, expected_version bigint DEFAULT NULL,
	key text DEFAULT NULL, scope text DEFAULT NULL, ttl interval DEFAULT NULL,
	note jsonb DEFAULT NULL, expected_state text DEFAULT NULL,
	status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'order_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.order_transition(regclass, jsonb,
	@extschema@.order_status, bigint, text, text, interval, jsonb, text, name) IS
'move the order with this primary key to its next state, once per key if one is given';

-- One for each type that an id may have.
CREATE FUNCTION @extschema@.idem_transition(target regclass, id text, to_state text,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL, note jsonb DEFAULT NULL,
	expected_state text DEFAULT NULL, status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'idem_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_transition(regclass, text, text, bigint, text,
	text, interval, jsonb, text, name) IS
'move a row to a state of the machine that its table follows, once per key if one is given';
CREATE FUNCTION @extschema@.idem_transition(target regclass, id bigint, to_state text,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL, note jsonb DEFAULT NULL,
	expected_state text DEFAULT NULL, status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'idem_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_transition(regclass, bigint, text, bigint, text,
	text, interval, jsonb, text, name) IS
'move a row to a state of the machine that its table follows, once per key if one is given';
CREATE FUNCTION @extschema@.idem_transition(target regclass, id uuid, to_state text,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL, note jsonb DEFAULT NULL,
	expected_state text DEFAULT NULL, status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'idem_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_transition(regclass, uuid, text, bigint, text,
	text, interval, jsonb, text, name) IS
'move a row to a state of the machine that its table follows, once per key if one is given';
CREATE FUNCTION @extschema@.idem_transition(target regclass, id jsonb, to_state text,
	expected_version bigint DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL, note jsonb DEFAULT NULL,
	expected_state text DEFAULT NULL, status name DEFAULT NULL)
RETURNS @extschema@.idem_transition_result AS 'MODULE_PATHNAME', 'idem_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_transition(regclass, jsonb, text, bigint, text,
	text, interval, jsonb, text, name) IS
'move the row with this primary key to a state of the machine that its table follows, once per key if one is given';

CREATE TYPE @extschema@.idem_transition_batch_result AS (
	id jsonb,
	outcome @extschema@.idem_outcome,
	replayed boolean,
	from_state text,
	to_state text,
	version bigint
);
COMMENT ON TYPE @extschema@.idem_transition_batch_result IS
'what a transition of several rows answers for each of them';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.id IS
'the id as it was given';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.outcome IS
'what came of the call';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.replayed IS
'whether the call was made before, and this is the answer it got then';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.from_state IS
'state that the row left';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.to_state IS
'state that the row is in';
COMMENT ON COLUMN @extschema@.idem_transition_batch_result.version IS
'version of the row';

-- An array without a type is text[]; the library looks at the type of its elements.
CREATE FUNCTION @extschema@.idem_transition_batch(
	target regclass, ids anycompatiblearray, to_state text,
	expected_versions bigint[] DEFAULT NULL, key text DEFAULT NULL,
	scope text DEFAULT NULL, ttl interval DEFAULT NULL, note jsonb DEFAULT NULL,
	expected_state text DEFAULT NULL, status name DEFAULT NULL)
RETURNS SETOF @extschema@.idem_transition_batch_result
AS 'MODULE_PATHNAME', 'idem_transition_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_transition_batch(regclass, anycompatiblearray,
	text, bigint[], text, text, interval, jsonb, text, name) IS
'move all of the rows with these primary keys, or none, to a state of the machine that their table follows, once per key if one is given';

--
-- History
--

-- Tables are known by OID, so that history follows a table that is renamed, and
-- is not inherited by another that takes its name; they travel by name, as the
-- tables of another server do.
CREATE TYPE @extschema@.idem_table;
CREATE FUNCTION @extschema@._idem_table_in(cstring) RETURNS @extschema@.idem_table
AS 'MODULE_PATHNAME', 'idem_table_in' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_in(cstring) IS 'I/O';
CREATE FUNCTION @extschema@._idem_table_out(@extschema@.idem_table) RETURNS cstring
AS 'MODULE_PATHNAME', 'idem_table_out' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_out(@extschema@.idem_table) IS 'I/O';
CREATE FUNCTION @extschema@._idem_table_recv(internal) RETURNS @extschema@.idem_table
AS 'MODULE_PATHNAME', 'idem_table_recv' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_recv(internal) IS 'I/O';
CREATE FUNCTION @extschema@._idem_table_send(@extschema@.idem_table) RETURNS bytea
AS 'MODULE_PATHNAME', 'idem_table_send' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_send(@extschema@.idem_table) IS 'I/O';
CREATE TYPE @extschema@.idem_table (
	INPUT = @extschema@._idem_table_in,
	OUTPUT = @extschema@._idem_table_out,
	RECEIVE = @extschema@._idem_table_recv,
	SEND = @extschema@._idem_table_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);
COMMENT ON TYPE @extschema@.idem_table IS
'table, by its OID where it is and by its name elsewhere';

CREATE FUNCTION @extschema@._idem_table_oid(@extschema@.idem_table)
RETURNS oid
AS 'MODULE_PATHNAME', 'idem_table_oid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_oid(@extschema@.idem_table) IS
'OID of a table; 0 if no table had the name that it came with';
CREATE CAST (@extschema@.idem_table AS oid)
	WITH FUNCTION @extschema@._idem_table_oid(@extschema@.idem_table) AS IMPLICIT;
COMMENT ON CAST (@extschema@.idem_table AS oid) IS
'to compare a table with a regclass';

CREATE FUNCTION @extschema@._idem_table_regclass(@extschema@.idem_table)
RETURNS regclass
AS 'MODULE_PATHNAME', 'idem_table_oid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_regclass(@extschema@.idem_table) IS
'a table, as a regclass';
CREATE CAST (@extschema@.idem_table AS regclass)
	WITH FUNCTION @extschema@._idem_table_regclass(@extschema@.idem_table);
COMMENT ON CAST (@extschema@.idem_table AS regclass) IS
'to group and to sort by tables';

CREATE FUNCTION @extschema@._idem_table_of(regclass)
RETURNS @extschema@.idem_table
AS 'MODULE_PATHNAME', 'idem_table_of'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_table_of(regclass) IS
'a table, as idem_history keeps it';
CREATE CAST (regclass AS @extschema@.idem_table)
	WITH FUNCTION @extschema@._idem_table_of(regclass) AS ASSIGNMENT;
COMMENT ON CAST (regclass AS @extschema@.idem_table) IS
'to bring in a history that was kept otherwise';

CREATE FUNCTION @extschema@._idem_history_place(
	@extschema@.idem_table, jsonb)
RETURNS bigint
AS 'MODULE_PATHNAME', 'idem_history_place'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_history_place(
	@extschema@.idem_table, jsonb) IS
'place of a row''s history in the index, next to that of other rows of its table';

-- The time first in the primary key: rows come in its order, and go in it.
CREATE TABLE @extschema@.idem_history (
	changed_at timestamp with time zone NOT NULL,
	id bigint GENERATED ALWAYS AS IDENTITY,
	version bigint NOT NULL,
	target @extschema@.idem_table NOT NULL,
	row_key jsonb NOT NULL,
	from_state text COLLATE "C",
	to_state text COLLATE "C" NOT NULL,
	changed_by text NOT NULL,
	scope text COLLATE "C",
	key text COLLATE "C",
	note jsonb,
	partition @extschema@.idem_table,
	status_column text COLLATE "C" NOT NULL,
	CONSTRAINT idem_history_pkey PRIMARY KEY (changed_at, id)
) WITH (
	-- may grow large, and is purged in its order
	autovacuum_vacuum_scale_factor = 0.02
);
CREATE INDEX idem_history_row_idx ON @extschema@.idem_history
	(@extschema@._idem_history_place(target, row_key));
COMMENT ON TABLE @extschema@.idem_history IS
'transitions of the rows of tables that keep a history, and the states that they began in';
COMMENT ON COLUMN @extschema@.idem_history.changed_at IS
'when the transition was made';
COMMENT ON COLUMN @extschema@.idem_history.id IS
'tells transitions of one moment apart';
COMMENT ON COLUMN @extschema@.idem_history.version IS
'version that the row has since';
COMMENT ON COLUMN @extschema@.idem_history.target IS
'table of the row; of a partition, the table that is partitioned';
COMMENT ON COLUMN @extschema@.idem_history.row_key IS
'primary key of the row, without the columns that hold state and version';
COMMENT ON COLUMN @extschema@.idem_history.from_state IS
'state that the row left; null if it had none, or was inserted';
COMMENT ON COLUMN @extschema@.idem_history.to_state IS
'state that the row went to';
COMMENT ON COLUMN @extschema@.idem_history.changed_by IS
'name of the role that made the transition';
COMMENT ON COLUMN @extschema@.idem_history.scope IS
'namespace of the key';
COMMENT ON COLUMN @extschema@.idem_history.key IS
'idempotency key of the call that made the transition';
COMMENT ON COLUMN @extschema@.idem_history.note IS
'what the call said of it';
COMMENT ON COLUMN @extschema@.idem_history.partition IS
'partition that the row was in then; null where the table was none';
COMMENT ON COLUMN @extschema@.idem_history.status_column IS
'column of the table that holds the state';
COMMENT ON SEQUENCE @extschema@.idem_history_id_seq IS
'tells transitions of one moment apart';
REVOKE ALL ON TABLE @extschema@.idem_history FROM PUBLIC;
REVOKE ALL ON SEQUENCE @extschema@.idem_history_id_seq FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_history', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_history_id_seq', '');

CREATE TYPE @extschema@.idem_history_entry AS (
	version bigint,
	from_state text,
	to_state text,
	changed_at timestamp with time zone,
	changed_by text,
	scope text,
	key text,
	note jsonb,
	status_column text
);
COMMENT ON TYPE @extschema@.idem_history_entry IS
'a transition that a row has made, or the state that it began in';
COMMENT ON COLUMN @extschema@.idem_history_entry.version IS
'version of the row';
COMMENT ON COLUMN @extschema@.idem_history_entry.from_state IS
'state that the row left; null if it had none, or was inserted';
COMMENT ON COLUMN @extschema@.idem_history_entry.to_state IS
'state that the row is in';
COMMENT ON COLUMN @extschema@.idem_history_entry.changed_at IS
'when the transition was made';
COMMENT ON COLUMN @extschema@.idem_history_entry.changed_by IS
'role that made it';
COMMENT ON COLUMN @extschema@.idem_history_entry.scope IS
'namespace of the key';
COMMENT ON COLUMN @extschema@.idem_history_entry.key IS
'idempotency key of the call that made it';
COMMENT ON COLUMN @extschema@.idem_history_entry.note IS
'what the call said of it';
COMMENT ON COLUMN @extschema@.idem_history_entry.status_column IS
'column that holds the state';

-- One for each type that an id may have.
CREATE FUNCTION @extschema@.idem_history(target regclass, id text)
RETURNS SETOF @extschema@.idem_history_entry AS 'MODULE_PATHNAME', 'idem_history'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_history(regclass, text) IS
'the transitions of a row of a table that keeps a history, oldest first';
CREATE FUNCTION @extschema@.idem_history(target regclass, id bigint)
RETURNS SETOF @extschema@.idem_history_entry AS 'MODULE_PATHNAME', 'idem_history'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_history(regclass, bigint) IS
'the transitions of a row of a table that keeps a history, oldest first';
CREATE FUNCTION @extschema@.idem_history(target regclass, id uuid)
RETURNS SETOF @extschema@.idem_history_entry AS 'MODULE_PATHNAME', 'idem_history'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_history(regclass, uuid) IS
'the transitions of a row of a table that keeps a history, oldest first';
CREATE FUNCTION @extschema@.idem_history(target regclass, id jsonb)
RETURNS SETOF @extschema@.idem_history_entry AS 'MODULE_PATHNAME', 'idem_history'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_history(regclass, jsonb) IS
'the transitions of a row of a table that keeps a history, oldest first';

--
-- Consumers
--

CREATE TABLE @extschema@.idem_consumer (
	ttl interval,
	consumer text COLLATE "C" NOT NULL,
	late text NOT NULL,
	owner @extschema@.idem_role NOT NULL,
	CONSTRAINT idem_consumer_pkey PRIMARY KEY (consumer),
	CONSTRAINT idem_consumer_late_check
		CHECK (late OPERATOR(pg_catalog.=) 'reject' OR late OPERATOR(pg_catalog.=) 'apply')
);
COMMENT ON TABLE @extschema@.idem_consumer IS
'consumers of messages that have been defined; others need not be';
COMMENT ON COLUMN @extschema@.idem_consumer.consumer IS
'name of the consumer';
COMMENT ON COLUMN @extschema@.idem_consumer.ttl IS
'how long its messages are remembered; null: for idem.ttl';
COMMENT ON COLUMN @extschema@.idem_consumer.late IS
'what becomes of a message that may have been forgotten: reject or apply';
COMMENT ON COLUMN @extschema@.idem_consumer.owner IS
'role that defined it, whose members may use it';
REVOKE ALL ON TABLE @extschema@.idem_consumer FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_consumer TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_consumer', '');

CREATE TABLE @extschema@.idem_message (
	expires_at timestamp with time zone NOT NULL,
	consumer text COLLATE "C" NOT NULL,
	message_id text COLLATE "C" NOT NULL,
	CONSTRAINT idem_message_pkey PRIMARY KEY (consumer, message_id)
) WITH (
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX idem_message_expires_at_idx
	ON @extschema@.idem_message (expires_at);
COMMENT ON TABLE @extschema@.idem_message IS
'messages that have been consumed';
COMMENT ON COLUMN @extschema@.idem_message.consumer IS
'name of the consumer';
COMMENT ON COLUMN @extschema@.idem_message.message_id IS
'what its sender or the broker calls the message';
COMMENT ON COLUMN @extschema@.idem_message.expires_at IS
'from when on the message counts as never consumed';
REVOKE ALL ON TABLE @extschema@.idem_message FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_message', '');

-- Each partition's row is updated all the time: in place, as long as its page
-- has room.
CREATE TABLE @extschema@.idem_offset (
	next_offset bigint NOT NULL,
	previous_offset bigint NOT NULL,
	first_offset bigint NOT NULL,
	epoch bigint,
	updated_at timestamp with time zone NOT NULL,
	"partition" integer NOT NULL,
	consumer text COLLATE "C" NOT NULL,
	topic text COLLATE "C" NOT NULL,
	CONSTRAINT idem_offset_pkey PRIMARY KEY (consumer, topic, "partition")
) WITH (fillfactor = 50);
COMMENT ON TABLE @extschema@.idem_offset IS
'how far consumers have come in ordered logs';
COMMENT ON COLUMN @extschema@.idem_offset.consumer IS
'name of the consumer';
COMMENT ON COLUMN @extschema@.idem_offset.topic IS
'name of the log';
COMMENT ON COLUMN @extschema@.idem_offset."partition" IS
'partition of the log';
COMMENT ON COLUMN @extschema@.idem_offset.next_offset IS
'first offset that has not been applied';
COMMENT ON COLUMN @extschema@.idem_offset.previous_offset IS
'what next_offset was before the last advance';
COMMENT ON COLUMN @extschema@.idem_offset.first_offset IS
'where the first range began: what precedes it has not been applied';
COMMENT ON COLUMN @extschema@.idem_offset.epoch IS
'latest generation of the consumer''s group, if it has told one';
COMMENT ON COLUMN @extschema@.idem_offset.updated_at IS
'when the last advance was made';
REVOKE ALL ON TABLE @extschema@.idem_offset FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_offset', '');

CREATE FUNCTION @extschema@.idem_consumer_define(
	consumer text, ttl interval DEFAULT NULL, late text DEFAULT 'reject')
RETURNS void
AS 'MODULE_PATHNAME', 'idem_consumer_define'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_consumer_define(text, interval, text) IS
'say how long a consumer''s messages are remembered and what becomes of late ones, and make the consumer one''s own';

CREATE FUNCTION @extschema@.idem_consumer_drop(consumer text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_consumer_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_consumer_drop(text) IS
'take the definition of a consumer back, and leave its messages; false if there is none';

CREATE FUNCTION @extschema@.idem_consume(
	consumer text, message_id text, ttl interval DEFAULT NULL,
	sent_at timestamp with time zone DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_consume'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_consume(text, text, interval,
	timestamp with time zone) IS
'consume a message with this transaction; false if that was done before; never to be called in WHERE, which may consume messages that are then left out';

CREATE FUNCTION @extschema@.idem_consume_batch(
	consumer text, message_ids text[], ttl interval DEFAULT NULL,
	sent_at timestamp with time zone[] DEFAULT NULL)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'idem_consume_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_consume_batch(text, text[], interval,
	timestamp with time zone[]) IS
'consume all of these messages with this transaction, also where only some rows of the answer are read, and return those for which that was not done before';

CREATE FUNCTION @extschema@.idem_seen(consumer text, message_id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_seen'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_seen(text, text) IS
'whether a message has been consumed, as committed now, and is still remembered';

CREATE FUNCTION @extschema@.idem_advance(
	consumer text, topic text, "partition" integer,
	first_offset bigint, last_offset bigint,
	allow_gaps boolean DEFAULT false, epoch bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'idem_advance'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_advance(text, text, integer, bigint,
	bigint, boolean, bigint) IS
'apply a range of a log''s offsets with this transaction, and return the first that was not applied before; null if all were; never to be called in WHERE';

CREATE FUNCTION @extschema@.idem_offset(
	consumer text, topic text, "partition" integer)
RETURNS bigint
AS 'MODULE_PATHNAME', 'idem_offset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_offset(text, text, integer) IS
'the offset from which to read a log on, as committed now; null if none was applied';

--
-- Stores
--

CREATE FUNCTION @extschema@.idem_store_create(schema name,
	scope_type regtype DEFAULT 'pg_catalog.text')
RETURNS void
AS 'MODULE_PATHNAME', 'idem_store_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_store_create(name, regtype) IS
'makes tables for keys, messages and offsets in a schema, to be named by idem.store';

--
-- Outbox
--

-- Nothing has a default, so that a message is inserted without a statement.
CREATE TABLE @extschema@.idem_outbox (
	xid xid8 NOT NULL,
	id bigint NOT NULL,
	emitted_at timestamp with time zone NOT NULL,
	era integer NOT NULL,
	topic text COLLATE "C" NOT NULL,
	key text COLLATE "C",
	payload jsonb NOT NULL,
	headers jsonb,
	CONSTRAINT idem_outbox_pkey PRIMARY KEY (topic, era, xid, id)
) WITH (
	-- messages come, are read, and go
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
CREATE SEQUENCE @extschema@.idem_outbox_id_seq
	MAXVALUE 17592186044415 -- 2^44 - 1: the era is above that
	OWNED BY @extschema@.idem_outbox.id;
COMMENT ON TABLE @extschema@.idem_outbox IS
'messages that transactions have emitted, until all consumers of their topics have read them';
COMMENT ON COLUMN @extschema@.idem_outbox.topic IS
'name of the log that the message is in';
COMMENT ON COLUMN @extschema@.idem_outbox.era IS
'number of the cluster whose transactions are counted: see idem_outbox_era';
COMMENT ON COLUMN @extschema@.idem_outbox.xid IS
'transaction that emitted the message';
COMMENT ON COLUMN @extschema@.idem_outbox.id IS
'identifies the message, also after the tables have been restored elsewhere';
COMMENT ON COLUMN @extschema@.idem_outbox.emitted_at IS
'when the message was emitted';
COMMENT ON COLUMN @extschema@.idem_outbox.key IS
'what the message is about, for brokers that keep the order of a key';
COMMENT ON COLUMN @extschema@.idem_outbox.payload IS
'what the message says';
COMMENT ON COLUMN @extschema@.idem_outbox.headers IS
'what is said about the message';
COMMENT ON SEQUENCE @extschema@.idem_outbox_id_seq IS
'counts the messages of an era';
REVOKE ALL ON TABLE @extschema@.idem_outbox FROM PUBLIC;
REVOKE ALL ON SEQUENCE @extschema@.idem_outbox_id_seq FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_outbox', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_outbox_id_seq', '');

CREATE TABLE @extschema@.idem_outbox_era (
	system bigint NOT NULL,
	begun_at timestamp with time zone NOT NULL,
	era integer NOT NULL,
	timeline integer NOT NULL,
	CONSTRAINT idem_outbox_era_pkey PRIMARY KEY (era)
);
COMMENT ON TABLE @extschema@.idem_outbox_era IS
'clusters that the outbox has been in: transactions of one are in order, and come after those of the former';
COMMENT ON COLUMN @extschema@.idem_outbox_era.era IS
'number of the era, from 1';
COMMENT ON COLUMN @extschema@.idem_outbox_era.system IS
'system identifier of the cluster, as pg_control_system() tells it';
COMMENT ON COLUMN @extschema@.idem_outbox_era.timeline IS
'timeline of the cluster, which is another once a standby has taken over';
COMMENT ON COLUMN @extschema@.idem_outbox_era.begun_at IS
'when the first call was made there';
REVOKE ALL ON TABLE @extschema@.idem_outbox_era FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_outbox_era', '');

-- Updated all the time: in place, as long as its page has room.
CREATE TABLE @extschema@.idem_outbox_position (
	xid xid8 NOT NULL,
	id bigint NOT NULL,
	read_at timestamp with time zone NOT NULL,
	era integer NOT NULL,
	consumer text COLLATE "C" NOT NULL,
	topic text COLLATE "C" NOT NULL,
	CONSTRAINT idem_outbox_position_pkey PRIMARY KEY (consumer, topic)
) WITH (fillfactor = 50);
COMMENT ON TABLE @extschema@.idem_outbox_position IS
'how far consumers have read the outbox; all that follows is kept for them';
COMMENT ON COLUMN @extschema@.idem_outbox_position.consumer IS
'name of the consumer';
COMMENT ON COLUMN @extschema@.idem_outbox_position.topic IS
'name of the log that it reads';
COMMENT ON COLUMN @extschema@.idem_outbox_position.era IS
'era of the last message that it has read; 0 if there was none yet';
COMMENT ON COLUMN @extschema@.idem_outbox_position.xid IS
'transaction that emitted that message';
COMMENT ON COLUMN @extschema@.idem_outbox_position.id IS
'id of that message';
COMMENT ON COLUMN @extschema@.idem_outbox_position.read_at IS
'when the consumer has last got messages';
REVOKE ALL ON TABLE @extschema@.idem_outbox_position FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_outbox_position', '');

CREATE FUNCTION @extschema@.idem_emit(
	topic text, payload jsonb, key text DEFAULT NULL, headers jsonb DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'idem_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_emit(text, jsonb, text, jsonb) IS
'put a message into the outbox with this transaction, and return its id';

CREATE TYPE @extschema@.idem_outbox_read_result AS (
	message_id bigint,
	emitted_at timestamp with time zone,
	key text,
	payload jsonb,
	headers jsonb
);
COMMENT ON TYPE @extschema@.idem_outbox_read_result IS
'what idem_outbox_read() answers';
COMMENT ON COLUMN @extschema@.idem_outbox_read_result.message_id IS
'identifies the message, for idem_consume() where it is received';
COMMENT ON COLUMN @extschema@.idem_outbox_read_result.emitted_at IS
'when the message was emitted';
COMMENT ON COLUMN @extschema@.idem_outbox_read_result.key IS
'what the message is about';
COMMENT ON COLUMN @extschema@.idem_outbox_read_result.payload IS
'what the message says';
COMMENT ON COLUMN @extschema@.idem_outbox_read_result.headers IS
'what is said about the message';

CREATE FUNCTION @extschema@.idem_outbox_read(
	consumer text, topic text, max integer DEFAULT 100)
RETURNS SETOF @extschema@.idem_outbox_read_result
AS 'MODULE_PATHNAME', 'idem_outbox_read'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_outbox_read(text, text, integer) IS
'the next messages of a topic for a consumer, which has read them, all of them, if this transaction commits';

CREATE FUNCTION @extschema@.idem_outbox_leave(consumer text, topic text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_outbox_leave'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_outbox_leave(text, text) IS
'forget how far a consumer has read a topic, so that no messages are kept for it; false if it has not read there';

--
-- HTTP
--

CREATE FUNCTION @extschema@.idem_http_key(header text)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_http_key'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.idem_http_key(text) IS
'the key in the value of an Idempotency-Key header';

CREATE FUNCTION @extschema@.idem_http_status(sqlstate text)
RETURNS integer
AS 'MODULE_PATHNAME', 'idem_http_status'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.idem_http_status(text) IS
'the HTTP status to answer where a request ended with an error of that SQLSTATE';

--
-- Sagas
--

-- Neither table has a trigger for new rows: a dump brings rows in any status.
CREATE TABLE @extschema@.idem_saga (
	version bigint NOT NULL,
	started_at timestamp with time zone NOT NULL,
	ended_at timestamp with time zone,
	expires_at timestamp with time zone,
	deadline timestamp with time zone,
	ttl interval NOT NULL,
	fingerprint uuid NOT NULL,
	owner @extschema@.idem_role NOT NULL,
	compensates boolean NOT NULL,
	saga text COLLATE "C" NOT NULL,
	scope text COLLATE "C" NOT NULL,
	status text COLLATE "C" NOT NULL,
	input jsonb,
	error jsonb,
	CONSTRAINT idem_saga_pkey PRIMARY KEY (saga, scope)
) WITH (
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX idem_saga_expires_at_idx ON @extschema@.idem_saga (expires_at);
COMMENT ON TABLE @extschema@.idem_saga IS
'sagas: transactions of several steps, each of which may be undone';
COMMENT ON COLUMN @extschema@.idem_saga.saga IS
'name of the saga, chosen by the caller';
COMMENT ON COLUMN @extschema@.idem_saga.scope IS
'namespace of the saga, such as a tenant';
COMMENT ON COLUMN @extschema@.idem_saga.status IS
'running, compensating, stuck, completed or compensated';
COMMENT ON COLUMN @extschema@.idem_saga.version IS
'how often the row was written';
COMMENT ON COLUMN @extschema@.idem_saga.compensates IS
'whether steps are undone rather than done';
COMMENT ON COLUMN @extschema@.idem_saga.input IS
'what the workers of all steps are given';
COMMENT ON COLUMN @extschema@.idem_saga.error IS
'why it compensates';
COMMENT ON COLUMN @extschema@.idem_saga.deadline IS
'when it begins to compensate unless it is past its pivot or has ended; null: never';
COMMENT ON COLUMN @extschema@.idem_saga.owner IS
'role that started it, whose members alone may work on it';
COMMENT ON COLUMN @extschema@.idem_saga.fingerprint IS
'digest of steps and input, to tell a retry from another saga';
COMMENT ON COLUMN @extschema@.idem_saga.ttl IS
'how long it is kept after its end';
COMMENT ON COLUMN @extschema@.idem_saga.started_at IS
'when it was started';
COMMENT ON COLUMN @extschema@.idem_saga.ended_at IS
'when it was completed or compensated';
COMMENT ON COLUMN @extschema@.idem_saga.expires_at IS
'from when on it may be purged';
REVOKE ALL ON TABLE @extschema@.idem_saga FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_saga', '');

CREATE TABLE @extschema@.idem_saga_step (
	version bigint NOT NULL,
	next_at timestamp with time zone,
	backoff interval NOT NULL,
	cap interval NOT NULL,
	step integer NOT NULL,
	max_attempts integer NOT NULL,
	attempts integer NOT NULL,
	start_no integer,
	held_by @extschema@.idem_role,
	pivot boolean NOT NULL,
	saga text COLLATE "C" NOT NULL,
	scope text COLLATE "C" NOT NULL,
	status text COLLATE "C" NOT NULL,
	work text COLLATE "C" NOT NULL,
	undo text COLLATE "C",
	due text COLLATE "C",
	input jsonb,
	output jsonb,
	error jsonb,
	CONSTRAINT idem_saga_step_pkey PRIMARY KEY (saga, scope, step)
) WITH (
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_scale_factor = 0.05
);
-- what is due, for those who claim it
CREATE INDEX idem_saga_step_due_idx ON @extschema@.idem_saga_step (scope, due, next_at);
COMMENT ON TABLE @extschema@.idem_saga_step IS
'steps of sagas';
COMMENT ON COLUMN @extschema@.idem_saga_step.saga IS
'name of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_step.scope IS
'namespace of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_step.step IS
'number of the step, from 1';
COMMENT ON COLUMN @extschema@.idem_saga_step.work IS
'what is to be done';
COMMENT ON COLUMN @extschema@.idem_saga_step.undo IS
'what undoes it; null: nothing is to be undone';
COMMENT ON COLUMN @extschema@.idem_saga_step.pivot IS
'whether there is no way back once it has begun';
COMMENT ON COLUMN @extschema@.idem_saga_step.status IS
'pending, running, done, failed, undoing, undone, stuck or skipped';
COMMENT ON COLUMN @extschema@.idem_saga_step.version IS
'how often the row was written';
COMMENT ON COLUMN @extschema@.idem_saga_step.input IS
'what the worker is given; null: the input of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_step.output IS
'what the step was done with';
COMMENT ON COLUMN @extschema@.idem_saga_step.error IS
'what the last attempt failed with';
COMMENT ON COLUMN @extschema@.idem_saga_step.max_attempts IS
'so often it is tried to do it, and to undo it';
COMMENT ON COLUMN @extschema@.idem_saga_step.attempts IS
'so often that has been tried';
COMMENT ON COLUMN @extschema@.idem_saga_step.backoff IS
'how long after the first attempt there is another; twice as long after each';
COMMENT ON COLUMN @extschema@.idem_saga_step.cap IS
'how long at most';
COMMENT ON COLUMN @extschema@.idem_saga_step.due IS
'what is to be done next, the work or the undo; null: nothing';
COMMENT ON COLUMN @extschema@.idem_saga_step.next_at IS
'when that is due; of what is held, when the lease ended as far as was known';
COMMENT ON COLUMN @extschema@.idem_saga_step.held_by IS
'role that claimed it last';
COMMENT ON COLUMN @extschema@.idem_saga_step.start_no IS
'place in the order in which steps were started; null: not yet';
REVOKE ALL ON TABLE @extschema@.idem_saga_step FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_saga_step', '');

-- As idem_attach() makes them, but for new rows.
CREATE TRIGGER zz_idem_lifecycle_update BEFORE UPDATE ON @extschema@.idem_saga
	FOR EACH ROW EXECUTE FUNCTION @extschema@.idem_lifecycle('saga', 'status', 'version');
COMMENT ON TRIGGER zz_idem_lifecycle_update ON @extschema@.idem_saga IS
'validates changes of status, and raises the version';
CREATE TRIGGER "!idem_lifecycle_history" AFTER UPDATE ON @extschema@.idem_saga
	FOR EACH ROW EXECUTE FUNCTION @extschema@.idem_lifecycle('saga', 'status', 'version');
COMMENT ON TRIGGER "!idem_lifecycle_history" ON @extschema@.idem_saga IS
'records changes of status';
CREATE TRIGGER zz_idem_lifecycle_update BEFORE UPDATE ON @extschema@.idem_saga_step
	FOR EACH ROW EXECUTE FUNCTION @extschema@.idem_lifecycle('saga_step', 'status', 'version');
COMMENT ON TRIGGER zz_idem_lifecycle_update ON @extschema@.idem_saga_step IS
'validates changes of status, and raises the version';
CREATE TRIGGER "!idem_lifecycle_history" AFTER UPDATE ON @extschema@.idem_saga_step
	FOR EACH ROW EXECUTE FUNCTION @extschema@.idem_lifecycle('saga_step', 'status', 'version');
COMMENT ON TRIGGER "!idem_lifecycle_history" ON @extschema@.idem_saga_step IS
'records changes of status';

CREATE TYPE @extschema@.idem_saga_start_result AS (
	replayed boolean,
	status text
);
COMMENT ON TYPE @extschema@.idem_saga_start_result IS
'what idem_saga_start() answers';
COMMENT ON COLUMN @extschema@.idem_saga_start_result.replayed IS
'whether the saga was started before';
COMMENT ON COLUMN @extschema@.idem_saga_start_result.status IS
'status of the saga';

CREATE FUNCTION @extschema@.idem_saga_start(
	saga text, steps jsonb, input jsonb DEFAULT NULL,
	deadline interval DEFAULT NULL, scope text DEFAULT NULL,
	ttl interval DEFAULT NULL)
RETURNS @extschema@.idem_saga_start_result
AS 'MODULE_PATHNAME', 'idem_saga_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_start(text, jsonb, jsonb, interval, text,
	interval) IS
'start a saga of these steps, or tell how the one of that name stands';

CREATE TYPE @extschema@.idem_saga_claim_result AS (
	saga text,
	scope text,
	step integer,
	work text,
	undo boolean,
	key text,
	fence bigint,
	input jsonb,
	prior jsonb,
	checkpoint jsonb,
	lease_until timestamp with time zone
);
COMMENT ON TYPE @extschema@.idem_saga_claim_result IS
'what idem_saga_claim() answers';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.saga IS
'name of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.scope IS
'namespace of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.step IS
'number of the step';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.work IS
'what is to be done';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.undo IS
'whether that undoes the step';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.key IS
'idempotency key for whoever does it; the same for each attempt';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.fence IS
'number of the claim, to report by';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.input IS
'of the step, or else of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.prior IS
'outputs of the steps that have been done, by their numbers';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.checkpoint IS
'the last one that a former holder has recorded';
COMMENT ON COLUMN @extschema@.idem_saga_claim_result.lease_until IS
'until when the claim is held';

CREATE FUNCTION @extschema@.idem_saga_claim(
	works text[], lease interval DEFAULT '1 minute', max integer DEFAULT 1,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_saga_claim_result
AS 'MODULE_PATHNAME', 'idem_saga_claim'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION @extschema@.idem_saga_claim(text[], interval, integer, text) IS
'claim steps of which one of these works is due, what has been due for longest first';

CREATE FUNCTION @extschema@.idem_saga_done(
	key text, fence bigint, output jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_saga_done'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_done(text, bigint, jsonb) IS
'report that a claimed step is done, or undone, and return the status of the saga since';

CREATE FUNCTION @extschema@.idem_saga_fail(
	key text, fence bigint, error jsonb, retry boolean DEFAULT true,
	after interval DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_saga_fail'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_fail(text, bigint, jsonb, boolean, interval) IS
'report that an attempt has failed, to be repeated or for good, and return the status of the saga since';

CREATE TYPE @extschema@.idem_saga_do_result AS (
	replayed boolean,
	result jsonb,
	status text
);
COMMENT ON TYPE @extschema@.idem_saga_do_result IS
'what idem_saga_do() answers';
COMMENT ON COLUMN @extschema@.idem_saga_do_result.replayed IS
'whether the step was done before, and this is what it came to then';
COMMENT ON COLUMN @extschema@.idem_saga_do_result.result IS
'the rows of the statement, null if it returns none';
COMMENT ON COLUMN @extschema@.idem_saga_do_result.status IS
'status of the saga since';

CREATE FUNCTION @extschema@.idem_saga_do(
	saga text, work text, command text, params jsonb DEFAULT '[]',
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_saga_do_result
AS 'MODULE_PATHNAME', 'idem_saga_do'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_do(text, text, text, jsonb, text) IS
'do a step that is one statement, or undo it, and record that in the same transaction, once';

CREATE FUNCTION @extschema@.idem_saga_cancel(
	saga text, reason jsonb DEFAULT NULL, scope text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_saga_cancel'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_cancel(text, jsonb, text) IS
'have what a saga has done undone, and return its status since';

CREATE FUNCTION @extschema@.idem_saga_resolve(
	saga text, step integer, verdict text, note jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_saga_resolve'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_saga_resolve(text, integer, text, jsonb, text) IS
'decide about a step that is stuck: retry, done, undone or skip; and return the status of the saga since';

CREATE FUNCTION @extschema@.idem_barrier(
	saga text, step integer, undo boolean DEFAULT false,
	scope text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'idem_barrier'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_barrier(text, integer, boolean, text) IS
'for a participant of a saga, in the transaction of its work: whether to run it, or that it is a duplicate, late, or an empty undo';

-- Each shows sagas to members of the role that started them.
CREATE FUNCTION @extschema@._idem_sagas()
RETURNS SETOF @extschema@.idem_saga
AS 'MODULE_PATHNAME', 'idem_sagas'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@._idem_sagas() IS
'for the views of sagas: those of roles that one is a member of';
CREATE FUNCTION @extschema@._idem_saga_steps()
RETURNS SETOF @extschema@.idem_saga_step
AS 'MODULE_PATHNAME', 'idem_saga_steps'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@._idem_saga_steps() IS
'for the views of sagas: their steps';

CREATE VIEW @extschema@.idem_saga_status AS
	SELECT s.saga, s.scope, s.status, s.owner, s.version, s.started_at, s.deadline,
		s.ended_at, s.expires_at, t.steps, t.done, t.undone, t.failed, t.stuck,
		s.input, s.error
	FROM @extschema@._idem_sagas() AS s
		JOIN (
			SELECT k.saga, k.scope, pg_catalog.count(*) AS steps,
				pg_catalog.count(*) FILTER (WHERE k.status OPERATOR(pg_catalog.=) 'done') AS done,
				pg_catalog.count(*) FILTER (WHERE k.status OPERATOR(pg_catalog.=) 'undone') AS undone,
				pg_catalog.count(*) FILTER (WHERE k.status OPERATOR(pg_catalog.=) 'failed') AS failed,
				pg_catalog.min(k.step) FILTER (WHERE k.status OPERATOR(pg_catalog.=) 'stuck') AS stuck
			FROM @extschema@._idem_saga_steps() AS k
			GROUP BY k.saga, k.scope
		) AS t ON t.saga OPERATOR(pg_catalog.=) s.saga AND t.scope OPERATOR(pg_catalog.=) s.scope;
COMMENT ON VIEW @extschema@.idem_saga_status IS
'sagas, and how far they have come';
COMMENT ON COLUMN @extschema@.idem_saga_status.saga IS
'name of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_status.scope IS
'namespace of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_status.status IS
'running, compensating, stuck, completed or compensated';
COMMENT ON COLUMN @extschema@.idem_saga_status.owner IS
'role that started it';
COMMENT ON COLUMN @extschema@.idem_saga_status.version IS
'how often its row was written';
COMMENT ON COLUMN @extschema@.idem_saga_status.started_at IS
'when it was started';
COMMENT ON COLUMN @extschema@.idem_saga_status.deadline IS
'when it begins to compensate; null: never';
COMMENT ON COLUMN @extschema@.idem_saga_status.ended_at IS
'when it was completed or compensated';
COMMENT ON COLUMN @extschema@.idem_saga_status.expires_at IS
'from when on it may be purged';
COMMENT ON COLUMN @extschema@.idem_saga_status.steps IS
'number of its steps';
COMMENT ON COLUMN @extschema@.idem_saga_status.done IS
'so many of them are done';
COMMENT ON COLUMN @extschema@.idem_saga_status.undone IS
'so many are undone';
COMMENT ON COLUMN @extschema@.idem_saga_status.failed IS
'so many have failed for good';
COMMENT ON COLUMN @extschema@.idem_saga_status.stuck IS
'number of the step that is stuck; null: none';
COMMENT ON COLUMN @extschema@.idem_saga_status.input IS
'what it was started with';
COMMENT ON COLUMN @extschema@.idem_saga_status.error IS
'why it compensates';
REVOKE ALL ON TABLE @extschema@.idem_saga_status FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_saga_status TO PUBLIC;

--
-- Testing
--

CREATE TYPE @extschema@.idem_check_result AS (
	idempotent boolean,
	same_answer boolean,
	differences jsonb,
	rewritten bigint,
	first jsonb,
	second jsonb
);
COMMENT ON TYPE @extschema@.idem_check_result IS
'what idem_check() answers';
COMMENT ON COLUMN @extschema@.idem_check_result.idempotent IS
'whether the second run changed nothing';
COMMENT ON COLUMN @extschema@.idem_check_result.same_answer IS
'whether both runs returned the same rows';
COMMENT ON COLUMN @extschema@.idem_check_result.differences IS
'what the second run changed';
COMMENT ON COLUMN @extschema@.idem_check_result.rewritten IS
'rows that the second run wrote without changing them';
COMMENT ON COLUMN @extschema@.idem_check_result.first IS
'rows of the first run';
COMMENT ON COLUMN @extschema@.idem_check_result.second IS
'rows of the second run';

CREATE FUNCTION @extschema@.idem_check(
	command text, params jsonb DEFAULT '[]')
RETURNS @extschema@.idem_check_result
AS 'MODULE_PATHNAME', 'idem_check'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_check(text, jsonb) IS
'run a statement twice, undo both, and tell what the second run changed';

--
-- Purging
--

CREATE FUNCTION @extschema@.idem_purge(max_rows bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'idem_purge'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_purge(bigint) IS
'delete expired keys and messages, history past its retention and what was read of the outbox, all or so many rows, and return how many were deleted';

CREATE FUNCTION @extschema@.idem_worker_start()
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_worker_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_worker_start() IS
'purge this database in the background until the server stops; false if that is being done already';

CREATE FUNCTION @extschema@.idem_worker_stop()
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_worker_stop'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_worker_stop() IS
'end what idem_worker_start() started; false if there is nothing to end';

--
-- Figures
--

-- Views belong to the bootstrap superuser, as functions do, and show what a function
-- answers: the owner of a view may put another in its place, which superusers would
-- read.
CREATE FUNCTION @extschema@._idem_stats()
RETURNS TABLE (datname name, counter text, count bigint,
	reset_at timestamp with time zone)
AS 'MODULE_PATHNAME', 'idem_stats'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 24;
COMMENT ON FUNCTION @extschema@._idem_stats() IS
'for the view idem_stats';

CREATE VIEW @extschema@.idem_stats AS
SELECT s.datname, s.counter, s.count AS value, s.reset_at
FROM @extschema@._idem_stats() AS s;
COMMENT ON VIEW @extschema@.idem_stats IS
'what calls came to, counted whether or not their transactions committed';
COMMENT ON COLUMN @extschema@.idem_stats.datname IS
'database; null for those that share their counters';
COMMENT ON COLUMN @extschema@.idem_stats.counter IS
'what was counted';
COMMENT ON COLUMN @extschema@.idem_stats.value IS
'how often it happened since reset_at';
COMMENT ON COLUMN @extschema@.idem_stats.reset_at IS
'when the counters of the database began at zero';
REVOKE ALL ON TABLE @extschema@.idem_stats FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_stats TO PUBLIC;

CREATE FUNCTION @extschema@.idem_stats_reset()
RETURNS void
AS 'MODULE_PATHNAME', 'idem_stats_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.idem_stats_reset() IS
'let the counters of this database begin at zero';

CREATE FUNCTION @extschema@._idem_health(
	prepared_at timestamp with time zone, prepared text, slot text)
RETURNS TABLE ("check" text, severity text, value text, hint text)
AS 'MODULE_PATHNAME', 'idem_health'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 12;
COMMENT ON FUNCTION @extschema@._idem_health(timestamp with time zone, text, text) IS
'for the view idem_health';

CREATE VIEW @extschema@.idem_health AS
SELECT h."check", h.severity, h.value, h.hint
FROM (SELECT) AS one
	LEFT JOIN (
		SELECT p.prepared, p.gid
		FROM pg_catalog.pg_prepared_xacts AS p
		WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
		ORDER BY p.prepared
		LIMIT 1
	) AS p ON true
	LEFT JOIN (
		SELECT s.slot_name
		FROM pg_catalog.pg_replication_slots AS s
		WHERE s.xmin IS NOT NULL AND NOT s.active
		ORDER BY pg_catalog.age(s.xmin) DESC
		LIMIT 1
	) AS s ON true
	CROSS JOIN LATERAL @extschema@._idem_health(p.prepared, p.gid,
		s.slot_name::pg_catalog.text) AS h;
COMMENT ON VIEW @extschema@.idem_health IS
'how idem is in this database, and what to do where it is not well';
COMMENT ON COLUMN @extschema@.idem_health."check" IS
'what was looked at';
COMMENT ON COLUMN @extschema@.idem_health.severity IS
'ok, warning or critical';
COMMENT ON COLUMN @extschema@.idem_health.value IS
'what was found';
COMMENT ON COLUMN @extschema@.idem_health.hint IS
'what to do; null where there is nothing to do';
REVOKE ALL ON TABLE @extschema@.idem_health FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_health TO PUBLIC;

CREATE FUNCTION @extschema@._idem_claims()
RETURNS TABLE (key text, scope text, role text, since timestamp with time zone,
	lease_until timestamp with time zone, fence bigint, checkpoint jsonb, request jsonb)
AS 'MODULE_PATHNAME', 'idem_claims'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION @extschema@._idem_claims() IS
'for the view idem_claims';

CREATE VIEW @extschema@.idem_claims AS
SELECT c.key, c.scope, c.role, c.since, c.lease_until, c.fence, c.checkpoint, c.request
FROM @extschema@._idem_claims() AS c;
COMMENT ON VIEW @extschema@.idem_claims IS
'claims under a lease that have not been answered, as far as one may know of them';
COMMENT ON COLUMN @extschema@.idem_claims.key IS
'idempotency key, chosen by the client';
COMMENT ON COLUMN @extschema@.idem_claims.scope IS
'namespace of the key, such as a tenant';
COMMENT ON COLUMN @extschema@.idem_claims.role IS
'role that claimed the key; null once it is dropped';
COMMENT ON COLUMN @extschema@.idem_claims.since IS
'when the key was claimed, or last taken over';
COMMENT ON COLUMN @extschema@.idem_claims.lease_until IS
'until when the claim is held; once past, the next claim takes over';
COMMENT ON COLUMN @extschema@.idem_claims.fence IS
'number of the claim';
COMMENT ON COLUMN @extschema@.idem_claims.checkpoint IS
'last step that a holder has recorded; null for those who only monitor';
COMMENT ON COLUMN @extschema@.idem_claims.request IS
'what the claim was made for; null for those who only monitor';
REVOKE ALL ON TABLE @extschema@.idem_claims FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_claims TO PUBLIC;

CREATE TYPE @extschema@.idem_audit_result AS (
	target regclass,
	finding text,
	id jsonb,
	key text,
	detail text
);
COMMENT ON TYPE @extschema@.idem_audit_result IS
'what idem_audit() answers';
COMMENT ON COLUMN @extschema@.idem_audit_result.target IS
'table';
COMMENT ON COLUMN @extschema@.idem_audit_result.finding IS
'unknown_state, version_behind, never_validated, row_gone or broken_trigger';
COMMENT ON COLUMN @extschema@.idem_audit_result.id IS
'primary key of the row';
COMMENT ON COLUMN @extschema@.idem_audit_result.key IS
'idempotency key whose row is gone';
COMMENT ON COLUMN @extschema@.idem_audit_result.detail IS
'what was found, for people';

CREATE FUNCTION @extschema@.idem_audit(target regclass DEFAULT NULL)
RETURNS SETOF @extschema@.idem_audit_result
AS 'MODULE_PATHNAME', 'idem_audit'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.idem_audit(regclass) IS
'look for rows that machine, version or history do not fit, and for keys whose row is gone, in a table or in all that follow a machine';

-- Of sagas, but it looks at claims.
CREATE VIEW @extschema@.idem_saga_work AS
	SELECT k.saga, k.scope, k.step, k.due AS work, s.compensates AND k.undo IS NOT NULL AS undo,
		s.status AS saga_status, k.status,
		CASE WHEN k.due IS NOT NULL THEN GREATEST(k.next_at, c.lease_until) END AS next_at,
		k.attempts, k.max_attempts, CASE WHEN c.key IS NOT NULL THEN k.held_by END AS held_by,
		c.since AS held_since, c.lease_until, c.fence, k.error
	FROM @extschema@._idem_saga_steps() AS k
		JOIN @extschema@._idem_sagas() AS s ON s.saga OPERATOR(pg_catalog.=) k.saga
			AND s.scope OPERATOR(pg_catalog.=) k.scope
		LEFT JOIN @extschema@._idem_claims() AS c
			ON c.key OPERATOR(pg_catalog.=) @extschema@.idem_derive_key(k.scope, k.saga,
				CAST(k.step AS text), CASE k.status WHEN 'undoing' THEN 'undo' ELSE 'do' END)
			AND c.scope OPERATOR(pg_catalog.=) 'idem.saga'
			AND k.status OPERATOR(pg_catalog.<>) 'pending'
	WHERE k.due IS NOT NULL OR k.status OPERATOR(pg_catalog.=) 'stuck';
COMMENT ON VIEW @extschema@.idem_saga_work IS
'what is due of sagas, by whom it is held, and what is stuck';
COMMENT ON COLUMN @extschema@.idem_saga_work.saga IS
'name of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_work.scope IS
'namespace of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_work.step IS
'number of the step';
COMMENT ON COLUMN @extschema@.idem_saga_work.work IS
'what is due; null: it is stuck';
COMMENT ON COLUMN @extschema@.idem_saga_work.undo IS
'whether that undoes the step';
COMMENT ON COLUMN @extschema@.idem_saga_work.saga_status IS
'status of the saga';
COMMENT ON COLUMN @extschema@.idem_saga_work.status IS
'status of the step';
COMMENT ON COLUMN @extschema@.idem_saga_work.next_at IS
'when it can be claimed; null: when it is resolved';
COMMENT ON COLUMN @extschema@.idem_saga_work.attempts IS
'so often it has been tried';
COMMENT ON COLUMN @extschema@.idem_saga_work.max_attempts IS
'so often it is tried at most';
COMMENT ON COLUMN @extschema@.idem_saga_work.held_by IS
'role that holds it; null: none';
COMMENT ON COLUMN @extschema@.idem_saga_work.held_since IS
'since when that role holds it';
COMMENT ON COLUMN @extschema@.idem_saga_work.lease_until IS
'until when it is held';
COMMENT ON COLUMN @extschema@.idem_saga_work.fence IS
'number of the claim';
COMMENT ON COLUMN @extschema@.idem_saga_work.error IS
'what the last attempt failed with';
REVOKE ALL ON TABLE @extschema@.idem_saga_work FROM PUBLIC;
GRANT SELECT ON TABLE @extschema@.idem_saga_work TO PUBLIC;

--
-- Other types: functions from above once more, for an argument of another type
--

-- They differ in nothing else: defaults, costs and comments are copied.  None makes
-- a call ambiguous, since an argument without a type counts as text, and of each
-- kind there is one that takes text.
DO $$
DECLARE
	known CONSTANT text := pg_catalog.current_setting('search_path');
	other record;
BEGIN
	SET LOCAL search_path = pg_catalog, pg_temp;
	FOR other IN
		SELECT regexp_replace(pg_get_functiondef(p.oid), '^CREATE OR REPLACE', 'CREATE') AS definition,
			format('%s(%s)', p.oid::regproc, pg_get_function_identity_arguments(p.oid)) AS identity,
			obj_description(p.oid, 'pg_proc') AS comment,
			format('%s%I %s', a.before, a.name, a.type) AS argument,
			format('%s%I %s', a.before, a.name, a.other) AS instead
		FROM pg_extension AS e
			JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass
				AND d.refobjid = e.oid AND d.deptype = 'e'
			JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
			JOIN (VALUES
				(1, '(', 'key', 'text'::regtype, 'uuid'::regtype),
				(3, ', ', 'new_status', '@extschema@.order_status', 'text'),
				(3, ', ', 'to_state', 'text', 'anyenum')
			) AS a (number, before, name, type, other)
				ON p.proargnames[a.number] = a.name AND p.proargtypes[a.number - 1] = a.type
		WHERE e.extname = 'idem'
		ORDER BY p.oid
	LOOP
		EXECUTE replace(other.definition, other.argument, other.instead);
		EXECUTE format('COMMENT ON FUNCTION %s IS %L',
			replace(other.identity, other.argument, other.instead), other.comment);
	END LOOP;
	PERFORM set_config('search_path', known, true);
END
$$;

--
-- Internal: what only idem's own statements and tables call
--

CREATE FUNCTION @extschema@._idem_row_jsonb("row" record)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'idem_row_jsonb'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_row_jsonb(record) IS
'for the statements of idem_upsert and idem_update: the row as to_jsonb() gives it';

CREATE FUNCTION @extschema@._idem_upsert_met(
	ticket bigint, changes boolean, kept jsonb DEFAULT NULL,
	version bigint DEFAULT NULL, differs boolean DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_upsert_met'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._idem_upsert_met(bigint, boolean, jsonb,
	bigint, boolean) IS
'for the statements of idem_upsert: notes that the row was there already, and what it is if it is kept as it is';

CREATE FUNCTION @extschema@._idem_upsert_union(old anyarray, new anyarray)
RETURNS anyarray
AS 'MODULE_PATHNAME', 'idem_upsert_union_array'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_upsert_union(anyarray, anyarray) IS
'for the statements of idem_upsert: the elements of both arrays, each once';

CREATE FUNCTION @extschema@._idem_upsert_union(old jsonb, new jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'idem_upsert_union_jsonb'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_upsert_union(jsonb, jsonb) IS
'for the statements of idem_upsert: the fields of both objects, or the elements of both arrays, each once';

CREATE FUNCTION @extschema@._idem_place(internal)
RETURNS internal
AS 'MODULE_PATHNAME', 'idem_place'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._idem_place(internal) IS
'planner support: lets a condition of idem''s statements know which row version it is about';

CREATE FUNCTION @extschema@._idem_change_met(
	ticket bigint, state "any", version bigint,
	relid oid DEFAULT NULL, place tid DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'idem_change_met'
LANGUAGE C VOLATILE PARALLEL UNSAFE
COST 1000 -- to be asked of the right row only: after all other conditions
SUPPORT @extschema@._idem_place;
COMMENT ON FUNCTION @extschema@._idem_change_met(bigint, "any", bigint, oid, tid) IS
'for the statements of transitions: tells whether the row that was found may change, and notes it';

-- ALWAYS and for each row: a change that logical replication applies counts.
CREATE FUNCTION @extschema@._idem_scope_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_invalidation_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._idem_scope_changed() IS
'tells all sessions that the definitions of scopes have changed';
REVOKE ALL ON FUNCTION @extschema@._idem_scope_changed() FROM PUBLIC;
CREATE TRIGGER _idem_scope_changed
	AFTER INSERT OR UPDATE OR DELETE ON @extschema@.idem_scope
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_scope_changed();
ALTER TABLE @extschema@.idem_scope ENABLE ALWAYS TRIGGER _idem_scope_changed;
COMMENT ON TRIGGER _idem_scope_changed ON @extschema@.idem_scope IS
'tells all sessions that the definitions of scopes have changed';

CREATE FUNCTION @extschema@._idem_machine_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_invalidation_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._idem_machine_changed() IS
'tells all sessions that the state machines have changed';
REVOKE ALL ON FUNCTION @extschema@._idem_machine_changed() FROM PUBLIC;
CREATE TRIGGER _idem_machine_changed
	AFTER INSERT OR UPDATE OR DELETE ON @extschema@.idem_machine
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_machine_changed();
ALTER TABLE @extschema@.idem_machine ENABLE ALWAYS TRIGGER _idem_machine_changed;
COMMENT ON TRIGGER _idem_machine_changed ON @extschema@.idem_machine IS
'tells all sessions that the state machines have changed';
CREATE TRIGGER _idem_machine_changed
	AFTER INSERT OR UPDATE OR DELETE ON @extschema@.idem_machine_edge
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_machine_changed();
ALTER TABLE @extschema@.idem_machine_edge ENABLE ALWAYS TRIGGER _idem_machine_changed;
COMMENT ON TRIGGER _idem_machine_changed ON @extschema@.idem_machine_edge IS
'tells all sessions that the state machines have changed';

CREATE FUNCTION @extschema@._idem_consumer_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_invalidation_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._idem_consumer_changed() IS
'tells all sessions that the definitions of consumers have changed';
REVOKE ALL ON FUNCTION @extschema@._idem_consumer_changed() FROM PUBLIC;
CREATE TRIGGER _idem_consumer_changed
	AFTER INSERT OR UPDATE OR DELETE ON @extschema@.idem_consumer
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_consumer_changed();
ALTER TABLE @extschema@.idem_consumer ENABLE ALWAYS TRIGGER _idem_consumer_changed;
COMMENT ON TRIGGER _idem_consumer_changed ON @extschema@.idem_consumer IS
'tells all sessions that the definitions of consumers have changed';

-- ALWAYS: it is where logical replication applies changes that they are met.
CREATE FUNCTION @extschema@._idem_copied() RETURNS trigger
AS 'MODULE_PATHNAME', 'idem_copied'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._idem_copied() IS
'leaves out a definition that a subscription brings and that is there already';
REVOKE ALL ON FUNCTION @extschema@._idem_copied() FROM PUBLIC;
CREATE TRIGGER _idem_copied
	BEFORE INSERT ON @extschema@.idem_machine
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_copied();
ALTER TABLE @extschema@.idem_machine ENABLE ALWAYS TRIGGER _idem_copied;
COMMENT ON TRIGGER _idem_copied ON @extschema@.idem_machine IS
'leaves out a machine that a subscription brings and that is there already';
CREATE TRIGGER _idem_copied
	BEFORE INSERT ON @extschema@.idem_machine_edge
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_copied();
ALTER TABLE @extschema@.idem_machine_edge ENABLE ALWAYS TRIGGER _idem_copied;
COMMENT ON TRIGGER _idem_copied ON @extschema@.idem_machine_edge IS
'leaves out a transition that a subscription brings and that is there already';
CREATE TRIGGER _idem_copied
	BEFORE INSERT ON @extschema@.idem_consumer
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_copied();
ALTER TABLE @extschema@.idem_consumer ENABLE ALWAYS TRIGGER _idem_copied;
COMMENT ON TRIGGER _idem_copied ON @extschema@.idem_consumer IS
'leaves out a consumer that a subscription brings and that is there already';
CREATE TRIGGER _idem_copied
	BEFORE INSERT ON @extschema@.idem_scope
	FOR EACH ROW EXECUTE FUNCTION @extschema@._idem_copied();
ALTER TABLE @extschema@.idem_scope ENABLE ALWAYS TRIGGER _idem_copied;
COMMENT ON TRIGGER _idem_copied ON @extschema@.idem_scope IS
'leaves out a scope that a subscription brings and that is there already';

--
-- Rights: last, since they are about all that is above
--

-- The role that creates the extension owns its tables, and has with them every
-- right that PUBLIC has not.  None is granted to a role by name: when that role
-- leaves, REASSIGN OWNED hands all of them over.  Functions, views and types belong
-- to the bootstrap superuser in any case: the owner of a function may put another in
-- its place, which superusers would call.  Functions that are not for everybody
-- to call look for a right on a table.
--
-- So an upgrade script runs as a superuser on tables of a role that may be none,
-- and that may have put triggers, policies, rules, defaults and indexes with
-- functions of its own on them.  It must do nothing that runs those: no INSERT,
-- UPDATE, DELETE or COPY, no default or type that rewrites a table, no new
-- constraint or index, unless as that owner, under security restriction, in C.
-- It revokes from PUBLIC where it makes an object.  It begins as this one does, by
-- noting what is there, and ends as this one does, with all that follows: that is
-- about what the script has made.  Rights on what was there, and its owner, stay
-- what administrators have made of them.
--
-- pg_dump writes rights as they differ from those that an object had when the
-- extension made it (pg_init_privs).  There, all rights on tables are granted to
-- pg_database_owner: so a dump says what their owner may do, whatever role
-- restores it.  pg_database_owner is in every cluster, cannot leave, and never
-- has those rights.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What default privileges have granted to roles is taken away.
DO $$
DECLARE
	owner CONSTANT regrole := 10;
	present CONSTANT text[] := current_setting('idem_script.present');
	member record;
	rights aclitem[];
	grantee regrole;
BEGIN
	FOR member IN
		SELECT d.classid, d.objid, o.type,
			format('%s %s', CASE o.type WHEN 'view' THEN 'table' ELSE o.type END,
				o.identity) AS name
		FROM pg_extension AS e
			JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass
				AND d.refobjid = e.oid AND d.deptype = 'e'
			CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS o
			LEFT JOIN pg_type AS t ON t.tableoid = d.classid AND t.oid = d.objid
		WHERE e.extname = 'idem'
			AND format('%s/%s', d.classid, d.objid) <> ALL (present)
			-- casts have neither owner nor rights
			AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
			-- the type of a table goes with it, and so does that of an array
			AND (t.oid IS NULL OR t.typelem = 0 AND t.typrelid = 0
				OR t.typrelid IN (SELECT c.oid FROM pg_class AS c WHERE c.relkind = 'c'))
		-- a sequence goes with its table, which is to have been given away before
		ORDER BY o.type = 'sequence'
	LOOP
		IF member.type <> 'sequence' THEN
			EXECUTE format('ALTER %s OWNER TO %s', member.name, owner);
		END IF;

		SELECT relacl FROM pg_class WHERE tableoid = member.classid AND oid = member.objid
		UNION ALL
		SELECT proacl FROM pg_proc WHERE tableoid = member.classid AND oid = member.objid
		UNION ALL
		SELECT typacl FROM pg_type WHERE tableoid = member.classid AND oid = member.objid
		INTO rights;
		FOR grantee IN
			SELECT DISTINCT a.grantee::regrole FROM aclexplode(rights) AS a
			WHERE a.grantee <> 0 AND a.grantee <> owner
		LOOP
			EXECUTE format('REVOKE ALL ON %s FROM %s', member.name, grantee);
		END LOOP;

		-- also writes down anew, with the present owner, what pg_init_privs says
		IF rights IS NOT NULL THEN
			EXECUTE format('GRANT ALL ON %s TO %s', member.name, owner);
		END IF;
	END LOOP;
END
$$;

-- What is granted from here on would be granted by the owner of the tables.
DO $$
DECLARE
	present CONSTANT text[] := current_setting('idem_script.present');
	store record;
BEGIN
	FOR store IN
		SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
			c.oid::regclass AS name, c.relowner::regrole AS owner, heir.heir::regrole
		FROM pg_extension AS e
			-- who owns the tables that were there, or else the extension
			CROSS JOIN LATERAL (
				SELECT coalesce(max(k.relowner) FILTER (
					WHERE format('%s/%s', k.tableoid, k.oid) = ANY (present)), e.extowner)
				FROM pg_class AS k
				WHERE k.relnamespace = e.extnamespace AND k.relname = 'idem_key'
			) AS heir (heir)
			JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass
				AND d.refobjid = e.oid AND d.deptype = 'e'
			JOIN pg_class AS c ON c.tableoid = d.classid AND c.oid = d.objid
		-- of the rights of the bootstrap superuser there is nothing to tell
		WHERE e.extname = 'idem' AND c.relowner <> heir.heir AND c.relkind <> 'v'
			AND format('%s/%s', d.classid, d.objid) <> ALL (present)
		ORDER BY c.relkind = 'S' DESC
	LOOP
		EXECUTE format('GRANT ALL ON %s %s TO pg_database_owner', store.kind, store.name);
		EXECUTE format('REVOKE ALL ON %s %s FROM %s', store.kind, store.name, store.owner);
		IF store.kind = 'TABLE' THEN
			-- who owns a table has the rights that the one before had
			EXECUTE format('ALTER TABLE %s OWNER TO pg_database_owner', store.name);
			EXECUTE format('ALTER TABLE %s OWNER TO %s', store.name, store.heir);
		END IF;
	END LOOP;
END
$$;
