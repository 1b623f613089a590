/*
 * result.c
 *	  The rows that idem's functions return.
 *
 * What a function returns is worked out from the catalogs once a session, not
 * once a call: that look-up would cost about as much as finding a key.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "result.h"

#define MAX_FUNCTIONS	16		/* more of them just share the places */

typedef struct KnownResult
{
	Oid			function;
	uint64		generation;		/* of the catalog that desc was made for */
	TupleDesc	desc;			/* blessed, kept for the session */
} KnownResult;

static KnownResult known[MAX_FUNCTIONS];

static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	uint64		generation = idem_catalog()->generation;
	KnownResult *result = &known[function % MAX_FUNCTIONS];
	MemoryContext old;
	TupleDesc	desc;

	if (result->desc != NULL && result->function == function &&
		result->generation == generation)
		return result->desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function %u does not return a row", function);
	old = MemoryContextSwitchTo(TopMemoryContext);
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	MemoryContextSwitchTo(old);

	if (result->desc != NULL)
		FreeTupleDesc(result->desc);
	result->function = function;
	result->generation = generation;
	result->desc = desc;
	return desc;
}

/* The row that the called function returns, made of its columns' values. */
Datum
idem_result_form(FunctionCallInfo fcinfo, Datum *values, bool *isnull)
{
	return HeapTupleGetDatum(heap_form_tuple(result_desc(fcinfo), values,
											 isnull));
}
