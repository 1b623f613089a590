/*
 * row_to_jsonb.c
 *	  A row as jsonb, quickly.
 *
 * What comes of it is what to_jsonb() makes of the row.  That looks up for each
 * value of each row how its type is to be written, and has numbers written as
 * text and read again; here the types that most columns have are known.  All
 * others are left to to_jsonb(): there are casts, domains and structure to heed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "table/row_to_jsonb.h"

PG_FUNCTION_INFO_V1(idem_row_jsonb);

static void
set_string(JsonbValue *v, const char *string, int length)
{
	v->type = jbvString;
	v->val.string.val = unconstify(char *, string);
	v->val.string.len = length;
}

static void
set_number(JsonbValue *v, Numeric number)
{
	v->type = jbvNumeric;
	v->val.numeric = number;
}

static void
set_container(JsonbValue *v, Jsonb *json)
{
	v->type = jbvBinary;
	v->val.binary.data = &json->root;
	v->val.binary.len = VARSIZE(json) - VARHDRSZ;
}

/* Sets v to a value of a type that is known here; false for all others. */
static bool
set_known(JsonbValue *v, Datum value, Oid type)
{
	switch (type)
	{
		case BOOLOID:
			v->type = jbvBool;
			v->val.boolean = DatumGetBool(value);
			return true;
		case INT2OID:
			set_number(v, int64_to_numeric(DatumGetInt16(value)));
			return true;
		case INT4OID:
			set_number(v, int64_to_numeric(DatumGetInt32(value)));
			return true;
		case INT8OID:
			set_number(v, int64_to_numeric(DatumGetInt64(value)));
			return true;
		case NUMERICOID:
			set_number(v, DatumGetNumeric(value));
			return !numeric_is_nan(v->val.numeric) &&
				!numeric_is_inf(v->val.numeric);
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			{
				text	   *string = DatumGetTextPP(value);

				set_string(v, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
				/* there is an error to be raised for what is too long */
				return v->val.string.len <= JENTRY_OFFLENMASK;
			}
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			{
				char	   *string = JsonEncodeDateTime(NULL, value, type, NULL);

				set_string(v, string, strlen(string));
				return true;
			}
		case UUIDOID:
			set_string(v, DatumGetCString(DirectFunctionCall1(uuid_out, value)),
					   2 * 16 + 4);
			return true;
		case JSONBOID:
			set_container(v, DatumGetJsonbP(value));
			return true;
		default:
			return false;
	}
}

/* Sets v to what to_jsonb() makes of a value. */
static void
set_other(JsonbValue *v, Datum value, Oid type)
{
	Param	   *argument = makeNode(Param);
	FmgrInfo	function;

	/* it is by the expression of its call that it knows the type */
	argument->paramtype = type;
	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(argument), InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   &function);
	set_container(v, DatumGetJsonbP(FunctionCall1(&function, value)));
}

/* What type a value is of, for people. */
const char *
idem_row_to_jsonb_type(const Jsonb *json)
{
	Datum		name = DirectFunctionCall1(jsonb_typeof, JsonbPGetDatum(json));

	return TextDatumGetCString(name);
}

/* Is it a string that holds an object or an array as text? */
static bool
encoded_twice(const Jsonb *json)
{
	JsonbValue	v;

	return JB_ROOT_IS_SCALAR(json) &&
		JsonbExtractScalar(unconstify(JsonbContainer *, &json->root), &v) &&
		v.type == jbvString && v.val.string.len > 0 &&
		strchr("{[", v.val.string.val[0]) != NULL;
}

/* Raises 22023: an argument is not what it has to be, an object or an array. */
void
idem_row_to_jsonb_error(const Jsonb *json, const char *argument,
						const char *wanted, const char *hint)
{
	bool		twice = encoded_twice(json);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must be a JSON %s", argument, wanted),
			 twice ?
			 errdetail("It is a string that holds JSON: it was encoded twice.") :
			 errdetail("It is of type %s.", idem_row_to_jsonb_type(json)),
			 twice ?
			 errhint("Give the client library the value itself, or its JSON as text, but not that text as a value.") :
			 errhint("%s", hint)));
}

