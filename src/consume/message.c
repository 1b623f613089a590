/*
 * message.c
 *	  The rows of idem_message: which messages have been consumed.
 *
 * The primary key decides who consumes a message.  A row is inserted first, and
 * only if that meets another is the other looked at: whether it has expired, in
 * which case it is deleted, and inserted again.  It is not updated: a subscriber
 * of logical replication that has purged it would not find the row to update,
 * and would have no memory of the message.
 *
 * Rows are looked at, and deleted, without regard to the transaction's snapshot
 * and without taking part in serializable conflict detection, so that messages
 * never fail each other; where the snapshot lacks a row that counts, it is 40001.
 *
 * Whoever consumes several messages takes them in the order of their bytes, so
 * that two who do wait for each other, and not both at once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/locktag.h"
#include "consume/index_twin.h"
#include "consume/message.h"
#include "consume/message_batch.h"
#include "run/committed_row.h"
#include "run/simple_dml.h"
#include "run/spi_own.h"

/* Columns of idem_message. */
enum
{
	COLUMN_EXPIRES_AT = 1,
	COLUMN_CONSUMER,
	COLUMN_MESSAGE_ID
};

/*
 * So often it is tried to add a message.  Each time that this fails although the
 * message has not been consumed, another transaction has added or renewed it and
 * it has expired or been purged again, or a trigger keeps it out.
 */
#define MAX_TRIES	10

/* What there is of a message. */
typedef enum Found
{
	FOUND_NOTHING,
	FOUND_BUSY,					/* a row that another transaction writes */
	FOUND_EXPIRED,				/* a row past its time, which counts as none */
	FOUND_LIVE
} Found;

static IdemStatement insert_one = {
	.text = "INSERT INTO @.idem_message (expires_at, consumer, message_id)"
	" VALUES ($1, $2, $3) ON CONFLICT (consumer, message_id) DO NOTHING",
	.nargs = 3,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, message_table)
};

/* Where the table is not as it was installed: then triggers are to be fired. */
static IdemStatement delete_one = {
	.text = "DELETE FROM @.idem_message"
	" WHERE ctid OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.texteq(consumer, $2)"
	" AND pg_catalog.texteq(message_id, $3)"
	" AND expires_at OPERATOR(pg_catalog.<=) $4",
	.nargs = 4,
	.argtypes = {TIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

/* Raises 40001 if a row has come after the transaction's one snapshot. */
static void
check_seen(TransactionId xmin, Datum id)
{
	if (!idem_committed_row_is_unseen(xmin))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent consumption of a message"),
			 errdetail("Another transaction consumed the message \"%s\" and committed after this transaction's snapshot was taken.",
					   TextDatumGetCString(id)),
			 errhint("The transaction might succeed if retried.")));
}

/* The key of the table of messages, for a scan of its index. */
static void
init_keys(ScanKeyData *keys, text *consumer, Datum id)
{
	ScanKeyInit(&keys[0], COLUMN_CONSUMER, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(consumer));
	ScanKeyInit(&keys[1], COLUMN_MESSAGE_ID, BTEqualStrategyNumber, F_TEXTEQ,
				id);
}

static bool
has_expired(Relation rel, HeapTuple tuple, TimestampTz now)
{
	bool		isnull;
	Datum		expires_at = heap_getattr(tuple, COLUMN_EXPIRES_AT,
										  RelationGetDescr(rel), &isnull);

	return isnull || DatumGetTimestampTz(expires_at) <= now;
}

/*
 * Looks for the row of a message as it is committed now, or in our own
 * transaction.  If it is busy, dirty tells for whom to wait; if it has expired,
 * place tells where it is.
 */
