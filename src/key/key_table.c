/*
 * key_table.c
 *	  The rows of idem_key, found as they are committed now.
 *
 * Rows are found without regard to the transaction's snapshot and without taking
 * part in serializable conflict detection.  When to look for one, and under which
 * lock, is for the callers to know (key.c).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
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
#include "stats/stats_counter.h"

static Datum
copy_value(const Datum *values, int column)
{
	return PointerGetDatum(PG_DETOAST_DATUM_COPY(values[column - 1]));
}

/*
 * Takes a row apart; what it does not have is left as it is.  Another session may update the extension, and add columns,
 * while this one has the library of before loaded.
 */
void
idem_key_table_read(HeapTuple tuple, TupleDesc desc, TimestampTz now,
					int options, IdemKeyRow *row)
{
	Datum		values[MaxHeapAttributeNumber];
	bool		isnull[MaxHeapAttributeNumber];
	TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

	heap_deform_tuple(tuple, desc, values, isnull);
	row->created_at = DatumGetTimestampTz(values[IDEM_KEY_COLUMN_CREATED_AT - 1]);
	row->expires_at = DatumGetTimestampTz(values[IDEM_KEY_COLUMN_EXPIRES_AT - 1]);
	row->ever_leased = !isnull[IDEM_KEY_COLUMN_LEASE_UNTIL - 1];
	if (row->ever_leased)
		row->lease_until = DatumGetTimestampTz(values[IDEM_KEY_COLUMN_LEASE_UNTIL - 1]);
	row->leased = row->ever_leased && !TIMESTAMP_IS_NOBEGIN(row->lease_until);
	row->fingerprint_isnull = isnull[IDEM_KEY_COLUMN_FINGERPRINT - 1];
	if (!row->fingerprint_isnull)
		row->fingerprint = *DatumGetUUIDP(values[IDEM_KEY_COLUMN_FINGERPRINT - 1]);
	row->outcome =
		idem_catalog_outcome(DatumGetObjectId(values[IDEM_KEY_COLUMN_OUTCOME - 1]));
	row->fence = DatumGetInt64(values[IDEM_KEY_COLUMN_FENCE - 1]);
	row->claimed_by = DatumGetObjectId(values[IDEM_KEY_COLUMN_CLAIMED_BY - 1]);
	row->response_isnull = isnull[IDEM_KEY_COLUMN_RESPONSE - 1];
	row->request_isnull = isnull[IDEM_KEY_COLUMN_REQUEST - 1];
	row->refused = !isnull[IDEM_KEY_COLUMN_SQLSTATE - 1];
	row->checkpoints_isnull = isnull[IDEM_KEY_COLUMN_CHECKPOINTS - 1];
	if ((options & IDEM_WITH_VALUES) != 0 && row->expires_at > now)
	{
		if (!row->response_isnull)
			row->response = copy_value(values, IDEM_KEY_COLUMN_RESPONSE);
		if (!row->request_isnull)
			row->request = copy_value(values, IDEM_KEY_COLUMN_REQUEST);
		if (!row->checkpoints_isnull)
			row->checkpoints = copy_value(values, IDEM_KEY_COLUMN_CHECKPOINTS);
	}

	row->version.ctid = tuple->t_self;
	row->version.xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	row->version.fence = row->fence;
	row->ours = TransactionIdIsCurrentTransactionId(xmin);
	row->unseen = (options & IDEM_BY_STATEMENT) != 0 ?
		idem_committed_row_is_unseen_by_statement(xmin) :
		idem_committed_row_is_unseen(xmin);
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

	Assert(isnew || TransactionIdIsValid(dirty->xmax));
	row->writer = isnew ? dirty->xmin : dirty->xmax;
	row->speculative_token = dirty->speculativeToken;

	value = heap_getattr(tuple, IDEM_KEY_COLUMN_EXPIRES_AT, desc, &isnull);
	expired = !isnew && DatumGetTimestampTz(value) <= now;
	row->leaving = expired &&
		ItemPointerEquals(&tuple->t_self, &tuple->t_data->t_ctid);
	row->claimer_known = !expired;
	value = heap_getattr(tuple, IDEM_KEY_COLUMN_CLAIMED_BY, desc, &isnull);
	row->claimed_by = DatumGetObjectId(value);
}

