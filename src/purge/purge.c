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
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/rights.h"
#include "base/settings.h"
#include "outbox/outbox_purge.h"
#include "purge/purge.h"
#include "purge/purge_delete.h"
#include "purge/purge_leases.h"
#include "purge/purge_note.h"
#include "purge/purge_stores.h"
#include "run/spi_own.h"
#include "saga/saga_purge.h"
#include "stats/stats_counter.h"

PG_FUNCTION_INFO_V1(idem_purge);

#define MAX_CYCLE_S		600		/* until a table is purged from the start
								 * again */
#define CYCLE_SHARE		100		/* one part of the time may go for that */
#define DELETING_US		10		/* what one row takes at most that is deleted */
#define MAX_NAPTIMES	32		/* for which a table that fails is left alone */

/* A table to be purged. */
typedef struct Store
{
	const char *name;
	const char *ended;			/* its column that tells the end; NULL: it has
								 * none, and goes once it was read */
	const char *held;			/* another, up to which a row lives on, or
								 * NULL */
	const int  *held_s;			/* past its end where held is not null; -1:
								 * forever; NULL: held is */
	IdemStatement delete;		/* of the rows at the places $1 */
	const int  *kept_s;			/* past the time in its column; -1: forever;
								 * NULL: not at all */
	void		(*before) (ItemPointer tids, int n);	/* deletes what belongs
														 * to rows, first; or
														 * NULL */
} Store;

#define DELETE(name, field) { \
	.text = "DELETE FROM ONLY @." name " AS k" \
	" WHERE k.ctid OPERATOR(pg_catalog.=) ANY ($1)", \
	.nargs = 1, \
	.argtypes = {TIDARRAYOID}, \
	.table = offsetof(IdemCatalog, field) \
}

/*
 * The tables that are purged, one after the other.  A claim that is held by a
 * lease is alive, whatever its expiry says.  And where a lease was ever given, a
 * former holder may still come back: as long as the row is there, a new claim has
 * the next fence, and that one is told from it.
 */
static Store stores[IDEM_PURGE_TABLES] = {
	{"idem_key", "expires_at", "lease_until", &idem_fence_retention_s,
	DELETE("idem_key", key_table), NULL},
	{"idem_message", "expires_at", NULL, NULL,
	DELETE("idem_message", message_table), NULL},
	{"idem_history", "changed_at", NULL, NULL,
	DELETE("idem_history", history_table), &idem_history_retention_s},
	/* a whole one at a time, with its steps and their keys */
	{"idem_saga", "expires_at", NULL, NULL,
	DELETE("idem_saga", saga_table), NULL, idem_saga_purge},
	{"idem_outbox", NULL, NULL, NULL, DELETE("idem_outbox", outbox_table), NULL},
};

/* What is the matter with a table. */
typedef enum State
{
	READY,						/* nothing: it is open and locked */
	IN_USE,						/* others have locked it */
	FILLED						/* a subscription fills it */
} State;

/*
 * Starts a pass, in which goes what has expired by now.  Where the one before did
 * not come to its end, the table that it had reached is the last one's turn.
 */
void
idem_purge_begin(IdemPurge *purge, TimestampTz now)
{
	if (purge->left > 0)
		purge->table = (purge->table + 1) % IDEM_PURGE_TABLES;
	purge->left = IDEM_PURGE_TABLES;
	purge->now = now;
	purge->purged = 0;
	purge->batches = 0;
}

/* The name of the table that a pass has reached. */
const char *
idem_purge_table_name(const IdemPurge *purge)
{
	Assert(purge->table >= 0 && purge->table < IDEM_PURGE_TABLES);
	return stores[purge->table].name;
}

/* Deletes rows that are locked, with whatever the table's owner has put there. */
static void
delete_locked(void *state, ItemPointer tids, int n)
{
	Store	   *store = state;
	Datum		args[1];
	uint64		deleted;

	if (store->before != NULL)
		store->before(tids, n);
	deleted = idem_row_delete_run(&store->delete, args, tids, n);

	/* they are ours alone, so nothing else can be the reason */
	if (deleted < n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("a trigger or rule keeps rows of table \"%s\" from being purged",
						store->name),
				 errdetail("Of %d rows past their time, %llu were deleted.", n,
						   (unsigned long long) deleted),
				 errhint("Have BEFORE DELETE triggers return OLD, or drop what keeps the rows.")));
}

/* Is the table filled by logical replication? */
static bool
is_filled(Oid table)
{
	CatCList   *list = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
										   ObjectIdGetDatum(table));
	bool		filled = list->n_members > 0;

	ReleaseSysCacheList(list);
	return filled;
}

/*
 * Opens the table, and locks it if it is to be purged.  The worker does not wait
 * for a lock: it has other tables and databases to look after.
 *
 * Where a subscription fills the table, it is its publisher that purges: a key
 * may be used again there before that, and its new row would find none to change.
 */
static State
open_table(const Store *store, bool wait, Relation *rel)
{
	Oid			table = idem_catalog_table(store->delete.table);

	if (wait)
		*rel = table_open(table, RowExclusiveLock);
	else
	{
		if (!ConditionalLockRelationOid(table, RowExclusiveLock))
			return IN_USE;
		*rel = table_open(table, NoLock);
	}
	if (is_filled(table))
	{
		table_close(*rel, NoLock);
		return FILLED;
	}
	return READY;
}

