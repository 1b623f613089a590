/*
 * history_order.c
 *	  The transitions of a row in the order in which they were made.
 *
 * The clock gives the order nearly: it can have been set back, or be another
 * server's.  What decides is the row's version, as far as transitions are of one
 * row; several rows can have had the key, one after the other.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "history/history_order.h"

/* A transition that is to be sent. */
typedef struct Entry
{
	int64		version;
	const char *from;			/* NULL: there was no state */
	const char *to;
	MinimalTuple row;			/* the whole of it */
} Entry;

/*
 * The transitions of a row, as far as they have been put in order.  A run is of
 * one row and has rising versions.
 */
typedef struct Entries
{
	Entry	   *all;
	int			count;
	int			size;			/* of the array */
	int			former;			/* where the run before the last begins; last
								 * if there is none */
	int			last;			/* where the last run begins */
} Entries;

static bool
same_state(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Where in the run before the last one that version has its place. */
static int
place_of(const Entries *entries, int64 version)
{
	int			low = entries->former;
	int			high = entries->last;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (entries->all[middle].version < version)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Makes one run of the last two, if they are of one row: if no version occurs
 * twice, and states lead on wherever, by version, one run follows on the other.
 * If not, another row has come under the key.
 */
static bool
join_runs(Entries *entries)
{
	int			place = place_of(entries, entries->all[entries->last].version);
	Entry	   *joined = palloc_extended(sizeof(Entry) * (entries->count - place),
										 MCXT_ALLOC_HUGE);
	const Entry *before = place > entries->former ?
		&entries->all[place - 1] : NULL;
	bool		before_is_last = false;
	int			former = place;
	int			last = entries->last;
	int			count = 0;

	Assert(entries->former < entries->last && entries->last < entries->count);
	while (former < entries->last || last < entries->count)
	{
		const Entry *a = former < entries->last ? &entries->all[former] : NULL;
		const Entry *b = last < entries->count ? &entries->all[last] : NULL;
		bool		is_last = a == NULL || (b != NULL && b->version < a->version);
		const Entry *next = is_last ? b : a;

		CHECK_FOR_INTERRUPTS();
		if ((a != NULL && b != NULL && a->version == b->version) ||
			(before != NULL && is_last != before_is_last &&
			 !same_state(before->to, next->from)))
		{
			pfree(joined);
			return false;
		}
		joined[count++] = *next;
		before = next;
		before_is_last = is_last;
		if (is_last)
			last++;
		else
			former++;
	}
	Assert(count == entries->count - place);
	memcpy(&entries->all[place], joined, sizeof(Entry) * count);
	pfree(joined);
	return true;
}

/*
 * Ends the last run, which is complete.  More than one come about by rows that
 * were deleted and inserted anew; by the clock, which can have been set back, or
 * be another server's; and by a trigger that brings on a row which the same
 * statement has changed, since that is recorded before the statement's change.
 */
static void
end_run(Entries *entries)
{
	if (entries->former < entries->last && !join_runs(entries))
		entries->former = entries->last;
	entries->last = entries->count;
}

static void
add_entry(Entries *entries, const Entry *entry)
{
	if (entries->count > entries->last &&
		entries->all[entries->count - 1].version >= entry->version)
		end_run(entries);
	if (entries->count == entries->size)
	{
		entries->size = entries->size == 0 ? 16 : entries->size * 2;
		entries->all = entries->all == NULL ?
			palloc(sizeof(Entry) * entries->size) :
			repalloc_huge(entries->all, sizeof(Entry) * entries->size);
	}
	entries->all[entries->count++] = *entry;
}

static char *
text_of(TupleTableSlot *slot, AttrNumber number)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Reads the transitions that a statement has found, in order. */
static void
read_entries(Tuplestorestate *found, TupleDesc desc, Entries *entries)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(found, true, false, slot))
	{
		Entry		entry;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		entry.version = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		entry.from = text_of(slot, 2);
		entry.to = text_of(slot, 3);
		entry.row = ExecCopySlotMinimalTuple(slot);
		add_entry(entries, &entry);
	}
	if (entries->count > 0)
		end_run(entries);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Puts the rows that a statement has found, in the order of the clock, into
 * another store in their own order.  They begin with version, from_state and
 * to_state.  False if there are none.
 */
bool
idem_history_order(Tuplestorestate *found, TupleDesc desc,
				   Tuplestorestate *ordered)
{
	TupleTableSlot *slot;
	Entries		entries = {0};

	read_entries(found, desc, &entries);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	for (int i = 0; i < entries.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ExecStoreMinimalTuple(entries.all[i].row, slot, false);
		tuplestore_puttupleslot(ordered, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return entries.count > 0;
}