/* What state a committed row is in. */
IdemKeyState
idem_key_table_judge(const IdemKeyRow *row, TimestampTz now)
{
	if (row->expires_at <= now)
		return IDEM_KEY_EXPIRED;
	if (row->outcome == IDEM_ABANDONED ||
		(row->outcome == IDEM_IN_PROGRESS && row->leased &&
		 row->lease_until <= now))
		return IDEM_KEY_LAPSED;
	return IDEM_KEY_LIVE;
}

static void
set_scan_keys(ScanKey keys, AttrNumber key_column, text *key,
			  AttrNumber scope_column, text *scope)
{
	ScanKeyInit(&keys[0], key_column, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key));
	ScanKeyInit(&keys[1], scope_column, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(scope));
}

/* On table and index. */
static LOCKMODE
lock_mode(int options)
{
	return (options & (IDEM_TO_WRITE | IDEM_TO_INSERT)) != 0 ? RowExclusiveLock :
		AccessShareLock;
}

/*
 * Are those locks kept, with what was found?  They are for who will write.  A
 * transaction that is waited for may want the table for itself, and one that has only
 * been answered may be open for long.
 */
static bool
keeps_locks(int options, IdemKeyState found)
{
	if (found == IDEM_KEY_BUSY)
		return false;
	return (options & IDEM_TO_WRITE) != 0 ||
		((options & IDEM_TO_INSERT) != 0 && found != IDEM_KEY_LIVE);
}

/*
 * Begins to look for keys, one after the other.  The table and its index are open
 * until the end, before which nothing is to be waited for.
 *
 * In a transaction under way, invalidations may not have come in yet.  With the
 * lock on the table come the last of them, so the index is asked for after it:
 * REINDEX CONCURRENTLY puts a new one in its place.
 */
void
idem_key_table_begin(IdemKeySearch *search, int options)
{
	search->options = options;
	AcceptInvalidationMessages();
	search->rel = table_open(idem_catalog()->key_table, lock_mode(options));
	search->index = index_open(idem_catalog_key_of(search->rel), lock_mode(options));
	search->slot = table_slot_create(search->rel, NULL);
	InitDirtySnapshot(search->dirty);
	search->scan = IDEM_BEGIN_INDEX_SCAN(search->rel, search->index,
										 &search->dirty, 2);
}

/*
 * Finds the row of a key as it is committed now, be it one that a running
 * transaction writes.
 */
IdemKeyState
idem_key_table_next(IdemKeySearch *search, text *scope, text *key,
					TimestampTz now, IdemKeyRow *row)
{
	TupleDesc	desc = RelationGetDescr(search->rel);
	ScanKeyData keys[2];
	HeapTuple	tuple;
	bool		is_copy;
	IdemKeyState found;

	Assert((search->options & IDEM_COMMITTED) == 0 && !RecoveryInProgress());
	memset(row, 0, sizeof(IdemKeyRow));
	/* by the columns of the index */
	set_scan_keys(keys, 1, key, 2, scope);
	index_rescan(search->scan, keys, lengthof(keys), NULL, 0);
	if (!index_getnext_slot(search->scan, ForwardScanDirection, search->slot))
		return IDEM_KEY_ABSENT;
	tuple = ExecFetchSlotHeapTuple(search->slot, false, &is_copy);
	Assert(!is_copy);
	if (TransactionIdIsValid(search->dirty.xmin) ||
		TransactionIdIsValid(search->dirty.xmax))
	{
		read_busy_tuple(tuple, desc, now, &search->dirty, row);
		found = IDEM_KEY_BUSY;
	}
	else
	{
		idem_key_table_read(tuple, desc, now, search->options, row);
		found = idem_key_table_judge(row, now);
	}
	ExecClearTuple(search->slot);
	return found;
}

