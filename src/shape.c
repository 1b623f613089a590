/*
 * shape.c
 *	  The statements that an upsert into a table comes to.
 *
 * They are what a person would write: INSERT ... ON CONFLICT of exactly the
 * columns that the data names, so that defaults, identity and generated
 * columns, triggers, constraints, row security and privileges do what they
 * do for that person.  They run under the caller's search_path, hence every
 * name in them is qualified, operators too.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "target.h"

/*
 * Appends the value of a field, as it would be read from a literal that the
 * caller had typed.
 *
 * For most types that is the field's text, cast without a type modifier so
 * that the assignment applies it strictly.  For those where JSON structure
 * counts (arrays, composites), where the modifier tells how to read the literal
 * ('3' is hours for an interval hour), or where casting text means something
 * else, the server's own conversion is called, which is slower.
 */
static void
append_value(StringInfo buf, const IdemTarget *target, AttrNumber column)
{
	Form_pg_attribute att = idem_target_attribute(target, column);
	char	   *name = NameStr(att->attname);
	char	   *literal = quote_literal_cstr(name);
	Oid			type = att->atttypid;
	Oid			function;

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

/* Appends the value of a field as the column would hold it. */
static void
append_stored_value(StringInfo buf, const IdemTarget *target, AttrNumber column)
{
	Form_pg_attribute att = idem_target_attribute(target, column);

	appendStringInfoString(buf, "CAST(");
	append_value(buf, target, column);
	appendStringInfo(buf, " AS %s)",
					 format_type_extended(att->atttypid, att->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN |
										  FORMAT_TYPE_FORCE_QUALIFY));
}

/* Appends the row as jsonb: all of it, or what the caller may read of it. */
static void
append_row(StringInfo buf, const IdemTarget *target)
{
	TupleDesc	desc = RelationGetDescr(target->rel);
	bool		first = true;

	if (target->reads_all)
	{
		appendStringInfoString(buf, "pg_catalog.to_jsonb(idem_row.*)");
		return;
	}

	appendStringInfoString(buf, "(SELECT pg_catalog.to_jsonb(r.*) FROM (SELECT ");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped ||
			pg_attribute_aclcheck(target->shape->target, att->attnum,
								  GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			continue;
		appendStringInfo(buf, "%sidem_row.%s", first ? "" : ", ",
						 idem_target_name(target, att->attnum));
		first = false;
	}
	appendStringInfoString(buf, ") AS r)");
}

/* The row that the data names by the arbiter's columns, as it is now. */
static void
write_read(StringInfo buf, const IdemTarget *target, const char *table)
{
	appendStringInfoString(buf, "SELECT ");
	append_row(buf, target);
	if (target->version != NULL)
		appendStringInfo(buf, ", idem_row.%s::pg_catalog.int8", target->version);
	else
		appendStringInfoString(buf, ", NULL::pg_catalog.int8");
	if (target->version != NULL && target->nfields > 0)
	{
		appendStringInfoString(buf, ", pg_catalog.record_image_ne(ROW(");
		for (int i = 0; i < target->nfields; i++)
			appendStringInfo(buf, "%sidem_row.%s", i ? ", " : "",
							 idem_target_name(target, target->fields[i]));
		appendStringInfoString(buf, "), ROW(");
		for (int i = 0; i < target->nfields; i++)
		{
			if (i > 0)
				appendStringInfoString(buf, ", ");
			append_stored_value(buf, target, target->fields[i]);
		}
		appendStringInfoString(buf, "))");
	}
	else
		appendStringInfoString(buf, ", false");

	appendStringInfo(buf, " FROM %s AS idem_row WHERE ", table);
	for (int i = 0; i < target->arbiter.ncolumns; i++)
	{
		AttrNumber	column = target->arbiter.columns[i];
		const char *name = idem_target_name(target, column);

		appendStringInfo(buf, "%s(idem_row.%s %s ", i ? " AND " : "", name,
						 idem_unique_operator(&target->arbiter, i));
		append_stored_value(buf, target, column);
		if (target->arbiter.nulls_equal)
		{
			appendStringInfo(buf, " OR idem_row.%s IS NULL AND ", name);
			append_stored_value(buf, target, column);
			appendStringInfoString(buf, " IS NULL");
		}
		appendStringInfoChar(buf, ')');
	}
}

/* ON CONFLICT ... DO UPDATE of what the data names, where it differs. */
static void
append_update(StringInfo buf, const IdemTarget *target)
{
	StringInfoData old;
	StringInfoData new;
	bool		first = true;

	initStringInfo(&old);
	initStringInfo(&new);
	appendStringInfoString(buf, " DO UPDATE SET ");
	for (int i = 0; i < target->nfields; i++)
	{
		const char *name = idem_target_name(target, target->fields[i]);

		if (idem_target_arbitrates(target, target->fields[i]))
			continue;
		appendStringInfo(buf, "%s%s = excluded.%s", first ? "" : ", ", name, name);
		appendStringInfo(&old, "%sidem_row.%s", first ? "" : ", ", name);
		appendStringInfo(&new, "%sexcluded.%s", first ? "" : ", ", name);
		first = false;
	}
	if (target->raise_version)
		appendStringInfo(buf, ", %s = idem_row.%s OPERATOR(pg_catalog.+) 1",
						 target->version, target->version);

	/* By image, so that no difference at all is taken for none. */
	appendStringInfo(buf, " WHERE %s.idem_upsert_met("
					 "pg_catalog.record_image_ne(ROW(%s), ROW(%s))",
					 idem_catalog()->schema, old.data, new.data);
	if (target->version != NULL)
		appendStringInfo(buf, " AND idem_row.%s OPERATOR(pg_catalog.=) $2",
						 target->version);
	appendStringInfoChar(buf, ')');
}

static void
write_upsert(StringInfo buf, const IdemTarget *target, const char *table)
{
	bool		sets = false;

	appendStringInfo(buf, "INSERT INTO %s AS idem_row", table);
	if (target->nfields == 0)
		appendStringInfoString(buf, " DEFAULT VALUES");
	else
	{
		appendStringInfoString(buf, " (");
		for (int i = 0; i < target->nfields; i++)
			appendStringInfo(buf, "%s%s", i ? ", " : "",
							 idem_target_name(target, target->fields[i]));
		appendStringInfoString(buf, ") VALUES (");
		for (int i = 0; i < target->nfields; i++)
		{
			if (i > 0)
				appendStringInfoString(buf, ", ");
			append_value(buf, target, target->fields[i]);
			if (!idem_target_arbitrates(target, target->fields[i]))
				sets = true;
		}
		appendStringInfoChar(buf, ')');
	}

	if (target->has_arbiter)
	{
		appendStringInfoString(buf, " ON CONFLICT (");
		for (int i = 0; i < target->arbiter.ncolumns; i++)
			appendStringInfo(buf, "%s%s", i ? ", " : "",
							 idem_target_name(target, target->arbiter.columns[i]));
		appendStringInfoChar(buf, ')');
		if (sets)
			append_update(buf, target);
		else
			appendStringInfoString(buf, " DO NOTHING");
	}

	appendStringInfoString(buf, " RETURNING ");
	append_row(buf, target);
}

/*
 * Writes one of the statements of a shape, after checking the shape against
 * the table and the caller's privileges as they are now.  Raises what
 * idem_target_open raises.
 */
char *
idem_shape_sql(const IdemShape *shape, IdemShapeStatement which)
{
	IdemTarget	target;
	StringInfoData buf;
	const char *table;

	idem_target_open(&target, shape);
	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target.rel)),
									   RelationGetRelationName(target.rel));

	initStringInfo(&buf);
	if (which == IDEM_SHAPE_READ)
		write_read(&buf, &target, table);
	else
		write_upsert(&buf, &target, table);

	table_close(target.rel, NoLock);
	return buf.data;
}