/* Are two values the same, to the byte? */
bool
idem_row_to_jsonb_same(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* Adds the name of a field to an object; it is not copied. */
void
idem_row_to_jsonb_name(IdemJsonbState *state, const char *name)
{
	JsonbValue	v;

	set_string(&v, name, strlen(name));
	idem_jsonb_push(state, WJB_KEY, &v);
}

/*
 * In which order an object has the columns of a row as its fields: by the length of
 * their names, and then by their bytes.
 */
static int
compare_columns(const void *a, const void *b, void *desc)
{
	const char *na = NameStr(TupleDescAttr((TupleDesc) desc, *(const int *) a)->attname);
	const char *nb = NameStr(TupleDescAttr((TupleDesc) desc, *(const int *) b)->attname);
	Size		la = strlen(na);
	Size		lb = strlen(nb);

	if (la != lb)
		return la < lb ? -1 : 1;
	return memcmp(na, nb, la);
}

/*
 * The numbers of a row's columns, from 0, in the order in which an object has them.
 * Those that add them in that order spare it being sorted.
 */
int *
idem_row_to_jsonb_order(TupleDesc desc)
{
	int		   *order = palloc(sizeof(int) * (desc->natts + 1));

	for (int i = 0; i < desc->natts; i++)
		order[i] = i;
	qsort_arg(order, desc->natts, sizeof(int), compare_columns, desc);
	return order;
}

/*
 * Adds the values of a row as an object: where one is to be next, or as the whole.
 * They are referred to until a jsonb is made of it all, and so is the descriptor.
 * order is that of idem_row_to_jsonb_order(), or NULL.
 */
void
idem_row_to_jsonb_push_values(IdemJsonbState *state, TupleDesc desc,
							  const int *order, const Datum *values,
							  const bool *isnull)
{
	JsonbValue	v;

	idem_jsonb_push(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < desc->natts; i++)
	{
		int			column = order != NULL ? order[i] : i;
		Form_pg_attribute att = TupleDescAttr(desc, column);

		if (att->attisdropped)
			continue;
		idem_row_to_jsonb_name(state, NameStr(att->attname));
		if (isnull[column])
			v.type = jbvNull;
		else if (!set_known(&v, values[column], att->atttypid))
			set_other(&v, values[column], att->atttypid);
		idem_jsonb_push(state, WJB_VALUE, &v);
	}
	idem_jsonb_push(state, WJB_END_OBJECT, NULL);
}

/* The same of a tuple, which is referred to as long. */
void
idem_row_to_jsonb_push(IdemJsonbState *state, TupleDesc desc, HeapTuple tuple)
{
	Datum	   *values = palloc(sizeof(Datum) * (desc->natts + 1));
	bool	   *isnull = palloc(sizeof(bool) * (desc->natts + 1));

	heap_deform_tuple(tuple, desc, values, isnull);
	idem_row_to_jsonb_push_values(state, desc, NULL, values, isnull);
	pfree(values);
	pfree(isnull);
}

/*
 * _idem_row_jsonb(row record) -> jsonb
 *
 * The same as to_jsonb().
 */
Datum
idem_row_jsonb(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header;
	TupleDesc	desc;
	HeapTupleData tuple = {0};
	IdemJsonbState state = {0};
	Jsonb	   *json;

	/* it is strict, but not every caller asks for that */
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	header = PG_GETARG_HEAPTUPLEHEADER(0);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
								  HeapTupleHeaderGetTypMod(header));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;

	idem_row_to_jsonb_push(&state, desc, &tuple);
	json = JsonbValueToJsonb(state.result);
	ReleaseTupleDesc(desc);
	PG_RETURN_JSONB_P(json);
}
