/*
 * purge_blocks.c
 *	  Deleting the keys that have come to an end, block by block.
 *
 * The ranges of blocks that are worth a visit (purge_ranges.c) are read, and what has
 * come to an end is deleted by its place (run/row_delete.c), all as the table's owner.
 *
 * A visit reads what is alive or may yet be: also rows of transactions that are running,
 * and such as have committed after our snapshot.  Those it does not delete, but their
 * end counts for the next visit.  What is past its end and stays (others have locked it,
 * say) does not, or each pass would read it again for as long as it is held: it waits
 * for the range's turn.  Versions that were deleted or replaced for good count for
 * nothing, even while an old snapshot keeps them in the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/int.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "key/key_table.h"
#include "purge/purge_blocks.h"
#include "run/row_delete.h"
#include "run/usercontext.h"

#define ROWS_A_LOOK		1000	/* rows read between two calls of go_on */
#define LOOKS_A_BLOCK	10		/* what one without a row counts for */

/* Where a batch is. */
typedef struct Reader
{
	Relation	rel;
	IdemPurgeDelete *rows;
	IdemPurgeRanges *ranges;
	IdemRowDelete deletion;
	Snapshot	snapshot;		/* ours: what it sees may be deleted */
	SnapshotData alive;			/* sees what is, or may yet be */
	TableScanDesc scan;			/* NULL: not yet */
	TupleTableSlot *slot;
	int64		looked;
} Reader;

static TimestampTz
time_of(TupleTableSlot *slot, AttrNumber column, bool *isnull)
{
	return DatumGetTimestampTz(slot_getattr(slot, column, isnull));
}

/*
 * When the row that was read may be deleted, if nothing becomes of it: when it has
 * expired; and where a lease was ever given, once that is over, and the fence need
 * be remembered no more.
 */
static TimestampTz
goes_at(Reader *reader)
{
	const IdemPurgeDelete *rows = reader->rows;
	bool		isnull;
	TimestampTz ended = time_of(reader->slot, rows->ended, &isnull);
	TimestampTz held = time_of(reader->slot, rows->held, &isnull);
	int64		kept;

	if (isnull)
		return ended;
	if (rows->held_until == DT_NOBEGIN)
		return DT_NOEND;		/* fences are kept for ever */
	if (!TIMESTAMP_NOT_FINITE(ended) &&
		pg_add_s64_overflow(ended, rows->until - rows->held_until, &kept))
		return DT_NOEND;
	return Max(TIMESTAMP_NOT_FINITE(ended) ? ended : kept, held);
}

static bool
is_visible(Reader *reader)
{
	return table_tuple_satisfies_snapshot(reader->rel, reader->slot,
										  reader->snapshot);
}

/* Notes the row that was read, if it is a claim whose lease ends before all others'. */
static void
see_lease(Reader *reader)
{
	IdemPurgeVisit *visit = &reader->ranges->visit;
	TupleTableSlot *row = reader->slot;
	bool		isnull;
	TimestampTz until = time_of(row, IDEM_KEY_COLUMN_LEASE_UNTIL, &isnull);

	if (isnull || TIMESTAMP_NOT_FINITE(until) ||
		(visit->lease_until != 0 && visit->lease_until <= until) ||
		idem_catalog_outcome(DatumGetObjectId(slot_getattr(row, IDEM_KEY_COLUMN_OUTCOME,
														   &isnull))) != IDEM_IN_PROGRESS ||
		time_of(row, IDEM_KEY_COLUMN_EXPIRES_AT, &isnull) <= reader->rows->until ||
		!is_visible(reader))
		return;
	visit->lease_until = until;
	visit->lease_since = time_of(row, IDEM_KEY_COLUMN_CREATED_AT, &isnull);
}

/* Is it time to stop before the row that was read? */
static bool
is_enough(Reader *reader, bool goes)
{
	const IdemPurgeDelete *rows = reader->rows;

	if (goes && rows->deleted >= rows->limit)
		return true;
	return ++reader->looked % ROWS_A_LOOK == 0 && rows->go_on != NULL &&
		!rows->go_on();
}

