/*
 * key.c
 *	  The key store: who may do the work of a key, and what came of it.
 *
 * A claim takes the heavyweight lock of the key, looks the key up as it is
 * committed now, and either hands out the answer or keeps the lock until the
 * work is done and its row inserted.  From then on that row, although not
 * committed yet, stands in the way of others by itself: they find it, and wait
 * for the transaction that inserted it.  So locks are held only while work is
 * being done, and a statement may use any number of keys.
 *
 * None of this is what correctness rests on.  Whoever gets past it, by writing
 * to the table directly, say, still meets the primary key.
 *
 * Rolling back, also to a savepoint, gives up the lock and the row together;
 * nothing about keys is remembered in the backend's own memory.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "error.h"
#include "key.h"
#include "lock.h"
#include "query.h"
#include "settings.h"

#define MAX_KEY_LENGTH	255		/* bytes, of a key and of a scope */

/* Columns of idem_key. */
enum
{
	COLUMN_CREATED_AT = 1,
	COLUMN_EXPIRES_AT,
	COLUMN_FENCE,
	COLUMN_FINGERPRINT,
	COLUMN_LEASE_UNTIL,
	COLUMN_OUTCOME,
	COLUMN_SCOPE,
	COLUMN_KEY,
	COLUMN_CLAIMED_BY,
	COLUMN_RESPONSE
};

/*
 * A row of idem_key, taken apart; column n is at n - 1.  Another session may
 * update the extension, and add columns, while we have this library loaded.
 */
typedef struct KeyRow
{
	Datum		values[MaxHeapAttributeNumber];
	bool		isnull[MaxHeapAttributeNumber];
} KeyRow;

/* What a look-up finds. */
typedef enum Found
{
	FOUND_NOTHING,
	FOUND_EXPIRED,				/* a row past its time, which counts as none */
	FOUND_BUSY,					/* a row that a running transaction writes */
	FOUND_ANSWER
} Found;

/* A running transaction that has to end before a key can be judged. */
typedef struct Blocker
{
	TransactionId xid;
	uint32		speculative_token;	/* zero unless it may yet withdraw */
} Blocker;

#define KEY_ARGS \
	.nargs = 8, \
	.argtypes = {TEXTOID, TEXTOID, InvalidOid, INT8OID, JSONBOID, TEXTOID, \
	TIMESTAMPTZOID, TIMESTAMPTZOID}

#define KEY_VALUES \
	" (scope, key, outcome, fingerprint, response, fence, claimed_by," \
	" created_at, expires_at)" \
	" VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8)"

/*
 * The row of a key that has none.  That needs no ON CONFLICT, whose
 * speculative insertion costs a second look-up and a WAL record.
 */
static IdemStatement insert_key = {
	.text = "INSERT INTO @.idem_key" KEY_VALUES,
	KEY_ARGS
};

/* The row of a key whose former row has expired and may be purged any time. */
static IdemStatement renew_key = {
	.text = "INSERT INTO @.idem_key AS k" KEY_VALUES
	" ON CONFLICT (scope, key) DO UPDATE SET"
	" outcome = excluded.outcome, fingerprint = excluded.fingerprint,"
	" response = excluded.response, fence = k.fence OPERATOR(pg_catalog.+) 1,"
	" claimed_by = excluded.claimed_by, created_at = excluded.created_at,"
	" expires_at = excluded.expires_at, lease_until = NULL"
	" WHERE k.expires_at OPERATOR(pg_catalog.<=) excluded.created_at",
	KEY_ARGS
};

static void
check_length(const char *argument, text *value, int least)
{
	int			length = VARSIZE_ANY_EXHDR(value);

	if (length < least || length > MAX_KEY_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must have %d to %d bytes",
						argument, least, MAX_KEY_LENGTH),
				 errdetail("It has %d bytes.", length)));
}

/*
 * Takes a key from a function's arguments, NULL where one is null.
 *
 * function is the name to complain with where nothing may be written.  Raises
 * 22004 for a null key or scope, 22023 for one of a wrong length, 25006 in a
 * read-only transaction and on a standby.
 */
