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

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "field.h"
#include "target.h"
#include "trial.h"

static void
append_collation(StringInfo buf, Oid collation)
{
	HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	appendStringInfo(buf, " COLLATE %s",
					 quote_qualified_identifier(get_namespace_name(form->collnamespace),
												NameStr(form->collname)));
	ReleaseSysCache(tuple);
}

/*
 * Appends the value of field i as a new row gets it: a union of what is given
 * with nothing, so that the same given again adds nothing to it.
 */
static void
append_new_value(StringInfo buf, const IdemTarget *target, int i)
{
	Form_pg_attribute att = idem_target_attribute(target, target->fields[i]);
	StringInfoData value;

	initStringInfo(&value);
	idem_field_value(&value, att);
	if (target->rules[i] != IDEM_MERGE_UNION)
	{
		appendStringInfoString(buf, value.data);
		return;
	}
	/* what is equal must not depend on whether the row was there */
	if (OidIsValid(att->attcollation))
		append_collation(&value, att->attcollation);
	idem_merge_values(buf, IDEM_MERGE_UNION, att, "NULL", value.data);
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
	idem_field_row(buf, target->rel);
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
		idem_field_stored(buf, att);
		appendStringInfoString(buf, " END");
		if (target->arbiter.nulls_equal)
		{
			appendStringInfo(buf, " OR idem_row.%s IS NULL AND ", name);
			idem_field_stored(buf, att);
			appendStringInfoString(buf, " IS NULL");
		}
		appendStringInfoChar(buf, ')');
	}
}

/*
 * ON CONFLICT ... DO UPDATE of what the data names, where it differs from what
 * the row has, or is not yet part of it where it is to be merged.  Where
 * nothing is to be updated the row is handed over as it is, while it is locked
 * and in sight: neither the data nor RETURNING can name it then.
 */
static void
append_update(StringInfo buf, const IdemTarget *target)
{
	const char *met = psprintf("%s._idem_upsert_met", idem_catalog()->schema);
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
		StringInfoData merged;

		if (idem_target_arbitrates(target, target->fields[i]))
			continue;
		initStringInfo(&merged);
		idem_merge_values(&merged, target->rules[i],
						  idem_target_attribute(target, target->fields[i]),
						  psprintf("idem_row.%s", name),
						  psprintf("excluded.%s", name));
		appendStringInfo(buf, "%s%s = %s", first ? "" : ", ", name, merged.data);
		appendStringInfo(&old, "%sidem_row.%s", first ? "" : ", ", name);
		appendStringInfo(&new, "%s%s", first ? "" : ", ", merged.data);
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
	appendStringInfo(buf, " THEN %s($3, true) ELSE %s($3, false, ", met, met);
	idem_field_row(buf, target->rel);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	appendStringInfo(buf, ", %s) END", target->version != NULL ? differs : "false");
}

static void
write_upsert(StringInfo buf, const IdemTarget *target, const char *table,
			 bool updates)
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
			append_new_value(buf, target, i);
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
		if (updates)
			append_update(buf, target);
		else
			appendStringInfoString(buf, " DO NOTHING");
	}

	appendStringInfoString(buf, " RETURNING ");
	idem_field_row(buf, target->rel);
}

/*
 * Writes one of the statements of a shape, after checking the shape against
 * the table and the caller's privileges as they are now; NULL if there is no
 * such statement.  Raises what idem_target_open raises.
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
	if (which == IDEM_SHAPE_INSERT &&
		!(sets_columns(&target) && idem_trial_allowed(&target)))
		buf.data = NULL;
	else if (which == IDEM_SHAPE_READ)
		write_read(&buf, &target, table);
	else
		write_upsert(&buf, &target, table,
					 which == IDEM_SHAPE_WRITE && sets_columns(&target));

	table_close(target.rel, NoLock);
	return buf.data;
}
