/*
 * key_table.c
 *	  The rows of idem_key: found as they are committed now, and written.
 *
 * Rows are found without regard to the transaction's snapshot and without
 * taking part in serializable conflict detection, and written by statements of
 * idem's own.  Who may do which of that when is for the callers to know; they
 * hold the lock of the key while they find a row and write it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/role.h"
#include "key/key_table.h"
#include "run/committed_row.h"
#include "run/simple_dml.h"
#include "run/spi_own.h"
#include "run/usercontext.h"

/* Columns of idem_key. */
enum
{
	COLUMN_CREATED_AT = 1,
	COLUMN_EXPIRES_AT,
	COLUMN_FENCE,
	COLUMN_LEASE_UNTIL,
	COLUMN_FINGERPRINT,
	COLUMN_OUTCOME,
	COLUMN_CLAIMED_BY,
	COLUMN_SCOPE,
	COLUMN_KEY,
	COLUMN_RESPONSE,
	COLUMN_REQUEST,
	COLUMNS = COLUMN_REQUEST
};

/* What a row says, as the first parameters of the statements that write it. */
enum
{
	ARG_OUTCOME,
	ARG_FINGERPRINT,
	ARG_RESPONSE,
	ARG_FENCE,
	ARG_CLAIMED_BY,
	ARG_CREATED_AT,
	ARG_EXPIRES_AT,
	ARG_LEASE_UNTIL,
	ARG_REQUEST,
	ROW_ARGS
};

#define ROW_ARGTYPES \
	InvalidOid, UUIDOID, JSONBOID, INT8OID, OIDOID, TIMESTAMPTZOID, \
	TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID

#define KEY_VALUES \
	" (outcome, fingerprint, response, fence, claimed_by, created_at," \
	" expires_at, lease_until, request, scope, key)" \
	" VALUES ($1, $2, $3, $4, $5::@.idem_role, $6, $7, $8, $9, $10, $11)"

/*
 * The row of a key that has none, where the table is not as it was installed.
 * That needs no ON CONFLICT, whose speculative insertion costs a second look-up
 * and a WAL record.
 */
static IdemStatement insert_row = {
	.text = "INSERT INTO @.idem_key" KEY_VALUES,
	.nargs = ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, key_table)
};

/* The row of a key whose former row has expired and may be purged any time. */
static IdemStatement renew_row = {
	.text = "INSERT INTO @.idem_key AS k" KEY_VALUES
	" ON CONFLICT (key, scope) DO UPDATE SET"
	" outcome = excluded.outcome, fingerprint = excluded.fingerprint,"
	" response = excluded.response, fence = k.fence OPERATOR(pg_catalog.+) 1,"
	" claimed_by = excluded.claimed_by, created_at = excluded.created_at,"
	" expires_at = excluded.expires_at, lease_until = excluded.lease_until,"
	" request = excluded.request"
	" WHERE k.expires_at OPERATOR(pg_catalog.<=) excluded.created_at",
	.nargs = ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, key_table)
};

/*
 * A row that was found, as long as it is the very version that was found: to
 * be read by its place in the table, since reading by the index would lock the
 * neighbours of the key for serializable conflict detection.
 *
 * Place and transaction do not suffice.  VACUUM FULL and CLUSTER put the rows of
 * one transaction in one another's places, so the key must be the one that was
 * found as well; called as a function, the comparison is none that the planner
 * could use an index for.
 */
#define IS_FOUND(ctid, xmin, key, scope) \
	" WHERE k.ctid OPERATOR(pg_catalog.=) " ctid \
	" AND k.xmin OPERATOR(pg_catalog.=) " xmin \
	" AND pg_catalog.texteq(k.key, " key ")" \
	" AND pg_catalog.texteq(k.scope, " scope ")"

#define FOUND_ARGS		4
#define FOUND_ARGTYPES	TIDOID, XIDOID, TEXTOID, TEXTOID

static IdemStatement lock_row = {
	.text = "SELECT FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4")
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table)
};

