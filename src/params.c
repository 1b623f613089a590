/*
 * params.c
 *	  The parameters of a command, given as JSON.
 *
 * The command says which types it takes.  A scalar counts by its text, which
 * the type's input function reads as it would read what a driver sends; for
 * the types where JSON structure counts (json, arrays, composites) the server's
 * own conversion is called, which is slower.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "params.h"

/* Raises 22023 for parameters that are not an array. */
void
idem_params_check(Jsonb *params)
{
	if (!JB_ROOT_IS_ARRAY(params) || JB_ROOT_IS_SCALAR(params))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"params\" must be a JSON array"),
				 errdetail("It is of type %s.",
						   TextDatumGetCString(DirectFunctionCall1(jsonb_typeof,
																   JsonbPGetDatum(params)))),
				 errhint("List the values of $1, $2, and so on: [10, \"text\", null].")));
}

/* Which parameter an error is about. */
static void
tell_parameter(void *arg)
{
	errcontext("parameter $%d", *(int *) arg);
}

/* The text of a scalar, NULL for null. */
static char *
scalar_text(const JsonbValue *v)
{
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
			elog(ERROR, "unexpected jsonb value of type %d", (int) v->type);
			return NULL;		/* keep compiler quiet */
	}
}

/*
 * A value of a type to which JSON is more than text.  Where PostgreSQL 17 and
 * newer have a function for that, older ones have it inside jsonb_to_record()
 * only, so that is called for a record of one field.
 */
static Datum
convert_json(JsonbValue *v, int number, Oid type, bool *isnull)
{
	char	   *name = psprintf("$%d", number);
	Jsonb	   *json = JsonbValueToJsonb(v);
	char	   *object = psprintf("{\"%s\": %s}", name,
								  JsonbToCString(NULL, &json->root, VARSIZE(json)));
	ReturnSetInfo result = {.type = T_ReturnSetInfo};
	TupleDesc	desc;
	FmgrInfo	function;
	Datum		record;

	LOCAL_FCINFO(fcinfo, 1);

	desc = BuildDescFromLists(list_make1(makeString(name)), list_make1_oid(type),
							  list_make1_int(-1), list_make1_oid(InvalidOid));
	result.expectedDesc = BlessTupleDesc(desc);
	fmgr_info(F_JSONB_TO_RECORD, &function);
	InitFunctionCallInfoData(*fcinfo, &function, 1, InvalidOid, NULL,
							 (Node *) &result);
	fcinfo->args[0].value = DirectFunctionCall1(jsonb_in,
												CStringGetDatum(object));
	fcinfo->args[0].isnull = false;
	record = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		elog(ERROR, "jsonb_to_record returned null");
	return GetAttributeByNum(DatumGetHeapTupleHeader(record), 1, isnull);
}

static Datum
convert(JsonbValue *v, int number, Oid type, bool *isnull)
{
	Oid			base = getBaseType(type);
	Oid			function;
	Oid			ioparam;

	*isnull = (v->type == jbvNull);
	if (!*isnull && (base == JSONOID || base == JSONBOID))
		return convert_json(v, number, type, isnull);
	if (v->type == jbvBinary)
	{
		bool		array = JsonContainerIsArray(v->val.binary.data);

		if (array ? !OidIsValid(get_element_type(base)) :
			get_typtype(base) != TYPTYPE_COMPOSITE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter $%d of type %s cannot be given as a JSON %s",
							number, format_type_be(type),
							array ? "array" : "object"),
					 errhint("Array types take a JSON array, composite types an object, json and jsonb any value.")));
		return convert_json(v, number, type, isnull);
	}

	/* also for a null, which the type may be a domain against */
	getTypeInputInfo(type, &function, &ioparam);
	return OidInputFunctionCall(function, scalar_text(v), ioparam, -1);
}

/*
 * The values of a JSON array as parameters of these types; state is the array,
 * a Jsonb.  Raises 22023 for more or fewer values than types, or for one that
 * cannot be of its type, and what the types' input functions raise.
 */
ParamListInfo
idem_params_bind(int nargs, const Oid *types, void *state)
{
	Jsonb	   *params = state;
	ParamListInfo list = makeParamList(nargs);
	ErrorContextCallback context = {.callback = tell_parameter};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	int			number = 1;

	if (JB_ROOT_COUNT(params) != nargs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wrong number of parameters"),
				 errdetail("The command takes %d, \"params\" has %d.",
						   nargs, (int) JB_ROOT_COUNT(params))));

	context.arg = &number;
	context.previous = error_context_stack;
	error_context_stack = &context;
	it = JsonbIteratorInit(&params->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		ParamExternData *param;

		if (token != WJB_ELEM)
			continue;
		param = &list->params[number - 1];
		param->ptype = types[number - 1];
		param->pflags = PARAM_FLAG_CONST;
		param->value = convert(&v, number, param->ptype, &param->isnull);
		number++;
	}
	error_context_stack = context.previous;
	return list;
}