void
idem_key_init(IdemKey *key, const char *function, text *name, text *scope,
			  Interval *ttl)
{
	uint64		scope_hash;

	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);

	if (name == NULL)
		idem_error_null("key");
	if (scope == NULL)
		idem_error_null("scope");
	check_length("key", name, 1);
	check_length("scope", scope, 0);

	memset(key, 0, sizeof(IdemKey));
	key->scope = scope;
	key->key = name;
	key->name = text_to_cstring(name);
	key->ttl = ttl;

	scope_hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(scope),
									 VARSIZE_ANY_EXHDR(scope), 0);
	key->hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(name),
									VARSIZE_ANY_EXHDR(name), scope_hash);
}

/* Reads the clock for a claim, and from it until when the result is kept. */
static void
set_clock(IdemKey *key)
{
	key->now = GetCurrentTimestamp();
	if (key->ttl == NULL)
		key->expires_at = TimestampTzPlusMilliseconds(key->now,
													  INT64CONST(1000) * idem_ttl_s);
	else
		key->expires_at =
			DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(key->now),
													IntervalPGetDatum(key->ttl)));
	if (key->expires_at <= key->now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"ttl\" must be positive")));
}

static void
set_locktag(LOCKTAG *tag, const IdemKey *key)
{
	IDEM_SET_LOCKTAG(*tag, MyDatabaseId, (uint32) (key->hash >> 32),
					 (uint32) key->hash, IDEM_LOCK_KEY);
}

/*
 * Takes the lock of a key, if it is free or else if told to wait.
 *
 * Locks are given back as soon as a key's row is there, so one that is held
 * already belongs to a call that we are running inside of.
 */
static bool
lock_key(const IdemKey *key, bool wait)
{
	LOCKTAG		tag;

	set_locktag(&tag, key);
	switch (LockAcquire(&tag, ExclusiveLock, false, !wait))
	{
		case LOCKACQUIRE_OK:
			return true;
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("key \"%s\" is in use by a call that is still running in this session",
							key->name),
					 errhint("A trigger or function that runs under a key needs a key of its own.")));
	}
	return false;				/* keep compiler quiet */
}

static void
unlock_key(const IdemKey *key)
{
	LOCKTAG		tag;

	set_locktag(&tag, key);
	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Is the role of that name, who claimed a key, one whose rights we have?  A
 * role that has been dropped since leaves its answers to superusers.
 */
static bool
may_see(const char *claimed_by)
{
	Oid			role = get_role_oid(claimed_by, true);

	return OidIsValid(role) ? has_privs_of_role(GetUserId(), role) : superuser();
}

/*
 * Hands out what a row remembers, after checking that it is ours to see and of
 * the same request.
 */
static void
read_answer(const IdemKey *key, const KeyRow *row, IdemAnswer *answer)
{
	char	   *claimed_by = TextDatumGetCString(row->values[COLUMN_CLAIMED_BY - 1]);

	if (!may_see(claimed_by))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for key \"%s\"", key->name),
				 errdetail("The key belongs to a role that you are not a member of."),
				 errhint("Use a scope of your own to keep your keys apart from those of others.")));

	if (row->isnull[COLUMN_FINGERPRINT - 1] ||
		DatumGetInt64(row->values[COLUMN_FINGERPRINT - 1]) != key->fingerprint)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_KEY_MISMATCH),
				 errmsg("key \"%s\" was used for a different request", key->name),
				 errdetail("It was used at %s by role \"%s\".",
						   timestamptz_to_str(DatumGetTimestampTz(row->values[COLUMN_CREATED_AT - 1])),
						   claimed_by),
				 errhint("Send exactly the same request to retry it, or use a new key for a new request.")));

	answer->outcome =
		idem_catalog_outcome(DatumGetObjectId(row->values[COLUMN_OUTCOME - 1]));
	answer->response_isnull = row->isnull[COLUMN_RESPONSE - 1];
	if (!answer->response_isnull)
		answer->response =
			PointerGetDatum(PG_DETOAST_DATUM_COPY(row->values[COLUMN_RESPONSE - 1]));
}

/*
 * Looks the key up as it is committed now, whatever our snapshot sees, without
 * taking part in serializable conflict detection: the primary key and the
 * lock already give what a predicate lock would, which would fall on the
 * neighbours of the key as well.
 *
 * One function, since an engine that spreads the table over machines will need
 * a query in its place.
 */