/*
 * The number of a column that tells a time.  Raises 55000 where its owner has made
 * it, or the table, something else: what is no time must not be read as one, or
 * rows would go that are not to.
 */
static AttrNumber
time_column(Relation rel, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);

	if (rel->rd_rel->relkind != RELKIND_RELATION || number <= 0 ||
		TupleDescAttr(RelationGetDescr(rel), number - 1)->atttypid != TIMESTAMPTZOID)
		idem_catalog_error_altered("table", RelationGetRelationName(rel));
	return number;
}

/* The same for messages, which have no end: all who read them tell. */
static void
purge_outbox(Store *store, Relation rel, IdemPurgeDelete *rows)
{
	IdemOutboxPurge messages = {
		.limit = rows->limit, .looks = rows->looks, .go_on = rows->go_on,
		.delete_locked = delete_locked, .state = store
	};

	idem_outbox_purge(rel, &messages);
	rows->deleted = messages.deleted;
	rows->finished = messages.finished;
}

/* Deletes rows of a table, at most so many; whether it came to their end. */
static bool
purge_table(IdemPurge *purge, Relation rel, IdemPurgeDelete *rows)
{
	Store	   *store = &stores[purge->table];

	if (store->ended == NULL)
	{
		purge_outbox(store, rel, rows);
		purge->purged += rows->deleted;
		return rows->finished;
	}
	rows->ended = time_column(rel, store->ended);
	rows->held = store->held == NULL ? InvalidAttrNumber :
		time_column(rel, store->held);
	rows->until = purge->now;
	if (store->held_s != NULL)
		rows->held_until = *store->held_s < 0 ? DT_NOBEGIN :
			purge->now - *store->held_s * USECS_PER_SEC;
	if (store->kept_s != NULL)
		rows->until -= *store->kept_s * USECS_PER_SEC;
	rows->delete_locked = delete_locked;
	rows->is_whole = (store->before != NULL);
	rows->state = store;
	idem_purge_delete(rel, rows);
	idem_stats_counter_add(IDEM_COUNT_PURGE_ROWS, rows->deleted);
	idem_stats_counter_add(IDEM_COUNT_PURGE_BATCHES, rows->deleted > 0 ? 1 : 0);
	purge->batches += rows->deleted > 0 ? 1 : 0;
	purge->purged += rows->deleted;
	return rows->finished;
}

/* Is the table that a pass has reached one whose rows are kept for ever? */
static bool
is_kept(const IdemPurge *purge)
{
	const Store *store = &stores[purge->table];

	return store->kept_s != NULL && *store->kept_s < 0;
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
 * Begins a new cycle of a table where it is time, or the clock was set back.  One
 * that has not come to the end goes on, or no cycle might ever come there.
 */
static void
begin_cycle(IdemPurgeTable *table, TimestampTz now)
{
	if (table->begun != 0 && table->begun <= now &&
		(!table->arrived || now < table->begun + cycle_us(table)))
		return;
	table->begun = now;
	table->watermark = DT_NOBEGIN;
	table->arrived = false;
	table->spent_us = 0;
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
report_in_use(IdemPurgeTable *table, const Store *store, bool in_use)
{
	if (in_use && !table->in_use)
		ereport(LOG,
				(errmsg("idem does not purge table \"%s\" of database \"%s\" for now",
						store->name, get_database_name(MyDatabaseId)),
				 errdetail("Others have locked it.")));
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
	const Store *store = &stores[purge->table];
	TimestampTz began = GetCurrentTimestamp();
	bool		finished = true;
	Relation	rel;

	if (!is_kept(purge) && !is_failing(table, began))
	{
		State		state = open_table(store, false, &rel);

		report_in_use(table, store, state == IN_USE);
		if (state == READY)
		{
			IdemPurgeDelete rows = {.limit = bounds->rows, .looks = bounds->looks,
			.go_on = bounds->go_on};

			begin_cycle(table, began);
			rows.from = table->watermark;
			finished = purge_table(purge, rel, &rows);
			table_close(rel, NoLock);
			table->watermark = rows.from;

			/*
			 * what it takes to look for new ones from there is not the
			 * cycle's
			 */
			if (!table->arrived)
				table->spent_us += Max(GetCurrentTimestamp() - began -
									   rows.deleted * DELETING_US, 0);
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

/* How long the rows of a table are kept past the time in their column, in seconds. */
int
idem_purge_kept_s(int table)
{
	const Store *store = &stores[table];

	return store->kept_s == NULL ? 0 : Max(*store->kept_s, 0);
}

/* Deletes rows of the table that a pass of a session has reached. */
static void
purge_in_session(IdemPurge *purge, int64 limit)
{
	IdemPurgeDelete rows = {.from = DT_NOBEGIN, .limit = limit,
	.looks = PG_INT64_MAX};
	Relation	rel;

	if (is_kept(purge))
		return;
	if (open_table(&stores[purge->table], true, &rel) == FILLED)
	{
		ereport(NOTICE,
				(errmsg("table \"%s\" is not purged", idem_purge_table_name(purge)),
				 errdetail("A subscription of logical replication fills it, so its publisher purges it.")));
		return;
	}
	(void) purge_table(purge, rel, &rows);
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

	idem_purge_begin(&purge, GetCurrentTimestamp());
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
	/* reads that must not make a serializable transaction fail */
	if (!IsolationIsSerializable())
		idem_purge_leases_look();
	PG_RETURN_INT64(purge.purged);
}
