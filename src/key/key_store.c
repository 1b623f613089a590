/*
 * key_store.c
 *	  The rows of keys in a store, reached by statements.
 *
 * Each statement tells the row by scope and key, so that an engine that keeps the
 * rows elsewhere can send it there.  A row that another transaction has not committed
 * yet cannot be seen there.  So the lock of a key that has been written lasts to the
 * end of the transaction (key_lock.c), which makes the sessions of this node wait;
 * between nodes the primary key decides, and the one that comes second raises 40001.
 *
 * A row that was found is written over as the very version that was found, as in
 * key_write.c: by its place, by its xmin, and by its key.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/routed.h"
#include "key/key_lock.h"
#include "key/key_store.h"
#include "key/key_write.h"
#include "run/committed_row.h"
#include "store/store_run.h"

/* The first parameters of statements that write a row, see IDEM_KEY_ARG_OUTCOME. */
#define ROW_ARGTYPES \
	IDEM_STORE_OUTCOME, UUIDOID, JSONBOID, INT8OID, IDEM_STORE_ROLE, \
	TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, TEXTOID

#define KEY_VALUES \
	" (outcome, fingerprint, response, fence, claimed_by, created_at," \
	" expires_at, lease_until, request, sqlstate, scope, key)" \
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"

static const IdemStoreStatement insert_row = {
	.number = IDEM_STORE_KEY_STATEMENTS,
	.table = IDEM_TABLE_KEY,
	.text = "INSERT INTO @.idem_key" KEY_VALUES " ON CONFLICT (key, scope) DO NOTHING",
	.nargs = IDEM_KEY_ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, IDEM_STORE_SCOPE, TEXTOID}
};

static const IdemStoreStatement renew_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 1,
	.table = IDEM_TABLE_KEY,
	.text = "INSERT INTO @.idem_key AS k" KEY_VALUES IDEM_KEY_RENEWS,
	.nargs = IDEM_KEY_ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, IDEM_STORE_SCOPE, TEXTOID}
};

/* Long values are read only where they are wanted. */
#define FIND_ROW \
	"SELECT k.created_at, k.expires_at, k.fence, k.lease_until, k.fingerprint," \
	" k.outcome, k.claimed_by, k.sqlstate," \
	" CASE WHEN $3 THEN k.response END, CASE WHEN $3 THEN k.request END," \
	" CASE WHEN $3 THEN k.checkpoints END," \
	" k.response IS NULL, k.request IS NULL, k.checkpoints IS NULL, k.ctid, k.xmin" \
	" FROM @.idem_key AS k WHERE k.scope OPERATOR(pg_catalog.=) $1" \
	" AND k.key OPERATOR(pg_catalog.=) $2"

static const IdemStoreStatement find_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 2,
	.table = IDEM_TABLE_KEY,
	.reads = true,
	.text = FIND_ROW,
	.nargs = 3,
	.argtypes = {IDEM_STORE_SCOPE, TEXTOID, BOOLOID}
};

/*
 * The same for a transaction that keeps one snapshot.  It still sees a row that had
 * expired, and has been purged since, beside the one that it has put in its place.
 */
static const IdemStoreStatement find_last_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 7,
	.table = IDEM_TABLE_KEY,
	.reads = true,
	.text = FIND_ROW " ORDER BY k.created_at USING OPERATOR(pg_catalog.>) LIMIT 1",
	.nargs = 3,
	.argtypes = {IDEM_STORE_SCOPE, TEXTOID, BOOLOID}
};

/* The columns that it gives. */
enum
{
	FOUND_CREATED_AT,
	FOUND_EXPIRES_AT,
	FOUND_FENCE,
	FOUND_LEASE_UNTIL,
	FOUND_FINGERPRINT,
	FOUND_OUTCOME,
	FOUND_CLAIMED_BY,
	FOUND_SQLSTATE,
	FOUND_RESPONSE,
	FOUND_REQUEST,
	FOUND_CHECKPOINTS,
	FOUND_NO_RESPONSE,
	FOUND_NO_REQUEST,
	FOUND_NO_CHECKPOINTS,
	FOUND_CTID,
	FOUND_XMIN,
	FOUND_COLUMNS
};

#define IS_FOUND(scope, key, ctid, xmin) \
	" WHERE k.scope OPERATOR(pg_catalog.=) " scope \
	" AND k.key OPERATOR(pg_catalog.=) " key \
	" AND k.ctid OPERATOR(pg_catalog.=) " ctid \
	" AND k.xmin OPERATOR(pg_catalog.=) " xmin

#define FOUND_ARGS		4
#define FOUND_ARGTYPES	IDEM_STORE_SCOPE, TEXTOID, TIDOID, XIDOID