/* A value that stays is not copied, which for a long one would cost. */
static IdemStatement replace_row = {
	.text = "UPDATE @.idem_key AS k SET outcome = $1, fingerprint = $2,"
	" response = CASE WHEN $10 THEN $3 ELSE k.response END, fence = $4,"
	" claimed_by = $5::@.idem_role, created_at = $6, expires_at = $7,"
	" lease_until = $8,"
	" request = CASE WHEN $11 THEN $9 ELSE k.request END"
	IS_FOUND("$12", "$13", "$14", "$15"),
	.nargs = ROW_ARGS + 2 + FOUND_ARGS,
	.argtypes = {ROW_ARGTYPES, BOOLOID, BOOLOID, FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table)
};

static IdemStatement remove_row = {
	.text = "DELETE FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4"),
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table)
};

static Datum
copy_value(const Datum *values, int column)
{
	return PointerGetDatum(PG_DETOAST_DATUM_COPY(values[column - 1]));
}

/*
 * Takes a row apart.  Another session may update the extension, and add
 * columns, while we have this library loaded.
 */
static void
read_tuple(HeapTuple tuple, TupleDesc desc, TimestampTz now,
		   int options, IdemKeyRow *row)
{
	Datum		values[MaxHeapAttributeNumber];
	bool		isnull[MaxHeapAttributeNumber];
	TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

	heap_deform_tuple(tuple, desc, values, isnull);
	row->created_at = DatumGetTimestampTz(values[COLUMN_CREATED_AT - 1]);
	row->expires_at = DatumGetTimestampTz(values[COLUMN_EXPIRES_AT - 1]);
	row->leased = !isnull[COLUMN_LEASE_UNTIL - 1];
	if (row->leased)
		row->lease_until = DatumGetTimestampTz(values[COLUMN_LEASE_UNTIL - 1]);
	row->fingerprint_isnull = isnull[COLUMN_FINGERPRINT - 1];
	if (!row->fingerprint_isnull)
		row->fingerprint = *DatumGetUUIDP(values[COLUMN_FINGERPRINT - 1]);
	row->outcome =
		idem_catalog_outcome(DatumGetObjectId(values[COLUMN_OUTCOME - 1]));
	row->fence = DatumGetInt64(values[COLUMN_FENCE - 1]);
	row->claimed_by = DatumGetObjectId(values[COLUMN_CLAIMED_BY - 1]);
	row->response_isnull = isnull[COLUMN_RESPONSE - 1];
	row->request_isnull = isnull[COLUMN_REQUEST - 1];
	if ((options & IDEM_WITH_VALUES) != 0 && row->expires_at > now)
	{
		if (!row->response_isnull)
			row->response = copy_value(values, COLUMN_RESPONSE);
		if (!row->request_isnull)
			row->request = copy_value(values, COLUMN_REQUEST);
	}

	row->version.ctid = tuple->t_self;
	row->version.xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	row->ours = TransactionIdIsCurrentTransactionId(xmin);
	row->unseen = idem_committed_row_is_unseen(xmin);
}

/*
 * Takes from a row that a running transaction writes what is to be known of it
 * before that ends: whose the key is, unless it has expired and may become
 * anybody's, and whether it is deleted as one that has.  A row that is updated
 * refers to its new version.
 */
static void
read_busy_tuple(HeapTuple tuple, TupleDesc desc, TimestampTz now,
				const SnapshotData *dirty, IdemKeyRow *row)
{
	bool		isnew = TransactionIdIsValid(dirty->xmin);
	bool		isnull;
	Datum		value;
	bool		expired;

	row->writer = isnew ? dirty->xmin : dirty->xmax;
	row->speculative_token = dirty->speculativeToken;

	value = heap_getattr(tuple, COLUMN_EXPIRES_AT, desc, &isnull);
	expired = !isnew && DatumGetTimestampTz(value) <= now;
	row->leaving = expired &&
		ItemPointerEquals(&tuple->t_self, &tuple->t_data->t_ctid);
	row->claimer_known = !expired;
	value = heap_getattr(tuple, COLUMN_CLAIMED_BY, desc, &isnull);
	row->claimed_by = DatumGetObjectId(value);
}

