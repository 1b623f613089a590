/*
 * guard.c
 *	  Guards: predicates over a row that a transition has to meet.
 *
 * A guard is a function guard(row, note jsonb) -> boolean, the one that it was
 * when the machine was defined; guard_signature.c tells how it is written down.
 *
 * A guard runs with the rights and the search_path of the role that changes the
 * row, as a trigger does, where its owner could have put a trigger on the
 * table: one who has the rights of the table's owner, or is the very role that
 * writes.  Any other guard runs with no rights but those of its own owner.  So
 * who writes into the tables of machines, or defines a machine, gains nobody's
 * rights by that. A caller who only asks where a row may go lends a guard no
 * rights either: then it runs with those of the table's owner.
 *
 * But the row comes with code, too: casts of the types of its columns, and checks
 * of its domains, which a guard runs when it looks at the row.  Nobody is to gain
 * the rights of a guard's owner by a table.  So a guard runs with its owner's only
 * for a table whose owner has them anyway; one that is SECURITY DEFINER is meant to
 * be called by strangers, and sees to its rights itself.  What is left is a guard
 * and a table of two owners neither of whom has the rights of the other: there are
 * no rights to run that with, and it is refused.
 *
 * What cannot be asked does not pass: a guard that is gone, that returns
 * something else, or that the caller may not execute, is an error.  A row of a
 * partition is shown as one of the table that follows the machine, wherever it
 * is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/error.h"
#include "machine/guard.h"
#include "machine/guard_signature.h"
#include "run/usercontext.h"
#include "stats/stats_counter.h"
#include "table/attachment.h"

typedef struct Guard
{
	const char *signature;		/* as it is written down */
	MemoryContext context;		/* of state */
	ExprState  *state;			/* the call, of parameters 1 and 2; or NULL */
	uint64		generation;		/* of functions, that it was made for */
	Oid			caller;			/* who may execute it */
	Oid			actor;			/* with whose rights it is asked */
} Guard;

struct IdemGuards
{
	Relation	rel;
	Oid			origin;			/* the table that follows the machine */
	Oid			shown;			/* type of the rows that guards are shown */
	bool		looking;		/* will no row be changed? */
	MemoryContext context;		/* of all that follows */
	List	   *guards;			/* of Guard */
	ExprContext *econtext;
	ParamListInfo params;		/* the row and the note */
};

/* Whose a guard is. */
typedef struct GuardOwner
{
	Oid			role;
	bool		lends;			/* is it SECURITY DEFINER? */
} GuardOwner;

/* Raised whenever a function may have changed, or the right to execute one. */
static uint64 generation = 0;

/* Says in the context of an error which guard it is about. */
static void
tell_guard(void *arg)
{
	const IdemEdge *edge = arg;

	errcontext("guard of the transition from \"%s\" to \"%s\"",
			   edge->from, edge->to);
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

/*
 * The call of a guard for rows of a type that are shown as one of another.  Sets
 * owner, unless it is NULL.  Raises 42883 if there is no such function, 42804 if
 * it does not return boolean or take such rows.
 */
static Expr *
make_call(const char *signature, Oid rowtype, Oid shown, GuardOwner *owner)
{
	Oid			function = idem_guard_signature_read(signature);
	Oid			actual[] = {shown, JSONBOID};
	Oid			declared[2];
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	List	   *args;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("guard %s does not exist", signature),
				 errhint("If it, its schema or the type of its rows was renamed, define the state machine again.")));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (!idem_guard_signature_fits(form))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("function %s is no guard", signature),
				 errdetail("A guard is a function of a row and a note, of type jsonb, that returns boolean.")));
	memcpy(declared, form->proargtypes.values, sizeof(declared));
	if (owner != NULL)
	{
		owner->role = form->proowner;
		owner->lends = form->prosecdef;
	}
	ReleaseSysCache(tuple);

	if (!can_coerce_type(2, actual, declared, COERCION_IMPLICIT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("guard %s does not take rows of type %s", signature,
						format_type_be(shown)),
				 errhint("One for the rows of all tables takes a record or an anyelement.")));
	(void) enforce_generic_type_consistency(actual, declared, 2, BOOLOID, false);
	args = list_make2(make_row(rowtype, shown), make_param(2, JSONBOID));
	make_fn_arguments(NULL, args, actual, declared);
	return (Expr *) makeFuncExpr(function, BOOLOID, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/*
 * Raises what make_call raises unless the guards of all edges (IdemEdge *) take
 * rows of the table and return boolean.
 */
void
idem_guard_accept(Relation rel, List *edges)
{
	ErrorContextCallback context;
	ListCell   *lc;

	foreach(lc, edges)
	{
		const IdemEdge *edge = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (edge->guard == NULL)
			continue;
		idem_error_push_context(&context, tell_guard, edge);
		(void) make_call(edge->guard, rel->rd_rel->reltype,
						 rel->rd_rel->reltype, NULL);
		idem_error_pop_context(&context);
	}
}

static IdemGuards *
make(Relation rel, const char *column, bool looking)
{
	IdemGuards *guards = palloc0(sizeof(IdemGuards));

	guards->rel = rel;
	guards->origin = idem_attachment_origin(rel, column);
	guards->shown = get_rel_type_id(guards->origin);
	guards->looking = looking;
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

/*
 * Nothing made ready yet, for rows of a table that stays open, and that follows the
 * machine by that column.  It is allocated in the current memory context, and good
 * as long as that is.
 */
IdemGuards *
idem_guard_make(Relation rel, const char *column)
{
	return make(rel, column, false);
}

/* The same for the sake of who only looks, and changes no row. */
IdemGuards *
idem_guard_make_looking(Relation rel, const char *column)
{
	return make(rel, column, true);
}

static Oid
table_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Raises 42501: neither owner is to gain the rights of the other. */
pg_noreturn static void
error_strangers(const char *signature, Oid owner, Oid table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("guard %s cannot be asked about rows of table \"%s\"",
					signature, get_rel_name(table)),
			 errdetail("The guard belongs to role \"%s\" and the table to role \"%s\". Neither has the rights of the other, so the code of neither may run with them.",
					   GetUserNameFromId(owner, false),
					   GetUserNameFromId(table_owner(table), false)),
			 errhint("Grant one of the roles to the other, or make the guard SECURITY DEFINER.")));
}

