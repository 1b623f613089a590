/*
 * write_set.c
 *	  What is written from one moment of a transaction on.
 *
 * Which tables that may concern, the locks that the transaction has by then
 * say: a session that writes to a table has it locked for that until the end, be
 * it by a trigger or a function.  In those, the rows count that are visible
 * under a snapshot of that moment and not under the same snapshot once it sees
 * the commands since then, or the other way round.  Others' changes are in
 * neither, since both are taken of the same moment; a row that somebody changed
 * meanwhile, and we then wrote over, counts as new.
 *
 * A table that was truncated, filled anew or dropped since then has its old
 * rows in a file that cannot be reached.  So the writing is done in a
 * subtransaction, and read twice: while that is under way, and once more where
 * needed when it has been rolled back.  Rows, files and locks that outlive it
 * belong to the resource owner of the subtransaction around it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/routed.h"
#include "check/write_set.h"
#include "table/partition_root.h"
#include "table/sql_name.h"

/* The lock modes of those who may write rows to a table, or replace them. */
#define WRITE_LOCKS \
	(LOCKBIT_ON(RowExclusiveLock) | LOCKBIT_ON(ShareRowExclusiveLock) | \
	 LOCKBIT_ON(ExclusiveLock) | LOCKBIT_ON(AccessExclusiveLock))

typedef struct HeldLock
{
	Oid			relid;
	LOCKMASK	modes;
} HeldLock;

/* A table that may have been written to. */
typedef struct Table
{
	const char *name;			/* qualified; of the topmost partitioned table */
	IdemRowImages *images;		/* rows written; NULL if none */
	const char *unseen;			/* why not */
} Table;

struct IdemWriteSet
{
	Snapshot	since;			/* active; sees what was there at that moment */
	ResourceOwner owner;		/* of the subtransaction that began */
	List	   *tables;			/* of Table */
	List	   *lost;			/* OIDs of tables whose old rows are out of
								 * reach */
};

/*
 * Marks the moment.  There must be a subtransaction of its own, to be rolled
 * back in the end, for all of this.
 */
IdemWriteSet *
idem_write_set_begin(void)
{
	IdemWriteSet *written = palloc0(sizeof(IdemWriteSet));

	CommandCounterIncrement();
	/* a copy: at REPEATABLE READ the original sees each command */
	PushCopiedSnapshot(GetTransactionSnapshot());
	written->since = GetActiveSnapshot();
	written->owner = CurrentResourceOwner;
	return written;
}

/* What is known of the table by that name: nothing at first. */
static Table *
find_table(IdemWriteSet *written, const char *name)
{
	Table	   *table;
	ListCell   *lc;

	foreach(lc, written->tables)
	{
		table = lfirst(lc);
		if (strcmp(table->name, name) == 0)
			return table;
	}
	table = palloc0(sizeof(Table));
	table->name = name;
	written->tables = lappend(written->tables, table);
	return table;
}

/*
 * What is known of a table of rows, or of the partitioned table that it is a
 * part of: there a row may go from one part to another.
 */
static IdemRowImages *
find_images(IdemWriteSet *written, Relation rel)
{
	Relation	whole = rel;
	Table	   *table;

	if (rel->rd_rel->relispartition)
		whole = table_open(idem_partition_root(RelationGetRelid(rel)),
						   AccessShareLock);
	table = find_table(written, idem_sql_name(whole));
	if (table->images == NULL)
		table->images = idem_row_images_open(table->name, whole);
	idem_row_images_restrict(table->images, whole);
	if (whole != rel)
		table_close(whole, AccessShareLock);
	return table->images;
}

/*
 * Adds the rows that are visible under one of two snapshots only: before or
 * after.  Without one of them there is nothing to see.
 */
static void
read_rows(IdemWriteSet *written, Relation rel, Snapshot before, Snapshot after)
{
	IdemRowImages *images = NULL;
	AttrNumber *map = NULL;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan_strat(rel, SnapshotAny, 0, NULL,
											   true, false);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		was = before != NULL &&
			table_tuple_satisfies_snapshot(rel, slot, before);
		bool		is = after != NULL &&
			table_tuple_satisfies_snapshot(rel, slot, after);

		CHECK_FOR_INTERRUPTS();
		if (was == is)
			continue;
		if (images == NULL)
		{
			images = find_images(written, rel);
			map = idem_row_images_map(images, rel);
		}
		idem_row_images_add(images, slot, map, is);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Are the rows of a table in the file that they were in at the moment, or that
 * others had moved them to before we locked it?  So the catalog is read as others
 * have committed it by now, and without what we have done to it since; our own
 * snapshot may be older than a CLUSTER.
 */
static bool
in_same_file(IdemWriteSet *written, Relation rel)
{
	Relation	catalog = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		same;

	PushCopiedSnapshot(GetLatestSnapshot());
	GetActiveSnapshot()->curcid = written->since->curcid;
	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(rel)));
	scan = systable_beginscan(catalog, ClassOidIndexId, true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	same = HeapTupleIsValid(tuple) &&
		((Form_pg_class) GETSTRUCT(tuple))->relfilenode == rel->rd_rel->relfilenode;
	systable_endscan(scan);
	PopActiveSnapshot();
	table_close(catalog, AccessShareLock);
	return same;
}

