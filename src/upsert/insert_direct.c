/*
 * insert_direct.c
 *	  Inserting rows by the plan of an INSERT, without running the executor.
 *
 * The statement is INSERT ... ON CONFLICT DO NOTHING of one row, where an upsert
 * may be tried as that (insert_first.c).  Setting the executor up for it, and
 * taking it down, costs more than inserting the row.  So the row is made of its plan
 * by insert_values.c, and inserted as ExecInsert() of nodeModifyTable.c does it for
 * ON CONFLICT DO NOTHING.
 *
 * Rights on the table are checked at each call, as the executor does it.
 *
 * What makes the row calls the server's functions only.  But some of these call others
 * on their own, by the checks of a domain or by a cast, and so do indexes.  One may
 * come back to the same plan, while its expressions are being evaluated: it is
 * executed then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "run/usercontext.h"
#include "table/row_to_jsonb.h"
#include "upsert/insert_direct.h"

/* Rows that are being inserted. */
typedef struct Insertion
{
	IdemPlan   *plan;
	PlannedStmt *statement;		/* NULL: it has to be executed */
	Relation	rel;
	ParamListInfo params;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;		/* the row that is being inserted */
	IdemInsertRows *rows;
} Insertion;

/* May another index than the arbiters refuse the row? */
static bool
has_other_unique(const ResultRelInfo *result, const List *arbiters)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		const IndexInfo *info = result->ri_IndexRelationInfo[i];
		Oid			index = RelationGetRelid(result->ri_IndexRelationDescs[i]);

		if ((info->ii_Unique || info->ii_ExclusionOps != NULL) &&
			!list_member_oid(arbiters, index))
			return true;
	}
	return false;
}

/* Have the arbiters no such row? */
static bool
is_new(ResultRelInfo *result, EState *estate, TupleTableSlot *slot, List *arbiters)
{
	ItemPointerData found;
	ItemPointerData none;

	/* only looking takes that */
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		IndexInfo  *info = result->ri_IndexRelationInfo[i];
		Relation	index = result->ri_IndexRelationDescs[i];

		if (info->ii_Unique && info->ii_UniqueOps == NULL &&
			!index->rd_index->indisexclusion)
			BuildSpeculativeIndexInfo(index, info);
	}
	ItemPointerSetInvalid(&none);
	return IDEM_CHECK_ARBITERS(result, slot, estate, &found, &none, arbiters);
}

/*
 * Inserts the row and fires the triggers; false if there is one already by an
 * arbiter, or another session is inserting one.  The statement that follows finds it
 * then, or waits for it.
 *
 * Where no other index may refuse the row, that shows when it is inserted, and is
 * not looked for before: rows keep being new here.  Where one may, its error is not
 * to come before the row is found by an arbiter.  A serializable transaction would
 * conflict with those that have read where its row was to go.
 */
static bool
insert_row(ResultRelInfo *result, EState *estate, TupleTableSlot *slot,
		   List *arbiters)
{
	Relation	rel = result->ri_RelationDesc;
	bool		conflict = false;
	uint32		token;
	List	   *recheck;

	if ((IsolationIsSerializable() || has_other_unique(result, arbiters)) &&
		!is_new(result, estate, slot, arbiters))
		return false;

	token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	table_tuple_insert_speculative(rel, slot, estate->es_output_cid, 0, NULL,
								   token);
	recheck = IDEM_INSERT_INDEX_TUPLES(result, slot, estate, &conflict, arbiters);
	table_tuple_complete_speculative(rel, slot, token, !conflict);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	if (!conflict)
		ExecARInsertTriggers(estate, result, slot, recheck, NULL);
	return !conflict;
}

/* Has a slot of the table's own refer to the values of a row. */
static void
store_row(TupleTableSlot *slot, const TupleTableSlot *values)
{
	int			natts = slot->tts_tupleDescriptor->natts;

	Assert(values->tts_nvalid == natts);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, values->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, values->tts_isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}

/* A row as jsonb. */
static Jsonb *
row_of(const IdemInsertValues *kept, const TupleTableSlot *values)
{
	IdemJsonbState state = {0};

	idem_row_to_jsonb_push_values(&state, values->tts_tupleDescriptor, kept->order,
								  values->tts_values, values->tts_isnull);
	return JsonbValueToJsonb(state.result);
}

/*
 * One run of the statement.  The values of the row are where they were made until the
 * next one is; inserting it takes a copy.
 */