static const IdemStoreStatement lock_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 3,
	.table = IDEM_TABLE_KEY,
	.text = "SELECT 1 FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4")
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES}
};

static const IdemStoreStatement replace_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 4,
	.table = IDEM_TABLE_KEY,
	.text = "UPDATE @.idem_key AS k SET outcome = $1, fingerprint = $2,"
	" response = CASE WHEN $11 THEN $3 ELSE k.response END, fence = $4,"
	" claimed_by = $5, created_at = $6, expires_at = $7, lease_until = $8,"
	" request = CASE WHEN $12 THEN $9 ELSE k.request END, sqlstate = $10,"
	" checkpoints = CASE WHEN $13 THEN $14 ELSE k.checkpoints END"
	IS_FOUND("$15", "$16", "$17", "$18"),
	.nargs = IDEM_KEY_REPLACE_ARGS + FOUND_ARGS,
	.argtypes = {ROW_ARGTYPES, BOOLOID, BOOLOID, BOOLOID, JSONBOID, FOUND_ARGTYPES}
};

static const IdemStoreStatement remove_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 5,
	.table = IDEM_TABLE_KEY,
	.text = "DELETE FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4"),
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES}
};

/*
 * Writes nothing, as a write to where the row is.  Citus lets a shard be moved between
 * a read and a write of a transaction, and may then write to its old place, over
 * the connection of the read.  After a write the shard stays where it is.
 */
static const IdemStoreStatement pin_row = {
	.number = IDEM_STORE_KEY_STATEMENTS + 6,
	.table = IDEM_TABLE_KEY,
	.text = "UPDATE @.idem_key AS k SET fence = k.fence"
	" WHERE k.scope OPERATOR(pg_catalog.=) $1 AND k.key OPERATOR(pg_catalog.=) $2"
	" AND k.fence OPERATOR(pg_catalog.<) 0",
	.nargs = 2,
	.argtypes = {IDEM_STORE_SCOPE, TEXTOID}
};

static void
read_row(const Datum *values, const bool *isnull, TimestampTz now, int options,
		 IdemKeyRow *row)
{
	bool		read = (options & IDEM_WITH_VALUES) != 0;

	row->created_at = DatumGetTimestampTz(values[FOUND_CREATED_AT]);
	row->expires_at = DatumGetTimestampTz(values[FOUND_EXPIRES_AT]);
	row->ever_leased = !isnull[FOUND_LEASE_UNTIL];
	if (row->ever_leased)
		row->lease_until = DatumGetTimestampTz(values[FOUND_LEASE_UNTIL]);
	row->leased = row->ever_leased && !TIMESTAMP_IS_NOBEGIN(row->lease_until);
	row->fingerprint_isnull = isnull[FOUND_FINGERPRINT];
	if (!row->fingerprint_isnull)
		row->fingerprint = *DatumGetUUIDP(values[FOUND_FINGERPRINT]);
	row->outcome = idem_catalog_outcome(DatumGetObjectId(values[FOUND_OUTCOME]));
	row->fence = DatumGetInt64(values[FOUND_FENCE]);
	row->claimed_by = DatumGetObjectId(values[FOUND_CLAIMED_BY]);
	row->refused = !isnull[FOUND_SQLSTATE];
	row->response_isnull = DatumGetBool(values[FOUND_NO_RESPONSE]);
	row->request_isnull = DatumGetBool(values[FOUND_NO_REQUEST]);
	row->checkpoints_isnull = DatumGetBool(values[FOUND_NO_CHECKPOINTS]);
	if (read && row->expires_at > now)
	{
		row->response = values[FOUND_RESPONSE];
		row->request = values[FOUND_REQUEST];
		row->checkpoints = values[FOUND_CHECKPOINTS];
	}
	row->version.ctid = *(ItemPointer) DatumGetPointer(values[FOUND_CTID]);
	row->version.xmin = DatumGetTransactionId(values[FOUND_XMIN]);
	row->version.fence = row->fence;
}

/* Tells a row by the parameters from first on; those of its version come last. */
static void
bind_key(const IdemKey *key, const IdemKeyRow *row, Datum *args, int first)
{
	args[first] = idem_store_scope_value(key->store, key->scope);
	args[first + 1] = PointerGetDatum(key->key);
	args[first + 2] = PointerGetDatum(&row->version.ctid);
	args[first + 3] = TransactionIdGetDatum(row->version.xmin);
}

/*
 * Runs a statement that writes the row of a key.  From then on the lock stays: what
 * has been written may be elsewhere, where no session of this node could see it.
 */
