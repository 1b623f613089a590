/*
 * outbox_era.c
 *	  Eras of the outbox: in each, the numbers of transactions are those of one
 *	  cluster.
 *
 * The order of messages is that of the transactions that emitted them, by their
 * 64-bit numbers.  These are a cluster's own.  In another one, to which the tables are
 * restored, or replicated before it takes over, the numbers of new transactions may
 * be far below those of the messages that are there, or of where consumers are: new
 * messages would be passed over, and old ones held back for millions of transactions.
 *
 * So each message has an era, which comes first in the order, and idem_outbox_era
 * has a row for each: in which cluster it began, by the system identifier.
 * Where the last era is another cluster's, the first call begins the next.  What is
 * left of former eras is read first, in its own order, and up to its end, as no
 * transaction adds to it.
 *
 * A standby that takes over, and a recovery to an earlier time, may have lost
 * messages that were read and sent on.  Their ids must not be given once more, or who
 * has them takes another message for a duplicate.  So an era ends with the cluster's
 * timeline, too.  What a second recovery begins at may know nothing of the timeline
 * of the first, so eras are counted on by as many as there were timelines.
 *
 * A copy of the cluster's files has the same identifier, and transactions of its own
 * since then.  What was restored to it from the original is noticed by numbers that
 * it has not reached.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/locktag.h"
#include "outbox/outbox_era.h"
#include "outbox/outbox_place.h"
#include "run/spi_own.h"

/* So often other sessions may begin an era at the same time, or a trigger is in the way. */
#define MAX_TRIES	10

/* Columns of idem_outbox_era. */
enum
{
	COLUMN_SYSTEM = 1,
	COLUMN_BEGUN_AT,
	COLUMN_ERA,
	COLUMN_TIMELINE
};

/* The last era. */
typedef struct Era
{
	int32		era;			/* 0: there is none */
	int64		system;			/* identifier of the cluster that it began in */
	int32		timeline;		/* of that cluster */
	TransactionId xmin;			/* of its row */
} Era;

/* What is known of the last era, until the catalog is loaded anew. */
static struct
{
	uint64		reloads;		/* of the catalog; 0: nothing is known */
	int32		era;
}			known;

static IdemStatement begin_era = {
	.text = "INSERT INTO @.idem_outbox_era (system, begun_at, era, timeline)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (era) DO NOTHING",
	.nargs = 4,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID},
	.table = offsetof(IdemCatalog, outbox_era_table),
	.bare = true
};

