/*
 * sole_call.c
 *	  Whether a call is all that its transaction does.
 *
 * It is where the client sent a query outside a transaction block, which is over
 * with the query; the query itself makes the call, and not a function, a command
 * or a cursor that it runs; and it does nothing else that could be the work.  That
 * cannot be told for certain: where it is not known, the answer is no.
 *
 * A client that sends queries ahead of their answers (a pipeline, a batch) needs no
 * block to have them in one transaction: that ends where the client synchronizes.
 *
 * A client can also have the server call a function without a query, by the fastpath
 * protocol.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "commands/prepare.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parser.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "run/sole_call.h"

/* The message by which a client synchronizes; it has a name from 17 on. */
#define SYNC	'S'

typedef struct Search
{
	const Node *call;			/* that is looked for */
	Oid			function;		/* that it calls */
	bool		found;
	bool		work;			/* something else may do what the call is for */
} Search;

/* Are these functions of one name, which differ in the types that they take? */
static bool
is_same(Oid one, Oid other)
{
	const char *name;
	const char *other_name;

	if (one == other)
		return true;
	name = get_func_name(one);
	other_name = get_func_name(other);
	return get_func_namespace(one) == get_func_namespace(other) &&
		name != NULL && other_name != NULL && strcmp(name, other_name) == 0;
}

/* Might a function be the work?  One call is not that of another. */
static bool
may_work(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE &&
		!is_same(function, ((Search *) context)->function);
}

/* The arguments of the call are no work: what they are made of comes before it. */
static bool
look_into(Node *node, void *context)
{
	Search	   *search = context;

	if (node == NULL)
		return false;
	if (node == search->call)
	{
		search->found = true;
		return false;
	}
	if (IsA(node, SubPlan) ||
		check_functions_in_node(node, may_work, search))
		search->work = true;
	return expression_tree_walker(node, look_into, context);
}

/* Looks through a plan; what hangs on it as a sub-select or a CTE is work. */
static void
search_plan(const Plan *plan, Search *search)
{
	if (plan == NULL)
		return;
	if (plan->initPlan != NIL)
		search->work = true;
	(void) look_into((Node *) plan->targetlist, search);
	(void) look_into((Node *) plan->qual, search);
	if (IsA(plan, FunctionScan))
	{
		ListCell   *lc;

		foreach(lc, ((FunctionScan *) plan)->functions)
			(void) look_into(((RangeTblFunction *) lfirst(lc))->funcexpr,
							 search);
	}
	else if (IsA(plan, Result))
		(void) look_into(((Result *) plan)->resconstantqual, search);
	else if (IsA(plan, SubqueryScan))
		search_plan(((SubqueryScan *) plan)->subplan, search);
	search_plan(plan->lefttree, search);
	search_plan(plan->righttree, search);
}

/*
 * May the transaction have more queries than this one?  A client that has not
 * synchronized yet may send them: drivers do so in the same packet, so that where
 * this query is the last, the next byte is here.
 */
static bool
is_pipelined(const QueryDesc *query)
{
	int			next;

	if ((MyXactFlags & XACT_FLAGS_PIPELINING) != 0)
		return true;
	/* a simple query is synchronized by itself */
	if (query == NULL || query->dest == NULL ||
		query->dest->mydest != DestRemoteExecute)
		return false;
	if (!IDEM_MORE_RECEIVED())
		return true;
	pq_startmsgread();
	next = pq_peekbyte();
	pq_endmsgread();
	return next != SYNC;
}

/*
 * Is what is being run what the client has sent?  That has a text of its own where a
 * function has opened a cursor, and also where an EXECUTE was sent: of a statement
 * that an SQL PREPARE keeps.
 */
static bool
is_sent(Portal portal)
{
	List	   *sent;
	Node	   *stmt;
	PreparedStatement *prepared;

	if (strcmp(portal->sourceText, debug_query_string) == 0)
		return true;
	sent = raw_parser(debug_query_string, RAW_PARSE_DEFAULT);
	if (list_length(sent) != 1)
		return false;
	stmt = linitial_node(RawStmt, sent)->stmt;
	if (!IsA(stmt, ExecuteStmt))
		return false;
	prepared = FetchPreparedStatement(((ExecuteStmt *) stmt)->name, false);
	return prepared != NULL &&
		strcmp(portal->sourceText, prepared->plansource->query_string) == 0;
}

/*
 * Has the client called the function without a query?  Then there is no expression of
 * the call, no portal and no text.
 */
static bool
is_fastpath(FunctionCallInfo fcinfo)
{
	return fcinfo->flinfo->fn_expr == NULL && ActivePortal == NULL &&
		debug_query_string == NULL && whereToSendOutput == DestRemote;
}

/* Is that all of the transaction, as far as one can see? */
bool
idem_sole_call(FunctionCallInfo fcinfo)
{
	Search		search = {fcinfo->flinfo->fn_expr, fcinfo->flinfo->fn_oid};
	PlannedStmt *stmt;

	if (IsTransactionBlock() || IsSubTransaction())
		return false;
	if (is_fastpath(fcinfo))
		return !is_pipelined(NULL);
	if (search.call == NULL)
		return false;

	if (ActivePortal == NULL || debug_query_string == NULL ||
		list_length(ActivePortal->stmts) != 1 || !is_sent(ActivePortal))
		return false;
	stmt = linitial_node(PlannedStmt, ActivePortal->stmts);
	if (stmt->commandType != CMD_SELECT || stmt->hasModifyingCTE)
		return false;
	search_plan(stmt->planTree, &search);
	return search.found && !search.work &&
		!is_pipelined(ActivePortal->queryDesc);
}