/*
 * With whose rights a guard of this owner is asked.  Raises 42501 where there is
 * nobody who could.
 */
static Oid
actor_for(const IdemGuards *guards, const GuardOwner *owner,
		  const char *signature)
{
	Oid			table = guards->rel->rd_rel->relowner;
	Oid			origin = table_owner(guards->origin);

	/* a trigger on the partitioned table would be one on its partitions */
	if (owner->lends || has_privs_of_role(owner->role, table) ||
		has_privs_of_role(owner->role, origin))
		return guards->looking ? table : GetUserId();

	/* what is attached to a table runs as who writes to it in any case */
	if (!guards->looking && owner->role == GetUserId())
		return owner->role;
	if (!has_privs_of_role(table, owner->role))
		error_strangers(signature, owner->role, RelationGetRelid(guards->rel));
	if (!has_privs_of_role(origin, owner->role))
		error_strangers(signature, owner->role, guards->origin);
	return owner->role;
}

/* Becomes who asks a guard; false if that is the caller anyway. */
static bool
enter(IdemUserContext *caller, Oid actor)
{
	if (actor == GetUserId())
		return false;
	idem_usercontext_enter(caller, actor);
	return true;
}

static Guard *
find_guard(IdemGuards *guards, const char *signature)
{
	Guard	   *guard;
	ListCell   *lc;

	foreach(lc, guards->guards)
	{
		guard = lfirst(lc);
		if (strcmp(guard->signature, signature) == 0)
			return guard;
	}
	guard = palloc0(sizeof(Guard));
	guard->signature = pstrdup(signature);
	guard->context = AllocSetContextCreate(guards->context, "idem guard",
										   ALLOCSET_SMALL_SIZES);
	guards->guards = lappend(guards->guards, guard);
	return guard;
}

/* Makes the call of a guard. */
static void
make_ready(const IdemGuards *guards, Guard *guard)
{
	GuardOwner	owner;
	Expr	   *call;
	IdemUserContext caller;
	bool		entered;

	/* first, so that a change that is heard of meanwhile is not lost */
	guard->generation = generation;
	guard->caller = GetUserId();
	call = make_call(guard->signature, guards->params->params[0].ptype,
					 guards->shown, &owner);
	/* of the caller, even where it is another with whose rights it runs */
	if (!IDEM_MAY_EXECUTE(((FuncExpr *) call)->funcid, guard->caller))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION,
					   get_func_name(((FuncExpr *) call)->funcid));
	guard->actor = actor_for(guards, &owner, guard->signature);

	/* Planning may run what is immutable. */
	entered = enter(&caller, guard->actor);
	guard->state = ExecInitExpr(expression_planner(call), NULL);
	if (entered)
		idem_usercontext_leave(&caller);
}

/* A guard with its call, made anew if a function or the caller has changed. */
static Guard *
ready(IdemGuards *guards, const char *signature)
{
	MemoryContext former = MemoryContextSwitchTo(guards->context);
	Guard	   *guard = find_guard(guards, signature);

	if (guard->state == NULL || guard->generation != generation ||
		guard->caller != GetUserId())
	{
		guard->state = NULL;
		MemoryContextReset(guard->context);
		MemoryContextSwitchTo(guard->context);
		make_ready(guards, guard);
	}
	MemoryContextSwitchTo(former);
	return guard;
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
	ErrorContextCallback context;
	IdemUserContext caller;
	bool		entered;
	Guard	   *guard;
	bool		answer;

	Assert(edge->guard != NULL);
	idem_error_push_context(&context, tell_guard, edge);
	guard = ready(guards, edge->guard);
	guards->params->params[0].value = row_value(guards->rel, row);
	guards->params->params[0].isnull = false;
	guards->params->params[1].value = JsonbPGetDatum(note);
	guards->params->params[1].isnull = (note == NULL);
	entered = enter(&caller, guard->actor);
	answer = DatumGetBool(ExecEvalExprSwitchContext(guard->state,
													guards->econtext, isnull));
	if (entered)
		idem_usercontext_leave(&caller);
	idem_error_pop_context(&context);
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
	idem_stats_counter_hit(IDEM_COUNT_TRANSITION_GUARD);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_GUARD),
			 errmsg("transition of \"%s\" from \"%s\" to \"%s\" was refused by its guard",
					RelationGetRelationName(guards->rel), edge->from, edge->to),
			 errdetail("Guard %s of state machine \"%s\" returned %s.",
					   edge->guard, machine, isnull ? "null" : "false"),
			 errtable(guards->rel)));
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
