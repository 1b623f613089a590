/*
 * result_tuple.c
 *	  The rows that idem's functions return.
 *
 * The type of a function's row is looked up once and kept for the session, since
 * to look it up would cost about as much as finding a key.  It is a composite
 * type of idem's own, and its owner may alter it; the type cache tells one
 * definition of a type from every other.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/catalog.h"
#include "base/result_tuple.h"

#define MAX_FUNCTIONS	16		/* more of them just share the places */

typedef struct KnownResult
{
	Oid			function;
	Oid			type;			/* of the rows that it returns */
	uint64		checked;		/* tupDesc_identifier of the definition that
								 * was found to be right; 0: none */
} KnownResult;

static KnownResult known[MAX_FUNCTIONS];

/* The type of which idem's script makes a column of that name. */
static Oid
column_type(const char *name, Oid outcome_type)
{
	static const struct
	{
		const char *name;
		Oid			type;
	}			columns[] = {
		{"replayed", BOOLOID}, {"idempotent", BOOLOID}, {"same_answer", BOOLOID},
		{"processed", INT8OID}, {"fence", INT8OID}, {"version", INT8OID},
		{"rewritten", INT8OID}, {"forgotten", INT8OID}, {"in_use", INT8OID},
		{"created_at", TIMESTAMPTZOID}, {"expires_at", TIMESTAMPTZOID},
		{"lease_until", TIMESTAMPTZOID}, {"changed_at", TIMESTAMPTZOID},
		{"recorded_at", TIMESTAMPTZOID},
		{"from_state", TEXTOID}, {"to_state", TEXTOID}, {"changed_by", TEXTOID},
		{"message_id", INT8OID}, {"emitted_at", TIMESTAMPTZOID},
		{"scope", TEXTOID}, {"key", TEXTOID}, {"name", TEXTOID},
		{"status_column", TEXTOID},
		{"datname", NAMEOID}, {"counter", TEXTOID}, {"count", INT8OID},
		{"reset_at", TIMESTAMPTZOID}, {"check", TEXTOID}, {"severity", TEXTOID},
		{"value", TEXTOID}, {"hint", TEXTOID}, {"role", TEXTOID},
		{"since", TIMESTAMPTZOID},
		{"saga", TEXTOID}, {"work", TEXTOID}, {"status", TEXTOID},
		{"step", INT4OID}, {"undo", BOOLOID}, {"ordinal", INT8OID},
		{"target", REGCLASSOID}, {"finding", TEXTOID}, {"detail", TEXTOID},
	};

	if (strcmp(name, "outcome") == 0)
		return outcome_type;
	for (int i = 0; i < lengthof(columns); i++)
	{
		if (strcmp(columns[i].name, name) == 0)
			return columns[i].type;
	}
	return JSONBOID;
}

/*
 * Raises 55000 unless rows are as they were when idem was installed.  Looks up
 * nothing, since the description may be one that stays only until then.
 */
static void
check_columns(TupleDesc desc, int ncolumns, Oid outcome_type)
{
	bool		good = desc != NULL && desc->natts == ncolumns;

	for (int i = 0; good && i < ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		good = !att->attisdropped &&
			att->atttypid == column_type(NameStr(att->attname), outcome_type);
	}
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a result type of extension \"idem\" has been altered"),
				 errhint("If the library is newer, run ALTER EXTENSION idem UPDATE.  Else undo what was altered, or drop and create the extension.")));
}

/*
 * The row that the called function returns, made of the values of its ncolumns
 * columns.  Raises 55000 where the type of the row has been altered.
 */
Datum
idem_result_tuple_form(FunctionCallInfo fcinfo, int ncolumns, Datum *values,
					   bool *isnull)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	KnownResult *result = &known[function % MAX_FUNCTIONS];
	TypeCacheEntry *type;

	if (result->function != function)
	{
		result->checked = 0;
		result->type = get_func_rettype(function);
		result->function = function;
	}
	type = lookup_type_cache(result->type, TYPECACHE_TUPDESC);
	if (result->checked == 0 || result->checked != type->tupDesc_identifier)
	{
		Oid			outcome_type = idem_catalog()->outcome_type;

		/* the catalog was perhaps loaded, and the description forgotten */
		type = lookup_type_cache(result->type, TYPECACHE_TUPDESC);
		check_columns(type->tupDesc, ncolumns, outcome_type);
		result->checked = type->tupDesc_identifier;
	}
	Assert(type->tupDesc->natts == ncolumns);
	return HeapTupleGetDatum(heap_form_tuple(type->tupDesc, values, isnull));
}

/*
 * Makes a function that returns a set of rows of ncolumns columns ready to put
 * them into a tuplestore, all of them before it returns.  Raises 55000 where the
 * type of the rows has been altered, 0A000 where no set can be returned.
 */
void
idem_result_tuple_begin_set(FunctionCallInfo fcinfo, int ncolumns)
{
	InitMaterializedSRF(fcinfo, 0);
	check_columns(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, ncolumns,
				  idem_catalog()->outcome_type);
}
