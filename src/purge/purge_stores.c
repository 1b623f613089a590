/*
 * purge_stores.c
 *	  Deleting what has expired in stores.
 *
 * A store is found by the names and the columns of its tables, whoever has made it.  Of
 * a table whose rows an engine spreads over nodes, each node's worker purges the shards
 * that are on its node: reached as the tables that they are, without a statement, which
 * the engine would not let pass.  Which they are, the engine's catalog says; a shard
 * that is being moved here is not yet among them, and one that has been moved away no
 * longer: what is deleted from it could be missed by what is still being copied.
 *
 * Nothing in a table that is purged runs code: one that has some attached is passed by,
 * as it cannot be used either (store/store.c).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/routed.h"
#include "base/settings.h"
#include "base/table_shape.h"
#include "purge/purge_delete.h"
#include "purge/purge_stores.h"
#include "purge/purge_told.h"
#include "run/simple_dml.h"
#include "run/spi.h"
#include "run/subtransaction.h"
#include "stats/stats_counter.h"
#include "store/store.h"

/* So many tables are locked by one transaction. */
#define MAX_TABLES	100

/* So long a pass deletes of a table before it goes on to the others. */
#define TURN_US		(10 * USECS_PER_SEC)

/* A table to be purged: one of a store, or a shard of one. */
typedef struct Part
{
	Oid			relid;
	IdemTable	table;
} Part;

static void
add_part(List **parts, Oid relid, IdemTable table)
{
	Part	   *part = palloc(sizeof(Part));

	part->relid = relid;
	part->table = table;
	*parts = lappend(*parts, part);
}

/* Adds those shards of a table that are on this node. */
static void
add_shards(List **parts, Oid relid, IdemTable table)
{
	static const char sql[] =
		"SELECT pg_catalog.array_agg(s.shardid)"
		" FROM pg_catalog.pg_dist_shard AS s"
		" JOIN pg_catalog.pg_dist_placement AS p"
		" ON p.shardid OPERATOR(pg_catalog.=) s.shardid"
		" WHERE s.logicalrelid OPERATOR(pg_catalog.=) $1 AND p.groupid OPERATOR(pg_catalog.=)"
		" (SELECT g.groupid FROM pg_catalog.pg_dist_local_group AS g)";
	Oid			types[] = {OIDOID};
	Datum		args[] = {ObjectIdGetDatum(relid)};
	Datum		value;
	bool		isnull;
	Datum	   *shards;
	int			count;

	/* what is made up for tests has no shards */
	if (!OidIsValid(get_relname_relid("pg_dist_placement", PG_CATALOG_NAMESPACE)))
	{
		add_part(parts, relid, table);
		return;
	}
	if (idem_spi_once(sql, InvalidOid, lengthof(types), types, args, 1, &value,
					  &isnull) == 0 || isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &shards, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		char	   *name = psprintf("%s_" INT64_FORMAT, get_rel_name(relid),
									DatumGetInt64(shards[i]));
		Oid			shard = get_relname_relid(name, get_rel_namespace(relid));

		if (OidIsValid(shard))
			add_part(parts, shard, table);
	}
}

/* Adds all tables of that name, but idem's own. */
static void
add_tables(List **parts, IdemTable table)
{
	const char *name = idem_table_shape_name(table);
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	List	   *found = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	ScanKeyInit(&key, Anum_pg_class_relname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, ClassNameNspIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relkind == RELKIND_RELATION &&
			form->relpersistence == RELPERSISTENCE_PERMANENT &&
			form->relnamespace != idem_catalog()->schema_oid)
			found = lappend_oid(found, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	foreach(lc, found)
	{
		if (idem_routed(lfirst_oid(lc)))
			add_shards(parts, lfirst_oid(lc), table);
		else
			add_part(parts, lfirst_oid(lc), table);
	}
}

static int
compare_parts(const ListCell *a, const ListCell *b)
{
	Oid			oa = ((const Part *) lfirst(a))->relid;
	Oid			ob = ((const Part *) lfirst(b))->relid;

	return oa < ob ? -1 : oa > ob;
}

/* Raises an error: no code is attached, so no statement is needed. */
static void
delete_locked(void *state, ItemPointer tids, int n)
{
	elog(ERROR, "a table of a store takes a statement to be purged");
}

/* Is a table, which is open and locked, that of a store, and nothing in its way? */
static bool
is_fit(Relation rel, IdemTable table)
{
	const IdemCatalog *cat = idem_catalog();
	CatCList   *subscriptions;
	AttrNumber	scope = get_attnum(RelationGetRelid(rel), "scope");
	IdemOwnTypes types = {
		.outcome = cat->outcome_type, .role = cat->role_type, .scope = TEXTOID
	};
	bool		filled;

	if (scope > 0)
		types.scope = get_atttype(RelationGetRelid(rel), scope);
	if (!idem_store_takes(types.scope) || !idem_table_shape_fits(table, rel, &types) ||
		!idem_table_shape_named(table, rel) ||
		!OidIsValid(idem_table_shape_key(table, rel)) || !idem_simple_dml_is_bare(rel))
		return false;
	/* its publisher purges it */
	subscriptions = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
										ObjectIdGetDatum(RelationGetRelid(rel)));
	filled = subscriptions->n_members > 0;
	ReleaseSysCacheList(subscriptions);
	return !filled;
}

