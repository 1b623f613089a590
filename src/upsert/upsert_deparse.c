/*
 * upsert_deparse.c
 *	  The statements of an upsert into a table.
 *
 * They are what a person would write: INSERT ... ON CONFLICT of exactly the
 * columns that the data names, so that defaults, identity and generated
 * columns, triggers, constraints, row security and privileges do what they
 * do for that person.  They run under the caller's search_path, hence every
 * name in them is qualified, operators too.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "table/column_sql.h"
#include "table/row_version.h"
#include "table/sql_name.h"
#include "upsert/insert_first.h"
#include "upsert/upsert_target.h"

/* The column of field i. */
static Form_pg_attribute
field_attribute(const IdemUpsertTarget *target, int i)
{
	return idem_target_attribute(&target->table, target->fields[i]);
}

/* Its name. */
static const char *
field_name(const IdemUpsertTarget *target, int i)
{
	return idem_sql_name_column(target->table.rel, target->fields[i]);
}

/*
 * Appends the value of field i as a new row gets it: a union of what is given
 * with nothing, so that the same given again adds nothing to it.
 */
static void
append_new_value(StringInfo buf, const IdemUpsertTarget *target, int i)
{
	Form_pg_attribute att = field_attribute(target, i);
	StringInfoData value;

	initStringInfo(&value);
	idem_column_sql_value(&value, att);
	if (target->rules[i] != IDEM_MERGE_UNION)
	{
		appendStringInfoString(buf, value.data);
		return;
	}
	/* what is equal must not depend on whether the row was there */
	appendStringInfoString(&value, idem_column_sql_collate(att->attcollation));
	idem_merge_values(buf, IDEM_MERGE_UNION, att, "NULL", value.data);
}

/* Appends the version of the row, as a caller would expect one. */
static void
append_version(StringInfo buf, const IdemUpsertTarget *target)
{
	idem_row_version_append(buf, target->table.rel,
							target->spec->versioned ? target->table.version :
							InvalidAttrNumber);
}

/* Does the data name anything to be updated? */
static bool
sets_columns(const IdemUpsertTarget *target)
{
	for (int i = 0; i < target->nfields; i++)
	{
		if (idem_upsert_target_updates(target, target->fields[i]))
			return true;
	}
	return false;
}

/*
 * Appends the condition that a row is the one that $1 names by the arbiter's
 * columns.  Where $1 leaves one out, since the table fills it in, it names no row.
 */
static void
append_key(StringInfo buf, const IdemUpsertTarget *target)
{
	Assert(target->table.key.ncolumns > 0);
	for (int i = 0; i < target->table.key.ncolumns; i++)
	{
		AttrNumber	column = target->table.key.columns[i];
		Form_pg_attribute att = idem_target_attribute(&target->table, column);
		const char *name = idem_sql_name_column(target->table.rel, column);
		StringInfoData value;

		initStringInfo(&value);
		idem_column_sql_stored(&value, att);
		appendStringInfo(buf, "%s(idem_row.%s%s %s ", i ? " AND " : "", name,
						 target->collated ?
						 idem_column_sql_collate(target->table.key.collation[i]) : "",
						 idem_unique_index_operator(&target->table.key, i));
		if (target->named)
			appendStringInfoString(buf, value.data);
		else
			appendStringInfo(buf, "CASE WHEN $1 OPERATOR(pg_catalog.?) %s THEN %s END",
							 quote_literal_cstr(NameStr(att->attname)), value.data);
		if (target->table.key.nulls_equal)
			appendStringInfo(buf, " OR idem_row.%s IS NULL AND %s IS NULL",
							 name, value.data);
		appendStringInfoChar(buf, ')');
	}
}

/*
 * Makes the assignments of what the data names, given the expressions of its
 * values, and the condition that the row differs from that: by image, so that no
 * difference at all is taken for none.
 */
