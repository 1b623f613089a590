/*
 * purge.c
 *	  SQL: idem_purge(), and the batches that the worker purges by.
 *
 * A pass takes the expired rows of each table in the order of their expiry.
 * Each batch of the worker goes on where the one before ended rather than at the
 * start, even where that was another visit's: as long as an old snapshot is held
 * open somewhere, deleted rows stay in the table and the index, and every batch
 * would walk past all of them again.
 *
 * What was behind that watermark already when it could have been purged (others
 * had locked it, or had not committed it, or it is under a lease) is for the
 * table's next cycle, which begins at the start.  It begins at once where little
 * is in its way, and as late as makes walking past the rest a small share of
 * the time, but within MAX_CYCLE_S.
 *
 * Rows that others have locked are skipped, so purging waits for nobody, and
 * any number of passes may run side by side without doing anything twice.
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/rights.h"
#include "base/settings.h"
#include "purge/purge.h"
#include "purge/purge_delete.h"
#include "purge/purge_note.h"
#include "purge/purge_ranges.h"
#include "purge/purge_stores.h"
#include "purge/purge_tables.h"
#include "stats/stats_counter.h"

PG_FUNCTION_INFO_V1(idem_purge);

#define MAX_CYCLE_S		600		/* until a table is purged from the start
								 * again */
#define CYCLE_SHARE		100		/* one part of the time may go for that */
#define SESSION_LOOKS	100000	/* keys that a call looks at without need */
#define SESSION_LOOKS_A_ROW	100 /* and for each row that it may delete */
#define DELETING_US		10		/* what one row takes at most that is deleted */
#define MAX_NAPTIMES	32		/* for which a table that fails is left alone */

/*
 * Starts a pass, in which goes what has expired by now.  Where the one before did
 * not come to its end, the table that it had reached is the last one's turn.
 */
void
idem_purge_begin(IdemPurge *purge, TimestampTz now, MemoryContext context)
{
	if (purge->left > 0)
		purge->table = (purge->table + 1) % IDEM_PURGE_TABLES;
	purge->left = IDEM_PURGE_TABLES;
	purge->now = now;
	purge->purged = 0;
	purge->batches = 0;
	purge->context = context;
	purge->ranges = NULL;
}

static void
next_table(IdemPurge *purge)
{
	Assert(purge->left > 0 && purge->left <= IDEM_PURGE_TABLES);
	purge->table = (purge->table + 1) % IDEM_PURGE_TABLES;
	purge->left--;
}

/* How long after its beginning a cycle ends, in microseconds. */
static int64
cycle_us(const IdemPurgeTable *table)
{
	return Min(table->spent_us * CYCLE_SHARE, MAX_CYCLE_S * USECS_PER_SEC);
}

/*
 * Begins a new cycle of a table where it is time, or the clock was set back; whether
 * it did.  One that has not come to the end goes on, or no cycle might ever come there.
 */
bool
idem_purge_begin_cycle(IdemPurgeTable *table, TimestampTz now)
{
	if (table->begun != 0 && table->begun <= now &&
		(!table->arrived || now < table->begun + cycle_us(table)))
		return false;
	table->begun = now;
	table->watermark = DT_NOBEGIN;
	table->arrived = false;
	table->spent_us = 0;
	return true;
}

/* Notes what a batch that began then took, beside the rows that it has deleted. */
void
idem_purge_note_cost(IdemPurgeTable *table, TimestampTz began, int64 deleted)
{
	table->spent_us += Max(GetCurrentTimestamp() - began - deleted * DELETING_US, 0);
}

/* Is a table to be left alone since it has failed? */
static bool
is_failing(const IdemPurgeTable *table, TimestampTz now)
{
	int64		naptimes = Min(1 << Min(table->failures, 10), MAX_NAPTIMES);

	return table->failures > 0 && table->failed <= now &&
		now < TimestampTzPlusMilliseconds(table->failed,
										  naptimes * idem_purge_naptime_ms);
}

/* Tells, once in a row, that others keep the worker from purging a table. */
static void
report_in_use(IdemPurgeTable *table, const char *name, IdemPurgeState state)
{
	bool		in_use = state == IDEM_PURGE_IN_USE ||
		state == IDEM_PURGE_RANGES_IN_USE;

	if (in_use && !table->in_use)
		ereport(LOG,
				(errmsg("idem does not purge table \"%s\" of database \"%s\" for now",
						name, get_database_name(MyDatabaseId)),
				 state == IDEM_PURGE_IN_USE ?
				 errdetail("Others have locked it.") :
				 errdetail("Others have locked table \"%s\", which tells where to look.",
						   "idem_key_range")));
	table->in_use = in_use;
}

