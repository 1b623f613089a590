/*
 * update_target.c
 *	  A table of which idem_update() changes a row.
 *
 * The statements are what a person would write and run with the caller's
 * rights.  They run under the caller's search_path, hence every name in them is
 * qualified.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "base/routed.h"
#include "run/spi_caller.h"
#include "table/column_sql.h"
#include "table/jsonb_to_datum.h"
#include "table/sql_name.h"
#include "update/update_target.h"

/*
 * Finds the columns of the fields to be set, and refuses those of the key.  The
 * version is none of them: a caller who sends back a row as read sends it, too.
 */
static void
find_fields(IdemUpdateTarget *target)
{
	ListCell   *lc;
	List	   *names = idem_column_sql_names(target->args->patch, "patch",
											  NULL);

	target->fields = palloc(sizeof(AttrNumber) * (list_length(names) + 1));
	foreach(lc, names)
	{
		char	   *name = lfirst(lc);
		AttrNumber	column = idem_target_need_column(&target->table, name);

		if (idem_target_has_key_column(&target->table, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is part of the primary key and cannot be patched",
							name),
					 errhint("Leave it out of \"patch\": \"id\" says which row is meant.")));
		if (column == target->table.version)
			continue;
		target->names = lappend(target->names, name);
		target->fields[target->nfields++] = column;
	}
}

/* Gives the statements' parameters their values. */
static void
bind_values(IdemUpdateTarget *target)
{
	const IdemUpdateArgs *args = target->args;
	ListCell   *lc;
	int			most = target->table.key.ncolumns + target->nfields + 1;
	int			i = target->table.key.ncolumns;

	target->types = palloc(sizeof(Oid) * most);
	target->values = palloc(sizeof(Datum) * most);
	target->isnull = palloc0(sizeof(bool) * most);
	idem_pk_value_bind(args->id, target->table.rel, &target->table.key,
					   target->types, target->values);

	foreach(lc, target->names)
	{
		const char *name = lfirst(lc);
		AttrNumber	column = target->fields[foreach_current_index(lc)];
		Form_pg_attribute att = idem_target_attribute(&target->table, column);
		JsonbValue	v;
		JsonbValue *found PG_USED_FOR_ASSERTS_ONLY =
			getKeyJsonValueFromContainer(&args->patch->root, name,
										 strlen(name), &v);

		Assert(found != NULL);
		target->types[i] = att->atttypid;
		target->values[i] = idem_jsonb_to_datum_read(&v, name, att->atttypid,
													 att->atttypmod,
													 &target->isnull[i]);
		i++;
	}

	if (args->expected.exists)
	{
		target->types[i] = INT8OID;
		target->values[i] = Int64GetDatum(args->expected.number);
		i++;
	}
	Assert(i <= most && list_length(target->names) == target->nfields);
	target->nparams = i;
}

/*
 * Opens a table to be updated, to be closed by the caller, and checks it against
 * what is wanted of it.
 *
 * Raises 42P01, 42809, 42501 and 0A000 for what is not a table to update, 42P10
 * for want of a primary key, 42703 for unknown fields or want of a version to
 * expect, 22023 for fields that are not to be set, and what idem_pk_value_bind and
 * the types raise for values.
 */
void
idem_update_target_open(IdemUpdateTarget *target, const IdemUpdateArgs *args)
{
	memset(target, 0, sizeof(IdemUpdateTarget));
	target->args = args;
	idem_target_open(&target->table, args->target, IDEM_TARGET_UPDATE,
					 args->keyed);
	idem_unique_index_need_primary(&target->table.key, target->table.rel);
	target->routed = idem_routed(args->target);
	if (target->routed)
		idem_routed_row_init(&target->row, target->table.rel);
	target->altered = idem_target_check_alters_now(target->table.rel);
	idem_target_find_version(&target->table, args->expected.exists);
	find_fields(target);
	bind_values(target);
}

/* The name of the column of field i. */
static const char *
field_name(const IdemUpdateTarget *target, int i)
{
	return idem_sql_name_column(target->table.rel, target->fields[i]);
}

/* Appends the version, if there is one for the caller to read. */
static void
append_version(StringInfo buf, const IdemUpdateTarget *target)
{
	Oid			relid = RelationGetRelid(target->table.rel);
	AttrNumber	column = target->table.version;

	if (column != InvalidAttrNumber && !target->args->expected.exists &&
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relid, column, GetUserId(),
							  ACL_SELECT) != ACLCHECK_OK)
		column = InvalidAttrNumber;
	idem_row_version_append(buf, target->table.rel, column);
}

/*
 * Appends whether the row differs from the patch: by image, so that no
 * difference at all is taken for none.  A column of the key stands on both sides where
 * rows are elsewhere, lest one become a constant record, which no other node could
 * read.
 */