/* Tells of a committed row what is found. */
static IdemKeyState
judge(const IdemKeyRow *row, TimestampTz now)
{
	if (row->expires_at <= now)
		return IDEM_KEY_EXPIRED;
	if (row->outcome == IDEM_ABANDONED ||
		(row->outcome == IDEM_IN_PROGRESS && row->leased &&
		 row->lease_until <= now))
		return IDEM_KEY_LAPSED;
	return IDEM_KEY_LIVE;
}

/* Finds a row, be it one that a running transaction writes. */
static IdemKeyState
find_now(Relation rel, ScanKey keys, TimestampTz now, int options,
		 IdemKeyRow *row)
{
	SnapshotData dirty;
	SysScanDesc scan;
	HeapTuple	tuple;
	IdemKeyState found;

	InitDirtySnapshot(dirty);
	scan = systable_beginscan(rel, idem_catalog_key_of(rel), true, &dirty, 2,
							  keys);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		found = IDEM_KEY_ABSENT;
	else if (TransactionIdIsValid(dirty.xmin) ||
			 TransactionIdIsValid(dirty.xmax))
	{
		found = IDEM_KEY_BUSY;
		read_busy_tuple(tuple, RelationGetDescr(rel), now, &dirty, row);
	}
	else
	{
		read_tuple(tuple, RelationGetDescr(rel), now, options, row);
		found = judge(row, now);
	}
	systable_endscan(scan);
	return found;
}

/*
 * Finds the row of a key as it is committed now, whatever our snapshot sees,
 * without taking part in serializable conflict detection: the primary key and
 * the lock already give what a predicate lock would, which would fall on the
 * neighbours of the key as well.
 *
 * Found without the key's lock, nothing may be a row that was just updated: its
 * new version may enter the index after we have read there, and the old one be
 * dead when we get to it.  What has committed is found without fail, if told to
 * look for that only; on a standby that is all there is.
 *
 * One function, since an engine that spreads the table over machines will need
 * a query in its place.
 *
 * In a transaction under way, news of a change may not have come in yet.  With
 * the lock come the last of them, so the index is asked for after it: REINDEX
 * CONCURRENTLY puts a new one in its place.
 */
IdemKeyState
idem_key_table_find(text *scope, text *key, TimestampTz now, int options,
					IdemKeyRow *row)
{
	Relation	rel;
	ScanKeyData keys[2];
	IdemKeyState found;

	memset(row, 0, sizeof(IdemKeyRow));
	row->scope = scope;
	row->key = key;
	ScanKeyInit(&keys[0], COLUMN_KEY, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key));
	ScanKeyInit(&keys[1], COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(scope));

	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->key_table, AccessShareLock);
	if ((options & IDEM_COMMITTED) != 0 || RecoveryInProgress())
	{
		HeapTuple	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 2,
													keys);

		found = IDEM_KEY_ABSENT;
		if (tuple != NULL)
		{
			read_tuple(tuple, RelationGetDescr(rel), now, options, row);
			found = judge(row, now);
		}
	}
	else
		found = find_now(rel, keys, now, options, row);
	table_close(rel, AccessShareLock);
	return found;
}

/* Waits for the end of the transaction that writes a busy row. */
void
idem_key_table_wait(const IdemKeyRow *row)
{
	if (row->speculative_token != 0)
		SpeculativeInsertionWait(row->writer, row->speculative_token);
	else
		XactLockTableWait(row->writer, NULL, NULL, XLTW_None);
}

/* The process that writes a busy row; 0 if there is none: it is prepared, or over. */
int
idem_key_table_writer(const IdemKeyRow *row)
{
	return BackendXidGetPid(SubTransGetTopmostTransaction(row->writer));
}

/*
 * Raises 42501 unless the role that claimed the key is one whose rights we
 * have.  A role that has been dropped since leaves its keys to superusers.
 */
