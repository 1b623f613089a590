/*
 * pk_argument.c
 *	  The primary key of a row as the arguments of functions give it.
 *
 * An id is a number, a text, a UUID or jsonb; what was not given a type is text.
 * A text is the value as it is, byte for byte, unless it cannot be one: where the
 * primary key has several columns, or one whose values are never written in
 * braces and quotes, an object that names them counts as jsonb would.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "catalog/pg_constraint.h"
#include "nodes/bitmapset.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "base/argument.h"
#include "base/error.h"
#include "table/pk_argument.h"

/* Looks at the primary key of a table, without a lock: its use checks it again. */
static void
look(IdemPkTable *table)
{
	Bitmapset  *key;
	Oid			constraint;
	int			column;

	if (table->known)
		return;
	key = get_primary_key_attnos(table->relid, true, &constraint);
	table->known = true;
	table->ncolumns = bms_num_members(key);
	if (bms_get_singleton_member(key, &column))
		table->type = getBaseType(get_atttype(table->relid,
											  column + FirstLowInvalidHeapAttributeNumber));
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/*
 * Is a text an object that names the columns of the key, rather than a value of it?
 * Where the key is one column, that is so if no value of its type looks like that.
 */
static bool
is_object(IdemPkTable *table, const char *text)
{
	static const char *const blanks = " \t\r\n";

	text	  +=strspn(text, blanks);

	if (*text != '{')
		return false;
	text	  ++;

	if (text[strspn(text, blanks)] != '"')
		return false;
	look(table);
	return table->ncolumns > 1 || is_integer(table->type) ||
		table->type == NUMERICOID || table->type == UUIDOID;
}

/* The id that a text gives; *json is set where it is an object. */
static const IdemPkValue *
read_text(IdemPkTable *table, const char *text, Jsonb **json)
{
	if (!is_object(table, text))
		return idem_pk_value_text(text);
	*json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	return idem_pk_value_jsonb(*json);
}

static const char *
uuid_text(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, value));
}

/*
 * The id that an argument of a function gives, which is declared as text, bigint,
 * uuid or jsonb, for a row of the table that the first argument gives.  Raises
 * 22004 for a null, and what idem_pk_value_jsonb raises.
 */
const IdemPkValue *
idem_pk_argument_read(FunctionCallInfo fcinfo, int argument)
{
	Datum		value = fcinfo->args[argument].value;
	IdemPkTable table = {0};
	Jsonb	   *json;

	if (fcinfo->args[argument].isnull)
		idem_error_null("id");
	switch (idem_argument_type(fcinfo, argument))
	{
		case INT8OID:
			return idem_pk_value_text(psprintf(INT64_FORMAT,
											   DatumGetInt64(value)));
		case UUIDOID:
			return idem_pk_value_text(uuid_text(value));
		case JSONBOID:
			return idem_pk_value_jsonb(DatumGetJsonbP(value));
		default:
			if (!PG_ARGISNULL(0))
				table.relid = PG_GETARG_OID(0);
			return read_text(&table, TextDatumGetCString(value), &json);
	}
}

static Jsonb *
json_number(int64 number)
{
	JsonbValue	v = {.type = jbvNumeric};

	v.val.numeric = int64_to_numeric(number);
	return JsonbValueToJsonb(&v);
}

/*
 * The text of an id as JSON: a number where the column is of integers, and the
 * text is what they are written like; else a string.
 */
static Jsonb *
json_text(IdemPkTable *table, const char *text)
{
	JsonbValue	v = {.type = jbvString};
	const char *digits = text +(*text == '-');
	int			length = strlen(digits);

	look(table);
	if (is_integer(table->type) && length > 0 && length < 19 &&
		strspn(digits, "0123456789") == length &&
		(*digits != '0' || (length == 1 && digits == text)))
		return json_number(strtoll(text, NULL, 10));
	v.val.string.val = unconstify(char *, text);
	v.val.string.len = strlen(text);
	return JsonbValueToJsonb(&v);
}

/* The text of a value of a string type; NULL if the type is none. */
static char *
string_of(Datum value, Oid type)
{
	Oid			function;
	bool		isvarlena;

	if (type == TEXTOID || type == VARCHAROID)
		return TextDatumGetCString(value);
	if (type == BPCHAROID)
		/* as a cast to text would do it */
		return TextDatumGetCString(DirectFunctionCall1(rtrim1, value));
	if (TypeCategory(type) != TYPCATEGORY_STRING)
		return NULL;
	getTypeOutputInfo(type, &function, &isvarlena);
	return OidOutputFunctionCall(function, value);
}

/*
 * The id that an element of an array gives, for a row of the table, and as JSON.
 * Raises 42804 for a type that ids are not given in, and what idem_pk_value_jsonb
 * raises.
 */
const IdemPkValue *
idem_pk_argument_element(IdemPkTable *table, Datum value, Oid type,
						 Jsonb **json)
{
	const IdemPkValue *id;
	int64		number;
	char	   *text;

	type = getBaseType(type);
	switch (type)
	{
		case INT2OID:
			number = DatumGetInt16(value);
			break;
		case INT4OID:
			number = DatumGetInt32(value);
			break;
		case INT8OID:
			number = DatumGetInt64(value);
			break;
		case UUIDOID:
			text = unconstify(char *, uuid_text(value));

			*json = json_text(table, text);
			return idem_pk_value_text(text);
		case JSONBOID:
			*json = DatumGetJsonbP(value);
			return idem_pk_value_jsonb(*json);
		default:
			text = string_of(value, type);

			if (text == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("\"ids\" cannot be an array of type %s",
								format_type_be(type)),
						 errhint("Give them as bigint[], text[], uuid[] or jsonb[].")));
			*json = NULL;
			id = read_text(table, text, json);
			if (*json == NULL)
				*json = json_text(table, text);
			return id;
	}
	*json = json_number(number);
	return idem_pk_value_text(psprintf(INT64_FORMAT, number));
}