/* Has the scan read a range, from where the visit has come to. */
static void
begin_range(Reader *reader)
{
	IdemPurgeRanges *ranges = reader->ranges;
	BlockNumber first = idem_purge_ranges_first(ranges);
	ItemPointerData last;

	ItemPointerSet(&last, Min(first + IDEM_PURGE_RANGE_BLOCKS, ranges->pages) - 1,
				   MaxOffsetNumber);
	if (ranges->visit.began == 0)
		ranges->visit.began = GetCurrentTimestamp();
	if (reader->scan == NULL)
		reader->scan = IDEM_BEGIN_TID_RANGE(reader->rel, &reader->alive,
											&ranges->from, &last);
	else
		table_rescan_tidrange(reader->scan, &ranges->from, &last);
	reader->looked += IDEM_PURGE_RANGE_BLOCKS * LOOKS_A_BLOCK;
}

/* Visits a range; whether it has come to its end. */
static bool
visit_range(Reader *reader)
{
	IdemPurgeDelete *rows = reader->rows;
	IdemPurgeRanges *ranges = reader->ranges;

	begin_range(reader);
	while (table_scan_getnextslot_tidrange(reader->scan, ForwardScanDirection,
										   reader->slot))
	{
		TimestampTz at = goes_at(reader);
		bool		goes = at <= rows->until && is_visible(reader);

		CHECK_FOR_INTERRUPTS();
		if (is_enough(reader, goes))
		{
			ranges->from = reader->slot->tts_tid;
			return false;
		}
		if (goes && idem_row_delete(&reader->deletion, &reader->slot->tts_tid))
		{
			rows->deleted++;
			continue;
		}
		/* what others keep from going would not go at another visit, either */
		if (at > rows->until)
			idem_purge_ranges_see(&ranges->visit, at);
		see_lease(reader);
	}
	return true;
}

/* Is another range to be visited? */
static bool
goes_on(const Reader *reader)
{
	const IdemPurgeDelete *rows = reader->rows;
	const IdemPurgeRanges *ranges = reader->ranges;

	if (ranges->at >= ranges->count || rows->deleted >= rows->limit)
		return false;
	if (reader->looked == 0)
		return ranges->at < ranges->due || rows->more_looks > 0;
	/* a range without a row has not asked */
	return reader->looked < (ranges->at < ranges->due ? rows->looks : rows->more_looks) &&
		(rows->go_on == NULL || rows->go_on());
}

/*
 * Deletes keys of the table, which is locked, that have come to an end, and tells how
 * many, and whether all ranges have been visited that are due.  Waits for no row.
 */
void
idem_purge_blocks(Relation keys, IdemPurgeDelete *rows, IdemPurgeRanges *ranges)
{
	Reader		reader = {.rel = keys, .rows = rows, .ranges = ranges};
	IdemUserContext caller;

	Assert(CheckRelationLockedByMe(keys, RowExclusiveLock, true));
	rows->deleted = 0;
	idem_usercontext_enter(&caller, keys->rd_rel->relowner);
	reader.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	reader.slot = table_slot_create(keys, NULL);
	InitDirtySnapshot(reader.alive);
	idem_row_delete_begin(&reader.deletion, keys, reader.snapshot,
						  rows->delete_locked, rows->state);
	while (goes_on(&reader) && visit_range(&reader))
		idem_purge_ranges_note(ranges);
	Assert(rows->deleted <= rows->limit);
	rows->finished = ranges->at >= ranges->due;
	rows->from = rows->finished ? rows->until + 1 : idem_purge_ranges_oldest(ranges);
	if (reader.scan != NULL)
		table_endscan(reader.scan);
	ExecDropSingleTupleTableSlot(reader.slot);
	UnregisterSnapshot(reader.snapshot);
	idem_row_delete_end(&reader.deletion);
	idem_usercontext_leave(&caller);
	/* as after a statement, so that what follows does not see them */
	CommandCounterIncrement();
}