void
idem_key_table_check_owner(const IdemKeyRow *row, const char *key)
{
	/* which role that is, is not for others to know */
	static const IdemRoleError error = {
		.message = "permission denied for key \"%s\"",
		.detail = "The key belongs to a role that you are not a member of.",
		.hint = "Use a scope of your own to keep your keys apart from those of others."
	};

	idem_role_check(row->claimed_by, key, &error);
}

/* Raises ID001 unless the key is being used for the same request. */
void
idem_key_table_check_request(const IdemKeyRow *row, const char *key, bool same)
{
	if (same)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_KEY_MISMATCH),
			 errmsg("key \"%s\" was used for a different request", key),
			 errdetail("It was used at %s by role \"%s\", with outcome \"%s\".",
					   timestamptz_to_str(row->created_at),
					   idem_key_table_claimer(row),
					   idem_outcome_name(row->outcome)),
			 errhint("Send exactly the same request to retry it, or use a new key for a new request.")));
}

/* Is a row that of a request with this fingerprint? */
bool
idem_key_table_is_of(const IdemKeyRow *row, const pg_uuid_t *fingerprint)
{
	return !row->fingerprint_isnull &&
		memcmp(&row->fingerprint, fingerprint, sizeof(pg_uuid_t)) == 0;
}

/* The name of the role that claimed the key, for messages. */
const char *
idem_key_table_claimer(const IdemKeyRow *row)
{
	const char *name = idem_role_name(row->claimed_by);

	return name != NULL ? name : _("(dropped)");
}

/* What a row says, as parameters. */
static void
bind_row(const IdemKeyRow *row, Datum *args, bool *isnull)
{
	args[ARG_OUTCOME] = ObjectIdGetDatum(idem_catalog()->outcome[row->outcome]);
	args[ARG_FINGERPRINT] = UUIDPGetDatum(&row->fingerprint);
	isnull[ARG_FINGERPRINT] = row->fingerprint_isnull;
	args[ARG_RESPONSE] = row->response;
	isnull[ARG_RESPONSE] = row->response_isnull;
	args[ARG_FENCE] = Int64GetDatum(row->fence);
	args[ARG_CLAIMED_BY] = ObjectIdGetDatum(row->claimed_by);
	args[ARG_CREATED_AT] = TimestampTzGetDatum(row->created_at);
	args[ARG_EXPIRES_AT] = TimestampTzGetDatum(row->expires_at);
	args[ARG_LEASE_UNTIL] = TimestampTzGetDatum(row->lease_until);
	isnull[ARG_LEASE_UNTIL] = !row->leased;
	args[ARG_REQUEST] = row->request;
	isnull[ARG_REQUEST] = row->request_isnull;
}

static uint64
run_insert(IdemStatement *statement, text *scope, text *key,
		   const IdemKeyRow *row)
{
	Datum		args[ROW_ARGS + 2];
	bool		isnull[ROW_ARGS + 2] = {false};

	bind_row(row, args, isnull);
	args[ROW_ARGS] = PointerGetDatum(scope);
	args[ROW_ARGS + 1] = PointerGetDatum(key);
	return idem_spi_own(statement, args, isnull, 0, NULL, NULL);
}

/*
 * Runs a statement on a row that was found, whose last parameters, from first
 * on, say which one that is.  The planner would rather read the whole of a
 * small table, which locks it for serializable conflict detection.
 */
static bool
run_found(IdemStatement *statement, Datum *args, const bool *isnull, int first,
		  const IdemKeyRow *row)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_tidscan", "on"},
	};
	int			nestlevel = idem_usercontext_set(settings, lengthof(settings));
	uint64		rows;

	args[first] = PointerGetDatum(&row->version.ctid);
	args[first + 1] = TransactionIdGetDatum(row->version.xmin);
	args[first + 2] = PointerGetDatum(row->key);
	args[first + 3] = PointerGetDatum(row->scope);
	rows = idem_spi_own(statement, args, isnull, 0, NULL, NULL);
	idem_usercontext_reset(nestlevel);
	return rows > 0;
}

