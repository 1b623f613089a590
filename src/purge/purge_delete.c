/*
 * purge_delete.c
 *	  Deleting the rows of a table of idem's own that have come to an end.
 *
 * The rows are read in the order of their end, and deleted by their places
 * (run/row_delete.c).  All of that is done as the table's owner, though nothing here
 * should run the owner's code: the predicates and expressions of indexes, which the
 * relation cache evaluates, are not asked for.
 *
 * While an old snapshot is held open somewhere, deleted rows stay in the table
 * and in the index, so the reader counts them, too: it sees every version that
 * somebody may still see, and what nobody can see any more it has taken out of
 * the next reader's way.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/index_usable.h"
#include "purge/purge_delete.h"
#include "run/row_delete.h"
#include "run/usercontext.h"

#define ROWS_A_LOOK		1000	/* rows read between two calls of go_on */

/* A reader of rows, in the order of their end if there is an index for that. */
typedef struct Reader
{
	Relation	rel;
	Relation	index;			/* or NULL */
	SysScanDesc scan;
	SnapshotData not_vacuumable;	/* sees what somebody may see */
	Snapshot	snapshot;		/* ours */
} Reader;

/*
 * An index, opened, by which rows can be read in the order of a column of type
 * timestamptz; NULL if there is none.
 */
static Relation
open_index(Relation rel, AttrNumber column)
{
	Oid			family = lookup_type_cache(TIMESTAMPTZOID,
										   TYPECACHE_BTREE_OPFAMILY)->btree_opf;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		if (index->rd_index->indkey.values[0] == column &&
			index->rd_rel->relam == BTREE_AM_OID &&
			index->rd_opfamily[0] == family &&
			(index->rd_indoption[0] & INDOPTION_DESC) == 0 &&
			idem_index_usable(index) &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			return index;
		index_close(index, NoLock);
	}
	return NULL;
}

static void
begin_reading(Reader *reader, Relation rel, const IdemPurgeDelete *rows)
{
	ScanKeyData keys[2];

	reader->rel = rel;
	reader->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	reader->index = open_index(rel, rows->ended);
	ScanKeyInit(&keys[0], rows->ended, BTGreaterEqualStrategyNumber,
				F_TIMESTAMPTZ_GE, TimestampTzGetDatum(rows->from));
	ScanKeyInit(&keys[1], rows->ended, BTLessEqualStrategyNumber,
				F_TIMESTAMPTZ_LE, TimestampTzGetDatum(rows->until));
	if (reader->index == NULL)
		reader->scan = systable_beginscan(rel, InvalidOid, false,
										  reader->snapshot, 2, keys);
	else
	{
		InitNonVacuumableSnapshot(reader->not_vacuumable, GlobalVisTestFor(rel));
		reader->scan = systable_beginscan_ordered(rel, reader->index,
												  &reader->not_vacuumable,
												  2, keys);
	}
}

static HeapTuple
read_row(Reader *reader)
{
	if (reader->index == NULL)
		return systable_getnext(reader->scan);
	return systable_getnext_ordered(reader->scan, ForwardScanDirection);
}

/* Is the row just read there for our snapshot? */
static bool
is_there(Reader *reader)
{
	return reader->index == NULL ||
		table_tuple_satisfies_snapshot(reader->rel, reader->scan->slot,
									   reader->snapshot);
}

static void
end_reading(Reader *reader)
{
	if (reader->index == NULL)
		systable_endscan(reader->scan);
	else
	{
		systable_endscan_ordered(reader->scan);
		index_close(reader->index, NoLock);
	}
	UnregisterSnapshot(reader->snapshot);
}

/* When a row ended. */
static TimestampTz
end_of(const IdemPurgeDelete *rows, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, rows->ended, desc, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* Is a row that ended then to be kept, whatever is to go? */
static bool
is_held(const IdemPurgeDelete *rows, HeapTuple tuple, TupleDesc desc,
		TimestampTz ended)
{
	bool		isnull;
	Datum		value;

	if (rows->held == InvalidAttrNumber)
		return false;
	value = heap_getattr(tuple, rows->held, desc, &isnull);
	return !isnull && (DatumGetTimestampTz(value) > rows->until ||
					   ended > rows->held_until);
}

/* Is it time to stop before the looked-th row, which ended then? */
static bool
is_enough(IdemPurgeDelete *rows, const Reader *reader, TimestampTz start,
		  int64 looked, TimestampTz ended)
{
	bool		stop = rows->deleted >= rows->limit;

	/*
	 * not among rows that all ended at once: the next batch would get no
	 * further
	 */
	if (looked > rows->looks && ended > start && reader->index != NULL)
		stop = true;
	if (!stop && looked % ROWS_A_LOOK == 0 && rows->go_on != NULL &&
		!rows->go_on())
	{
		stop = true;
		/* where that takes longer than a turn, the rest of them must wait */
		if (ended == start)
			ended++;
	}
	/* the index may lead to a version of the row that it was not made for */
	if (stop && reader->index != NULL)
		rows->from = Min(Max(ended, start), rows->until);
	return stop;
}

/*
 * Deletes rows of a table, which is locked, that have come to an end, the first
 * first, and tells how many and where to go on.  Waits for no row.
 */
void
idem_purge_delete(Relation rel, IdemPurgeDelete *rows)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TimestampTz start = rows->from;
	int64		looked = 0;
	Reader		reader;
	HeapTuple	tuple;
	IdemRowDelete deletion;
	IdemUserContext caller;

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	rows->deleted = 0;
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	begin_reading(&reader, rel, rows);
	if (rows->is_whole)
		idem_row_delete_begin_statement(&deletion, rel, reader.snapshot,
										rows->delete_locked, rows->state);
	else
		idem_row_delete_begin(&deletion, rel, reader.snapshot,
							  rows->delete_locked, rows->state);
	while ((tuple = read_row(&reader)) != NULL)
	{
		TimestampTz ended = end_of(rows, tuple, desc);

		CHECK_FOR_INTERRUPTS();
		if (is_enough(rows, &reader, start, ++looked, ended))
			break;
		if (ended > rows->until || !is_there(&reader) ||
			is_held(rows, tuple, desc, ended))
			continue;
		rows->deleted += idem_row_delete(&deletion, &tuple->t_self);
	}
	Assert(rows->deleted <= rows->limit);
	rows->finished = tuple == NULL;
	if (rows->finished)
		rows->from = rows->until + 1;
	end_reading(&reader);
	idem_row_delete_end(&deletion);
	idem_usercontext_leave(&caller);
	/* as after a statement, so that what follows does not see them */
	CommandCounterIncrement();
}