static Found
look_up(const IdemKey *key, IdemAnswer *answer, Blocker *blocker)
{
	Relation	rel;
	SnapshotData dirty;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	KeyRow		row;
	Found		found;

	/*
	 * In a transaction under way, news of a change may not have come in yet.
	 * With the lock come the last of them, so the index is asked for after it:
	 * REINDEX CONCURRENTLY puts a new one in its place.
	 */
	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->key_table, AccessShareLock);

	InitDirtySnapshot(dirty);
	ScanKeyInit(&keys[0], COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key->scope));
	ScanKeyInit(&keys[1], COLUMN_KEY, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key->key));
	scan = systable_beginscan(rel, idem_catalog()->key_index, true, &dirty, 2, keys);
	tuple = systable_getnext(scan);

	if (!HeapTupleIsValid(tuple))
		found = FOUND_NOTHING;
	else if (TransactionIdIsValid(dirty.xmin) ||
			 TransactionIdIsValid(dirty.xmax))
	{
		found = FOUND_BUSY;
		blocker->xid = TransactionIdIsValid(dirty.xmin) ?
			dirty.xmin : dirty.xmax;
		blocker->speculative_token = dirty.speculativeToken;
	}
	else
	{
		heap_deform_tuple(tuple, RelationGetDescr(rel), row.values, row.isnull);
		found = DatumGetTimestampTz(row.values[COLUMN_EXPIRES_AT - 1]) <= key->now ?
			FOUND_EXPIRED : FOUND_ANSWER;
	}

	if (found == FOUND_ANSWER)
	{
		TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

		/*
		 * A transaction that keeps one snapshot must not act on what that
		 * snapshot cannot see: the rows written with the key would seem to be
		 * missing.
		 */
		if (IsolationUsesXactSnapshot() &&
			!TransactionIdIsCurrentTransactionId(xmin) &&
			XidInMVCCSnapshot(xmin, GetTransactionSnapshot()))
			idem_error_serialization(key->name);

		read_answer(key, &row, answer);
	}

	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
wait_for(const Blocker *blocker)
{
	if (blocker->speculative_token != 0)
		SpeculativeInsertionWait(blocker->xid, blocker->speculative_token);
	else
		XactLockTableWait(blocker->xid, NULL, NULL, XLTW_None);
}

/*
 * Claims a key for work to be done now.
 *
 * True: the key is ours; do the work, then call idem_key_finish.  False: the
 * work has been done, and answer is what came of it.  Waits, as any lock does,
 * for others who are at the same key.
 *
 * Raises 42501 when the key is another role's, ID001 when it was used for a
 * different request, 40001 when it was used after our snapshot was taken.
 */
bool
idem_key_claim(IdemKey *key, IdemAnswer *answer)
{
	bool		locked = lock_key(key, false);

	for (;;)
	{
		Blocker		blocker = {0};
		Found		found;

		set_clock(key);
		found = look_up(key, answer, &blocker);

		if (found == FOUND_ANSWER || found == FOUND_BUSY)
		{
			/* The row stands for itself; nobody needs to queue behind us. */
			if (locked)
				unlock_key(key);
			if (found == FOUND_ANSWER)
				return false;
			wait_for(&blocker);
			locked = lock_key(key, false);
		}
		else if (!locked)
			locked = lock_key(key, true);
		else
		{
			key->expired = (found == FOUND_EXPIRED);
			return true;
		}
	}
}

/*
 * Remembers what came of a key's work, and gives back the key's lock.
 *
 * Raises 40001 when somebody renewed an expired key without taking the lock.
 */
void
idem_key_finish(IdemKey *key, const IdemAnswer *answer)
{
	char		nulls[9] = "        ";
	Datum		args[8];

	args[0] = PointerGetDatum(key->scope);
	args[1] = PointerGetDatum(key->key);
	args[2] = ObjectIdGetDatum(idem_catalog()->outcome[answer->outcome]);
	args[3] = Int64GetDatum(key->fingerprint);
	args[4] = answer->response;
	nulls[4] = answer->response_isnull ? 'n' : ' ';
	args[5] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	args[6] = TimestampTzGetDatum(key->now);
	args[7] = TimestampTzGetDatum(key->expires_at);

	if (idem_query_own(key->expired ? &renew_key : &insert_key,
					   args, nulls, 0, NULL, NULL) == 0)
		idem_error_serialization(key->name);
	unlock_key(key);
}
