/*
 * guard_signature.c
 *	  How the guard of a transition is written down, and found again.
 *
 * Which function it is is settled when the machine is defined.  It is written
 * down with its schema and the types of its arguments,
 *
 *		schema.name(schema.type, type)
 *
 * and read to the letter: no search_path, no choice among functions of that name,
 * and a type without a schema is one of pg_catalog.  So no function that is
 * created later can take its place.  It is text, since a column with OIDs of
 * functions would keep pg_upgrade from running.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "machine/guard_signature.h"

/* Could a function be a guard, of rows of some kind? */
bool
idem_guard_signature_fits(Form_pg_proc form)
{
	const Oid  *args = form->proargtypes.values;
	Oid			note = JSONBOID;

	return form->prokind == PROKIND_FUNCTION && !form->proretset &&
		form->prorettype == BOOLOID && form->pronargs == 2 &&
		!OidIsValid(form->provariadic) &&
		(type_is_rowtype(args[0]) || IsPolymorphicType(args[0]) ||
		 args[0] == ANYOID) &&
		can_coerce_type(1, &note, &args[1], COERCION_IMPLICIT);
}

static bool
could_guard(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		good;

	if (!HeapTupleIsValid(tuple))
		return false;
	good = idem_guard_signature_fits((Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return good;
}

static void
append_type(StringInfo buf, Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	char	   *schema = NULL;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	if (form->typnamespace != PG_CATALOG_NAMESPACE)
		schema = get_namespace_name(form->typnamespace);
	appendStringInfoString(buf, quote_qualified_identifier(schema,
														   NameStr(form->typname)));
	ReleaseSysCache(tuple);
}

/* How a function is written down. */
static const char *
write_down(Oid function)
{
	Oid		   *args;
	int			nargs;
	char	   *schema = get_namespace_name(get_func_namespace(function));
	StringInfoData buf;

	(void) get_func_signature(function, &args, &nargs);
	initStringInfo(&buf);
	appendStringInfo(&buf, "%s(",
					 quote_qualified_identifier(schema, get_func_name(function)));
	for (int i = 0; i < nargs; i++)
	{
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		append_type(&buf, args[i]);
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* Ends a text at the first such character outside quotes; returns the rest. */
static char *
cut(char *text, char at)
{
	bool		quoted = false;

	for (; *text != '\0'; text ++)
	{
		if (*text == '"')
			quoted = !quoted;
		else if (*text == at && !quoted)
		{
			*text = '\0';
			return text +1;
		}
	}
	return NULL;
}

/*
 * Reads a name of one or two parts.  False if there are more, or the schema does
 * not exist.
 */
static bool
read_name(const char *text, Oid *schema, const char **name)
{
	List	   *names = IDEM_NAME_LIST(text);

	*name = strVal(llast(names));
	if (list_length(names) == 1)
		*schema = PG_CATALOG_NAMESPACE;
	else if (list_length(names) == 2)
		*schema = get_namespace_oid(strVal(linitial(names)), true);
	else
		*schema = InvalidOid;
	return OidIsValid(*schema);
}

/* The function that is written down so; InvalidOid if there is none. */
Oid
idem_guard_signature_read(const char *signature)
{
	char	   *text = pstrdup(signature);
	char	   *args = cut(text, '(');
	char	   *end = args != NULL ? cut(args, ')') : NULL;
	Oid			types[2];
	Oid			schema;
	const char *name;

	if (end == NULL || *end != '\0')
		return InvalidOid;
	for (int i = 0; i < lengthof(types); i++)
	{
		char	   *rest = args != NULL ? cut(args, ',') : NULL;

		if (args == NULL || !read_name(args, &schema, &name))
			return InvalidOid;
		types[i] = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
								   CStringGetDatum(name),
								   ObjectIdGetDatum(schema));
		if (!OidIsValid(types[i]))
			return InvalidOid;
		args = rest;
	}
	if (args != NULL || !read_name(text, &schema, &name))
		return InvalidOid;
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(types, lengthof(types))),
						   ObjectIdGetDatum(schema));
}

/* The name of a guard, without its arguments, for people. */
const char *
idem_guard_signature_name(const char *signature)
{
	char	   *name = pstrdup(signature);

	(void) cut(name, '(');
	return name;
}

static void
none_error(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("there is no guard \"%s\"", name),
			 errdetail("A guard is a function of a row and a note, of type jsonb, that returns boolean."),
			 errhint("Create it first: CREATE FUNCTION %s(table_name, jsonb) RETURNS boolean.",
					 idem_guard_signature_name(name))));
}

/* The guard of a name without arguments. */
static Oid
find_named(const char *name)
{
	List	   *names = IDEM_NAME_LIST(name);
	FuncCandidateList best = NULL;
	FuncCandidateList other = NULL;

	for (FuncCandidateList candidate = IDEM_CANDIDATES(names, 2);
		 candidate != NULL; candidate = candidate->next)
	{
		if (!could_guard(candidate->oid))
			continue;
		if (best == NULL || candidate->pathpos < best->pathpos)
		{
			best = candidate;
			other = NULL;
		}
		else if (candidate->pathpos == best->pathpos)
			other = candidate;
	}
	if (best == NULL)
		none_error(name);
	if (other != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
				 errmsg("guard name \"%s\" is not unique", name),
				 errdetail("It could be %s or %s.", write_down(best->oid),
						   write_down(other->oid)),
				 errhint("Name the types of its arguments, too. One for the rows of all tables takes a record or an anyelement.")));
	return best->oid;
}

/*
 * How a guard is written down that is named by the definer of a machine, with
 * the types of its arguments or without, in the definer's search_path unless it
 * is qualified.  Raises 42883 if there is none, 42725 if there are several,
 * 0A000 for a temporary one.
 */
const char *
idem_guard_signature_resolve(const char *name)
{
	int			length = strlen(name);
	Oid			function;

	if (length > 0 && name[length - 1] == ')')
		function = DatumGetObjectId(DirectFunctionCall1(regprocedurein,
														CStringGetDatum(name)));
	else
		function = find_named(name);
	if (!could_guard(function))
		none_error(name);
	if (isAnyTempNamespace(get_func_namespace(function)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("guard \"%s\" is a temporary function", name),
				 errdetail("A state machine is for all sessions.")));
	return write_down(function);
}
