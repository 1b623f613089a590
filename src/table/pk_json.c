/*
 * pk_json.c
 *	  The primary key of a row, as the history keeps it: a JSON object of its
 *	  columns.
 *
 * What is written today is compared with what is asked in years, by another
 * session, so a value is written in the same way whatever the session is set
 * to.
 *
 * States and version are left out, where they are part of the key, as the state
 * must be in a table that is partitioned by it: what a row is known by through
 * its changes is the rest.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "run/usercontext.h"
#include "table/pk_json.h"
#include "table/tableref.h"

PG_FUNCTION_INFO_V1(idem_history_place);

static char *
output(Oid type, Datum value)
{
	Oid			function;
	bool		isvarlena;

	getTypeOutputInfo(type, &function, &isvarlena);
	return OidOutputFunctionCall(function, value);
}

/* The text of a value of a type whose output may depend on settings. */
static char *
settled_output(Oid type, Datum value)
{
	static const char *const settings[][2] = {
		{"bytea_output", "hex"},
		{"DateStyle", "ISO"},
		{"extra_float_digits", "1"},
		{"IntervalStyle", "iso_8601"},
		{"lc_monetary", "C"},
		{"search_path", ""},
		{"TimeZone", "UTC"},
	};
	int			nestlevel = idem_usercontext_set(settings, lengthof(settings));
	char	   *text;

	text = output(type, value);

	idem_usercontext_reset(nestlevel);
	return text;
}

static void
append_value(StringInfo buf, Oid type, Datum value)
{
	static const int utc = 0;
	char		moment[MAXDATELEN + 1];
	char	   *text;

	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
			appendStringInfoString(buf, DatumGetBool(value) ? "true" : "false");
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			appendStringInfoString(buf, output(type, value));
			break;
		case NUMERICOID:
			text = output(type, value);

			/* JSON has no NaN and no infinity */
			if (strspn(text, "-.0123456789") == strlen(text))
				appendStringInfoString(buf, text);
			else
				escape_json(buf, text);
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
			escape_json(buf, output(type, value));
			break;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			escape_json(buf, JsonEncodeDateTime(moment, value, type, &utc));
			break;
		default:
			escape_json(buf, get_typtype(type) == TYPTYPE_ENUM ?
						output(type, value) : settled_output(type, value));
			break;
	}
}

static Jsonb *
form(Relation rel, const Bitmapset *managed,
	 int count, const AttrNumber *columns, const Datum *values,
	 const bool *nulls)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < count; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
											  columns[i] - 1);

		if (bms_is_member(columns[i], managed))
			continue;
		appendStringInfoString(&buf, buf.len == 0 ? "{" : ", ");
		escape_json(&buf, NameStr(att->attname));
		appendStringInfoString(&buf, ": ");
		if (nulls != NULL && nulls[i])
			appendStringInfoString(&buf, "null");
		else
			append_value(&buf, att->atttypid, values[i]);
	}
	appendStringInfoString(&buf, buf.len == 0 ? "{}" : "}");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(buf.data)));
}

/*
 * The primary key of a row without the managed columns; empty in a table without
 * one.  A row that is yet to
 * be stored has no generated columns, so they are left out, and may have nulls.
 */
Jsonb *
idem_pk_json_read(Relation rel, const Bitmapset *managed, HeapTuple row,
				  bool stored)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel,
												 INDEX_ATTR_BITMAP_PRIMARY_KEY);
	AttrNumber	columns[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	int			count = 0;
	int			i = -1;

	while ((i = bms_next_member(key, i)) >= 0)
	{
		AttrNumber	column = i + FirstLowInvalidHeapAttributeNumber;

		if (!stored && TupleDescAttr(desc, column - 1)->attgenerated != '\0')
			continue;
		Assert(column > 0 && count < INDEX_MAX_KEYS);
		columns[count] = column;
		values[count] = heap_getattr(row, column, desc, &nulls[count]);
		count++;
	}
	bms_free(key);
	return form(rel, managed, count, columns, values, nulls);
}

/* The primary key of a row with these values of the key's columns. */
Jsonb *
idem_pk_json_form(Relation rel, const Bitmapset *managed,
				  const IdemUniqueIndex *key, const Datum *values)
{
	return form(rel, managed, key->ncolumns, key->columns, values, NULL);
}

/*
 * Where the history of a row of a table has its place in the index: rows of one
 * table are together.  A hash of the key takes less space than the key, and less
 * time to compare.
 */
int64
idem_pk_json_place(Oid table, Jsonb *row)
{
	int32		hash = DatumGetInt32(DirectFunctionCall1(jsonb_hash,
														 JsonbPGetDatum(row)));

	return (int64) ((uint64) table << 32 | (uint32) hash);
}

/* idem_history_place(target idem_table, row_key jsonb) -> bigint */
Datum
idem_history_place(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(idem_pk_json_place(idem_tableref_relid(PG_GETARG_DATUM(0)),
									   PG_GETARG_JSONB_P(1)));
}
