/*
 * update_exec.c
 *	  A change of some columns of a row, as idem_update() makes it.
 *
 * Most often the row is as expected, so one UPDATE is tried first, whose
 * condition says what has to hold: the version, and that there is something to
 * change.  Where it finds no such row, or the table has triggers that might make
 * something else of it, the row is locked and judged by what it is then; should it
 * turn out that the update can be made after all, since others have changed the
 * row in between, it is made under that lock.
 *
 * The statements are what a person would write and run with the caller's
 * rights.  They run under the caller's search_path, hence every name in them is
 * qualified.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "base/unique_index.h"
#include "run/spi_caller.h"
#include "table/column_sql.h"
#include "table/jsonb_to_datum.h"
#include "table/row_to_jsonb.h"
#include "table/sql_name.h"
#include "table/target_check.h"
#include "table/trial_write.h"
#include "update/update_exec.h"

/*
 * The statements.  Their parameters are the key's columns, then the fields, then
 * the expected version.  All give the row and its version, LOCK_ROW also whether
 * the row differs from the patch.
 */
typedef enum Statement
{
	UPDATE_ROW,
	LOCK_ROW,
	REPEAT_UPDATE				/* the update, whatever the row is */
} Statement;

typedef struct Table
{
	const IdemUpdateArgs *patch;
	Relation	rel;
	IdemUniqueIndex key;
	bool		altered;		/* may triggers make something else of a
								 * patch? */
	List	   *names;			/* of the fields (char *) to be set */
	int			nfields;
	AttrNumber *fields;			/* their columns */
	AttrNumber	version;		/* column with the version, if any */
	bool		raise_version;	/* is raising it left to us? */
	int			nargs;
	Oid		   *types;
	Datum	   *args;
	bool	   *isnull;			/* of args */
} Table;

/* What a statement has found. */
typedef struct Found
{
	Jsonb	   *row;
	bool		has_version;
	int64		version;
	bool		differs;
} Found;

/*
 * Finds the columns of the fields to be set, and refuses those of the key.  The
 * version is none of them: who sends back a row as he has read it sends it, too.
 */
static void
find_fields(Table *table)
{
	ListCell   *lc;
	List	   *names = idem_column_sql_names(table->patch->data, "patch",
											  NULL);

	table->fields = palloc(sizeof(AttrNumber) * (list_length(names) + 1));
	foreach(lc, names)
	{
		char	   *name = lfirst(lc);
		AttrNumber	column = get_attnum(RelationGetRelid(table->rel), name);

		if (column <= 0)
			idem_error_no_column(RelationGetRelid(table->rel), name);
		for (int i = 0; i < table->key.ncolumns; i++)
		{
			if (table->key.columns[i] == column)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("column \"%s\" is part of the primary key and cannot be patched",
								name),
						 errhint("Leave it out of \"patch\": \"id\" says which row is meant.")));
		}
		if (column == table->version)
			continue;
		table->names = lappend(table->names, name);
		table->fields[table->nfields++] = column;
	}
}

/* Makes the statements' arguments. */
static void
bind(Table *table)
{
	const IdemUpdateArgs *patch = table->patch;
	ListCell   *lc;
	int			room = table->key.ncolumns + table->nfields + 1;
	int			i = table->key.ncolumns;

	table->types = palloc(sizeof(Oid) * room);
	table->args = palloc(sizeof(Datum) * room);
	table->isnull = palloc0(sizeof(bool) * room);
	idem_pk_value_bind(patch->id, table->rel, &table->key,
					   table->types, table->args);

	foreach(lc, table->names)
	{
		const char *name = lfirst(lc);
		AttrNumber	column = table->fields[foreach_current_index(lc)];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(table->rel),
											  column - 1);
		JsonbValue	v;

		(void) getKeyJsonValueFromContainer(&patch->data->root, name,
											strlen(name), &v);
		table->types[i] = att->atttypid;
		table->args[i] = idem_jsonb_to_datum_read(&v, name, att->atttypid,
												  att->atttypmod,
												  &table->isnull[i]);
		i++;
	}

	if (patch->versioned)
	{
		table->types[i] = INT8OID;
		table->args[i] = Int64GetDatum(patch->expected_version);
		i++;
	}
	table->nargs = i;
}

/*
 * Opens the target, to be closed by the caller, and checks it against what is
 * wanted of it.
 */
