/*
 * internal_function.c
 *	  What idem's own statements name: functions of idem's, and one table.
 *
 * Statements call functions by their names, and of functions of one name the server
 * takes the one that fits the arguments best: for the row of a table, one that is
 * declared for just that table.  A role that may create in the extension's schema
 * could have statements run its own, with the rights of all who call idem.  So
 * functions whose names begin with _idem_ are believed only if they are idem's,
 * which belong to the bootstrap superuser (see the end of the script).
 *
 * Tables are named, too, qualified by their schemas.  But the owner of a schema can
 * rename it, and put another in its place, between the moment when its name is
 * written down and the one when it is looked up: then the statement would run what
 * is attached to the other table, or make up a view, with the rights of who calls
 * idem, or of the owner of idem's tables.  So a statement may name just the table
 * that it was written for, by its OID.  Who only looks at the table of another, or
 * runs a statement as its owner, is not to run code of others either: there, all
 * functions have to be superusers'.
 *
 * They are looked at whenever a statement is analysed, before rules and defaults
 * are added: that is when its names are looked up, and the plan cache may do so
 * again at any time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "run/internal_function.h"

#define PREFIX	"_idem_"

/* The innermost statement of idem's that is being made or run. */
static IdemOwnText current = {NULL, InvalidOid, false};

static post_parse_analyze_hook_type next_analyze = NULL;

/*
 * Begins a statement of idem's, or of another's, and returns what is to be given to
 * idem_internal_function_end(), also on an error.  Statements are known by where
 * their text is: those that triggers and functions run have another.
 */
IdemOwnText
idem_internal_function_begin(const IdemOwnText *own)
{
	IdemOwnText outer = current;

	current = *own;
	return outer;
}

void
idem_internal_function_end(const IdemOwnText *outer)
{
	current = *outer;
}

/* Raises 42501 for a function that passes for one of idem's. */
static void
check_function(Oid function, Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (strncmp(NameStr(form->proname), PREFIX, strlen(PREFIX)) == 0 &&
		(form->pronamespace != schema ||
		 form->proowner != BOOTSTRAP_SUPERUSERID))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is not one of extension \"idem\"",
						NameStr(form->proname)),
				 errdetail("It would be called in the place of one that is."),
				 errhint("Drop it: names that begin with \"%s\" are idem's there.",
						 PREFIX)));
	ReleaseSysCache(tuple);
}

/* Raises 42501 for code of others in a statement that only looks. */
static void
check_code(const char *name, Oid owner)
{
	if (owner == GetUserId() || superuser_arg(owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to run \"%s\" of role \"%s\" as role \"%s\"",
					name, GetUserNameFromId(owner, true),
					GetUserNameFromId(GetUserId(), true)),
			 errdetail("A statement of idem's that only looks at a table runs no code of others.")));
}

static bool
check_code_of_function(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		check_code(NameStr(form->proname), form->proowner);
		ReleaseSysCache(tuple);
	}
	return false;
}

static void
check_code_of_domain(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_type form = (Form_pg_type) GETSTRUCT(tuple);

		check_code(NameStr(form->typname), form->typowner);
		ReleaseSysCache(tuple);
	}
}

/* Raises 40001 for a table that is not the one that the statement is about. */
static void
check_table(Oid relid)
{
	if (relid == current.table || get_rel_namespace(relid) == PG_CATALOG_NAMESPACE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" has come into the place of another during the call",
					get_rel_name(relid)),
			 errdetail("A schema or a table has been renamed."),
			 errhint("Call again.")));
}

static bool
check_names(Node *node, void *schema)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		const RangeTblEntry *rte = (const RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION)
			check_table(rte->relid);
		return false;
	}
	if (IsA(node, FuncExpr))
		check_function(((FuncExpr *) node)->funcid, *(Oid *) schema);
	if (current.looks && IsA(node, CoerceToDomain))
		check_code_of_domain(((CoerceToDomain *) node)->resulttype);
	if (current.looks)
		(void) check_functions_in_node(node, check_code_of_function, NULL);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_names, schema,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, check_names, schema);
}

/* Raises 42501 or 40001 where a statement of idem's names what it does not mean. */
static void
analyzed(ParseState *pstate, Query *query, IDEM_JUMBLE_STATE *jstate)
{
	if (current.text != NULL && pstate->p_sourcetext == current.text)
	{
		Oid			schema = idem_catalog()->schema_oid;

		(void) check_names((Node *) query, &schema);
	}
	if (next_analyze != NULL)
		next_analyze(pstate, query, jstate);
}

/* Watches what is analysed.  To be called once, from _PG_init. */
void
idem_internal_function_init(void)
{
	next_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = analyzed;
}