static void
make_update(const IdemUpsertTarget *target,
			char *(*value) (const IdemUpsertTarget *, int), StringInfo set,
			StringInfo differs)
{
	StringInfoData old;
	StringInfoData new;
	bool		first = true;

	Assert(sets_columns(target));
	initStringInfo(set);
	initStringInfo(differs);
	initStringInfo(&old);
	initStringInfo(&new);
	for (int i = 0; i < target->nfields; i++)
	{
		const char *name = field_name(target, i);
		StringInfoData merged;

		if (!idem_upsert_target_updates(target, target->fields[i]))
			continue;
		initStringInfo(&merged);
		idem_merge_values(&merged, target->rules[i],
						  field_attribute(target, i),
						  psprintf("idem_row.%s", name), value(target, i));
		appendStringInfo(set, "%s%s = %s", first ? "" : ", ", name,
						 merged.data);
		appendStringInfo(&old, "%sidem_row.%s", first ? "" : ", ", name);
		appendStringInfo(&new, "%s%s", first ? "" : ", ", merged.data);
		first = false;
	}
	if (target->table.raise_version)
		idem_row_version_append_raise(set, target->table.rel,
									  target->table.version);
	appendStringInfo(differs, "pg_catalog.record_image_ne(ROW(%s), ROW(%s))",
					 old.data, new.data);
}

/* The value of field i in ON CONFLICT. */
static char *
excluded_value(const IdemUpsertTarget *target, int i)
{
	return psprintf("excluded.%s", field_name(target, i));
}

/* The value of field i where there is no row excluded. */
static char *
given_value(const IdemUpsertTarget *target, int i)
{
	StringInfoData value;

	initStringInfo(&value);
	idem_column_sql_stored(&value, field_attribute(target, i));
	return value.data;
}

/* The row that $1 names. */
static void
write_read(StringInfo buf, const IdemUpsertTarget *target, bool locks)
{
	StringInfoData set;
	StringInfoData differs;

	appendStringInfoString(buf, "SELECT ");
	idem_column_sql_row(buf, target->table.rel);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	if (locks && sets_columns(target))
		make_update(target, given_value, &set, &differs);
	else
	{
		initStringInfo(&differs);
		appendStringInfoString(&differs,
							   sets_columns(target) ? "true" : "false");
	}
	appendStringInfo(buf, ", %s FROM %s AS idem_row WHERE ", differs.data,
					 idem_sql_name_only(target->table.rel));
	append_key(buf, target);
	if (locks && sets_columns(target))
		appendStringInfoString(buf, " FOR NO KEY UPDATE");
}

/* An update of the row that $1 names, if it is as expected but not as wanted. */
static void
write_update(StringInfo buf, const IdemUpsertTarget *target, bool always)
{
	StringInfoData set;
	StringInfoData differs;

	make_update(target, given_value, &set, &differs);
	appendStringInfo(buf, "UPDATE %s AS idem_row SET %s WHERE ",
					 idem_sql_name_only(target->table.rel), set.data);
	append_key(buf, target);
	if (!always)
	{
		idem_row_version_append_test(buf, target->table.rel,
									 target->table.version, 2);
		appendStringInfo(buf, " AND %s", differs.data);
	}
	appendStringInfoString(buf, " RETURNING ");
	idem_column_sql_row(buf, target->table.rel);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
}

/*
 * ON CONFLICT ... DO UPDATE of what the data names, where it differs from what
 * the row has, or is not yet part of it where it is to be merged.  Where
 * nothing is to be updated the row is handed over as it is, while it is locked
 * and in sight: neither the data nor RETURNING can name it then.
 */
static void
append_update(StringInfo buf, const IdemUpsertTarget *target)
{
	const char *met = psprintf("%s._idem_upsert_met", idem_catalog()->schema);
	StringInfoData set;
	StringInfoData differs;

	make_update(target, excluded_value, &set, &differs);
	appendStringInfo(buf, " DO UPDATE SET %s WHERE CASE WHEN %s", set.data,
					 differs.data);
	if (target->spec->versioned)
		idem_row_version_append_test(buf, target->table.rel,
									 target->table.version, 2);
	appendStringInfo(buf, " THEN %s($3, true", met);
	/* what triggers may put back is to be compared with what it was */
	if (idem_target_check_alters(target->table.rel))
	{
		appendStringInfoString(buf, ", ");
		idem_column_sql_row(buf, target->table.rel);
	}
	appendStringInfo(buf, ") ELSE %s($3, false, ", met);
	idem_column_sql_row(buf, target->table.rel);
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	appendStringInfo(buf, ", %s) END",
					 target->spec->versioned ? differs.data : "false");
}