/*
 * Inserts the row of a key that has none.  Raises 27000 when a trigger or a rule
 * kept it out.
 */
void
idem_key_table_insert(text *scope, text *key, const IdemKeyRow *row)
{
	Datum		values[COLUMNS];
	bool		isnull[COLUMNS] = {false};

	values[COLUMN_CREATED_AT - 1] = TimestampTzGetDatum(row->created_at);
	values[COLUMN_EXPIRES_AT - 1] = TimestampTzGetDatum(row->expires_at);
	values[COLUMN_FENCE - 1] = Int64GetDatum(row->fence);
	values[COLUMN_FINGERPRINT - 1] = UUIDPGetDatum(&row->fingerprint);
	isnull[COLUMN_FINGERPRINT - 1] = row->fingerprint_isnull;
	values[COLUMN_LEASE_UNTIL - 1] = TimestampTzGetDatum(row->lease_until);
	isnull[COLUMN_LEASE_UNTIL - 1] = !row->leased;
	values[COLUMN_OUTCOME - 1] =
		ObjectIdGetDatum(idem_catalog()->outcome[row->outcome]);
	values[COLUMN_SCOPE - 1] = PointerGetDatum(scope);
	values[COLUMN_KEY - 1] = PointerGetDatum(key);
	values[COLUMN_CLAIMED_BY - 1] = ObjectIdGetDatum(row->claimed_by);
	values[COLUMN_RESPONSE - 1] = row->response;
	isnull[COLUMN_RESPONSE - 1] = row->response_isnull;
	values[COLUMN_REQUEST - 1] = row->request;
	isnull[COLUMN_REQUEST - 1] = row->request_isnull;

	if (!idem_simple_dml_insert(idem_catalog()->key_table, COLUMNS, values,
								isnull) &&
		run_insert(&insert_row, scope, key, row) == 0)
		idem_error_prevented("idem_key");
}

/*
 * Inserts the row of a key, or puts it in the place of one that has expired,
 * with a fence one higher.  False if nothing was written: a row is there that has
 * not, or a trigger or a rule prevented it.
 */
bool
idem_key_table_renew(text *scope, text *key, const IdemKeyRow *row)
{
	return run_insert(&renew_row, scope, key, row) > 0;
}

/*
 * Locks a row that was found against all others who might write it, without
 * waiting.  False if somebody is at it, or was, or if it has moved.
 */
bool
idem_key_table_lock(const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	return run_found(&lock_row, args, NULL, 0, row);
}

/*
 * Writes a row over what it was found as; its response and its request only if
 * they are new.  False if nothing was written: the row has changed or moved since,
 * or a trigger or a rule prevented it.
 */
bool
idem_key_table_replace(const IdemKeyRow *row, bool new_response, bool new_request)
{
	Datum		args[ROW_ARGS + 2 + FOUND_ARGS];
	bool		isnull[ROW_ARGS + 2 + FOUND_ARGS] = {false};

	bind_row(row, args, isnull);
	isnull[ARG_RESPONSE] |= !new_response;
	isnull[ARG_REQUEST] |= !new_request;
	args[ROW_ARGS] = BoolGetDatum(new_response);
	args[ROW_ARGS + 1] = BoolGetDatum(new_request);
	return run_found(&replace_row, args, isnull, ROW_ARGS + 2, row);
}

/* Deletes a row that was found.  False as idem_key_table_replace. */
bool
idem_key_table_remove(const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	return run_found(&remove_row, args, NULL, 0, row);
}

bool
idem_key_table_same_version(const IdemKeyVersion *a, const IdemKeyVersion *b)
{
	return a->xmin == b->xmin &&
		ItemPointerGetBlockNumberNoCheck(&a->ctid) ==
		ItemPointerGetBlockNumberNoCheck(&b->ctid) &&
		ItemPointerGetOffsetNumberNoCheck(&a->ctid) ==
		ItemPointerGetOffsetNumberNoCheck(&b->ctid);
}
