/*
 * direct.c
 *	  Inserting a row into one of idem's own tables, or deleting one, without a
 *	  statement.
 *
 * Setting the executor up for a single row, and taking it down, costs about as
 * much as inserting that row.  This is how the apply worker of logical
 * replication inserts the rows it receives: the table's constraints are checked
 * and its indexes kept, without a plan.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "direct.h"

/*
 * Is it a table that no code is attached to?  Its owner may have added triggers
 * and rules, or let other tables refer to it.
 */
bool
idem_direct_is_plain(Relation rel)
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
	bool		plain = idem_direct_is_plain(rel) && !has_conditions(rel) &&
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

	if (idem_direct_is_plain(rel))
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
