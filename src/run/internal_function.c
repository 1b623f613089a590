/*
 * internal_function.c
 *	  The functions that only idem's own statements call.
 *
 * Statements call them by their names, and of functions of one name the server
 * takes the one that fits the arguments best: for the row of a table, one that is
 * declared for just that table.  A role that may create in the extension's schema
 * could have statements run its own, with the rights of all who call idem.  So
 * functions whose names begin with _idem_ are believed only if they are idem's,
 * which belong to the bootstrap superuser (see the end of the script).
 *
 * They are looked at whenever a statement is planned, since the plan cache may
 * look names up again at any time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "run/internal_function.h"

#define PREFIX	"_idem_"

/* The text, as the plan cache has it, of the innermost statement of idem's. */
static const char *statement = NULL;

/*
 * Begins a statement of idem's, or of another's (NULL), and returns what is to be
 * given to idem_internal_function_end(), also on an error.  Statements are known
 * by where their text is: those that triggers and functions run have another.
 */
const char *
idem_internal_function_begin(const char *text)
{
	const char *outer = statement;

	statement = text;

	return outer;
}

void
idem_internal_function_end(const char *outer)
{
	statement = outer;
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
	if (form->pronamespace == schema &&
		form->proowner != BOOTSTRAP_SUPERUSERID &&
		strncmp(NameStr(form->proname), PREFIX, strlen(PREFIX)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is not one of extension \"idem\"",
						NameStr(form->proname)),
				 errdetail("It stands in the schema of the extension, and would be called in the place of one that does."),
				 errhint("Drop it: names that begin with \"%s\" are idem's there.",
						 PREFIX)));
	ReleaseSysCache(tuple);
}

static bool
check_functions(Node *node, void *schema)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr))
		check_function(((FuncExpr *) node)->funcid, *(Oid *) schema);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_functions, schema, 0);
	return expression_tree_walker(node, check_functions, schema);
}

/*
 * Raises 42501 where a statement of idem's, about to be planned, calls functions
 * that pass for idem's.
 */
void
idem_internal_function_check(Query *query, const char *text)
{
	Oid			schema;

	if (statement == NULL || text !=statement)
		return;
	schema = idem_catalog()->schema_oid;
	(void) check_functions((Node *) query, &schema);
}