/* Locks the indexes of a table; false where that would be waited for. */
static bool
lock_indexes(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		if (!ConditionalLockRelationOid(lfirst_oid(lc), RowExclusiveLock))
			return false;
	}
	return true;
}

/*
 * Deletes rows of a table, from where the pass has come to in it; whether the pass is
 * done with it.
 *
 * Rows that stay although they have expired, for their fences say, may be more than a
 * batch looks at, so the next one goes on behind them.  One that would get no further
 * is the last: anybody may have a table in the way of the others, such as one without
 * an index.
 */
static bool
purge_part(const Part *part, IdemPurgeStores *pass, const IdemPurgeBounds *bounds,
		   int64 limit)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from = pass->cycle.watermark;
	IdemPurgeDelete rows = {
		.from = from, .until = now, .limit = limit, .looks = bounds->looks,
		.go_on = bounds->go_on, .delete_locked = delete_locked
	};
	Relation	rel;

	if (!ConditionalLockRelationOid(part->relid, RowExclusiveLock))
		return true;
	rel = try_table_open(part->relid, NoLock);
	if (rel == NULL)
		return true;
	/* the owner of any table could have the worker wait for an index of it */
	if (!lock_indexes(rel) || !is_fit(rel, part->table))
	{
		table_close(rel, NoLock);
		return true;
	}
	rows.ended = get_attnum(part->relid, "expires_at");
	if (part->table == IDEM_TABLE_KEY)
	{
		rows.held = get_attnum(part->relid, "lease_until");
		rows.held_until = idem_fence_retention_s < 0 ? DT_NOBEGIN :
			now - idem_fence_retention_s * USECS_PER_SEC;
	}
	idem_purge_delete(rel, &rows);
	table_close(rel, NoLock);
	pass->cycle.watermark = rows.from;
	pass->purged += rows.deleted;
	idem_purge_note_cost(&pass->cycle, now, rows.deleted);
	idem_stats_counter_add(IDEM_COUNT_PURGE_ROWS, rows.deleted);
	return rows.finished || (rows.deleted == 0 && rows.from <= from);
}

/* A turn of a table, and what came of it. */
typedef struct Turn
{
	const Part *part;
	IdemPurgeStores *pass;
	const IdemPurgeBounds *bounds;
	int64		limit;
	bool		finished;
} Turn;

static bool
take_turn(void *arg)
{
	Turn	   *turn = arg;
	IdemPurgeStores *pass = turn->pass;
	int64		purged = pass->purged;

	turn->finished = purge_part(turn->part, pass, turn->bounds, turn->limit);
	if (pass->purged > purged)
		return true;
	/* what stays is passed in every turn, and has an end */
	pass->since = GetCurrentTimestamp();
	/* the locks of a table that is as it was are for nothing, and many */
	return false;
}

