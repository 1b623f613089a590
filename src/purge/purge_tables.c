/*
 * purge_tables.c
 *	  The tables that are purged, and how rows of each are deleted.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/settings.h"
#include "outbox/outbox_purge.h"
#include "purge/purge_blocks.h"
#include "purge/purge_ranges.h"
#include "purge/purge_tables.h"
#include "run/row_delete.h"
#include "saga/saga_purge.h"
#include "stats/stats_counter.h"

/* A table to be purged. */
typedef struct Store
{
	const char *name;
	bool		by_block;		/* is it read block by block, or else in the
								 * order of the end? */
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

/*
 * The tables that are purged, one after the other.  A claim that is held by a
 * lease is alive, whatever its expiry says.  And where a lease was ever given, a
 * former holder may still come back: as long as the row is there, a new claim has
 * the next fence, and that one is told from it.
 */
static Store stores[IDEM_PURGE_TABLES] = {
	{"idem_key", true, "expires_at", "lease_until", &idem_fence_retention_s,
	IDEM_ROW_DELETE_STATEMENT("idem_key", key_table), NULL},
	{"idem_message", false, "expires_at", NULL, NULL,
	IDEM_ROW_DELETE_STATEMENT("idem_message", message_table), NULL},
	{"idem_history", false, "changed_at", NULL, NULL,
	IDEM_ROW_DELETE_STATEMENT("idem_history", history_table), &idem_history_retention_s},
	/* a whole one at a time, with its steps and their keys */
	{"idem_saga", false, "expires_at", NULL, NULL,
	IDEM_ROW_DELETE_STATEMENT("idem_saga", saga_table), NULL, idem_saga_purge},
	{"idem_outbox", false, NULL, NULL, NULL,
	IDEM_ROW_DELETE_STATEMENT("idem_outbox", outbox_table), NULL},
};

/* The name of a table. */
const char *
idem_purge_tables_name(int table)
{
	Assert(table >= 0 && table < IDEM_PURGE_TABLES);
	return stores[table].name;
}

/* How long the rows of a table are kept past the time in their column, in seconds. */
int
idem_purge_tables_kept_s(int table)
{
	const Store *store = &stores[table];

	return store->kept_s == NULL ? 0 : Max(*store->kept_s, 0);
}

/* Are the rows of a table kept for ever? */
bool
idem_purge_tables_is_kept(int table)
{
	const Store *store = &stores[table];

	return store->kept_s != NULL && *store->kept_s < 0;
}

/* Is a table read block by block, rather than in the order in which its rows end? */
bool
idem_purge_tables_is_by_block(int table)
{
	return stores[table].by_block;
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
IdemPurgeState
idem_purge_tables_open(int table, bool wait, Relation *rel)
{
	Oid			relid = idem_catalog_table(stores[table].delete.table);

	if (wait)
		*rel = table_open(relid, RowExclusiveLock);
	else
	{
		if (!ConditionalLockRelationOid(relid, RowExclusiveLock))
			return IDEM_PURGE_IN_USE;
		*rel = table_open(relid, NoLock);
	}
	if (is_filled(relid))
	{
		table_close(*rel, NoLock);
		return IDEM_PURGE_FILLED;
	}
	if (stores[table].by_block && !idem_purge_ranges_lock(wait))
	{
		table_close(*rel, NoLock);
		return IDEM_PURGE_RANGES_IN_USE;
	}
	return IDEM_PURGE_READY;
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

/* The same for keys, of which no index tells which have expired. */
static void
purge_keys(IdemPurge *purge, Relation rel, IdemPurgeDelete *rows)
{
	(void) idem_catalog_key_of(rel);	/* raises, if it was altered */
	if (purge->ranges == NULL || !idem_purge_ranges_fit(purge->ranges, rel))
		purge->ranges = idem_purge_ranges_load(rel, purge->now, purge->context);
	idem_purge_blocks(rel, rows, purge->ranges);
}

/* Deletes rows of a table, at most so many; whether it came to their end. */
bool
idem_purge_tables_delete(IdemPurge *purge, Relation rel, IdemPurgeDelete *rows)
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
	if (store->by_block)
		purge_keys(purge, rel, rows);
	else
		idem_purge_delete(rel, rows);
	idem_stats_counter_add(IDEM_COUNT_PURGE_ROWS, rows->deleted);
	idem_stats_counter_add(IDEM_COUNT_PURGE_BATCHES, rows->deleted > 0 ? 1 : 0);
	purge->batches += rows->deleted > 0 ? 1 : 0;
	purge->purged += rows->deleted;
	return rows->finished;
}
