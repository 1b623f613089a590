/*
 * column_sql.c
 *	  Columns of a table as fields of a JSON object, and the other way round.
 *
 * What is written here is SQL, for statements that take the object as $1 (jsonb)
 * and call the table's row idem_row.  It runs under the caller's search_path,
 * hence every name in it is qualified, operators too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "table/column_sql.h"
#include "table/jsonb_to_datum.h"
#include "table/row_to_jsonb.h"

/*
 * The names (char *) of the fields of an object, in jsonb's own order.  Tells of
 * their spelling, too, unless that is NULL.  Raises 22023 for an argument that is
 * not an object.
 */
List *
idem_column_sql_names(Jsonb *object, const char *argument,
					  IdemSpelling *spelling)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	List	   *names = NIL;

	if (!JB_ROOT_IS_OBJECT(object))
		idem_row_to_jsonb_error(object, argument, "object",
								_("Name each column with its value: {\"total\": 12.50, \"status\": \"PENDING\"}."));

	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &v, false);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			names = lappend(names, pnstrdup(v.val.string.val, v.val.string.len));
		else if (token == WJB_VALUE && spelling != NULL &&
				 idem_jsonb_to_datum_may_vary(&v))
		{
			spelling->names = lappend(spelling->names, llast(names));
			spelling->matters = spelling->matters || v.type != jbvNumeric;
		}
	}
	return names;
}

/* The type of the column that a field names; InvalidOid if it names none. */
static Oid
field_type(Oid relid, const char *name)
{
	HeapTuple	tuple = SearchSysCacheAttName(relid, name);
	Oid			type;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	type = ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid;
	ReleaseSysCache(tuple);
	return type;
}

/*
 * Is any of the fields spelled otherwise than its column would do it?  Raises 22023
 * for one that is nothing of its column's type.
 */
static bool
varies(Jsonb *object, Oid relid, const IdemSpelling *spelling)
{
	bool		result = false;
	ListCell   *lc;

	foreach(lc, spelling->names)
	{
		const char *name = lfirst(lc);
		Oid			type = field_type(relid, name);
		JsonbValue	v;

		if (!OidIsValid(type) ||
			getKeyJsonValueFromContainer(&object->root, name, strlen(name),
										 &v) == NULL)
			continue;
		idem_jsonb_to_datum_check(&v, name, type);
		result = result || idem_jsonb_to_datum_varies(&v, type);
	}
	return result;
}

/*
 * The object with its values in the spelling that the columns of a table, which
 * its fields name, would give them.  A value that is no column's stays as it is.
 * Raises 22023 for an object or array where the column is of bytes.
 */
