/*
 * volatile_calls.c
 *	  What a query calls that is not the same when it is called again.
 *
 * A function that is volatile either gives a value that a retry has to be given again,
 * such as nextval(), or does something that a retry needs done again in its own
 * session, such as set_config() or a lock.  Those of the server's that give values are
 * known; of all others it has to be taken that they do something.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

#include "session/volatile_calls.h"

/* Functions of the server's that give a value. */
static const char *const values[] = {
	"clock_timestamp", "currval", "gen_random_uuid", "lastval", "nextval", "random",
	"random_normal", "setval", "timeofday", "uuidv4", "uuidv7",
};

/* Does a function do something?  Tells check_functions_in_node that it is met. */
static bool
look_at(Oid function, void *context)
{
	IdemVolatileCalls *calls = context;
	const char *name;

	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;
	name = function < FirstGenbkiObjectId ? get_func_name(function) : NULL;
	if (name != NULL && strcmp(name, "pg_notify") == 0)
		calls->notifies = true;
	for (int i = 0; name != NULL && i < lengthof(values); i++)
		if (strcmp(name, values[i]) == 0)
			return false;
	calls->acts = true;
	return false;
}

static bool
look_into(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, look_at, context);
	return expression_tree_walker(node, look_into, context);
}

static void
look_at_expressions(const Plan *plan, IdemVolatileCalls *calls)
{
	(void) look_into((Node *) plan->targetlist, calls);
	(void) look_into((Node *) plan->qual, calls);
	switch (nodeTag(plan))
	{
		case T_Result:
			(void) look_into(((Result *) plan)->resconstantqual, calls);
			break;
		case T_FunctionScan:
			{
				ListCell   *lc;

				foreach(lc, ((FunctionScan *) plan)->functions)
					(void) look_into(((RangeTblFunction *) lfirst(lc))->funcexpr,
									 calls);
				break;
			}
		case T_ValuesScan:
			(void) look_into((Node *) ((ValuesScan *) plan)->values_lists, calls);
			break;
		case T_TableFuncScan:
			(void) look_into((Node *) ((TableFuncScan *) plan)->tablefunc, calls);
			break;
		case T_Limit:
			(void) look_into(((Limit *) plan)->limitOffset, calls);
			(void) look_into(((Limit *) plan)->limitCount, calls);
			break;
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			(void) look_into((Node *) ((Join *) plan)->joinqual, calls);
			break;
		default:
			break;
	}
}

static void look_at_plan(const Plan *plan, IdemVolatileCalls *calls);

static void
look_at_plans(List *plans, IdemVolatileCalls *calls)
{
	ListCell   *lc;

	foreach(lc, plans)
		look_at_plan(lfirst(lc), calls);
}

static void
look_at_plan(const Plan *plan, IdemVolatileCalls *calls)
{
	if (plan == NULL)
		return;
	look_at_expressions(plan, calls);
	if (IsA(plan, SubqueryScan))
		look_at_plan(((SubqueryScan *) plan)->subplan, calls);
	else if (IsA(plan, Append))
		look_at_plans(((Append *) plan)->appendplans, calls);
	else if (IsA(plan, MergeAppend))
		look_at_plans(((MergeAppend *) plan)->mergeplans, calls);
	look_at_plan(plan->lefttree, calls);
	look_at_plan(plan->righttree, calls);
}

/* What a query calls, as its plan says. */
IdemVolatileCalls
idem_volatile_calls_of(const PlannedStmt *statement)
{
	IdemVolatileCalls calls = {0};

	look_at_plan(statement->planTree, &calls);
	look_at_plans(statement->subplans, &calls);
	return calls;
}
