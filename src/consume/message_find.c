/*
 * message_find.c
 *	  The rows of idem_message, found as they are committed now.
 *
 * Rows are found without regard to the transaction's snapshot and without taking
 * part in serializable conflict detection, so that messages never fail each other;
 * where the snapshot lacks a row that counts, it is 40001.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "consume/message_find.h"
#include "consume/message_store.h"
#include "run/committed_row.h"

/* Columns of idem_message. */
enum
{
	COLUMN_EXPIRES_AT = 1,
	COLUMN_CONSUMER,
	COLUMN_MESSAGE_ID
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
 * Looks for the row of a message as it is committed now, or written by this
 * transaction.  If it is busy, dirty has the transaction that writes it; if it has
 * expired, place is where it is.
 */
static IdemMessageState
look(const IdemDelivery *delivery, Datum id, SnapshotData *dirty,
	 ItemPointer place)
{
	Relation	rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	IdemMessageState found;

	rel = table_open(idem_catalog()->message_table, AccessShareLock);
	InitDirtySnapshot(*dirty);
	init_keys(keys, delivery->consumer, id);
	/* the index is asked for now that the table is locked: it may be replaced */
	scan = systable_beginscan(rel, idem_catalog_key_of(rel), true, dirty,
							  2, keys);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		found = IDEM_MESSAGE_ABSENT;
	else if (TransactionIdIsValid(dirty->xmin) ||
			 TransactionIdIsValid(dirty->xmax))
		found = IDEM_MESSAGE_BUSY;
	else if (has_expired(rel, tuple, delivery->now))
	{
		found = IDEM_MESSAGE_EXPIRED;
		*place = tuple->t_self;
	}
	else
	{
		found = IDEM_MESSAGE_LIVE;
		check_seen(HeapTupleHeaderGetXmin(tuple->t_data), id);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Finds out what there is of a message, which is not busy on return: waits for
 * other sessions that write its row.  If it has expired, place is where it is.
 *
 * Absent may also be a row that was just renewed: its new version may enter the
 * index after it was read there, and the old one be dead when the scan gets to it.
 * A session that goes on to insert the row then meets it.
 */
IdemMessageState
idem_message_find(const IdemDelivery *delivery, Datum id, ItemPointer place)
{
	for (;;)
	{
		SnapshotData dirty;
		IdemMessageState found;

		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		found = look(delivery, id, &dirty, place);
		if (found != IDEM_MESSAGE_BUSY)
			return found;
		if (!TransactionIdIsValid(dirty.xmin))
			XactLockTableWait(dirty.xmax, NULL, NULL, XLTW_None);
		else if (dirty.speculativeToken == 0)
			XactLockTableWait(dirty.xmin, NULL, NULL, XLTW_None);
		else
			SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
	}
}

/* Is there no row of a message, not even one that is being written? */
bool
idem_message_find_absent(const IdemDelivery *delivery, Datum id)
{
	SnapshotData dirty;
	ItemPointerData place;

	return look(delivery, id, &dirty, &place) == IDEM_MESSAGE_ABSENT;
}

/*
 * Is a message remembered, as is committed now or in this transaction?  Does not
 * wait, works on a standby.
 */
bool
idem_message_find_seen(const IdemDelivery *delivery, text *id)
{
	Relation	rel;
	ScanKeyData keys[2];
	HeapTuple	tuple;
	bool		seen;

	if (delivery->store != NULL)
		return idem_message_store_seen(delivery, PointerGetDatum(id));
	rel = table_open(idem_catalog()->message_table, AccessShareLock);
	init_keys(keys, delivery->consumer, PointerGetDatum(id));
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 2, keys);
	seen = HeapTupleIsValid(tuple) && !has_expired(rel, tuple, delivery->now);
	table_close(rel, AccessShareLock);
	return seen;
}

/*
 * Has a message been consumed?  Waits, and raises 40001, as idem_message_add does.
 * The caller does not go on to insert the message, so a row that seems to be absent
 * is looked for once more.
 */
bool
idem_message_find_consumed(const IdemDelivery *delivery, text *id)
{
	ItemPointerData place;
	IdemMessageState found;

	if (delivery->store != NULL)
		return idem_message_store_seen(delivery, PointerGetDatum(id));
	found = idem_message_find(delivery, PointerGetDatum(id), &place);
	if (found == IDEM_MESSAGE_ABSENT)
		return idem_message_find_seen(delivery, id);
	return found == IDEM_MESSAGE_LIVE;
}