static void
open_table(Table *table, const IdemUpdateArgs *patch)
{
	memset(table, 0, sizeof(Table));
	table->patch = patch;
	/* the lock that the update takes, lest it be a stronger one than ours */
	table->rel = try_relation_open(patch->target, RowExclusiveLock);
	if (table->rel == NULL)
		idem_error_no_relation(patch->target);
	idem_target_check(table->rel, IDEM_TARGET_UPDATE, patch->keyed);
	idem_unique_index_need_primary(&table->key, table->rel);
	table->altered = idem_target_check_alters_now(table->rel);
	table->version = idem_target_check_version(table->rel, patch->versioned,
											   &table->raise_version);
	find_fields(table);
	bind(table);
}

/* Appends the version, if there is one for the caller to read. */
static void
append_version(StringInfo buf, const Table *table)
{
	Oid			relid = RelationGetRelid(table->rel);

	if (table->version == InvalidAttrNumber ||
		(!table->patch->versioned &&
		 pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		 pg_attribute_aclcheck(relid, table->version, GetUserId(),
							   ACL_SELECT) != ACLCHECK_OK))
		appendStringInfoString(buf, "NULL::pg_catalog.int8");
	else
		appendStringInfo(buf, "idem_row.%s::pg_catalog.int8",
						 idem_sql_name_column(table->rel, table->version));
}

/*
 * Appends whether the row differs from the patch: by image, so that no
 * difference at all is taken for none.
 */
static void
append_differs(StringInfo buf, const Table *table)
{
	StringInfoData new;

	if (table->nfields == 0)
	{
		appendStringInfoString(buf, "false");
		return;
	}
	initStringInfo(&new);
	appendStringInfoString(buf, "pg_catalog.record_image_ne(ROW(");
	for (int i = 0; i < table->nfields; i++)
	{
		appendStringInfo(buf, "%sidem_row.%s", i ? ", " : "",
						 idem_sql_name_column(table->rel, table->fields[i]));
		appendStringInfo(&new, "%s$%d", i ? ", " : "",
						 table->key.ncolumns + i + 1);
	}
	appendStringInfo(buf, "), ROW(%s))", new.data);
}

static void
append_assignments(StringInfo buf, const Table *table)
{
	for (int i = 0; i < table->nfields; i++)
		appendStringInfo(buf, "%s%s = $%d", i ? ", " : "",
						 idem_sql_name_column(table->rel, table->fields[i]),
						 table->key.ncolumns + i + 1);
	if (table->raise_version)
	{
		const char *name = idem_sql_name_column(table->rel, table->version);

		appendStringInfo(buf, ", %s = idem_row.%s OPERATOR(pg_catalog.+) 1",
						 name, name);
	}
}

static const char *
write_sql(const void *state, int which)
{
	const Table *table = state;
	StringInfoData buf;
	const char *name = idem_sql_name_only(table->rel);

	initStringInfo(&buf);
	if (which != LOCK_ROW)
	{
		appendStringInfo(&buf, "UPDATE %s AS idem_row SET ", name);
		append_assignments(&buf, table);
	}
	else
	{
		appendStringInfoString(&buf, "SELECT ");
		idem_column_sql_row(&buf, table->rel);
		appendStringInfoString(&buf, ", ");
		append_version(&buf, table);
		appendStringInfoString(&buf, ", ");
		append_differs(&buf, table);
		appendStringInfo(&buf, " FROM %s AS idem_row", name);
	}

	appendStringInfoString(&buf, " WHERE ");
	idem_pk_value_condition(&buf, table->rel, &table->key);
	if (which == LOCK_ROW)
	{
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
		return buf.data;
	}
	if (which == UPDATE_ROW)
	{
		if (table->patch->versioned)
			appendStringInfo(&buf, " AND idem_row.%s OPERATOR(pg_catalog.=) $%d",
							 idem_sql_name_column(table->rel, table->version), table->nargs);
		appendStringInfoString(&buf, " AND ");
		append_differs(&buf, table);
	}
	appendStringInfoString(&buf, " RETURNING ");
	idem_column_sql_row(&buf, table->rel);
	appendStringInfoString(&buf, ", ");
	append_version(&buf, table);
	return buf.data;
}