static void
run_row(void *state)
{
	Insertion  *insertion = state;
	IdemInsertValues *kept = insertion->plan->data;
	IdemInsertRows *rows = insertion->rows;
	EState	   *estate = insertion->estate;
	TupleTableSlot *values;

	ResetPerTupleExprContext(estate);
	estate->es_output_cid = GetCurrentCommandId(true);
	values = idem_insert_values_make(kept, insertion->params, rows->data);
	store_row(insertion->slot, values);
	insertion->slot->tts_tableOid = RelationGetRelid(insertion->rel);
	AfterTriggerBeginQuery();
	if (RelationGetDescr(insertion->rel)->constr != NULL)
		ExecConstraints(insertion->result, insertion->slot, estate);
	rows->inserted = NULL;
	if (insert_row(insertion->result, estate, insertion->slot, kept->arbiters))
		rows->inserted = row_of(kept, values);
	AfterTriggerEndQuery(estate);
	/* as after a statement, so that what follows sees the row */
	CommandCounterIncrement();
}

/* Does the expression of an index call functions of users? */
static bool
calls_users(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain's checks may */
	return IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, idem_insert_values_is_of_users, context) ||
		expression_tree_walker(node, calls_users, context);
}

/*
 * Do the indexes run code of users?  It is to be immutable, but nobody sees to that:
 * it might look at what is done between one row and the next.
 */
static bool
indexes_call_users(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		const IndexInfo *info = result->ri_IndexRelationInfo[i];

		if (calls_users((Node *) info->ii_Expressions, NULL) ||
			calls_users((Node *) info->ii_Predicate, NULL))
			return true;
	}
	return false;
}

static void
end_insertion(Insertion *insertion)
{
	EState	   *estate = insertion->estate;

	/* what triggers have opened and needed */
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	ExecCloseIndices(insertion->result);
	ExecDropSingleTupleTableSlot(insertion->slot);
	FreeExecutorState(estate);
}

/* Inserts the first row, unless the statement has to be executed. */
static void
begin_insertion(void *state)
{
	Insertion  *insertion = state;
	Relation	rel = insertion->rel;

	insertion->statement = idem_insert_values_prepare(insertion->plan, rel);
	if (insertion->statement == NULL)
		return;
	insertion->estate = CreateExecutorState();
	insertion->result = makeNode(ResultRelInfo);

	(void) IDEM_CHECK_STATEMENT_PERMS(insertion->statement);
	PreventCommandIfReadOnly("INSERT");
	PreventCommandIfParallelMode("INSERT");

	/* newer servers look at a row that is there by this one */
	insertion->estate->es_snapshot = GetActiveSnapshot();
	insertion->slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
											   table_slot_callbacks(rel));
	InitResultRelInfo(insertion->result, rel, 0, NULL, 0);
	ExecOpenIndices(insertion->result, false);
	if (insertion->rows->next != NULL && indexes_call_users(insertion->result))
	{
		end_insertion(insertion);
		insertion->statement = NULL;
		return;
	}
	run_row(insertion);
}

/*
 * All of it.  What gives the next row is no part of the statement; should it have the
 * plan thrown away, that row is left as well.
 */
static void
run_insertion(void *state)
{
	Insertion  *insertion = state;
	IdemInsertRows *rows = insertion->rows;

	(void) idem_spi_run_instead(insertion->plan, begin_insertion, insertion);
	if (insertion->statement == NULL)
		return;
	while (rows->inserted != NULL && rows->next != NULL &&
		   rows->next(rows->state, rows->inserted, &rows->data) &&
		   !idem_spi_is_forgotten(insertion->plan))
		(void) idem_spi_run_instead(insertion->plan, run_row, insertion);
	end_insertion(insertion);
}

/*
 * Does what running the plan of INSERT ... ON CONFLICT DO NOTHING would do with each
 * of the rows in turn, whose data are its first parameter, the others being null: up to
 * the first that is there already.  Needs the table's lock.  Raises what the statement
 * raises.
 *
 * The table and its indexes are open all the while.  So nothing that comes in between
 * alters them, and rights on the table are checked once, as for one statement.
 *
 * Planning, which may be done here, calls functions of users that are immutable, and
 * what these do may have the plan thrown away.
 */
IdemInsertResult
idem_insert_direct(IdemPlan *plan, Oid table, int nargs, const Oid *argtypes,
				   IdemInsertRows *rows)
{
	Insertion	insertion = {.plan = plan, .rows = rows};
	bool		kept;

	/* auditing hangs on the executor's own steps */
	if (!idem_usercontext_alone() || idem_spi_is_running(plan))
		return IDEM_INSERT_BY_PLAN;

	insertion.rel = table_open(table, NoLock);
	Assert(CheckRelationLockedByMe(insertion.rel, RowExclusiveLock, true));
	insertion.params = idem_insert_values_params(nargs, argtypes);
	kept = idem_spi_hold(plan, run_insertion, &insertion);
	/* the lock is kept, as any writer's is */
	table_close(insertion.rel, NoLock);
	if (insertion.statement == NULL)
		return kept ? IDEM_INSERT_BY_PLAN : IDEM_INSERT_PLAN_GONE;
	return IDEM_INSERT_DONE;
}
