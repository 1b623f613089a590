/*
 * spi_caller.c
 *	  Running the caller's statements.
 *
 * They touch the tables that the caller names, and run just as if the caller had
 * sent them.
 *
 * Plans are kept for the session.  A plan that is no longer valid is thrown away
 * and made again from a text that is written anew, rather than left to the plan
 * cache, since the text itself may depend on what has changed.  It may depend on
 * what the caller may read, too.  A change of a table's privileges invalidates the
 * plans that use it; one of a role's attributes or memberships does not, so it
 * makes all of the caller's plans stale.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

#include "run/plan_cache.h"
#include "run/spi.h"
#include "run/spi_caller.h"

static bool
is_current(const IdemPlan *plan)
{
	return !plan->stale && idem_spi_is_valid(plan);
}

/*
 * A subquery that was a view has the view's OID, and from 16 on the lock that it
 * takes; before, the view has an entry of its own for that in the subquery.
 */
static void
lock_table(RangeTblEntry *rte)
{
	if ((rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY) &&
		OidIsValid(rte->relid) && rte->rellockmode != NoLock)
		LockRelationOid(rte->relid, rte->rellockmode);
}

/* Locks the tables that a query names, also in its subqueries. */
static bool
lock_tables(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		lock_table((RangeTblEntry *) node);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, lock_tables, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, lock_tables, context);
}

/*
 * Locks the tables that a plan uses, as running it would.  Where a generic plan
 * is kept, it has them all in one list.
 */
static void
lock_tables_of(const IdemPlan *plan)
{
	ListCell   *lc;

	foreach(lc, idem_spi_sources(plan))
	{
		CachedPlanSource *source = lfirst(lc);
		ListCell   *statement;

		if (source->gplan == NULL)
		{
			(void) lock_tables((Node *) source->query_list, NULL);
			continue;
		}
		foreach(statement, source->gplan->stmt_list)
		{
			ListCell   *table;

			foreach(table, lfirst_node(PlannedStmt, statement)->rtable)
				lock_table(lfirst(table));
		}
	}
}

/*
 * The plan kept for a statement, or NULL if none is or it is out of date.  It is
 * good until the next call of this file.
 *
 * Its tables are locked before it is judged.  Otherwise running it might wait
 * for another session that alters one of them, and the plan cache would then make
 * the plan anew from a text that no longer fits, and call it valid from then on.
 */
IdemPlan *
idem_spi_caller_find(const IdemCallerStatement *statement)
{
	IdemPlan   *plan = idem_plan_cache_find(statement->signature);

	if (plan == NULL || !is_current(plan))
		return NULL;
	lock_tables_of(plan);
	idem_plan_cache_heed_roles();
	return is_current(plan) ? plan : NULL;
}

/* What an operation on a table is called in errors. */
static const char *
said_of(const IdemOperation *operation, Oid table)
{
	const char *name = get_rel_name(table);

	return psprintf("%s \"%s\"", _(operation->name), name != NULL ? name : "");
}

/*
 * Prepares a statement and keeps its plan, in the place of the one that there may
 * be.  It is good until the next call of this file.
 */
IdemPlan *
idem_spi_caller_keep(const IdemCallerStatement *statement, const char *sql)
{
	IdemOwnNames own = {
		NULL, statement->table, statement->looks, statement->runs_nothing
	};
	IdemOperationOn operation = {statement->operation};
	IdemPlan   *plan;

	if (operation.kind != NULL)
		operation.said = said_of(operation.kind, statement->table);
	plan = idem_spi_prepare(sql, statement->nargs, statement->argtypes,
							statement->data_size,
							statement->write_sql != NULL ? &own : NULL,
							operation.kind != NULL ? &operation : NULL);

	idem_plan_cache_evict(is_current);
	idem_plan_cache_keep(statement->signature, plan);
	return plan;
}

/*
 * The plan of a statement: the one that is kept, or one that is made now and kept;
 * NULL if there is no such statement.  It is good until the next call of this file.
 */
IdemPlan *
idem_spi_caller_plan(const IdemCallerStatement *statement)
{
	IdemPlan   *plan = idem_spi_caller_find(statement);
	const char *sql;

	if (plan != NULL)
		return plan;
	Assert(statement->write_sql != NULL);
	sql = statement->write_sql(statement->state, statement->signature.which);
	return sql == NULL ? NULL : idem_spi_caller_keep(statement, sql);
}

/*
 * What goes with the plan kept for a statement, be it out of date or not, until
 * the next call of this file; NULL if none is kept.  It is the caller's to read
 * and to change, and all zero in a plan that was just made.
 */
void *
idem_spi_caller_data(const IdemCallerStatement *statement)
{
	IdemPlan   *plan = idem_plan_cache_find(statement->signature);

	return plan == NULL ? NULL : plan->data;
}

/*
 * Runs a kept plan.  Arguments and result as in idem_spi_own.
 */
uint64
idem_spi_caller(IdemPlan *plan, Datum *args, const bool *arg_isnull,
				int ncols, Datum *values, bool *isnull)
{
	IdemExecution how = {
		.args = args, .arg_isnull = arg_isnull,
		.ncols = ncols, .values = values, .isnull = isnull
	};

	return idem_spi_run(plan, &how);
}

/*
 * Runs a kept plan, sends the rows, if it returns any, to dest, and returns the
 * number of rows processed.
 */
uint64
idem_spi_caller_send(IdemPlan *plan, IdemBindCallback bind, void *state,
					 DestReceiver *dest)
{
	IdemExecution how = {
		.dest = dest, .bind = bind, .state = state
	};

	return idem_spi_run(plan, &how);
}