static Found
look(const IdemDelivery *delivery, Datum id, SnapshotData *dirty,
	 ItemPointer place)
{
	Relation	rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Found		found;

	rel = table_open(idem_catalog()->message_table, AccessShareLock);
	InitDirtySnapshot(*dirty);
	init_keys(keys, delivery->consumer, id);
	/* the index is asked for now that the table is locked: it may be replaced */
	scan = systable_beginscan(rel, idem_catalog_key_of(rel), true, dirty,
							  2, keys);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		found = FOUND_NOTHING;
	else if (TransactionIdIsValid(dirty->xmin) ||
			 TransactionIdIsValid(dirty->xmax))
		found = FOUND_BUSY;
	else if (has_expired(rel, tuple, delivery->now))
	{
		found = FOUND_EXPIRED;
		*place = tuple->t_self;
	}
	else
	{
		found = FOUND_LIVE;
		check_seen(HeapTupleHeaderGetXmin(tuple->t_data), id);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Finds out whether a message has been consumed, and waits for others who are
 * about to.
 *
 * Nothing may also be a row that was just renewed: its new version may enter
 * the index after we have read there, and the old one be dead when we get to
 * it.  Whoever wants to insert it then meets it.
 */
static Found
find(const IdemDelivery *delivery, Datum id, ItemPointer place)
{
	for (;;)
	{
		SnapshotData dirty;
		Found		found;

		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		found = look(delivery, id, &dirty, place);
		if (found != FOUND_BUSY)
			return found;
		if (!TransactionIdIsValid(dirty.xmin))
			XactLockTableWait(dirty.xmax, NULL, NULL, XLTW_None);
		else if (dirty.speculativeToken == 0)
			XactLockTableWait(dirty.xmin, NULL, NULL, XLTW_None);
		else
			SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
	}
}

/*
 * Makes room for a message that was not inserted, since there was a row of it.
 * False: it has been consumed.  True: its row has expired, and is no longer there.
 *
 * Since then we have had the lock on the table that writing takes, so nobody has
 * moved the row; and nobody has put another in its place, which the snapshot
 * forbids as long as the row may be seen by it.
 */
static bool
make_room(const IdemDelivery *delivery, Datum id)
{
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		ItemPointerData place;
		IdemDeletion deletion = IDEM_DELETED;
		Found		found;
		Datum		args[4];

		PushActiveSnapshot(GetTransactionSnapshot());
		found = find(delivery, id, &place);
		if (found == FOUND_EXPIRED)
			deletion = idem_simple_dml_delete_row(idem_catalog()->message_table,
												  &place);
		PopActiveSnapshot();
		if (deletion == IDEM_DELETED)
			return found != FOUND_LIVE;
		if (deletion == IDEM_NOT_DELETED)
			continue;

		args[0] = PointerGetDatum(&place);
		args[1] = PointerGetDatum(delivery->consumer);
		args[2] = id;
		args[3] = TimestampTzGetDatum(delivery->now);
		if (idem_spi_own(&delete_one, args, NULL, 0, NULL, NULL) > 0)
			return true;
	}
	idem_error_prevented("idem_message");
}

/*
 * Adds those messages that are not marked as added yet, since there were rows
 * of them, if these have expired.
 */
static void
renew(const IdemDelivery *delivery, int count, Datum *ids, bool *added)
{
	int		   *places = palloc(sizeof(int) * count);
	Datum	   *expired = palloc(sizeof(Datum) * count);
	int			left = 0;

	for (int i = 0; i < count; i++)
	{
		if (!added[i])
			places[left++] = i;
	}
	for (int tries = 0; left > 0; tries++)
	{
		int			n = 0;

		for (int i = 0; i < left; i++)
		{
			int			place = places[i];

			/* one that was added at last, or that has been consumed, is done */
			if (added[place] || !make_room(delivery, ids[place]))
				continue;
			places[n] = place;
			expired[n++] = ids[place];
		}
		left = n;
		if (left > 0 && tries == MAX_TRIES)
			idem_error_prevented("idem_message");
		if (left > 0)
			idem_message_batch_insert(delivery, left, expired, places, added);
	}
	pfree(places);
	pfree(expired);
}

static bool
insert_row(const IdemDelivery *delivery, Datum id)
{
	Datum		args[3];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = id;
	return idem_spi_own(&insert_one, args, NULL, 0, NULL, NULL) > 0;
}

static uint64
hash_text(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value),
							   VARSIZE_ANY_EXHDR(value), seed);
}

/*
 * Consumes a message as idem_message_add does, but sees to it that nobody else
 * inserts it at the same time.  The lock is held from when there is no row of the
 * message until there is one, which others then meet and wait for.
 */
static bool
add_alone(const IdemDelivery *delivery, Datum id)
{
	uint64		hash = hash_text(DatumGetTextPP(id),
								 hash_text(delivery->consumer, 0));
	LOCKTAG		tag;

	IDEM_SET_LOCKTAG(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
					 IDEM_LOCK_MESSAGE);
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		SnapshotData dirty;
		ItemPointerData place;
		bool		added;

		/* waits for others, so without the lock */
		if (!make_room(delivery, id))
			return false;
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		added = look(delivery, id, &dirty, &place) == FOUND_NOTHING &&
			insert_row(delivery, id);
		LockRelease(&tag, ExclusiveLock, false);
		if (added)
			return true;
	}
	idem_error_prevented("idem_message");
}

/*
 * Consumes a message.  False: it has been consumed.  Waits, as any row lock
 * does, for others who are at the same message.  Raises 40001 if it was consumed
 * after our snapshot was taken, 27000 if a trigger keeps it from being written.
 */
bool
idem_message_add(const IdemDelivery *delivery, text *id)
{
	Datum		ids[1];
	bool		added = false;

	ids[0] = PointerGetDatum(id);
	if (idem_index_twin_is_built())
		return add_alone(delivery, ids[0]);
	if (insert_row(delivery, ids[0]))
		return true;
	renew(delivery, 1, ids, &added);
	return added;
}

/*
 * Consumes messages, whose ids must be distinct and in the order of their
 * bytes.  Tells of each in added whether it had not been consumed before.
 * Waits, and raises, as idem_message_add does.
 */
void
idem_message_add_all(const IdemDelivery *delivery, int count, Datum *ids,
					 bool *added)
{
	bool		alone = idem_index_twin_is_built();
	int		   *places = palloc(sizeof(int) * count);

	for (int i = 0; i < count; i++)
	{
		places[i] = i;
		added[i] = alone && add_alone(delivery, ids[i]);
	}
	if (!alone)
	{
		idem_message_batch_insert(delivery, count, ids, places, added);
		renew(delivery, count, ids, added);
	}
	pfree(places);
}

/*
 * Is a message remembered, as is committed now or in our own transaction?  Waits
 * for nobody, works on a standby.
 */
bool
idem_message_seen(const IdemDelivery *delivery, text *id)
{
	Relation	rel = table_open(idem_catalog()->message_table, AccessShareLock);
	ScanKeyData keys[2];
	HeapTuple	tuple;
	bool		seen;

	init_keys(keys, delivery->consumer, PointerGetDatum(id));
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 2, keys);
	seen = HeapTupleIsValid(tuple) && !has_expired(rel, tuple, delivery->now);
	table_close(rel, AccessShareLock);
	return seen;
}

/*
 * Has a message been consumed?  Waits, and raises 40001, as idem_message_add
 * does.  Nobody goes on to insert the message, so that a row that seems not to
 * be there is looked for once more.
 */
bool
idem_message_known(const IdemDelivery *delivery, text *id)
{
	ItemPointerData place;
	Found		found = find(delivery, PointerGetDatum(id), &place);

	if (found == FOUND_NOTHING)
		return idem_message_seen(delivery, id);
	return found == FOUND_LIVE;
}
