/*
 * guard.c
 *	  Guards: predicates over a row that a transition has to meet.
 *
 * A guard is a function guard(row, note jsonb) -> boolean, called as SQL would
 * call it: the parser chooses among functions of that name by the type of the
 * table's rows.  A row of a partition is shown as one of the table that follows
 * the machine, wherever it is.  The guard runs with the rights and the
 * search_path of whoever changes the row, as a trigger does.  What cannot be
 * asked does not pass: a guard that is gone, that returns something else, or that
 * one may not execute, is an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "parser/parse_node.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "error.h"
#include "follow.h"
#include "guard.h"

typedef struct Guard
{
	const char *name;			/* qualified */
	MemoryContext context;		/* of state */
	ExprState  *state;			/* the call, of parameters 1 and 2 */
	uint64		generation;		/* of functions, that it was made for */
} Guard;

struct IdemGuards
{
	Relation	rel;
	Oid			shown;			/* type of the rows that guards are shown */
	MemoryContext context;		/* of all that follows */
	List	   *guards;			/* of Guard */
	ExprContext *econtext;
	ParamListInfo params;		/* the row and the note */
};

/* Raised whenever a function may have changed, or the right to execute one. */
static uint64 generation = 0;

/* Says in the context of an error which guard it is about. */
static void
error_context(void *arg)
{
	const IdemEdge *edge = arg;

	errcontext("guard of the transition from \"%s\" to \"%s\"",
			   edge->from, edge->to);
}

static void
push_error_context(ErrorContextCallback *callback, const IdemEdge *edge)
{
	callback->callback = error_context;
	callback->arg = unconstify(IdemEdge *, edge);
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

/* Is a function of two arguments one that could be a guard? */
static bool
is_guard(FuncCandidateList candidate)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(candidate->oid));
	Form_pg_proc form;
	Oid			note = JSONBOID;
	bool		good;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	good = form->prokind == PROKIND_FUNCTION && !form->proretset &&
		form->prorettype == BOOLOID &&
		(type_is_rowtype(candidate->args[0]) ||
		 IsPolymorphicType(candidate->args[0]) ||
		 candidate->args[0] == ANYOID) &&
		can_coerce_type(1, &note, &candidate->args[1], COERCION_IMPLICIT);
	ReleaseSysCache(tuple);
	return good;
}

/*
 * The qualified name of the guards of a name, which is looked up in the caller's
 * search_path unless it is qualified.  Raises 42883 unless there is one, for
 * rows of whatever type.
 */
const char *
idem_guard_resolve(const char *name)
{
	List	   *names = IDEM_NAME_LIST(name);
	FuncCandidateList best = NULL;

	for (FuncCandidateList candidate = IDEM_CANDIDATES(names, 2);
		 candidate != NULL; candidate = candidate->next)
	{
		if (is_guard(candidate) &&
			(best == NULL || candidate->pathpos < best->pathpos))
			best = candidate;
	}
	if (best == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("there is no guard \"%s\"", name),
				 errdetail("A guard is a function of a row and a note, of type jsonb, that returns boolean."),
				 errhint("Create it first: CREATE FUNCTION %s(table_name, jsonb) RETURNS boolean.",
						 name)));
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(best->oid)),
									  get_func_name(best->oid));
}

static Node *
make_param(int number, Oid type)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_EXTERN;
	param->paramid = number;
	param->paramtype = type;
	param->paramtypmod = -1;
	param->paramcollid = get_typcollation(type);
	param->location = -1;
	return (Node *) param;
}

/* A row, which is parameter 1, as one of the table that it is shown as. */
static Node *
make_row(Oid rowtype, Oid shown)
{
	ConvertRowtypeExpr *row;

	if (rowtype == shown)
		return make_param(1, rowtype);
	row = makeNode(ConvertRowtypeExpr);
	row->arg = (Expr *) make_param(1, rowtype);
	row->resulttype = shown;
	row->convertformat = COERCE_IMPLICIT_CAST;
	row->location = -1;
	return (Node *) row;
}

/* The call of a guard, as the parser makes it. */
static Expr *
parse_call(const char *name, Oid rowtype, Oid shown)
{
	List	   *names = IDEM_NAME_LIST(name);
	ParseState *pstate = make_parsestate(NULL);
	Node	   *call;

	/* the rules of a trigger's condition: no aggregate, no set, no query */
	pstate->p_expr_kind = EXPR_KIND_TRIGGER_WHEN;
	call = ParseFuncOrColumn(pstate, names,
							 list_make2(make_row(rowtype, shown),
										make_param(2, JSONBOID)),
							 NULL,
							 makeFuncCall(names, NIL, COERCE_EXPLICIT_CALL, -1),
							 false, -1);
	free_parsestate(pstate);
	if (exprType(call) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("guard %s must return boolean", name),
				 errdetail("It returns %s.", format_type_be(exprType(call)))));
	return (Expr *) call;
}