/* Has it rows that one can look at?  If not, but rows all the same, says why. */
static bool
can_read(IdemWriteSet *written, Relation rel)
{
	const char *unseen = NULL;

	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
			if (IsCatalogRelation(rel))
				return false;
			if (rel->rd_rel->relam == HEAP_TABLE_AM_OID)
				return true;
			unseen = "not looked at: its access method is not heap";
			break;
		case RELKIND_FOREIGN_TABLE:
			unseen = "not looked at: it is a foreign table";
			break;
		default:
			return false;
	}
	find_table(written, idem_sql_name(rel))->unseen = unseen;
	return false;
}

/* Remembers a table to be read when what was done to it is undone. */
static void
note_lost(IdemWriteSet *written, const HeldLock *lock)
{
	LOCKMODE	mode = MaxLockMode;

	/* keep others out until then; for what we have already, we never wait */
	while ((lock->modes & LOCKBIT_ON(mode)) == 0)
		mode--;
	LockRelationOid(lock->relid, mode);
	written->lost = lappend_oid(written->lost, lock->relid);
}

static void
read_table(IdemWriteSet *written, const HeldLock *lock, Snapshot now)
{
	Relation	rel = try_relation_open(lock->relid, AccessShareLock);

	if (rel == NULL)
	{
		note_lost(written, lock);
		return;
	}
	idem_routed_refuse(lock->relid, "idem_check()");
	if (can_read(written, rel))
	{
		if (in_same_file(written, rel))
			read_rows(written, rel, written->since, now);
		else
		{
			read_rows(written, rel, NULL, now);
			note_lost(written, lock);
		}
	}
	relation_close(rel, AccessShareLock);
}

static int
by_relation(const void *a, const void *b)
{
	Oid			ra = ((const HeldLock *) a)->relid;
	Oid			rb = ((const HeldLock *) b)->relid;

	return ra < rb ? -1 : ra > rb;
}

/*
 * The relations that this transaction has locked for writing, each once: a lock
 * may be known in two places, by different modes.
 */
static HeldLock *
held_locks(int *count)
{
	LockData   *data = GetLockStatusData();
	HeldLock   *locks = palloc(sizeof(HeldLock) * (data->nelements + 1));
	int			found = 0;
	int			distinct = 0;

	for (int i = 0; i < data->nelements; i++)
	{
		LockInstanceData *lock = &data->locks[i];

		if (lock->pid == MyProcPid &&
			lock->locktag.locktag_type == LOCKTAG_RELATION &&
			lock->locktag.locktag_field1 == MyDatabaseId &&
			(lock->holdMask & WRITE_LOCKS) != 0)
		{
			locks[found].relid = lock->locktag.locktag_field2;
			locks[found++].modes = lock->holdMask;
		}
	}
	pfree(data->locks);
	pfree(data);

	qsort(locks, found, sizeof(HeldLock), by_relation);
	for (int i = 0; i < found; i++)
	{
		if (distinct > 0 && locks[distinct - 1].relid == locks[i].relid)
			locks[distinct - 1].modes |= locks[i].modes;
		else
			locks[distinct++] = locks[i];
	}
	*count = distinct;
	return locks;
}

/*
 * Reads what was written, in the subtransaction in which it was: a direct child
 * of the one that began.
 */
void
idem_write_set_read(IdemWriteSet *written)
{
	ResourceOwner owner = CurrentResourceOwner;
	HeldLock   *locks;
	int			count;

	CommandCounterIncrement();
	CurrentResourceOwner = written->owner;
	PushCopiedSnapshot(written->since);
	UpdateActiveSnapshotCommandId();
	locks = held_locks(&count);
	for (int i = 0; i < count; i++)
		read_table(written, &locks[i], GetActiveSnapshot());
	PopActiveSnapshot();
	CurrentResourceOwner = owner;
}

/* Reads what was out of reach, once that subtransaction was rolled back. */
void
idem_write_set_read_undone(IdemWriteSet *written)
{
	ListCell   *lc;

	foreach(lc, written->lost)
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);

		/* gone before that moment, or there only since then */
		if (rel == NULL)
			continue;
		if (can_read(written, rel))
			read_rows(written, rel, written->since, NULL);
		relation_close(rel, AccessShareLock);
	}
}

static int
by_name(const ListCell *a, const ListCell *b)
{
	return strcmp(((Table *) lfirst(a))->name, ((Table *) lfirst(b))->name);
}

/* Tells what the writing has changed, table by table. */
void
idem_write_set_report(IdemWriteSet *written, IdemRowDiff *all)
{
	ListCell   *lc;

	list_sort(written->tables, by_name);
	foreach(lc, written->tables)
	{
		Table	   *table = lfirst(lc);

		if (table->unseen != NULL)
			idem_row_diff_unseen(all, table->name, table->unseen);
		if (table->images != NULL)
		{
			idem_row_diff_report(all, table->images);
			idem_row_images_close(table->images);
		}
	}
}