static void
write_upsert(StringInfo buf, const IdemUpsertTarget *target, bool updates)
{
	appendStringInfo(buf, "INSERT INTO %s AS idem_row",
					 idem_sql_name(target->table.rel));
	if (target->nfields == 0)
		appendStringInfoString(buf, " DEFAULT VALUES");
	else
	{
		appendStringInfoString(buf, " (");
		for (int i = 0; i < target->nfields; i++)
			appendStringInfo(buf, "%s%s", i ? ", " : "",
							 field_name(target, i));
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
		for (int i = 0; i < target->table.key.ncolumns; i++)
		{
			AttrNumber	column = target->table.key.columns[i];

			appendStringInfo(buf, "%s%s", i ? ", " : "",
							 idem_sql_name_column(target->table.rel, column));
		}
		appendStringInfoChar(buf, ')');
		if (updates)
			append_update(buf, target);
		else
			appendStringInfoString(buf, " DO NOTHING");
	}

	/*
	 * An insert that does nothing depends on the function that the upsert
	 * calls, so that no caller runs it who may no longer call that; it costs
	 * nothing.
	 */
	appendStringInfoString(buf, " RETURNING ");
	if (!updates)
		appendStringInfo(buf, "CASE WHEN false AND %s._idem_upsert_met(NULL, NULL) THEN NULL ELSE ",
						 idem_catalog()->schema);
	idem_column_sql_row(buf, target->table.rel);
	if (!updates)
		appendStringInfoString(buf, " END");
}

/*
 * Is a row that is to have a version found by an update alone?  Not if only an
 * insert can tell which row is meant.
 */
static bool
updates_only(const IdemUpsertTarget *target)
{
	return target->spec->versioned && target->named &&
		!idem_target_check_fills(target->table.rel, false);
}

/* Is there such a statement? */
static bool
is_written(const IdemUpsertTarget *target, IdemUpsertStatement which)
{
	switch (which)
	{
		case IDEM_UPSERT_WRITE:
		case IDEM_UPSERT_READ:
			return true;
		case IDEM_UPSERT_INSERT:
			return sets_columns(target) && idem_insert_first_allowed(target);
		case IDEM_UPSERT_UPDATE:
			return sets_columns(target) && updates_only(target);
		case IDEM_UPSERT_LOCK:
			return updates_only(target);
		case IDEM_UPSERT_REPEAT:
			return sets_columns(target) && updates_only(target) &&
				idem_target_check_alters(target->table.rel);
	}
	return false;				/* keep compiler quiet */
}

/*
 * Writes one of the statements of a spec, after checking the spec against
 * the table and the caller's privileges as they are now; NULL if there is no
 * such statement.  Raises what idem_upsert_target_open raises.
 */
char *
idem_upsert_deparse_sql(const IdemUpsertSpec *spec, IdemUpsertStatement which)
{
	IdemUpsertTarget target;
	StringInfoData buf;

	idem_upsert_target_open(&target, spec);

	initStringInfo(&buf);
	if (!is_written(&target, which))
		buf.data = NULL;
	else if (which == IDEM_UPSERT_READ || which == IDEM_UPSERT_LOCK)
		write_read(&buf, &target, which == IDEM_UPSERT_LOCK);
	else if (which == IDEM_UPSERT_UPDATE || which == IDEM_UPSERT_REPEAT)
		write_update(&buf, &target, which == IDEM_UPSERT_REPEAT);
	else
		write_upsert(&buf, &target,
					 which == IDEM_UPSERT_WRITE && sets_columns(&target));

	idem_target_close(&target.table);
	return buf.data;
}
