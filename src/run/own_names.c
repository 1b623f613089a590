/*
 * own_names.c
 *	  What statements that idem writes may name: functions of idem's, and one table.
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
 * What is attached to a table is not named, and the planner evaluates what is constant
 * in the expressions of its indexes and its statistics.  Where a statement may run no
 * code of others at all, each function is looked at when it is about to be called.
 *
 * Names are looked at whenever a statement is analysed, before rules and defaults
 * are added: that is when its names are looked up, and the plan cache may do so
 * again at any time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "run/named_objects.h"
#include "run/own_names.h"

#define PREFIX	"_idem_"

/* The innermost statement of idem's that is being made or run. */
static IdemOwnNames current = {NULL, InvalidOid, false, false};

static post_parse_analyze_hook_type next_analyze = NULL;
static object_access_hook_type next_access = NULL;

/*
 * Begins a statement of idem's, or of another's, and returns what is to be given to
 * idem_own_names_end(), also on an error.  Statements are known by where
 * their text is: those that triggers and functions run have another.
 */
IdemOwnNames
idem_own_names_begin(const IdemOwnNames *own)
{
	IdemOwnNames outer = current;

	current = *own;
	return outer;
}

void
idem_own_names_end(const IdemOwnNames *outer)
{
	current = *outer;
}

/* Raises 42501 for a function that passes for one of idem's. */
static void
check_internal(const IdemNamedObject *function)
{
	if (strncmp(function->name, PREFIX, strlen(PREFIX)) != 0 ||
		(function->schema == idem_catalog()->schema_oid &&
		 function->owner == BOOTSTRAP_SUPERUSERID))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("function \"%s\" is not one of extension \"idem\"",
					function->name),
			 errdetail("It would be called in the place of one that is."),
			 errhint("Drop it: names that begin with \"%s\" are idem's there.",
					 PREFIX)));
}

/* Raises 42501 for code of others in a statement that only looks. */
static void
check_code(const IdemNamedObject *code)
{
	if (!current.looks || code->owner == GetUserId() ||
		superuser_arg(code->owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to run \"%s\" of role \"%s\" as role \"%s\"",
					code->name, GetUserNameFromId(code->owner, true),
					GetUserNameFromId(GetUserId(), true)),
			 errdetail("A statement of idem's that only looks at a table runs no code of others.")));
}

/* Raises 40001 for a table that is not the one that the statement is about. */
static void
check_table(const IdemNamedObject *table)
{
	if (table->oid == current.table || table->schema == PG_CATALOG_NAMESPACE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" has come into the place of another during the call",
					table->name),
			 errdetail("A schema or a table has been renamed."),
			 errhint("Call again.")));
}

static void
check_object(const IdemNamedObject *object, void *context)
{
	if (object->kind == IDEM_NAMED_RELATION)
		check_table(object);
	if (object->kind == IDEM_NAMED_FUNCTION)
		check_internal(object);
	if (object->kind != IDEM_NAMED_RELATION)
		check_code(object);
}

/* Raises 42501 or 40001 where a statement of idem's names what it does not mean. */
static void
analyzed(ParseState *pstate, Query *query, IDEM_JUMBLE_STATE *jstate)
{
	if (current.text != NULL && pstate->p_sourcetext == current.text)
		idem_named_objects_check(query, IDEM_NAMED_RELATION | IDEM_NAMED_DOMAIN |
								 IDEM_NAMED_FUNCTION, check_object, NULL);
	if (next_analyze != NULL)
		next_analyze(pstate, query, jstate);
}

/* Raises 42501 for a function of others, where none may be called. */
static void
check_call(Oid function)
{
	HeapTuple	tuple;
	Form_pg_proc form;
	IdemNamedObject object = {IDEM_NAMED_FUNCTION, function};

	if (!current.runs_nothing || function < FirstNormalObjectId)
		return;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	object.name = pstrdup(NameStr(form->proname));
	object.owner = form->proowner;
	ReleaseSysCache(tuple);
	check_code(&object);
}

static void
object_accessed(ObjectAccessType access, Oid class, Oid object, int column,
				void *arg)
{
	if (access == OAT_FUNCTION_EXECUTE)
		check_call(object);
	if (next_access != NULL)
		next_access(access, class, object, column, arg);
}

/* Watches what is analysed and what is called.  To be called once, from _PG_init. */
void
idem_own_names_init(void)
{
	next_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = analyzed;
	next_access = object_access_hook;
	object_access_hook = object_accessed;
}