static void
append_differs(StringInfo buf, const IdemUpdateTarget *target)
{
	StringInfoData new;

	if (target->nfields == 0)
	{
		appendStringInfoString(buf, "false");
		return;
	}
	initStringInfo(&new);
	appendStringInfoString(buf, "pg_catalog.record_image_ne(ROW(");
	if (target->routed)
	{
		const char *key = idem_sql_name_column(target->table.rel,
											   target->table.key.columns[0]);

		appendStringInfo(buf, "idem_row.%s, ", key);
		appendStringInfo(&new, "idem_row.%s, ", key);
	}
	for (int i = 0; i < target->nfields; i++)
	{
		appendStringInfo(buf, "%sidem_row.%s", i ? ", " : "",
						 field_name(target, i));
		appendStringInfo(&new, "%s$%d", i ? ", " : "",
						 target->table.key.ncolumns + i + 1);
	}
	appendStringInfo(buf, "), ROW(%s))", new.data);
}

static void
append_assignments(StringInfo buf, const IdemUpdateTarget *target)
{
	for (int i = 0; i < target->nfields; i++)
		appendStringInfo(buf, "%s%s = $%d", i ? ", " : "",
						 field_name(target, i),
						 target->table.key.ncolumns + i + 1);
	if (target->table.raise_version)
		idem_row_version_append_raise(buf, target->table.rel,
									  target->table.version);
}

/*
 * Appends what a statement returns: whether the row differs, if that is asked for, the
 * version, and the row, as jsonb or, where rows are elsewhere, its columns.
 */
static void
append_returned(StringInfo buf, const IdemUpdateTarget *target, bool differs)
{
	if (differs)
		append_differs(buf, target);
	else
		appendStringInfoString(buf, "false");
	appendStringInfoString(buf, ", ");
	append_version(buf, target);
	if (target->routed)
		idem_routed_row_append(buf, &target->row);
	else
	{
		appendStringInfoString(buf, ", ");
		idem_column_sql_row(buf, target->table.rel);
	}
}

static const char *
write_sql(const void *state, int which)
{
	const IdemUpdateTarget *target = state;
	StringInfoData buf;
	const char *name = idem_sql_name_only(target->table.rel);

	initStringInfo(&buf);
	if (which != IDEM_UPDATE_LOCK)
	{
		appendStringInfo(&buf, "UPDATE %s AS idem_row SET ", name);
		append_assignments(&buf, target);
	}
	else
	{
		appendStringInfoString(&buf, "SELECT ");
		append_returned(&buf, target, true);
		appendStringInfo(&buf, " FROM %s AS idem_row", name);
	}

	appendStringInfoString(&buf, " WHERE ");
	idem_pk_value_condition(&buf, target->table.rel, &target->table.key);
	if (which == IDEM_UPDATE_LOCK)
	{
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
		return buf.data;
	}
	if (which == IDEM_UPDATE_ROW)
	{
		if (target->args->expected.exists)
			idem_row_version_append_test(&buf, target->table.rel,
										 target->table.version,
										 target->nparams);
		appendStringInfoString(&buf, " AND ");
		append_differs(&buf, target);
	}
	appendStringInfoString(&buf, " RETURNING ");
	append_returned(&buf, target, false);
	return buf.data;
}

static const IdemOperation operation = {gettext_noop("update of")};

static IdemPlan *
plan_for(const IdemUpdateTarget *target, IdemUpdateStatement which)
{
	StringInfoData signature;
	Oid			user = GetUserId();
	Oid			relid = RelationGetRelid(target->table.rel);
	ListCell   *lc;
	IdemCallerStatement statement = {
		.write_sql = write_sql, .state = target,
		.nargs = target->nparams, .argtypes = target->types,
		.table = RelationGetRelid(target->table.rel), .operation = &operation
	};

	/* Privileges shape the statements, hence the user. */
	initStringInfo(&signature);
	appendStringInfoChar(&signature, IDEM_PLAN_UPDATE);
	appendStringInfoChar(&signature, target->args->expected.exists ? 'v' : '-');
	appendStringInfoChar(&signature, target->routed ? 'r' : '-');
	appendBinaryStringInfo(&signature, (char *) &user, sizeof(Oid));
	appendBinaryStringInfo(&signature, (char *) &relid, sizeof(Oid));
	foreach(lc, target->names)
		appendBinaryStringInfo(&signature, lfirst(lc), strlen(lfirst(lc)) + 1);

	statement.signature.data = signature.data;
	statement.signature.length = signature.len;
	statement.signature.which = which;
	return idem_spi_caller_plan(&statement);
}

/* Runs a statement; false if it found no row. */
bool
idem_update_target_run(const IdemUpdateTarget *target,
					   IdemUpdateStatement which, IdemUpdatedRow *found)
{
	Datum		own_values[3];
	bool		own_isnull[3];
	Datum	   *values = target->routed ? target->row.values : own_values;
	bool	   *isnull = target->routed ? target->row.isnull : own_isnull;

	if (idem_spi_caller(plan_for(target, which), target->values, target->isnull,
						target->routed ? idem_routed_row_width(&target->row) :
						lengthof(own_values), values, isnull) == 0)
		return false;

	found->row = target->routed ? idem_routed_row_json(&target->row) :
		DatumGetJsonbP(values[2]);
	found->version = idem_row_version_value(values[1], isnull[1]);
	found->differs = DatumGetBool(values[0]);
	return true;
}
