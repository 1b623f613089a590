/*
 * state_column.c
 *	  What a column must be like to hold the states of a machine.
 *
 * A state is what the output function of the column's type gives, byte for byte.
 * So a column will do if it gives back every state as it was put in: an enum
 * with all the labels, or a type of strings that neither shortens nor pads them,
 * or a domain over one of these whose constraints they meet.
 *
 * Constraints of a domain and the functions of a type are code of the role that
 * made them, and the table may be another's: they run with the rights of its owner.
 */
#include "postgres.h"

#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "run/usercontext.h"
#include "table/state_column.h"

/* Is the column of a kind that can hold states at all? */
bool
idem_state_column_possible(Form_pg_attribute att)
{
	Oid			type = getBaseType(att->atttypid);
	char		category;
	bool		preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_ENUM || category == TYPCATEGORY_STRING;
}

static bool
has_label(Oid type, const char *state)
{
	/* a label has the length of a name */
	return strlen(state) < NAMEDATALEN &&
		SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
							  CStringGetDatum(state));
}

/* Would the column give the state back as it was put in? */
static bool
returns(Oid type, int32 typmod, const char *state)
{
	Oid			input;
	Oid			output;
	Oid			ioparam;
	bool		isvarlena;
	Datum		value;

	if (get_typtype(type) == TYPTYPE_ENUM)
		return has_label(type, state);

	/* too long is an error, else */
	if ((type == VARCHAROID || type == BPCHAROID) &&
		typmod >= (int32) VARHDRSZ &&
		pg_mbstrlen(state) > typmod - (int32) VARHDRSZ)
		return false;
	getTypeInputInfo(type, &input, &ioparam);
	getTypeOutputInfo(type, &output, &isvarlena);
	value = OidInputFunctionCall(input, unconstify(char *, state),
								 ioparam, typmod);
	return strcmp(OidOutputFunctionCall(output, value), state) == 0;
}

/* The name of a constraint that the state violates, or NULL. */
static const char *
violated(const DomainConstraintRef *domain, Oid type, int32 typmod,
		 const char *state)
{
	ExprContext *context = CreateStandaloneExprContext();
	const char *name = NULL;
	Oid			input;
	Oid			ioparam;
	ListCell   *lc;

	getTypeInputInfo(type, &input, &ioparam);
	context->domainValue_datum =
		OidInputFunctionCall(input, unconstify(char *, state), ioparam, typmod);
	context->domainValue_isNull = false;
	foreach(lc, domain->constraints)
	{
		DomainConstraintState *constraint = lfirst(lc);

		if (name == NULL && constraint->constrainttype == DOM_CONSTRAINT_CHECK &&
			!ExecCheck(constraint->check_exprstate, context))
			name = pstrdup(constraint->name);
	}
	FreeExprContext(context, true);
	return name;
}

static const char *
complaint(Form_pg_attribute att, List *states)
{
	int32		typmod = att->atttypmod;
	Oid			type = getBaseTypeAndTypmod(att->atttypid, &typmod);
	const char *name = format_type_with_typemod(type, typmod);
	DomainConstraintRef *domain = palloc0(sizeof(DomainConstraintRef));
	StringInfoData missing;
	ListCell   *lc;

	if (!idem_state_column_possible(att))
		return psprintf("Its type is %s.", format_type_be(att->atttypid));

	initStringInfo(&missing);
	foreach(lc, states)
	{
		CHECK_FOR_INTERRUPTS();
		if (!returns(type, typmod, lfirst(lc)))
			appendStringInfo(&missing, "%s\"%s\"", missing.len ? ", " : "",
							 (char *) lfirst(lc));
	}
	if (missing.len > 0)
		return psprintf("Type %s has no value %s.", name, missing.data);

	if (type == att->atttypid)
		return NULL;
	/* A new value of an enum cannot be tried before it is committed. */
	InitDomainConstraintRef(att->atttypid, domain, CurrentMemoryContext, true);
	if (domain->constraints == NIL)
		return NULL;
	foreach(lc, states)
	{
		const char *constraint;

		CHECK_FOR_INTERRUPTS();
		constraint = violated(domain, type, typmod, lfirst(lc));

		if (constraint != NULL)
			appendStringInfo(&missing, "%s\"%s\" (\"%s\")",
							 missing.len ? ", " : "", (char *) lfirst(lc),
							 constraint);
	}
	return missing.len == 0 ? NULL :
		psprintf("Constraints of domain %s refuse %s.",
				 format_type_be(att->atttypid), missing.data);
}

/*
 * Why a column cannot hold some of these states (char *), as a sentence for
 * people; NULL if it can hold them all.  The table's owner is asked.
 */
const char *
idem_state_column_complaint(Relation rel, AttrNumber status, List *states)
{
	const char *sentence;
	IdemUserContext caller;

	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	sentence = complaint(TupleDescAttr(RelationGetDescr(rel), status - 1),
						 states);
	idem_usercontext_leave(&caller);
	return sentence;
}
