/*
 * direct.c
 *	  Inserting and deleting rows of idem's own tables, without a statement.
 *
 * Setting the executor up for a single row, and taking it down, costs about as
 * much as inserting that row.  This is how the apply worker of logical
 * replication inserts the rows it receives: the table's constraints are checked
 * and its indexes kept, without a plan.
 *
 * A statement that deletes rows, but waits for nobody, has to lock them first,
 * which costs as much again as deleting them, in time and in WAL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "direct.h"

/*
 * Is it a table that no code is attached to?  Its owner may have added triggers
 * and rules, or let other tables refer to it.
 */
static bool
is_plain(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		!rel->rd_rel->relispartition &&
		rel->trigdesc == NULL && rel->rd_rules == NULL;
}

/* Does a new row have to meet, or to be given, what only code can tell? */
static bool
has_conditions(Relation rel)
{
	const TupleConstr *constr = rel->rd_att->constr;

	return rel->rd_rel->relrowsecurity ||
		(constr != NULL &&
		 (constr->num_check > 0 || constr->num_defval > 0 ||
		  constr->has_generated_stored));
}

/* Does an index of the opened ones run code of somebody's? */
static bool
has_expressions(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		const IndexInfo *info = result->ri_IndexRelationInfo[i];

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL ||
			info->ii_ExclusionOps != NULL)
			return true;
	}
	return false;
}

/* Inserts a row; false if it takes a statement. */
static bool
insert_row(Relation rel, Datum *values, bool *isnull)
{
	ResultRelInfo *result = makeNode(ResultRelInfo);
	bool		plain;

	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, false);
	plain = !has_expressions(result);
	if (plain)
	{
		EState	   *estate = CreateExecutorState();
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
														table_slot_callbacks(rel));
		Size		natts = RelationGetNumberOfAttributes(rel);

		memcpy(slot->tts_values, values, natts * sizeof(Datum));
		memcpy(slot->tts_isnull, isnull, natts * sizeof(bool));
		ExecStoreVirtualTuple(slot);
		ExecSimpleRelationInsert(result, estate, slot);
		ExecDropSingleTupleTableSlot(slot);
		FreeExecutorState(estate);
	}
	ExecCloseIndices(result);
	return plain;
}

/*
 * Inserts a row, given by the values of all natts columns, into a table of
 * idem's own.  False if the table is not as it was installed: then it takes a
 * statement, which runs as the owner, restricted.  Here nothing of anybody else's
 * runs, so the user does not matter.  Raises what INSERT raises, 25006 where
 * nothing may be written included: what the caller has done meanwhile may have
 * made the transaction read-only.
 */
bool
idem_direct_insert(Oid table, int natts, Datum *values, bool *isnull)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	/* the defaults of columns that were added are the planner's business */
	bool		plain = is_plain(rel) && !has_conditions(rel) &&
		RelationGetNumberOfAttributes(rel) == natts;

	if (plain)
	{
		PreventCommandIfReadOnly("INSERT");
		plain = insert_row(rel, values, isnull);
	}
	/* as after a statement, so that what follows sees the row */
	if (plain)
		CommandCounterIncrement();
	/* the lock is kept, as any writer's is */
	table_close(rel, NoLock);
	return plain;
}

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
			index->rd_index->indisvalid && !index->rd_index->indcheckxmin &&
			RelationGetIndexPredicate(index) == NIL)
			return index;
		index_close(index, NoLock);
	}
	return NULL;
}

static TimestampTz
time_in(HeapTuple tuple, AttrNumber column, TupleDesc desc,
		TimestampTz otherwise)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

/* Deletes a row unless others have locked it, or changed it meanwhile. */
static bool
delete_row(Relation rel, ItemPointer tid, CommandId command, Snapshot snapshot)
{
	TM_FailureData failure;
	TM_Result	result = IDEM_TUPLE_DELETE(rel, tid, command, snapshot, false,
										   &failure);

	if (result == TM_BeingModified)
	{
		/* perhaps it is we alone who have locked it */
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		if (table_tuple_lock(rel, tid, snapshot, slot, command,
							 LockTupleExclusive, LockWaitSkip, 0,
							 &failure) == TM_Ok)
			result = IDEM_TUPLE_DELETE(rel, tid, command, snapshot, true,
									   &failure);
		ExecDropSingleTupleTableSlot(slot);
	}
	return result == TM_Ok;
}

static void
delete_rows(Relation rel, Relation index, IdemEnded *rows)
{
	TupleDesc	desc = RelationGetDescr(rel);
	CommandId	command = GetCurrentCommandId(true);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], rows->ended, BTGreaterEqualStrategyNumber,
				F_TIMESTAMPTZ_GE, TimestampTzGetDatum(rows->from));
	ScanKeyInit(&keys[1], rows->ended, BTLessEqualStrategyNumber,
				F_TIMESTAMPTZ_LE, TimestampTzGetDatum(rows->until));
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 2, keys);
	while (rows->deleted < rows->limit &&
		   (tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		rows->from = time_in(tuple, rows->ended, desc, rows->from);
		if (rows->held != InvalidAttrNumber &&
			time_in(tuple, rows->held, desc, DT_NOBEGIN) > rows->until)
			continue;
		if (delete_row(rel, &tuple->t_self, command, GetActiveSnapshot()))
			rows->deleted++;
	}
	systable_endscan_ordered(scan);
	PopActiveSnapshot();
	/* as after a statement, so that what follows does not see them */
	CommandCounterIncrement();
}

/*
 * Deletes rows of a table of idem's own that have come to an end, the first
 * first, and tells how many and how far it came.  Waits for no row.  False if the
 * table is not as it was installed: then it takes a statement.
 */
bool
idem_direct_delete(Oid table, IdemEnded *rows)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	Relation	index = is_plain(rel) ? open_index(rel, rows->ended) : NULL;

	rows->deleted = 0;
	if (index != NULL)
	{
		CheckCmdReplicaIdentity(rel, CMD_DELETE);
		delete_rows(rel, index, rows);
		index_close(index, NoLock);
	}
	table_close(rel, NoLock);
	return index != NULL;
}

/*
 * Deletes a row of a table of idem's own by its place.  Waits for others who are
 * at it, and reads nothing that a serializable transaction would be held to.
 *
 * To be called with the lock on the table, and under the active snapshot, under
 * which the row was found: they keep anything else from coming into its place.
 */
IdemDeletion
idem_direct_delete_row(Oid table, ItemPointer place)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	IdemDeletion deletion = IDEM_NEEDS_STATEMENT;

	if (is_plain(rel))
	{
		TM_FailureData failure;

		CheckCmdReplicaIdentity(rel, CMD_DELETE);
		deletion = IDEM_TUPLE_DELETE(rel, place, GetCurrentCommandId(true),
									 GetActiveSnapshot(), true,
									 &failure) == TM_Ok ?
			IDEM_DELETED : IDEM_NOT_DELETED;
		/* as after a statement, so that what follows does not see it */
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
	return deletion;
}