Jsonb *
idem_column_sql_spell(Jsonb *object, Oid relid, const IdemSpelling *spelling)
{
	IdemJsonbState state = {0};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	Oid			type = InvalidOid;

	if (!varies(object, relid, spelling))
		return object;

	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &v, false);
	idem_jsonb_push(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			type = field_type(relid, pnstrdup(v.val.string.val,
											  v.val.string.len));
			idem_jsonb_push(&state, WJB_KEY, &v);
		}
		else if (token == WJB_VALUE)
			idem_jsonb_to_datum_push(&state, WJB_VALUE, &v, type);
	}
	idem_jsonb_push(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/*
 * Appends the value of a column's field, as it would be read from a literal
 * that the caller had typed.
 *
 * For most types that is the field's text, cast without a type modifier so
 * that the assignment applies it strictly.  For those where JSON structure
 * counts (arrays, composites), where the modifier tells how to read the literal
 * ('3' is hours for an interval hour), or where casting text means something
 * else, the server's own conversion is called, which is slower.
 */
void
idem_column_sql_value(StringInfo buf, Form_pg_attribute att)
{
	char	   *name = NameStr(att->attname);
	char	   *literal = quote_literal_cstr(name);
	Oid			type = att->atttypid;
	Oid			function;

	Assert(!att->attisdropped);
	if (type == JSONOID || type == JSONBOID)
		appendStringInfo(buf, "CASE WHEN $1 OPERATOR(pg_catalog.->>) %s IS NOT NULL"
						 " THEN ($1 OPERATOR(pg_catalog.->) %s)::pg_catalog.%s END",
						 literal, literal, type == JSONOID ? "json" : "jsonb");
	else if (type == TEXTOID || type == VARCHAROID || type == BPCHAROID)
		appendStringInfo(buf, "($1 OPERATOR(pg_catalog.->>) %s)", literal);
	else if (get_typtype(type) != TYPTYPE_DOMAIN &&
			 !(type == INTERVALOID && att->atttypmod >= 0) &&
			 get_typtype(type) != TYPTYPE_COMPOSITE &&
			 !OidIsValid(get_element_type(type)) &&
			 find_coercion_pathway(type, TEXTOID, COERCION_EXPLICIT,
								   &function) == COERCION_PATH_COERCEVIAIO)
		appendStringInfo(buf, "($1 OPERATOR(pg_catalog.->>) %s)::%s", literal,
						 format_type_extended(type, -1,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	else
		appendStringInfo(buf, "(SELECT r.%s FROM pg_catalog.jsonb_to_record($1)"
						 " AS r(%s %s))",
						 quote_identifier(name), quote_identifier(name),
						 format_type_extended(type, att->atttypmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
}

/*
 * The function that gives a type its length as an assignment does, which raises
 * an error where a cast would cut the value short; NULL for other types.
 */
static const char *
length_function(Oid type)
{
	switch (type)
	{
		case VARCHAROID:
			return "\"varchar\"";
		case BPCHAROID:
			return "bpchar";
		case BITOID:
			return "\"bit\"";
		case VARBITOID:
			return "varbit";
		default:
			return NULL;
	}
}

/* Appends the value of a column's field as the column would hold it. */
void
idem_column_sql_stored(StringInfo buf, Form_pg_attribute att)
{
	const char *function = length_function(att->atttypid);

	appendStringInfoString(buf, "CAST(");
	if (function != NULL && att->atttypmod >= 0)
	{
		appendStringInfo(buf, "pg_catalog.%s(", function);
		idem_column_sql_value(buf, att);
		appendStringInfo(buf, "::%s, %d, false)",
						 format_type_extended(att->atttypid, -1,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY),
						 att->atttypmod);
	}
	else
		idem_column_sql_value(buf, att);
	appendStringInfo(buf, " AS %s)",
					 format_type_extended(att->atttypid, att->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN |
										  FORMAT_TYPE_FORCE_QUALIFY));
}

/* A collation as SQL; "" for none. */
const char *
idem_column_sql_collate(Oid collation)
{
	HeapTuple	tuple;
	Form_pg_collation form;
	char	   *sql;

	if (!OidIsValid(collation))
		return "";
	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	sql = psprintf(" COLLATE %s",
				   quote_qualified_identifier(get_namespace_name(form->collnamespace),
											  NameStr(form->collname)));
	ReleaseSysCache(tuple);
	return sql;
}

/* Appends the row as jsonb: all of it, or what the caller may read of it. */
void
idem_column_sql_row(StringInfo buf, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			relid = RelationGetRelid(rel);
	const char *schema = idem_catalog()->schema;
	bool		first = true;

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
	{
		appendStringInfo(buf, "%s._idem_row_jsonb(idem_row.*)", schema);
		return;
	}

	appendStringInfo(buf, "(SELECT %s._idem_row_jsonb(r.*) FROM (SELECT ", schema);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped ||
			pg_attribute_aclcheck(relid, att->attnum, GetUserId(),
								  ACL_SELECT) != ACLCHECK_OK)
			continue;
		appendStringInfo(buf, "%sidem_row.%s", first ? "" : ", ",
						 quote_identifier(NameStr(att->attname)));
		first = false;
	}
	appendStringInfoString(buf, ") AS r)");
}
