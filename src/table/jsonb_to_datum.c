/*
 * jsonb_to_datum.c
 *	  A JSON value as a value of an SQL type.
 *
 * A scalar counts by its text, which the type's input function reads as it
 * would read a literal, or what a driver sends; for the types where JSON
 * structure counts (json, arrays, composites) the server's own conversion is
 * called, which is slower.
 *
 * Some values can be spelled in several ways, but are the same to their type: 1.0
 * and 1 where it is of integers, a UUID in upper or lower case.  What is asked
 * for then is the same, too, so they are brought into one spelling.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "table/jsonb_to_datum.h"

static int
scale_of(Numeric number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale,
											 NumericGetDatum(number)));
}

/* An integer that is written with decimals, without them; NULL for all others. */
static Numeric
without_decimals(Numeric number)
{
	Numeric		trimmed;

	if (scale_of(number) == 0)
		return NULL;
	trimmed = DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale,
												  NumericGetDatum(number)));
	return scale_of(trimmed) == 0 ? trimmed : NULL;
}

/*
 * A UUID in some other spelling than the server's own, in that one; NULL for all
 * other texts.  Takes what uuid_in() takes.
 */
const char *
idem_jsonb_to_datum_uuid(const char *text, int length)
{
	const char *c = text;
	const char *end = text +length;
	char		own[2 * UUID_LEN + 4 + 1];
	int			n = 0;
	bool		braces;

	if (length < 2 * UUID_LEN || length > 2 * UUID_LEN + 7 + 2)
		return NULL;
	braces = (*c == '{');
	if (braces)
		c++;
	for (int i = 0; i < 2 * UUID_LEN; i++)
	{
		if (c == end || !isxdigit((unsigned char) *c))
			return NULL;
		if (i == 8 || i == 12 || i == 16 || i == 20)
			own[n++] = '-';
		own[n++] = pg_ascii_tolower((unsigned char) *c++);
		if (i % 4 == 3 && i < 2 * UUID_LEN - 1 && c < end && *c == '-')
			c++;
	}
	if (braces && (c == end || *c++ != '}'))
		return NULL;
	if (c != end || (length == n && memcmp(text, own, n) == 0))
		return NULL;
	return pnstrdup(own, n);
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/*
 * May there be anything in a value that some type has another spelling for?  This
 * is asked of every value, and so is quick, rather than sure.
 */
bool
idem_jsonb_to_datum_may_vary(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNumeric:
			return scale_of(v->val.numeric) > 0;
		case jbvString:
			return idem_jsonb_to_datum_uuid(v->val.string.val,
											v->val.string.len) != NULL;
		default:
			return v->type == jbvBinary;
	}
}

/* Is there a scalar that may vary within a value? */
static bool
has_varying_part(JsonbValue *v)
{
	JsonbIterator *it = JsonbIteratorInit(v->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue	part;

	while ((token = JsonbIteratorNext(&it, &part, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) &&
			idem_jsonb_to_datum_may_vary(&part))
			return true;
	}
	return false;
}

/* Does JSON structure count for values of this base type, but for json itself? */
static bool
is_structured(Oid base)
{
	return OidIsValid(get_element_type(base)) ||
		get_typtype(base) == TYPTYPE_COMPOSITE;
}

/* Is this an array for a type of arrays, or an object for a composite type? */
static bool
is_fitting(JsonbContainer *container, Oid base)
{
	return JsonContainerIsArray(container) ?
		OidIsValid(get_element_type(base)) :
		get_typtype(base) == TYPTYPE_COMPOSITE;
}

/* May a value of this type have another spelling than the type's? */
bool
idem_jsonb_to_datum_varies(JsonbValue *v, Oid type)
{
	/* no type that is declared in pg_type.dat is a domain */
	Oid			base = type < FirstGenbkiObjectId ? type : getBaseType(type);

	switch (v->type)
	{
		case jbvNumeric:
			return is_integer(base) && scale_of(v->val.numeric) > 0;
		case jbvString:
			return base == UUIDOID && idem_jsonb_to_datum_may_vary(v);
		case jbvBinary:
			return base != JSONBOID && is_structured(base) &&
				has_varying_part(v);
		default:
			return false;
	}
}

/* The type of a column of a composite type; InvalidOid if it has none so named. */
static Oid
field_type(TupleDesc desc, const JsonbValue *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			strlen(NameStr(att->attname)) == name->val.string.len &&
			strncmp(NameStr(att->attname), name->val.string.val,
					name->val.string.len) == 0)
			return att->atttypid;
	}
	return InvalidOid;
}

/* The type of an element of an array in JSON, which may be a row of the array. */
static Oid
element_type(const JsonbValue *part, Oid array)
{
	return part->type == jbvBinary &&
		JsonContainerIsArray(part->val.binary.data) ?
		array : get_element_type(array);
}

/*
 * Raises 22023 where a JSON object or array is given for bytes, also within a value
 * of this type: what they would be is its text, which nobody means.
 */
