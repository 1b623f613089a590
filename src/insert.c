/*
 * insert.c
 *	  Inserting a row into a table of idem's own, without a statement.
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
#include "utils/rel.h"

#include "insert.h"
#include "owner.h"

/*
 * Is the table as it was installed, as far as inserting is concerned?  Its owner
 * may have added columns, whose defaults are the planner's business, or
 * triggers.
 */
static bool
is_plain(Relation rel, int natts)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		!rel->rd_rel->relispartition &&
		RelationGetNumberOfAttributes(rel) == natts &&
		rel->trigdesc == NULL;
}

static void
insert_row(Relation rel, Datum *values, bool *isnull)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													table_slot_callbacks(rel));
	Size		natts = RelationGetNumberOfAttributes(rel);

	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, false);

	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	ExecSimpleRelationInsert(result, estate, slot);

	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

/*
 * Inserts a row, given by the values of all natts columns, into a table of
 * idem's own as its owner.  False if the table is not as it was installed: then
 * it takes a statement.  Raises what INSERT raises.
 */
bool
idem_insert(Oid table, int natts, Datum *values, bool *isnull)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	bool		plain = is_plain(rel, natts);

	if (plain)
	{
		IdemCaller	caller;

		idem_owner_enter(&caller, rel->rd_rel->relowner);
		insert_row(rel, values, isnull);
		idem_owner_leave(&caller);
		/* as after a statement, so that what follows sees the row */
		CommandCounterIncrement();
	}
	/* the lock is kept, as any writer's is */
	table_close(rel, NoLock);
	return plain;
}