/* Calls a function for each row of a table of idem's, as is committed now. */
static void
for_each_row(Oid table, void (*look) (HeapTuple row, TupleDesc desc, void *state),
			 void *state)
{
	Relation	rel = table_open(table, AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	HeapTuple	row;

	(void) idem_catalog_key_of(rel);	/* raises, if it was altered */
	/* as in run/committed_row.c, no part in serializable conflict detection */
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		if (table_tuple_satisfies_snapshot(rel, scan->slot, latest))
			look(row, RelationGetDescr(rel), state);
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
}

static void
look_at_era(HeapTuple row, TupleDesc desc, void *state)
{
	Era		   *last = state;
	bool		isnull;
	int32		era = DatumGetInt32(heap_getattr(row, COLUMN_ERA, desc, &isnull));

	if (era <= last->era)
		return;
	last->era = era;
	last->system = DatumGetInt64(heap_getattr(row, COLUMN_SYSTEM, desc, &isnull));
	last->timeline = DatumGetInt32(heap_getattr(row, COLUMN_TIMELINE, desc, &isnull));
	last->xmin = HeapTupleHeaderGetXmin(row->t_data);
}

static void
look_at_position(HeapTuple row, TupleDesc desc, void *state)
{
	IdemOutboxPlace *last = state;
	IdemOutboxPlace place;

	idem_outbox_place_of(&place, row, desc);
	if (idem_outbox_place_compare(&place, last) > 0)
		*last = place;
}

/* Raises 55000 for an era that no cluster comes to: somebody has written it. */
static void
check_era(int64 era)
{
	if (era < 1 || era > (PG_INT64_MAX >> IDEM_OUTBOX_ERA_BITS))
		idem_catalog_error_altered("table", "idem_outbox_era");
}

/* Has a transaction of this cluster had that number? */
static bool
is_known_xid(uint64 xid)
{
	return xid < U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* The cluster's timeline, as a row has it. */
static int32
timeline(void)
{
	return (int32) GetWALInsertionTimeLine();
}

/* The era that follows the last one, of which a row may be written by others. */
static int32
next_era(const Era *last)
{
	int64		timelines = 1;
	int64		era;

	if (last->era == 0 || last->system == (int64) GetSystemIdentifier())
		timelines = Max((int64) timeline() - last->timeline, 1);
	era = last->era + timelines;
	check_era(era);
	return era;
}

/*
 * The first era that may be that of messages of this cluster, by the eras that have
 * begun and by where consumers are.
 */
static int32
find_era(Era *last)
{
	IdemOutboxPlace furthest = {0};

	memset(last, 0, sizeof(*last));
	for_each_row(idem_catalog()->outbox_era_table, look_at_era, last);
	for_each_row(idem_catalog()->outbox_position_table, look_at_position,
				 &furthest);
	if (last->era != 0 || furthest.era != 0)
		check_era(Max(last->era, furthest.era));
	if (furthest.era > last->era)
		return furthest.era + 1;
	if (last->era == 0 || last->system != (int64) GetSystemIdentifier() ||
		last->timeline != timeline() ||
		(furthest.era == last->era && !is_known_xid(furthest.xid)))
		return next_era(last);
	return last->era;
}

/* Raises 55000 where a subscription of logical replication fills the outbox. */
void
idem_outbox_era_check_filled(void)
{
	Oid			table = idem_catalog()->outbox_table;
	CatCList   *list = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
										   ObjectIdGetDatum(table));
	bool		filled = list->n_members > 0;

	ReleaseSysCacheList(list);
	if (filled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the outbox is filled by a subscription"),
				 errdetail("What it brings comes in the order of commits, and is in that of another cluster's transactions."),
				 errhint("Emit and read where the publisher is, or drop the subscription once this database takes over.")));
}

/* Takes the lock of beginning an era; false if another transaction has it. */
static bool
lock_beginning(bool wait)
{
	LOCKTAG		tag;

	IDEM_SET_LOCKTAG(tag, MyDatabaseId, 0, 0, IDEM_LOCK_OUTBOX);
	return idem_locktag_acquire(&tag, ExclusiveLock, wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The era of messages that are emitted now, and up to which they are read.  Where
 * none has begun, this transaction begins it.
 *
 * One that another transaction is beginning counts, too: who emits does not wait for
 * that, and if it is rolled back, the next call begins the same era.  Who reads does
 * wait, so that no consumer is in an era that has not begun.
 *
 * Raises 55000 where a subscription fills the outbox, 27000 when a trigger keeps
 * an era from being written.
 */
int32
idem_outbox_era(bool wait)
{
	uint64		reloads = idem_catalog()->reloads;
	bool		locked = false;
	Era			last;

	if (known.reloads == reloads)
		return known.era;
	idem_outbox_era_check_filled();
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		int32		era = find_era(&last);

		if (era == last.era)
		{
			/* what this transaction has begun may be rolled back */
			if (!TransactionIdIsCurrentTransactionId(last.xmin))
			{
				known.era = era;
				known.reloads = reloads;
			}
			return era;
		}
		if (locked)
			(void) idem_outbox_era_begin(era - 1);
		else if (!lock_beginning(wait))
			return era;
		/* the former holder of the lock may have begun it: look again */
		locked = true;
	}
	idem_error_prevented("idem_outbox_era");
}

/*
 * Begins an era after that one, unless another session has.  All sessions are to look
 * anew.
 */
int32
idem_outbox_era_begin(int32 after)
{
	Datum		args[4];

	if (after != 0)
		check_era(after);
	args[0] = Int64GetDatum((int64) GetSystemIdentifier());
	args[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[2] = Int32GetDatum(after + 1);
	args[3] = Int32GetDatum(timeline());
	if (idem_spi_own(&begin_era, args, NULL, 0, NULL, NULL) > 0)
		CacheInvalidateRelcacheByRelid(idem_catalog()->outbox_era_table);
	known.reloads = 0;
	return after + 1;
}
