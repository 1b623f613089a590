/*
 * history_order.c
 *	  The transitions of a row in the order in which they were made.
 *
 * The clock gives the order nearly: it can have been set back, or be another
 * server's.  What decides is the row's version, as far as transitions are of one
 * row; several rows can have had the key, one after the other.
 *
 * A row can have several columns with a state.  One update may change them all, and
 * then has one version in all; but in one column a version occurs only once, and
 * each state leads on from the one before in that column.
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
	int			column;			/* number of the column with the state */
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
	List	   *runs;			/* where each run before the last begins */
	int			last;			/* where the last run begins */
	List	   *columns;		/* names (char *) of the columns, as numbered */
} Entries;

static bool
same_state(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Where in the run before the last one that version has its place. */
static int
place_of(const Entries *entries, int former, int64 version)
{
	int			low = former;
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

/* What came last in a column, as two runs are joined. */
typedef struct Before
{
	const Entry *entry;			/* NULL: nothing yet */
	bool		in_last;		/* is it of the last run? */
} Before;

/* What came last in each column before a place in the run before the last. */
static Before *
before_place(const Entries *entries, int former, int place)
{
	int			unknown = list_length(entries->columns);
	Before	   *before = palloc0(sizeof(Before) * unknown);

	for (int i = place - 1; unknown > 0 && i >= former; i--)
	{
		const Entry *entry = &entries->all[i];

		CHECK_FOR_INTERRUPTS();
		if (before[entry->column].entry != NULL)
			continue;
		before[entry->column].entry = entry;
		unknown--;
	}
	return before;
}

/* Can an entry of one row, of that run, follow on what came before? */
static bool
follows(const Before *before, const Entry *next, bool in_last)
{
	if (before->entry == NULL)
		return true;
	return before->entry->version < next->version &&
		(before->in_last == in_last ||
		 same_state(before->entry->to, next->from));
}

/*
 * Makes one run of the last two, if they are of one row: if in no column a version
 * occurs twice, and states lead on wherever, by version, one run follows on the
 * other.  If not, another row has come under the key.  former is where the run
 * before the last begins.
 */
static bool
join_runs(Entries *entries, int former)
{
	int			place = place_of(entries, former,
								 entries->all[entries->last].version);
	Entry	   *joined = palloc_extended(sizeof(Entry) * (entries->count - place),
										 MCXT_ALLOC_HUGE);
	Before	   *before = before_place(entries, former, place);
	int			first = place;
	int			last = entries->last;
	int			count = 0;

	Assert(former < entries->last && entries->last < entries->count);
	while (first < entries->last || last < entries->count)
	{
		const Entry *a = first < entries->last ? &entries->all[first] : NULL;
		const Entry *b = last < entries->count ? &entries->all[last] : NULL;
		bool		in_last = a == NULL || (b != NULL && b->version < a->version);
		const Entry *next = in_last ? b : a;

		CHECK_FOR_INTERRUPTS();
		if (!follows(&before[next->column], next, in_last))
		{
			pfree(joined);
			pfree(before);
			return false;
		}
		joined[count++] = *next;
		before[next->column].entry = next;
		before[next->column].in_last = in_last;
		if (in_last)
			last++;
		else
			first++;
	}
	Assert(count == entries->count - place);
	memcpy(&entries->all[place], joined, sizeof(Entry) * count);
	pfree(joined);
	pfree(before);
	return true;
}

/*
 * Ends the last run, which is complete.  More than one come about by rows that
 * were deleted and inserted anew; by the clock, which can have been set back, or
 * be another server's; and by a trigger that brings on a row which the same
 * statement has changed, since that is recorded before the statement's change.
 * A run that has been joined may be what was missing to the one before.
 */
static void
end_run(Entries *entries)
{
	while (entries->runs != NIL && join_runs(entries, llast_int(entries->runs)))
	{
		entries->last = llast_int(entries->runs);
		entries->runs = list_delete_last(entries->runs);
	}
	entries->runs = lappend_int(entries->runs, entries->last);
	entries->last = entries->count;
}

/* Can an entry go on with the last run? */
static bool
goes_on(const Entries *entries, const Entry *entry)
{
	/* one update, several columns */
	for (int i = entries->count - 1;
		 i >= entries->last && entries->all[i].version >= entry->version; i--)
	{
		if (entries->all[i].version > entry->version ||
			entries->all[i].column == entry->column)
			return false;
	}
	return true;
}

static void
add_entry(Entries *entries, const Entry *entry)
{
	if (!goes_on(entries, entry))
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

/* The number of a column; a new one gets the next. */
static int
number_of(Entries *entries, const char *name)
{
	ListCell   *lc;

	/* the owner of the table can have made it null */
	if (name == NULL)
		name = "";
	foreach(lc, entries->columns)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return foreach_current_index(lc);
	}
	entries->columns = lappend(entries->columns, pstrdup(name));
	return list_length(entries->columns) - 1;
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
		entry.column = number_of(entries, text_of(slot, desc->natts));
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
 * to_state, and end with status_column.  False if there are none.
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