/* Ends the search; keep tells whether its locks are kept, as any writer's are. */
void
idem_key_table_end(IdemKeySearch *search, bool keep)
{
	LOCKMODE	given_back = keep ? NoLock : lock_mode(search->options);

	index_endscan(search->scan);
	ExecDropSingleTupleTableSlot(search->slot);
	index_close(search->index, given_back);
	table_close(search->rel, given_back);
}

/* Finds a row that has committed, without fail. */
static IdemKeyState
find_committed(text *scope, text *key, TimestampTz now, int options,
			   IdemKeyRow *row)
{
	Relation	rel;
	ScanKeyData keys[2];
	HeapTuple	tuple;
	IdemKeyState found = IDEM_KEY_ABSENT;

	set_scan_keys(keys, IDEM_KEY_COLUMN_KEY, key, IDEM_KEY_COLUMN_SCOPE, scope);
	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->key_table, AccessShareLock);
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), lengthof(keys),
									keys);
	if (tuple != NULL)
	{
		idem_key_table_read(tuple, RelationGetDescr(rel), now, options, row);
		found = idem_key_table_judge(row, now);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Finds the row of a key as it is committed now, whatever the snapshot sees,
 * without taking part in serializable conflict detection: the primary key and
 * the lock already give what a predicate lock would, which would fall on the
 * neighbours of the key as well.
 *
 * Without the key's lock, absent may be a row that was just updated: its new
 * version may enter the index after that was read, and the old one be dead when
 * the scan gets to it.  With IDEM_COMMITTED, a row that has committed is found
 * without fail, and no other; on a standby that is all there is.
 *
 * One function, since an engine that spreads the table over machines will need
 * a query in its place.
 */
IdemKeyState
idem_key_table_find(text *scope, text *key, TimestampTz now, int options,
					IdemKeyRow *row)
{
	IdemKeySearch search;
	IdemKeyState found;

	memset(row, 0, sizeof(IdemKeyRow));
	if ((options & IDEM_COMMITTED) != 0 || RecoveryInProgress())
		return find_committed(scope, key, now, options, row);
	idem_key_table_begin(&search, options);
	found = idem_key_table_next(&search, scope, key, now, row);
	idem_key_table_end(&search, keeps_locks(options, found));
	return found;
}

/*
 * Raises 42501 unless the current user has the rights of the role that claimed the
 * key.  A role that has been dropped since leaves its keys to superusers.
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
	bool		of_table;

	if (same)
		return;
	idem_stats_counter_hit(IDEM_COUNT_KEY_MISMATCH);
	of_table = OidIsValid(RelnameGetRelid(key));
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_KEY_MISMATCH),
			 errmsg("key \"%s\" was used for a different request", key),
			 errdetail("It was used for %s at %s by role \"%s\", with outcome \"%s\".",
					   idem_outcome_call(row->outcome),
					   timestamptz_to_str(row->created_at),
					   idem_key_table_claimer(row),
					   idem_outcome_name(row->outcome)),
			 of_table ?
			 errhint("The key is the name of a table: give the key first, one for each request, then the table.") :
			 errhint("Send exactly the same request to retry it, or use a new key for a new request.")));
}

/*
 * Is a row that of a claim?  A claim that failed and work that was refused have one
 * outcome.
 */
bool
idem_key_table_is_claim(const IdemKeyRow *row)
{
	return idem_outcome_is_claim(row->outcome) && !row->refused;
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

bool
idem_key_table_same_version(const IdemKeyVersion *a, const IdemKeyVersion *b)
{
	return a->xmin == b->xmin &&
		ItemPointerGetBlockNumberNoCheck(&a->ctid) ==
		ItemPointerGetBlockNumberNoCheck(&b->ctid) &&
		ItemPointerGetOffsetNumberNoCheck(&a->ctid) ==
		ItemPointerGetOffsetNumberNoCheck(&b->ctid);
}