/* The same, where what fails is left for the next time. */
static bool
try_part(const Part *part, IdemPurgeStores *pass, const IdemPurgeBounds *bounds,
		 int64 limit)
{
	Turn		turn = {part, pass, bounds, limit};
	IdemPurgeStores before;
	ErrorData  *error;

	if (pass->reached != part->relid)
	{
		pass->cycle.watermark = DT_NOBEGIN;
		pass->since = GetCurrentTimestamp();
	}
	pass->reached = part->relid;
	before = *pass;
	error = idem_subtransaction_try(take_turn, &turn);
	if (error == NULL)
		return turn.finished;
	/* one that asks us to leave, or to stop, is not the table's */
	if (QueryCancelPending || ProcDiePending ||
		error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(error);
	idem_stats_counter_hit(IDEM_COUNT_PURGE_ERRORS);
	*pass = before;
	idem_purge_told_report(&pass->told, part->relid, error);
	FreeErrorData(error);
	return true;
}

/*
 * Has a table had its turn?  Where more expires than is purged, there is no end of it.
 */
static bool
is_over(IdemPurgeStores *pass)
{
	TimestampTz now = GetCurrentTimestamp();

	if (pass->since <= now && now < pass->since + TURN_US)
		return false;
	pass->rest = true;
	return true;
}

/*
 * Begins a pass over the stores of a database, or goes on with the one before; false
 * where that has come to its end, and it is too early for another.
 */
bool
idem_purge_stores_begin(IdemPurgeStores *pass, TimestampTz now)
{
	if (idem_purge_begin_cycle(&pass->cycle, now))
	{
		pass->last = pass->reached = pass->alone = pass->end = InvalidOid;
		pass->rest = false;
		idem_purge_told_begin(&pass->told, now);
	}
	return !pass->cycle.arrived;
}

/*
 * Decides how a pass goes on after a batch, which began then, has failed: the table that
 * it had reached is for a batch that begins with it, or, if that was so, left out, since
 * what has taken too long takes too long again.  False: it had reached none.
 */
bool
idem_purge_stores_pass_over(IdemPurgeStores *pass, const IdemPurgeStores *failed,
							TimestampTz began)
{
	if (failed->reached <= pass->last)
		return false;
	if (failed->last == pass->last)
		pass->last = failed->reached;
	else
		pass->alone = failed->reached;
	/* what has been told of is in the log; a new cycle has its end */
	pass->told = failed->told;
	pass->end = failed->end;
	idem_purge_note_cost(&pass->cycle, began, 0);
	return true;
}

/*
 * Purges stores, in the current transaction, from where the pass has come to; whether
 * it has come to the end.  That is the last table that there was when it began: else
 * who goes on making new ones, with enough in each, would keep it from the others.
 */
bool
idem_purge_stores(IdemPurgeStores *pass, const IdemPurgeBounds *bounds)
{
	int64		start = pass->purged;
	List	   *parts = NIL;
	int			tables = 0;
	ListCell   *lc;

	add_tables(&parts, IDEM_TABLE_KEY);
	add_tables(&parts, IDEM_TABLE_MESSAGE);
	list_sort(parts, compare_parts);
	if (parts != NIL)
	{
		Oid			last = ((const Part *) llast(parts))->relid;

		idem_purge_told_bound(&pass->told, last);
		if (!OidIsValid(pass->end))
			pass->end = last;
	}
	foreach(lc, parts)
	{
		const Part *part = lfirst(lc);
		int64		left = bounds->rows - (pass->purged - start);

		if (part->relid <= pass->last)
			continue;
		if (part->relid > pass->end)
			break;
		if (left <= 0 || tables == MAX_TABLES ||
			(tables > 0 && part->relid == pass->alone))
			return false;
		tables++;
		CHECK_FOR_INTERRUPTS();
		if (!try_part(part, pass, bounds, left) && !is_over(pass))
			return false;
		pass->last = part->relid;
	}
	/* what was left is next, without a pause */
	if (pass->rest)
	{
		pass->cycle.begun = 0;
		(void) idem_purge_stores_begin(pass, GetCurrentTimestamp());
		return false;
	}
	pass->cycle.arrived = true;
	return true;
}

/* Purges stores, in the current transaction, of so many rows at most; of how many. */
int64
idem_purge_stores_all(int64 limit)
{
	IdemPurgeStores pass = {.told.left = PG_INT32_MAX};
	IdemPurgeBounds bounds = {.looks = PG_INT64_MAX};

	do
	{
		bounds.rows = limit - pass.purged;
	} while (bounds.rows > 0 && !idem_purge_stores(&pass, &bounds));
	return pass.purged;
}