void
idem_jsonb_to_datum_check(const JsonbValue *v, const char *name, Oid type)
{
	Oid			base;
	JsonbContainer *container;
	TupleDesc	desc = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	part;
	Oid			of_part = InvalidOid;

	if (v->type != jbvBinary || !OidIsValid(type))
		return;
	base = getBaseType(type);
	container = v->val.binary.data;
	if (base == BYTEAOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bytes of \"%s\" cannot be given as a JSON %s", name,
						JsonContainerIsArray(container) ? "array" : "object"),
				 errhint("Give them as a string of hexadecimal digits: \"\\\\x00ff\" in JSON.")));
	if (!is_fitting(container, base))
		return;

	check_stack_depth();
	if (!JsonContainerIsArray(container))
		desc = lookup_rowtype_tupdesc_copy(base, -1);
	it = JsonbIteratorInit(container);
	(void) JsonbIteratorNext(&it, &part, true);
	while ((token = JsonbIteratorNext(&it, &part, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			of_part = field_type(desc, &part);
		else if (token == WJB_VALUE)
			idem_jsonb_to_datum_check(&part, name, of_part);
		else if (token == WJB_ELEM)
			idem_jsonb_to_datum_check(&part, name, element_type(&part, base));
	}
}

/* Pushes the elements of an array, or the fields of an object. */
static void
push_parts(IdemJsonbState *state, JsonbContainer *container, Oid type)
{
	bool		array = JsonContainerIsArray(container);
	Oid			field = InvalidOid;
	TupleDesc	desc = array ? NULL : lookup_rowtype_tupdesc_copy(type, -1);
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	part;

	check_stack_depth();
	(void) JsonbIteratorNext(&it, &part, true);
	idem_jsonb_push(state, array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&it, &part, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			field = field_type(desc, &part);
			idem_jsonb_push(state, WJB_KEY, &part);
		}
		else if (token == WJB_VALUE)
			idem_jsonb_to_datum_push(state, WJB_VALUE, &part, field);
		else if (token == WJB_ELEM)
			idem_jsonb_to_datum_push(state, WJB_ELEM, &part,
									 element_type(&part, type));
	}
	idem_jsonb_push(state, array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

/* Pushes a value of this type, in the spelling that the type would give it. */
void
idem_jsonb_to_datum_push(IdemJsonbState *state, JsonbIteratorToken token,
						 JsonbValue *v, Oid type)
{
	Oid			base = OidIsValid(type) ? getBaseType(type) : InvalidOid;
	JsonbValue	own = *v;
	Numeric		number;
	const char *uuid;

	if (v->type == jbvNumeric && is_integer(base))
	{
		number = without_decimals(v->val.numeric);
		if (number != NULL)
			own.val.numeric = number;
	}
	else if (v->type == jbvString && base == UUIDOID)
	{
		uuid = idem_jsonb_to_datum_uuid(v->val.string.val, v->val.string.len);
		if (uuid != NULL)
		{
			own.val.string.val = unconstify(char *, uuid);
			own.val.string.len = strlen(uuid);
		}
	}
	else if (v->type == jbvBinary && OidIsValid(base) &&
			 is_fitting(v->val.binary.data, base))
	{
		push_parts(state, v->val.binary.data, base);
		return;
	}
	idem_jsonb_push(state, token, &own);
}

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
 * A JSON value as one of this type; null is NULL.  Raises 22023 for an object or
 * array where bytes are wanted, and what the type's input function raises; name is
 * what errors in structured values call it.
 */
Datum
idem_jsonb_to_datum_read(JsonbValue *v, const char *name, Oid type,
						 int32 typmod, bool *isnull)
{
	Oid			base = getBaseType(type);
	Oid			function;
	Oid			ioparam;
	bool		structured;
	JsonbValue	own;

	if (v->type == jbvNumeric && is_integer(base))
	{
		Numeric		number = without_decimals(v->val.numeric);

		if (number != NULL)
		{
			own = *v;
			own.val.numeric = number;
			v = &own;
		}
	}

	idem_jsonb_to_datum_check(v, name, type);
	*isnull = (v->type == jbvNull);
	structured = v->type == jbvBinary && is_structured(base);
	if (structured && has_varying_part(v))
	{
		IdemJsonbState state = {0};
		Jsonb	   *json;

		idem_jsonb_to_datum_push(&state, WJB_VALUE, v, type);
		json = JsonbValueToJsonb(state.result);
		own.type = jbvBinary;
		own.val.binary.data = &json->root;
		own.val.binary.len = VARSIZE(json) - VARHDRSZ;
		v = &own;
	}
	if (structured || (!*isnull && (base == JSONOID || base == JSONBOID)))
		return convert_json(v, name, type, typmod, isnull);

	/* also for a null, which the type may be a domain against */
	getTypeInputInfo(type, &function, &ioparam);
	return OidInputFunctionCall(function, text_of(v), ioparam, typmod);
}
