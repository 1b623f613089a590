/*
 * purge_ranges.c
 *	  What is known of the ranges of blocks of the table of keys.
 *
 * No index leads to what has expired: it would be written with every key, and keep
 * the completion of a claim from being a HOT update.  Instead each range of blocks has
 * a row of idem_key_range that tells what the last visit to it has seen.  That is a
 * hint.  What is written to the range afterwards it does not tell, so a range is
 * visited again after revisit_us() at the latest, whatever the hint says.
 *
 * Each visit adds a row, and the latest counts: nobody waits for another, and what a
 * transaction that rolls back has purged it has not noted, either.  The rows of former
 * visits are deleted when all are read.  As they are neither visible to snapshots nor
 * locked by such, they fail no serializable transaction.
 *
 * The table is unlogged, so it is empty after a crash and on a server that was made
 * from a backup or a standby.  A table of keys that was rewritten has another file.
 * What nothing is known of is due.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "purge/purge_ranges.h"
#include "run/simple_dml.h"
#include "stats/stats_shared.h"

#define MAX_REVISIT_S	(4 * 3600)	/* the longest time between two visits */
#define FUTURE_S		60		/* as far ahead no clock is that was not set */

/* Columns of idem_key_range. */
enum
{
	COLUMN_VISITED_AT,
	COLUMN_PURGE_AT,
	COLUMN_LEASE_SINCE,
	COLUMN_LEASE_UNTIL,
	COLUMN_FILE,
	COLUMN_RANGE,
	COLUMN_BLOCKS,
	COLUMNS
};

/*
 * Locks the table of ranges, to the end of the transaction.  False where others have
 * locked it, and that is not to be waited for.
 */
bool
idem_purge_ranges_lock(bool wait)
{
	Oid			table = idem_catalog()->key_range_table;

	if (!wait)
		return ConditionalLockRelationOid(table, RowExclusiveLock);
	LockRelationOid(table, RowExclusiveLock);
	return true;
}

/* How many blocks a range has now. */
static int
blocks_of(const IdemPurgeRanges *ranges, int range)
{
	return Min(ranges->pages - (BlockNumber) range * IDEM_PURGE_RANGE_BLOCKS,
			   IDEM_PURGE_RANGE_BLOCKS);
}

/*
 * Reads a row; the number of the range that it is of, or -1 where it is of none, or of
 * the future, since the clock was set back.
 */
static int
read_row(const IdemPurgeRanges *ranges, TimestampTz future, TupleTableSlot *slot,
		 IdemPurgeRange *row)
{
	int			range;

	slot_getallattrs(slot);
	range = DatumGetInt32(slot->tts_values[COLUMN_RANGE]);
	if (DatumGetObjectId(slot->tts_values[COLUMN_FILE]) != ranges->file ||
		range < 0 || range >= ranges->count)
		return -1;
	row->visited_at = DatumGetTimestampTz(slot->tts_values[COLUMN_VISITED_AT]);
	if (row->visited_at > future)
		return -1;
	row->purge_at = DatumGetTimestampTz(slot->tts_values[COLUMN_PURGE_AT]);
	row->blocks = DatumGetInt32(slot->tts_values[COLUMN_BLOCKS]);
	row->place = slot->tts_tid;
	row->lease_since = row->lease_until = 0;
	if (!slot->tts_isnull[COLUMN_LEASE_UNTIL] &&
		!slot->tts_isnull[COLUMN_LEASE_SINCE])
	{
		row->lease_since = DatumGetTimestampTz(slot->tts_values[COLUMN_LEASE_SINCE]);
		row->lease_until = DatumGetTimestampTz(slot->tts_values[COLUMN_LEASE_UNTIL]);
	}
	return range;
}

/*
 * Deletes a row that says nothing any more, unless somebody else does.  Nothing else
 * can be in its place: the table has been locked since it was read there, and our
 * snapshot keeps VACUUM from it.
 */
static void
delete_row(Relation rel, ItemPointer place)
{
	TM_FailureData failure;

	(void) IDEM_TUPLE_DELETE(rel, place, GetCurrentCommandId(true),
							 GetActiveSnapshot(), false, &failure);
}