static IdemPlan *
plan_for(const Table *table, Statement which)
{
	StringInfoData signature;
	Oid			user = GetUserId();
	Oid			target = RelationGetRelid(table->rel);
	ListCell   *lc;
	IdemCallerStatement statement = {
		.write_sql = write_sql, .state = table,
		.nargs = table->nargs, .argtypes = table->types
	};

	/* Privileges shape the statements, hence the user. */
	initStringInfo(&signature);
	appendStringInfoChar(&signature, 'p');
	appendStringInfoChar(&signature, table->patch->versioned ? 'v' : '-');
	appendBinaryStringInfo(&signature, (char *) &user, sizeof(Oid));
	appendBinaryStringInfo(&signature, (char *) &target, sizeof(Oid));
	foreach(lc, table->names)
		appendBinaryStringInfo(&signature, lfirst(lc), strlen(lfirst(lc)) + 1);

	statement.signature.data = signature.data;
	statement.signature.length = signature.len;
	statement.signature.which = which;
	return idem_spi_caller_plan(&statement);
}

/* Runs a statement; false if it found no row. */
static bool
run(const Table *table, Statement which, Found *found)
{
	Datum		values[3];
	bool		isnull[3];

	if (idem_spi_caller(plan_for(table, which), table->args, table->isnull,
						which == LOCK_ROW ? 3 : 2, values, isnull) == 0)
		return false;

	found->row = DatumGetJsonbP(values[0]);
	found->has_version = !isnull[1];
	found->version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	found->differs = which == LOCK_ROW && DatumGetBool(values[2]);
	return true;
}

/* Updates the row once more, for idem_trial_write_keeps(). */
static Jsonb *
repeat_update(void *state)
{
	Found		found;

	return run(state, REPEAT_UPDATE, &found) ? found.row : NULL;
}

/* Is the row what the table's triggers make of the patch? */
static bool
is_as_patched(Table *table, const Found *found)
{
	return table->altered &&
		idem_trial_write_keeps(found->row, table->names, repeat_update, table);
}

/*
 * Raises ID203 unless the row has the version expected.  False if there is nothing
 * left to do.
 */
static bool
check_version(Table *table, const Found *found)
{
	const IdemUpdateArgs *patch = table->patch;

	if (!patch->versioned ||
		(found->has_version && found->version == patch->expected_version))
		return found->differs;

	/* one past it, and as patched: our own lost acknowledgement */
	if (found->has_version && found->version - 1 == patch->expected_version &&
		(!found->differs || is_as_patched(table, found)))
		return false;
	idem_error_version(patch->target, patch->id->text,
					   found->has_version ? &found->version : NULL,
					   patch->expected_version);
}

static void
kept_error(const Table *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s of \"%s\" was kept from being updated",
					table->patch->id->text,
					RelationGetRelationName(table->rel)),
			 errhint("A trigger of the table suppresses the update, or makes of it what the row is already. In that case give \"key\" or \"expected_version\", by which a retry is known.")));
}

/* Updates the row; false if it is not as expected, or as wanted already. */
static bool
update_row(const Table *table, Found *found)
{
	const IdemUpdateArgs *patch = table->patch;

	if (!run(table, UPDATE_ROW, found))
		return false;
	/* a disabled trigger has not raised it, or another has put the row back */
	if (patch->versioned && found->has_version &&
		found->version == patch->expected_version)
		kept_error(table);
	return true;
}

/*
 * Updates the row, which is locked and differs from the patch.  A trigger that
 * returns the old row lets the update be made, but changes nothing by it.
 */
static void
update_locked(const Table *table, Found *found)
{
	Jsonb	   *before = found->row;

	if (!update_row(table, found) || idem_row_to_jsonb_same(before, found->row))
		kept_error(table);
}

/*
 * Gives a row the values that a patch names, unless it has them.
 *
 * Raises 42P01, 42809, 42501 and 0A000 for what is not a table to update, 42P10
 * for want of a primary key, 42703 for unknown fields or want of a version to
 * expect, 22023 for fields that are not to be set, what idem_pk_value_bind and the
 * types raise for values; then, in this order, ID205 and ID203; then 27000 where
 * the update was suppressed, and whatever it raises itself.
 */
void
idem_update_exec(const IdemUpdateArgs *patch, IdemUpdateResult *result)
{
	Table		table;
	Found		found;
	bool		updated;

	open_table(&table, patch);
	/* what triggers may alter is compared with what it was before */
	updated = table.nfields > 0 && !table.altered && update_row(&table, &found);
	if (!updated)
	{
		if (!run(&table, LOCK_ROW, &found))
			idem_error_no_row(patch->target, patch->id->text, NULL);
		updated = check_version(&table, &found);
		if (updated)
			update_locked(&table, &found);
	}
	relation_close(table.rel, NoLock);

	result->outcome = updated ? IDEM_UPDATED : IDEM_UNCHANGED;
	result->row = found.row;
	result->has_version = found.has_version;
	result->version = found.version;
}
