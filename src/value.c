/*
 * value.c
 *	  A JSON value as a value of an SQL type.
 *
 * A scalar counts by its text, which the type's input function reads as it
 * would read a literal, or what a driver sends; for the types where JSON
 * structure counts (json, arrays, composites) the server's own conversion is
 * called, which is slower.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "value.h"

/* The text of a value, NULL for null. */
static char *
text_of(JsonbValue *v)
{
	Jsonb	   *json;

	switch (v->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(v->val.numeric)));
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		default:
			json = JsonbValueToJsonb(v);
			return JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
}

/*
 * A value of a type to which JSON is more than text.  Where PostgreSQL 17 and
 * newer have a function for that, older ones have it inside jsonb_to_record()
 * only, so that is called for a record of one field.
 */
static Datum
convert_json(JsonbValue *v, const char *name, Oid type, int32 typmod,
			 bool *isnull)
{
	Jsonb	   *json = JsonbValueToJsonb(v);
	StringInfoData object;
	ReturnSetInfo result = {.type = T_ReturnSetInfo};
	TupleDesc	desc;
	FmgrInfo	function;
	Datum		record;

	LOCAL_FCINFO(fcinfo, 1);

	initStringInfo(&object);
	appendStringInfoChar(&object, '{');
	escape_json(&object, name);
	appendStringInfoString(&object, ": ");
	(void) JsonbToCString(&object, &json->root, VARSIZE(json));
	appendStringInfoChar(&object, '}');

	desc = BuildDescFromLists(list_make1(makeString(pstrdup(name))),
							  list_make1_oid(type), list_make1_int(typmod),
							  list_make1_oid(InvalidOid));
	result.expectedDesc = BlessTupleDesc(desc);
	fmgr_info(F_JSONB_TO_RECORD, &function);
	InitFunctionCallInfoData(*fcinfo, &function, 1, InvalidOid, NULL,
							 (Node *) &result);
	fcinfo->args[0].value = DirectFunctionCall1(jsonb_in,
												CStringGetDatum(object.data));
	fcinfo->args[0].isnull = false;
	record = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		elog(ERROR, "jsonb_to_record returned null");
	return GetAttributeByNum(DatumGetHeapTupleHeader(record), 1, isnull);
}

/*
 * A JSON value as one of this type; null is NULL.  Raises what the type's input
 * function raises; name is what errors in structured values call it.
 */
Datum
idem_value_read(JsonbValue *v, const char *name, Oid type, int32 typmod,
				bool *isnull)
{
	Oid			base = getBaseType(type);
	Oid			function;
	Oid			ioparam;

	*isnull = (v->type == jbvNull);
	if ((!*isnull && (base == JSONOID || base == JSONBOID)) ||
		(v->type == jbvBinary && (OidIsValid(get_element_type(base)) ||
								  get_typtype(base) == TYPTYPE_COMPOSITE)))
		return convert_json(v, name, type, typmod, isnull);

	/* also for a null, which the type may be a domain against */
	getTypeInputInfo(type, &function, &ioparam);
	return OidInputFunctionCall(function, text_of(v), ioparam, typmod);
}