static bool
write_row(const IdemKey *key, const IdemStoreStatement *statement, Datum *args,
		  const bool *isnull)
{
	Assert(idem_key_lock_is_held(key));
	if (idem_store_run(key->store, statement, args, isnull, 0, NULL, NULL) == 0)
		return false;
	idem_key_lock_keep(key);
	return true;
}

/*
 * Was the row of a key committed after the transaction's one snapshot was taken?  A
 * statement does not see it, and would have the key free.  What is on another node
 * cannot be asked for; there it is the primary key that tells, once it is written.
 */
static bool
is_unseen(const IdemKey *key)
{
	const IdemStore *store = key->store;
	RegProcedure same = store->scope_type == INT8OID ? F_INT8EQ :
		store->scope_type == INT4OID ? F_INT4EQ :
		store->scope_type == UUIDOID ? F_UUID_EQ : F_TEXTEQ;
	ScanKeyData keys[2];
	Relation	rel;
	HeapTuple	tuple;

	if (!IsolationUsesXactSnapshot() || idem_routed(store->key_table))
		return false;
	ScanKeyInit(&keys[0], IDEM_KEY_COLUMN_KEY, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key->key));
	ScanKeyInit(&keys[1], IDEM_KEY_COLUMN_SCOPE, BTEqualStrategyNumber, same,
				idem_store_scope_value(store, key->scope));
	rel = table_open(store->key_table, AccessShareLock);
	tuple = idem_committed_row_find(rel, idem_table_shape_key(IDEM_TABLE_KEY, rel),
									lengthof(keys), keys);
	table_close(rel, NoLock);
	return tuple != NULL &&
		idem_committed_row_is_unseen(HeapTupleHeaderGetXmin(tuple->t_data));
}

/*
 * Finds the row of a key as the statement's snapshot sees it, which a session that has
 * the lock of the key takes after the session before has committed.
 */
IdemKeyState
idem_key_store_find(const IdemKey *key, TimestampTz now, int options,
					IdemKeyRow *row)
{
	Datum		args[3];
	Datum		values[FOUND_COLUMNS];
	bool		isnull[FOUND_COLUMNS];
	bool		found;

	memset(row, 0, sizeof(IdemKeyRow));
	args[0] = idem_store_scope_value(key->store, key->scope);
	args[1] = PointerGetDatum(key->key);
	args[2] = BoolGetDatum((options & IDEM_WITH_VALUES) != 0);
	/* the first look is one before a write, too, with the lock or without */
	if (!XactReadOnly && (key->claims || idem_key_lock_is_held(key)) &&
		idem_routed(key->store->key_table))
		(void) idem_store_run(key->store, &pin_row, args, NULL, 0, NULL, NULL);
	found = idem_store_run(key->store, IsolationUsesXactSnapshot() ? &find_last_row :
						   &find_row, args, NULL, FOUND_COLUMNS, values, isnull) > 0;
	row->unseen = is_unseen(key);
	if (!found)
		return IDEM_KEY_ABSENT;
	read_row(values, isnull, now, options, row);
	row->ours = idem_key_lock_is_kept(key);
	return idem_key_table_judge(row, now);
}

/*
 * Inserts the row of a key, or, with renew, puts it in the place of one that has
 * expired.  False if a row is there that another node's session has written.
 */
bool
idem_key_store_insert(const IdemKey *key, const IdemKeyRow *row, bool renew)
{
	Datum		args[IDEM_KEY_ROW_ARGS + 2];
	bool		isnull[IDEM_KEY_ROW_ARGS + 2] = {false};

	idem_key_write_bind(row, args, isnull);
	args[IDEM_KEY_ROW_ARGS] = idem_store_scope_value(key->store, key->scope);
	args[IDEM_KEY_ROW_ARGS + 1] = PointerGetDatum(key->key);
	return write_row(key, renew ? &renew_row : &insert_row, args, isnull);
}

/* As idem_key_write_lock_row. */
bool
idem_key_store_lock_row(const IdemKey *key, const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	bind_key(key, row, args, 0);
	return idem_store_run(key->store, &lock_row, args, NULL, 0, NULL, NULL) > 0;
}

/* As idem_key_write_replace, with the parameters that it has made. */
bool
idem_key_store_replace(const IdemKey *key, const IdemKeyRow *row, Datum *args,
					   const bool *isnull)
{
	bind_key(key, row, args, IDEM_KEY_REPLACE_ARGS);
	return write_row(key, &replace_row, args, isnull);
}

/* As idem_key_write_remove. */
bool
idem_key_store_remove(const IdemKey *key, const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	bind_key(key, row, args, 0);
	return write_row(key, &remove_row, args, NULL);
}