/* Reads what is known, and deletes what is not up to date any more. */
static void
read_rows(IdemPurgeRanges *ranges)
{
	Relation	rel = table_open(idem_catalog()->key_range_table, NoLock);

	/* what others are just noting is not of it */
	TimestampTz future = GetCurrentTimestamp() + FUTURE_S * USECS_PER_SEC;
	SysScanDesc scan;

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	Assert(ActiveSnapshotSet());
	(void) idem_catalog_key_of(rel);	/* raises, if it was altered */
	/* what this transaction has noted before may be deleted */
	CommandCounterIncrement();
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotSelf, 0, NULL);
	while (systable_getnext(scan) != NULL)
	{
		IdemPurgeRange row;
		int			range = read_row(ranges, future, scan->slot, &row);
		ItemPointerData old = scan->slot->tts_tid;

		CHECK_FOR_INTERRUPTS();
		if (range >= 0)
		{
			IdemPurgeRange *known = &ranges->ranges[range];

			old = known->place;
			if (row.visited_at >= known->visited_at)
				*known = row;
			else
				old = row.place;
		}
		if (ItemPointerIsValid(&old))
			delete_row(rel, &old);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/*
 * How long after a visit a range is visited again at the latest, in microseconds: as
 * many seconds as there are ranges.  Between that and half of it, or all ranges of a
 * table that was read at once would be due at once for ever.
 */
static int64
revisit_us(const IdemPurgeRanges *ranges, int range)
{
	int64		most = Min(ranges->count, MAX_REVISIT_S) * USECS_PER_SEC;

	return most / 2 + most / 2 * (murmurhash32(range) % 1024) / 1024;
}

/*
 * The range with the claim that is to be told of: of those whose lease was over when
 * they were seen open, the one whose lease has ended first.  -1 if there is none.  A
 * lease that ran then tells nothing: most claims are answered in time.
 */
static int
find_stuck(const IdemPurgeRanges *ranges)
{
	int			found = -1;

	for (int i = 0; i < ranges->count; i++)
	{
		const IdemPurgeRange *range = &ranges->ranges[i];

		if (range->lease_until == 0 || range->lease_until > range->visited_at)
			continue;
		if (found < 0 || range->lease_until < ranges->ranges[found].lease_until)
			found = i;
	}
	return found;
}

static bool
is_due(const IdemPurgeRanges *ranges, int number, TimestampTz now)
{
	const IdemPurgeRange *range = &ranges->ranges[number];

	return range->visited_at == DT_NOBEGIN ||
		range->blocks < blocks_of(ranges, number) ||
		range->purge_at <= now ||
		now - range->visited_at >= revisit_us(ranges, number);
}

/* Orders ranges by their last visit, and by their blocks. */
static int
compare_visits(const void *a, const void *b, void *state)
{
	const IdemPurgeRanges *ranges = state;
	int			na = *(const int *) a;
	int			nb = *(const int *) b;
	TimestampTz va = ranges->ranges[na].visited_at;
	TimestampTz vb = ranges->ranges[nb].visited_at;

	if (va != vb)
		return va < vb ? -1 : 1;
	return na < nb ? -1 : na > nb;
}

static void
begin_visit(IdemPurgeRanges *ranges)
{
	memset(&ranges->visit, 0, sizeof(ranges->visit));
	if (ranges->at < ranges->count)
		ItemPointerSet(&ranges->from, idem_purge_ranges_first(ranges),
					   FirstOffsetNumber);
}

/* Puts those that are due first, and each of both kinds in the order of its visit. */
static void
plan_visits(IdemPurgeRanges *ranges, TimestampTz now)
{
	int			others = ranges->count;
	int			stuck = find_stuck(ranges);

	ranges->due = 0;
	for (int i = ranges->count - 1; i >= 0; i--)
	{
		/* is the claim that is told of still open? */
		if (i == stuck || is_due(ranges, i, now))
			ranges->visits[ranges->due++] = i;
		else
			ranges->visits[--others] = i;
	}
	qsort_arg(ranges->visits, ranges->due, sizeof(int), compare_visits, ranges);
	qsort_arg(ranges->visits + others, ranges->count - others, sizeof(int),
			  compare_visits, ranges);
	ranges->at = 0;
	begin_visit(ranges);
}

/*
 * What is known of the table of keys, which is open and locked, as is that of the
 * ranges; made in a memory context.
 */
IdemPurgeRanges *
idem_purge_ranges_load(Relation keys, TimestampTz now, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	IdemPurgeRanges *ranges = palloc0(sizeof(IdemPurgeRanges));

	ranges->file = keys->rd_rel->relfilenode;
	ranges->pages = RelationGetNumberOfBlocks(keys);
	ranges->count = (ranges->pages + IDEM_PURGE_RANGE_BLOCKS - 1) /
		IDEM_PURGE_RANGE_BLOCKS;
	ranges->ranges = MemoryContextAllocHuge(context,
											Max(ranges->count, 1) * sizeof(IdemPurgeRange));
	ranges->visits = palloc(Max(ranges->count, 1) * sizeof(int));
	MemoryContextSwitchTo(before);
	for (int i = 0; i < ranges->count; i++)
	{
		memset(&ranges->ranges[i], 0, sizeof(IdemPurgeRange));
		ranges->ranges[i].visited_at = DT_NOBEGIN;
		ItemPointerSetInvalid(&ranges->ranges[i].place);
	}
	read_rows(ranges);
	plan_visits(ranges, now);
	return ranges;
}

/* Are those the ranges of the table as it is stored now? */
bool
idem_purge_ranges_fit(const IdemPurgeRanges *ranges, Relation keys)
{
	return ranges->file == keys->rd_rel->relfilenode;
}

/* The first block of the range that has been reached. */
BlockNumber
idem_purge_ranges_first(const IdemPurgeRanges *ranges)
{
	Assert(ranges->at < ranges->count);
	return (BlockNumber) ranges->visits[ranges->at] * IDEM_PURGE_RANGE_BLOCKS;
}

/* Notes of a visit that a row will go at that time. */
void
idem_purge_ranges_see(IdemPurgeVisit *visit, TimestampTz at)
{
	TimestampTz *heap = visit->next;
	int			i;

	if (visit->count < IDEM_PURGE_WORTH)
	{
		for (i = visit->count++; i > 0 && heap[(i - 1) / 2] < at; i = (i - 1) / 2)
			heap[i] = heap[(i - 1) / 2];
		heap[i] = at;
		return;
	}
	if (at >= heap[0])
		return;
	for (i = 0;;)
	{
		int			child = 2 * i + 1;

		if (child + 1 < visit->count && heap[child + 1] > heap[child])
			child++;
		if (child >= visit->count || heap[child] <= at)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = at;
}

/* Adds the row of a range that has been visited. */
static void
insert_row(const IdemPurgeRanges *ranges, int number)
{
	const IdemPurgeRange *range = &ranges->ranges[number];
	Oid			table = idem_catalog()->key_range_table;
	bool		isnull[COLUMNS] = {
		[COLUMN_LEASE_SINCE] = range->lease_until == 0,
		[COLUMN_LEASE_UNTIL] = range->lease_until == 0,
	};
	Datum		values[COLUMNS] = {
		[COLUMN_VISITED_AT] = TimestampTzGetDatum(range->visited_at),
		[COLUMN_PURGE_AT] = TimestampTzGetDatum(range->purge_at),
		[COLUMN_LEASE_SINCE] = TimestampTzGetDatum(range->lease_since),
		[COLUMN_LEASE_UNTIL] = TimestampTzGetDatum(range->lease_until),
		[COLUMN_FILE] = ObjectIdGetDatum(ranges->file),
		[COLUMN_RANGE] = Int32GetDatum(number),
		[COLUMN_BLOCKS] = Int32GetDatum(range->blocks),
	};

	/*
	 * there is no statement for it: what else could be done with it is
	 * nobody's need
	 */
	if (!idem_simple_dml_insert(table, COLUMNS, values, isnull))
		idem_catalog_error_altered("table", "idem_key_range");
}

/* Notes what was seen of the range that has been reached, and goes on to the next. */
void
idem_purge_ranges_note(IdemPurgeRanges *ranges)
{
	int			number = ranges->visits[ranges->at];
	IdemPurgeRange *range = &ranges->ranges[number];
	const IdemPurgeVisit *visit = &ranges->visit;

	range->visited_at = visit->began;
	range->purge_at = visit->count == 0 ? DT_NOEND : visit->next[0];
	range->lease_since = visit->lease_since;
	range->lease_until = visit->lease_until;
	range->blocks = blocks_of(ranges, number);
	insert_row(ranges, number);
	ranges->at++;
	begin_visit(ranges);
}

/*
 * When the first row that is past its time came to that, of the ranges that are due
 * and have not been reached; DT_NOBEGIN where nothing is known of that.
 */
TimestampTz
idem_purge_ranges_oldest(const IdemPurgeRanges *ranges)
{
	TimestampTz oldest = DT_NOEND;

	for (int i = ranges->at; i < ranges->due; i++)
	{
		const IdemPurgeRange *range = &ranges->ranges[ranges->visits[i]];

		if (range->visited_at != DT_NOBEGIN)
			oldest = Min(oldest, range->purge_at);
	}
	return oldest == DT_NOEND ? DT_NOBEGIN : oldest;
}

/* Tells of the claim whose lease was over first, once all ranges have been visited. */
void
idem_purge_ranges_note_leases(const IdemPurgeRanges *ranges)
{
	IdemStatsLeases leases = {.looked_at = GetCurrentTimestamp()};
	int			stuck = find_stuck(ranges);

	for (int i = 0; i < ranges->count; i++)
	{
		if (ranges->ranges[i].visited_at == DT_NOBEGIN)
			return;
	}
	if (stuck >= 0)
	{
		leases.since = ranges->ranges[stuck].lease_since;
		leases.until = ranges->ranges[stuck].lease_until;
	}
	idem_stats_shared_set_leases(&leases);
}