/*
 * Raises 42883 or 42804 unless the guards of all edges (IdemEdge *) take rows of
 * the table and return boolean.
 */
void
idem_guard_accept(Relation rel, List *edges)
{
	ErrorContextCallback callback;
	ListCell   *lc;

	foreach(lc, edges)
	{
		const IdemEdge *edge = lfirst(lc);

		if (edge->guard == NULL)
			continue;
		push_error_context(&callback, edge);
		(void) parse_call(edge->guard, rel->rd_rel->reltype,
						  rel->rd_rel->reltype);
		error_context_stack = callback.previous;
	}
}

/*
 * Nothing made ready yet, for rows of a table that stays open.  It is allocated
 * in the current memory context, and good as long as that is.
 */
IdemGuards *
idem_guard_make(Relation rel)
{
	IdemGuards *guards = palloc0(sizeof(IdemGuards));

	guards->rel = rel;
	guards->shown = get_rel_type_id(idem_follow_origin(rel));
	guards->context = CurrentMemoryContext;
	guards->econtext = CreateStandaloneExprContext();
	guards->params = makeParamList(2);
	guards->params->params[0].pflags = PARAM_FLAG_CONST;
	guards->params->params[0].ptype = rel->rd_rel->reltype;
	guards->params->params[1].pflags = PARAM_FLAG_CONST;
	guards->params->params[1].ptype = JSONBOID;
	guards->econtext->ecxt_param_list_info = guards->params;
	return guards;
}

/* The call of a guard, made anew if a function has changed since. */
static ExprState *
ready(IdemGuards *guards, const char *name)
{
	MemoryContext former = MemoryContextSwitchTo(guards->context);
	Guard	   *guard = NULL;
	ListCell   *lc;

	foreach(lc, guards->guards)
	{
		if (strcmp(((Guard *) lfirst(lc))->name, name) == 0)
			guard = lfirst(lc);
	}
	if (guard == NULL)
	{
		guard = palloc0(sizeof(Guard));
		guard->name = pstrdup(name);
		guard->context = AllocSetContextCreate(guards->context, "idem guard",
											   ALLOCSET_SMALL_SIZES);
		guards->guards = lappend(guards->guards, guard);
	}

	if (guard->state == NULL || guard->generation != generation)
	{
		guard->state = NULL;
		MemoryContextReset(guard->context);
		MemoryContextSwitchTo(guard->context);
		/* first, so that a change that is heard of meanwhile is not lost */
		guard->generation = generation;
		guard->state =
			ExecInitExpr(expression_planner(parse_call(name,
													   guards->params->params[0].ptype,
													   guards->shown)),
						 NULL);
	}
	MemoryContextSwitchTo(former);
	return guard->state;
}

/* The row as a value, with nothing in what is computed only later. */
static Datum
row_value(Relation rel, HeapTuple row)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; desc->constr != NULL && i < desc->natts; i++)
	{
		int			number = i + 1;
		Datum		value = (Datum) 0;
		bool		isnull = true;

		if (TupleDescAttr(desc, i)->attgenerated != '\0')
			row = heap_modify_tuple_by_cols(row, desc, 1, &number, &value,
											&isnull);
	}
	return heap_copy_tuple_as_datum(row, desc);
}

/*
 * What a guard says of a row as it is to be, given the note of the call that
 * changes it (NULL: there is none).
 */
bool
idem_guard_ask(IdemGuards *guards, const IdemEdge *edge, HeapTuple row,
			   Jsonb *note, bool *isnull)
{
	ErrorContextCallback callback;
	ExprState  *state;
	bool		answer;

	push_error_context(&callback, edge);
	state = ready(guards, edge->guard);
	guards->params->params[0].value = row_value(guards->rel, row);
	guards->params->params[0].isnull = false;
	guards->params->params[1].value = JsonbPGetDatum(note);
	guards->params->params[1].isnull = (note == NULL);
	answer = DatumGetBool(ExecEvalExprSwitchContext(state, guards->econtext,
													isnull));
	error_context_stack = callback.previous;
	ReScanExprContext(guards->econtext);
	return answer && !*isnull;
}

/* Raises ID204 unless the guard of an edge of this machine agrees. */
void
idem_guard_require(IdemGuards *guards, const char *machine,
				   const IdemEdge *edge, HeapTuple row, Jsonb *note)
{
	bool		isnull;

	if (idem_guard_ask(guards, edge, row, note, &isnull))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_GUARD),
			 errmsg("transition of \"%s\" from \"%s\" to \"%s\" was refused by its guard",
					RelationGetRelationName(guards->rel), edge->from, edge->to),
			 errdetail("Guard %s of state machine \"%s\" returned %s.",
					   edge->guard, machine, isnull ? "null" : "false")));
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_guard_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, function_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, function_changed, (Datum) 0);
}