/*
 * Deletes rows of the table that a pass of the worker has reached, in the current
 * transaction, and goes on to the next table if it is done with this one.
 */
void
idem_purge_batch(IdemPurge *purge, const IdemPurgeBounds *bounds)
{
	IdemPurgeTable *table = &purge->tables[purge->table];
	TimestampTz began = GetCurrentTimestamp();
	bool		finished = true;
	Relation	rel;

	if (!idem_purge_tables_is_kept(purge->table) && !is_failing(table, began))
	{
		IdemPurgeState state = idem_purge_tables_open(purge->table, false, &rel);

		report_in_use(table, idem_purge_tables_name(purge->table), state);
		if (state == IDEM_PURGE_READY)
		{
			IdemPurgeDelete rows = {.limit = bounds->rows, .looks = bounds->looks,
			.go_on = bounds->go_on};

			(void) idem_purge_begin_cycle(table, began);
			rows.from = table->watermark;
			finished = idem_purge_tables_delete(purge, rel, &rows);
			table_close(rel, NoLock);
			table->watermark = rows.from;

			/*
			 * what it takes to look for new ones from there is not the
			 * cycle's
			 */
			if (!table->arrived)
				idem_purge_note_cost(table, began, rows.deleted);
			table->arrived |= finished;
		}
		table->failures = 0;
	}
	if (finished)
		next_table(purge);
}

/* Notes that a batch has failed, and leaves its table alone for a while. */
void
idem_purge_pass_over(IdemPurge *purge)
{
	IdemPurgeTable *table = &purge->tables[purge->table];

	idem_stats_counter_hit(IDEM_COUNT_PURGE_ERRORS);
	table->failures++;
	table->failed = GetCurrentTimestamp();
	next_table(purge);
}

/*
 * How many rows a session may look at to delete so many.  Where the order of the end
 * leads to them, all: only rows that are being deleted, or are held, are in the way.
 */
static int64
looks_of(const IdemPurge *purge, int64 limit)
{
	if (!idem_purge_tables_is_by_block(purge->table) ||
		limit > PG_INT64_MAX / SESSION_LOOKS_A_ROW)
		return PG_INT64_MAX;
	return Max(limit * SESSION_LOOKS_A_ROW, SESSION_LOOKS);
}

/* Deletes rows of the table that a pass of a session has reached. */
static void
purge_in_session(IdemPurge *purge, int64 limit)
{
	IdemPurgeDelete rows = {.from = DT_NOBEGIN, .limit = limit,
	.looks = looks_of(purge, limit), .more_looks = SESSION_LOOKS};
	Relation	rel;

	if (idem_purge_tables_is_kept(purge->table))
		return;
	if (idem_purge_tables_open(purge->table, true, &rel) == IDEM_PURGE_FILLED)
	{
		ereport(NOTICE,
				(errmsg("table \"%s\" is not purged", idem_purge_tables_name(purge->table)),
				 errdetail("A subscription of logical replication fills it, so its publisher purges it.")));
		return;
	}
	(void) idem_purge_tables_delete(purge, rel, &rows);
	table_close(rel, NoLock);
}

/*
 * idem_purge(max_rows bigint) -> bigint
 *
 * Deletes what is past its time, in the caller's transaction, and returns how
 * many; no more than max_rows unless that is NULL.  Takes the rows that
 * are there when it reaches a table, so that a trigger that adds some does not
 * keep it for ever.
 *
 * Raises 42501 unless the caller may purge, 22023 when max_rows is not positive,
 * 25006 in a read-only transaction and on a standby, 27000 when a trigger lets no
 * row go, 55000 when a table is not as it was installed.
 */
Datum
idem_purge(PG_FUNCTION_ARGS)
{
	int64		max_rows = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	IdemPurge	purge = {0};

	idem_rights_purge(fcinfo, "idem_purge");
	PreventCommandIfReadOnly("idem_purge()");
	PreventCommandDuringRecovery("idem_purge()");
	if (max_rows <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_rows\" must be positive"),
				 errdetail("It is %lld.", (long long) max_rows),
				 errhint("Leave \"max_rows\" out to purge all that is past its time.")));

	idem_purge_begin(&purge, GetCurrentTimestamp(), CurrentMemoryContext);
	while (purge.left > 0 && purge.purged < max_rows)
	{
		purge_in_session(&purge, max_rows - purge.purged);
		next_table(&purge);
	}
	if (purge.purged < max_rows)
		purge.purged += idem_purge_stores_all(max_rows - purge.purged);
	/* where that was all: a session has no watermark to tell of the rest */
	if (purge.purged < max_rows)
		idem_purge_note_pass(&purge);
	if (purge.ranges != NULL)
		idem_purge_ranges_note_leases(purge.ranges);
	PG_RETURN_INT64(purge.purged);
}
