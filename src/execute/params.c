/*
 * params.c
 *	  The parameters of a command, given as JSON.
 *
 * The command says which types it takes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/error.h"
#include "execute/params.h"
#include "table/jsonb_to_datum.h"
#include "table/row_to_jsonb.h"

/* Raises 22023 for parameters that are not an array. */
void
idem_params_check(Jsonb *params)
{
	if (!JB_ROOT_IS_ARRAY(params) || JB_ROOT_IS_SCALAR(params))
		idem_row_to_jsonb_error(params, "params", "array",
								_("List the values of $1, $2, and so on: [10, \"text\", null]."));
}

/* Which parameter an error is about. */
static void
tell_parameter(void *arg)
{
	errcontext("parameter $%d", *(int *) arg);
}

/*
 * Raises 22023 for an array or object where the type has no use for it; for bytes
 * that is done where the value is read.
 */
static void
check_structure(const JsonbValue *v, int number, Oid type)
{
	Oid			base = getBaseType(type);
	bool		array;

	if (v->type != jbvBinary || base == JSONOID || base == JSONBOID ||
		base == BYTEAOID)
		return;
	array = JsonContainerIsArray(v->val.binary.data);
	if (array ? !OidIsValid(get_element_type(base)) :
		get_typtype(base) != TYPTYPE_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter $%d of type %s cannot be given as a JSON %s",
						number, format_type_be(type),
						array ? "array" : "object"),
				 errhint("Array types take a JSON array, composite types an object, json and jsonb any value.")));
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
	ErrorContextCallback context;
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

	idem_error_push_context(&context, tell_parameter, &number);
	it = JsonbIteratorInit(&params->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		ParamExternData *param;

		if (token != WJB_ELEM)
			continue;
		Assert(number <= nargs);
		param = &list->params[number - 1];
		param->ptype = types[number - 1];
		param->pflags = PARAM_FLAG_CONST;
		check_structure(&v, number, param->ptype);
		param->value = idem_jsonb_to_datum_read(&v, psprintf("$%d", number),
												param->ptype, -1, &param->isnull);
		number++;
	}
	idem_error_pop_context(&context);
	return list;
}
