/*
 * message.c
 *	  The rows of idem_message: which messages have been consumed.
 *
 * The primary key decides who consumes a message.  A row is inserted first, and
 * only if that meets another is the other looked at: whether it has expired, in
 * which case it is renewed where it is.  Rows are looked at without regard to
 * the transaction's snapshot and without taking part in serializable conflict
 * detection, so that messages never fail each other; where the snapshot lacks a
 * row that counts, it is 40001.
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
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "message.h"
#include "query.h"

/* Columns of idem_message. */
enum
{
	COLUMN_EXPIRES_AT = 1,
	COLUMN_CONSUMER,
	COLUMN_MESSAGE_ID
};

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
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTOID}
};

/* Rows come back in the order in which they are given. */
static IdemStatement insert_many = {
	.text = "INSERT INTO @.idem_message (expires_at, consumer, message_id)"
	" SELECT $1, $2, pg_catalog.unnest($3)"
	" ON CONFLICT (consumer, message_id) DO NOTHING RETURNING message_id",
	.nargs = 3,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTARRAYOID}
};

static IdemStatement renew_many = {
	.text = "INSERT INTO @.idem_message AS m (expires_at, consumer, message_id)"
	" SELECT $1, $2, pg_catalog.unnest($3)"
	" ON CONFLICT (consumer, message_id) DO UPDATE"
	" SET expires_at = excluded.expires_at"
	" WHERE m.expires_at OPERATOR(pg_catalog.<=) $4 RETURNING message_id",
	.nargs = 4,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID}
};

/* Receives the messages that a statement has written, and marks them. */
typedef struct Marker
{
	DestReceiver receiver;		/* must be first */
	int			count;
	const Datum *ids;			/* those that it was given */
	const int  *places;			/* where to mark each of them */
	int			next;			/* the first that may yet come back */
	bool	   *marks;
} Marker;

static void
begin_marks(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static bool
mark_row(TupleTableSlot *slot, DestReceiver *self)
{
	Marker	   *marker = (Marker *) self;
	bool		isnull;
	text	   *id = DatumGetTextPP(slot_getattr(slot, 1, &isnull));

	while (marker->next < marker->count)
	{
		int			i = marker->next++;

		if (same_text(id, DatumGetTextPP(marker->ids[i])))
		{
			marker->marks[marker->places[i]] = true;
			return true;
		}
	}
	elog(ERROR, "a message came back that was not given, or out of order");
	return false;				/* keep compiler quiet */
}

static void
end_marks(DestReceiver *self)
{
}

/* Runs a statement on messages, and marks those that it has written. */
static void
write_many(IdemStatement *statement, const IdemDelivery *delivery, int count,
		   Datum *ids, const int *places, bool *marks)
{
	Marker		marker = {
		.receiver = {
			.receiveSlot = mark_row,
			.rStartup = begin_marks,
			.rShutdown = end_marks,
			.rDestroy = end_marks,
			.mydest = DestTuplestore	/* the nearest there is */
		},
		.count = count,
		.ids = ids,
		.places = places,
		.marks = marks
	};
	ArrayType  *array = construct_array(ids, count, TEXTOID, -1, false,
										TYPALIGN_INT);
	Datum		args[4];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = PointerGetDatum(array);
	args[3] = TimestampTzGetDatum(delivery->now);
	(void) idem_query_own_send(statement, args, &marker.receiver);
	pfree(array);
}

/* Raises 40001 if a row has come after the transaction's one snapshot. */
static void
check_seen(TransactionId xmin, Datum id)
{
	if (!IsolationUsesXactSnapshot() ||
		TransactionIdIsCurrentTransactionId(xmin) ||
		!XidInMVCCSnapshot(xmin, GetTransactionSnapshot()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent consumption of a message"),
			 errdetail("Another transaction consumed the message \"%s\" and committed after this transaction's snapshot was taken.",
					   TextDatumGetCString(id)),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * Looks for the row of a message as it is committed now, or in our own
 * transaction.  If it is busy, dirty tells for whom to wait.
 */
static Found
look(const IdemDelivery *delivery, Datum id, SnapshotData *dirty)
{
	Relation	rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Found		found;

	rel = table_open(idem_catalog()->message_table, AccessShareLock);
	InitDirtySnapshot(*dirty);
	ScanKeyInit(&keys[0], COLUMN_CONSUMER, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(delivery->consumer));
	ScanKeyInit(&keys[1], COLUMN_MESSAGE_ID, BTEqualStrategyNumber, F_TEXTEQ,
				id);
	/* the index is asked for now that the table is locked: it may be replaced */
	scan = systable_beginscan(rel, idem_catalog()->message_index, true, dirty,
							  2, keys);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		found = FOUND_NOTHING;
	else if (TransactionIdIsValid(dirty->xmin) ||
			 TransactionIdIsValid(dirty->xmax))
		found = FOUND_BUSY;
	else
	{
		bool		isnull;
		Datum		expires_at = heap_getattr(tuple, COLUMN_EXPIRES_AT,
											  RelationGetDescr(rel), &isnull);

		found = DatumGetTimestampTz(expires_at) <= delivery->now ?
			FOUND_EXPIRED : FOUND_LIVE;
		if (found == FOUND_LIVE)
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
find(const IdemDelivery *delivery, Datum id)
{
	for (;;)
	{
		SnapshotData dirty;
		Found		found;

		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		found = look(delivery, id, &dirty);
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
	while (left > 0)
	{
		int			n = 0;

		for (int i = 0; i < left; i++)
		{
			int			place = places[i];

			/* one that was added at last, or that has been consumed, is done */
			if (added[place] || find(delivery, ids[place]) == FOUND_LIVE)
				continue;
			places[n] = place;
			expired[n++] = ids[place];
		}
		left = n;
		if (left > 0)
			write_many(&renew_many, delivery, left, expired, places, added);
	}
	pfree(places);
	pfree(expired);
}

/*
 * Consumes a message.  False: it has been consumed.  Waits, as any row lock
 * does, for others who are at the same message.  Raises 40001 if it was consumed
 * after our snapshot was taken.
 */
bool
idem_message_add(const IdemDelivery *delivery, text *id)
{
	Datum		ids[1];
	Datum		args[3];
	bool		added = false;

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = ids[0] = PointerGetDatum(id);
	if (idem_query_own(&insert_one, args, NULL, 0, NULL, NULL) > 0)
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
	int		   *places = palloc(sizeof(int) * count);

	for (int i = 0; i < count; i++)
	{
		places[i] = i;
		added[i] = false;
	}
	write_many(&insert_many, delivery, count, ids, places, added);
	pfree(places);
	renew(delivery, count, ids, added);
}

/*
 * Has a message been consumed?  Waits, and raises, as idem_message_add does.
 */
bool
idem_message_known(const IdemDelivery *delivery, text *id)
{
	return find(delivery, PointerGetDatum(id)) == FOUND_LIVE;
}
