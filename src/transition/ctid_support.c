/*
 * ctid_support.c
 *	  SQL: _idem_place(), by which a condition learns which row version it is
 *	  about.
 *
 * A function that stands in a WHERE clause of idem's learns from its arguments
 * what is in the row, but the place of the row is in the system
 * columns tableoid and ctid, and to name these takes the right to read the
 * whole table: it cannot be granted for them.  A caller who may read and write
 * the columns in question could then no longer make the change.  So the
 * statement leaves these two arguments out, and the planner, which this support
 * function helps, puts them in after privileges have been worked out.  A caller
 * learns nothing that the caller must not read: the place goes no further than
 * to the functions of idem that ask for it.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"

PG_FUNCTION_INFO_V1(idem_place);

/* The table of the first column among the arguments, or 0. */
static int
row_varno(PlannerInfo *root, List *args)
{
	List	   *vars = pull_vars_of_level((Node *) args, 0);
	Node	   *var = vars == NIL ? NULL : linitial(vars);
	int			varno;

	if (var == NULL || !IsA(var, Var))
		return 0;
	varno = ((Var *) var)->varno;
	if (varno < 1 || varno > list_length(root->parse->rtable) ||
		rt_fetch(varno, root->parse->rtable)->rtekind != RTE_RELATION)
		return 0;
	return varno;
}

/* Is an argument a null of that type? */
static bool
is_missing(Node *argument, Oid type)
{
	return IsA(argument, Const) && ((Const *) argument)->constisnull &&
		((Const *) argument)->consttype == type;
}

/*
 * _idem_place(internal) -> internal
 *
 * Support function of functions whose last two arguments are the oid of a table
 * and a tid: where a call leaves them null, they become the tableoid and the
 * ctid of the row that the other arguments are columns of.
 */
Datum
idem_place(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestSimplify *simplify = (SupportRequestSimplify *) request;
	FuncExpr   *call;
	List	   *args;
	int			nargs;
	int			varno;

	if (request == NULL || !IsA(request, SupportRequestSimplify) ||
		simplify->root == NULL)
		PG_RETURN_POINTER(NULL);

	args = list_copy(simplify->fcall->args);
	nargs = list_length(args);
	if (nargs < 2 || !is_missing(list_nth(args, nargs - 2), OIDOID) ||
		!is_missing(list_nth(args, nargs - 1), TIDOID))
		PG_RETURN_POINTER(NULL);
	/* in idem's statements it is the row that an UPDATE is to change */
	varno = row_varno(simplify->root, args);
	if (varno == 0 || simplify->root->parse->commandType != CMD_UPDATE ||
		varno != simplify->root->parse->resultRelation)
		PG_RETURN_POINTER(NULL);

	lfirst(list_nth_cell(args, nargs - 2)) =
		makeVar(varno, TableOidAttributeNumber, OIDOID, -1, InvalidOid, 0);
	lfirst(list_nth_cell(args, nargs - 1)) =
		makeVar(varno, SelfItemPointerAttributeNumber, TIDOID, -1, InvalidOid, 0);

	call = makeFuncExpr(simplify->fcall->funcid,
						simplify->fcall->funcresulttype, args,
						simplify->fcall->funccollid,
						simplify->fcall->inputcollid,
						simplify->fcall->funcformat);
	PG_RETURN_POINTER(call);
}
