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

/* Appends the version of the row, as a caller would expect one. */
static void
append_version(StringInfo buf, const IdemTarget *target)
{
	if (target->version != NULL)
		appendStringInfo(buf, "idem_row.%s::pg_catalog.int8", target->version);
	else
		appendStringInfoString(buf, "NULL::pg_catalog.int8");
}

/* Does the data name more than which row is meant? */
static bool
sets_columns(const IdemTarget *target)
{
	for (int i = 0; i < target->nfields; i++)
	{
		if (!idem_target_arbitrates(target, target->fields[i]))
			return true;
	}
	return false;
}

/*
 * The row that $1 names by the arbiter's columns.  One that $1 leaves out, since
 * the table fills it in, names no row.
 */
static void
write_read(StringInfo buf, const IdemTarget *target, const char *table)
{
	appendStringInfoString(buf, "SELECT ");
	append_row(buf, target);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	appendStringInfo(buf, ", %s FROM %s AS idem_row WHERE ",
					 sets_columns(target) ? "true" : "false", table);
	for (int i = 0; i < target->arbiter.ncolumns; i++)
	{
		AttrNumber	column = target->arbiter.columns[i];
		Form_pg_attribute att = idem_target_attribute(target, column);
		const char *name = idem_target_name(target, column);

		appendStringInfo(buf, "%s(idem_row.%s %s CASE WHEN $1 OPERATOR(pg_catalog.?) %s THEN ",
						 i ? " AND " : "", name,
						 idem_unique_operator(&target->arbiter, i),
						 quote_literal_cstr(NameStr(att->attname)));
		append_stored_value(buf, target, column);
		appendStringInfoString(buf, " END");
		if (target->arbiter.nulls_equal)
		{
			appendStringInfo(buf, " OR idem_row.%s IS NULL AND ", name);
			append_stored_value(buf, target, column);
			appendStringInfoString(buf, " IS NULL");
		}
		appendStringInfoChar(buf, ')');
	}
}

/*
 * ON CONFLICT ... DO UPDATE of what the data names, where it differs.  Where
 * nothing is to be updated the row is handed over as it is, while it is locked
 * and in sight: neither the data nor RETURNING can name it then.
 */
static void
append_update(StringInfo buf, const IdemTarget *target)
{
	const char *met = psprintf("%s.idem_upsert_met", idem_catalog()->schema);
	StringInfoData old;
	StringInfoData new;
	char	   *differs;
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
	differs = psprintf("pg_catalog.record_image_ne(ROW(%s), ROW(%s))",
					   old.data, new.data);
	appendStringInfo(buf, " WHERE CASE WHEN %s", differs);
	if (target->version != NULL)
		appendStringInfo(buf, " AND idem_row.%s OPERATOR(pg_catalog.=) $2",
						 target->version);
	appendStringInfo(buf, " THEN %s(true) ELSE %s(false, ", met, met);
	append_row(buf, target);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	appendStringInfo(buf, ", %s) END", target->version != NULL ? differs : "false");
}

static void
write_upsert(StringInfo buf, const IdemTarget *target, const char *table)
{
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
		if (sets_columns(target))
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
