/*
 * insert_values.c
 *	  The row that the plan of an INSERT makes, without the executor.
 *
 * The expressions that make the row are compiled once, from the target list that the
 * planner made, and kept with the plan.
 *
 * What is kept refers to copies of the plan's trees alone.  It is good as long as
 * the server's plan is, and made again from the next one: any change of the table,
 * its indexes and triggers, of privileges on it or of a function in it makes that
 * invalid.  Who may call a function of the server's, of which no plan is told, is
 * checked where the expressions are compiled, which they are anew after any change
 * of a function.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "table/row_to_jsonb.h"
#include "upsert/insert_values.h"

/* How often a function has been altered, or who may call it. */
static uint64 function_changes = 0;

/* Is it a function that a user may declare anew?  For check_functions_in_node(). */
bool
idem_insert_values_is_of_users(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* Does the expression need the executor, or call functions of users? */
static bool
needs_executor(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) ||
		IsA(node, Var) ||
		(IsA(node, Param) && ((Param *) node)->paramkind != PARAM_EXTERN))
		return true;
	return check_functions_in_node(node, idem_insert_values_is_of_users, context) ||
		expression_tree_walker(node, needs_executor, context);
}

/* Is it the plan of a plain INSERT of one row that does nothing on conflict? */
static bool
is_simple(const PlannedStmt *statement)
{
	const ModifyTable *insert = (const ModifyTable *) statement->planTree;
	const Result *row;

	if (statement->commandType != CMD_INSERT || statement->hasModifyingCTE ||
		statement->subplans != NIL || !IsA(insert, ModifyTable) ||
		insert->onConflictAction != ONCONFLICT_NOTHING ||
		list_length(insert->resultRelations) != 1 ||
		insert->withCheckOptionLists != NIL || insert->plan.initPlan != NIL)
		return false;

	row = (const Result *) outerPlan(insert);
	return IsA(row, Result) && outerPlan(row) == NULL &&
		row->resconstantqual == NULL && row->plan.qual == NIL &&
		row->plan.initPlan == NIL;
}

/*
 * Are all triggers that an INSERT fires those of constraints?  Others may look at
 * more than the row: under which statement they run, and what it has done so far.
 */
static bool
has_simple_triggers(const TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_INSERT(trigger->tgtype) &&
			trigger->tgfoid != F_RI_FKEY_CHECK_INS &&
			trigger->tgfoid != F_UNIQUE_KEY_RECHECK)
			return false;
	}
	return true;
}

/*
 * Does the table ask for no more than the row itself, its constraints and its
 * indexes?
 */
static bool
takes_rows(Relation rel)
{
	const TupleConstr *constr = RelationGetDescr(rel)->constr;

	return rel->rd_rel->relkind == RELKIND_RELATION &&
		!rel->rd_rel->relispartition && !RelationUsesLocalBuffers(rel) &&
		has_simple_triggers(rel->trigdesc) &&
		(constr == NULL || !(constr->has_generated_stored ||
							 IDEM_HAS_VIRTUAL(constr)));
}

/* Compiles what makes the row, if that may be done here. */
static void
compile(IdemInsertValues *kept, const PlannedStmt *statement, Relation rel)
{
	const ModifyTable *insert = (const ModifyTable *) statement->planTree;
	List	   *values = outerPlan(insert)->targetlist;
	ExprContext *econtext;
	TupleTableSlot *slot;

	Assert(is_simple(statement));
	if (list_length(values) != RelationGetNumberOfAttributes(rel) ||
		needs_executor((Node *) values, NULL))
		return;

	slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(rel)),
									&TTSOpsVirtual);
	econtext = CreateStandaloneExprContext();
	kept->row = ExecBuildProjectionInfo(copyObject(values), econtext, slot,
										NULL, NULL);
	kept->order = idem_row_to_jsonb_order(slot->tts_tupleDescriptor);
	kept->arbiters = list_copy(insert->arbiterIndexes);
	/* last: that may raise */
	kept->econtext = econtext;
}

/*
 * Has what is kept with the plan made anew, if the server has another plan by now;
 * returns its statement, or NULL where that has to be executed.  The table is open.
 */
PlannedStmt *
idem_insert_values_prepare(IdemPlan *plan, Relation rel)
{
	IdemInsertValues *kept = plan->data;
	CachedPlanSource *source = linitial(idem_spi_sources(plan));
	PlannedStmt *statement;
	MemoryContext old;

	if (source->gplan == NULL || !source->gplan->is_valid)
		ReleaseCachedPlan(GetCachedPlan(source, NULL, NULL, NULL), NULL);
	if (source->gplan == NULL || list_length(source->gplan->stmt_list) != 1)
		return NULL;

	statement = linitial(source->gplan->stmt_list);
	if (kept->memory != NULL && kept->generation == source->gplan->generation &&
		kept->function_changes == function_changes)
		return kept->econtext != NULL ? statement : NULL;

	if (kept->memory != NULL)
		MemoryContextDelete(kept->memory);
	memset(kept, 0, sizeof(*kept));
	kept->memory = AllocSetContextCreate(idem_spi_memory(plan),
										 "idem insert", ALLOCSET_SMALL_SIZES);
	kept->generation = source->gplan->generation;
	kept->function_changes = function_changes;
	old = MemoryContextSwitchTo(kept->memory);
	/* one that is to be planned again in another transaction is left alone */
	if (!TransactionIdIsValid(source->gplan->saved_xmin) &&
		is_simple(statement) && takes_rows(rel))
		compile(kept, statement, rel);
	MemoryContextSwitchTo(old);
	return kept->econtext != NULL ? statement : NULL;
}

/* The parameters of the statement, as an expression finds them, without the first. */
ParamListInfo
idem_insert_values_params(int nargs, const Oid *argtypes)
{
	ParamListInfo params = makeParamList(nargs);

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = (Datum) 0;
		params->params[i].isnull = i > 0;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = argtypes[i];
	}
	return params;
}

/*
 * The row that is made of data, which is the first parameter; it is good until the
 * next one is made.
 */
TupleTableSlot *
idem_insert_values_make(IdemInsertValues *kept, ParamListInfo params, Datum data)
{
	ExprContext *econtext = kept->econtext;
	TupleTableSlot *values;

	params->params[0].value = data;
	ResetExprContext(econtext);
	econtext->ecxt_param_list_info = params;
	values = ExecProject(kept->row);
	Assert(values->tts_nvalid == values->tts_tupleDescriptor->natts);
	econtext->ecxt_param_list_info = NULL;
	return values;
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	function_changes++;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_insert_values_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
}
