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
#include "direct.h"
#include "error.h"
#include "latest.h"
#include "message.h"
#include "query.h"

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
	/* a trigger has made it another one */
	idem_error_prevented("idem_message");
	return false;				/* keep compiler quiet */
}

static void
end_marks(DestReceiver *self)
{
}

/* Inserts rows of messages that have none, and marks these messages. */
static void
insert_rows(const IdemDelivery *delivery, int count, Datum *ids,
			const int *places, bool *marks)
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
	Datum		args[3];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = PointerGetDatum(array);
	(void) idem_query_own_send(&insert_many, args, &marker.receiver);
	pfree(array);
}

/* Raises 40001 if a row has come after the transaction's one snapshot. */
static void
check_seen(TransactionId xmin, Datum id)
{
	if (!idem_latest_is_unseen(xmin))
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
	scan = systable_beginscan(rel, idem_catalog()->message_index, true, dirty,
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
			deletion = idem_direct_delete_row(idem_catalog()->message_table,
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
		if (idem_query_own(&delete_one, args, NULL, 0, NULL, NULL) > 0)
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
			insert_rows(delivery, left, expired, places, added);
	}
	pfree(places);
	pfree(expired);
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
	insert_rows(delivery, count, ids, places, added);
	pfree(places);
	renew(delivery, count, ids, added);
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
	tuple = idem_latest_find(rel, idem_catalog()->message_index, 2, keys);
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
