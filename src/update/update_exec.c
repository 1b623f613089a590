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

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "run/spi_caller.h"
#include "table/column_sql.h"
#include "table/jsonb_to_datum.h"
#include "table/row_to_jsonb.h"
#include "table/sql_name.h"
#include "table/target.h"
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

/* The table, and what is to be done to a row of it. */
typedef struct UpdateTarget
{
	IdemTarget	table;			/* its key is the primary key */
	const IdemUpdateArgs *patch;
	bool		altered;		/* may triggers make something else of a
								 * patch? */
	List	   *names;			/* of the fields (char *) to be set */
	int			nfields;
	AttrNumber *fields;			/* their columns */
	int			nargs;
	Oid		   *types;
	Datum	   *args;
	bool	   *isnull;			/* of args */
} UpdateTarget;

/* What a statement has found. */
typedef struct Found
{
	Jsonb	   *row;
	IdemRowVersion version;		/* if the caller may read it */
	bool		differs;
} Found;

/*
 * Finds the columns of the fields to be set, and refuses those of the key.  The
 * version is none of them: who sends back a row as he has read it sends it, too.
 */
static void
find_fields(UpdateTarget *target)
{
	ListCell   *lc;
	List	   *names = idem_column_sql_names(target->patch->data, "patch",
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

/* Makes the statements' arguments. */
static void
bind(UpdateTarget *target)
{
	const IdemUpdateArgs *patch = target->patch;
	ListCell   *lc;
	int			room = target->table.key.ncolumns + target->nfields + 1;
	int			i = target->table.key.ncolumns;

	target->types = palloc(sizeof(Oid) * room);
	target->args = palloc(sizeof(Datum) * room);
	target->isnull = palloc0(sizeof(bool) * room);
	idem_pk_value_bind(patch->id, target->table.rel, &target->table.key,
					   target->types, target->args);

	foreach(lc, target->names)
	{
		const char *name = lfirst(lc);
		AttrNumber	column = target->fields[foreach_current_index(lc)];
		Form_pg_attribute att = idem_target_attribute(&target->table, column);
		JsonbValue	v;

		(void) getKeyJsonValueFromContainer(&patch->data->root, name,
											strlen(name), &v);
		target->types[i] = att->atttypid;
		target->args[i] = idem_jsonb_to_datum_read(&v, name, att->atttypid,
												   att->atttypmod,
												   &target->isnull[i]);
		i++;
	}

	if (patch->expected.exists)
	{
		target->types[i] = INT8OID;
		target->args[i] = Int64GetDatum(patch->expected.number);
		i++;
	}
	target->nargs = i;
}

/*
 * Opens the target, to be closed by the caller, and checks it against what is
 * wanted of it.
 */
static void
open_target(UpdateTarget *target, const IdemUpdateArgs *patch)
{
	memset(target, 0, sizeof(UpdateTarget));
	target->patch = patch;
	idem_target_open(&target->table, patch->target, IDEM_TARGET_UPDATE,
					 patch->keyed);
	idem_unique_index_need_primary(&target->table.key, target->table.rel);
	target->altered = idem_target_check_alters_now(target->table.rel);
	idem_target_find_version(&target->table, patch->expected.exists);
	find_fields(target);
	bind(target);
}

/* Appends the version, if there is one for the caller to read. */
static void
append_version(StringInfo buf, const UpdateTarget *target)
{
	Oid			relid = RelationGetRelid(target->table.rel);
	AttrNumber	column = target->table.version;

	if (column != InvalidAttrNumber && !target->patch->expected.exists &&
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relid, column, GetUserId(),
							  ACL_SELECT) != ACLCHECK_OK)
		column = InvalidAttrNumber;
	idem_row_version_append(buf, target->table.rel, column);
}

/*
 * Appends whether the row differs from the patch: by image, so that no
 * difference at all is taken for none.
 */
static void
append_differs(StringInfo buf, const UpdateTarget *target)
{
	StringInfoData new;

	if (target->nfields == 0)
	{
		appendStringInfoString(buf, "false");
		return;
	}
	initStringInfo(&new);
	appendStringInfoString(buf, "pg_catalog.record_image_ne(ROW(");
	for (int i = 0; i < target->nfields; i++)
	{
		appendStringInfo(buf, "%sidem_row.%s", i ? ", " : "",
						 idem_sql_name_column(target->table.rel, target->fields[i]));
		appendStringInfo(&new, "%s$%d", i ? ", " : "",
						 target->table.key.ncolumns + i + 1);
	}
	appendStringInfo(buf, "), ROW(%s))", new.data);
}

static void
append_assignments(StringInfo buf, const UpdateTarget *target)
{
	for (int i = 0; i < target->nfields; i++)
		appendStringInfo(buf, "%s%s = $%d", i ? ", " : "",
						 idem_sql_name_column(target->table.rel, target->fields[i]),
						 target->table.key.ncolumns + i + 1);
	if (target->table.raise_version)
		idem_row_version_append_raise(buf, target->table.rel, target->table.version);
}

static const char *
write_sql(const void *state, int which)
{
	const UpdateTarget *target = state;
	StringInfoData buf;
	const char *name = idem_sql_name_only(target->table.rel);

	initStringInfo(&buf);
	if (which != LOCK_ROW)
	{
		appendStringInfo(&buf, "UPDATE %s AS idem_row SET ", name);
		append_assignments(&buf, target);
	}
	else
	{
		appendStringInfoString(&buf, "SELECT ");
		idem_column_sql_row(&buf, target->table.rel);
		appendStringInfoString(&buf, ", ");
		append_version(&buf, target);
		appendStringInfoString(&buf, ", ");
		append_differs(&buf, target);
		appendStringInfo(&buf, " FROM %s AS idem_row", name);
	}

	appendStringInfoString(&buf, " WHERE ");
	idem_pk_value_condition(&buf, target->table.rel, &target->table.key);
	if (which == LOCK_ROW)
	{
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
		return buf.data;
	}
	if (which == UPDATE_ROW)
	{
		if (target->patch->expected.exists)
			idem_row_version_append_test(&buf, target->table.rel, target->table.version,
										 target->nargs);
		appendStringInfoString(&buf, " AND ");
		append_differs(&buf, target);
	}
	appendStringInfoString(&buf, " RETURNING ");
	idem_column_sql_row(&buf, target->table.rel);
	appendStringInfoString(&buf, ", ");
	append_version(&buf, target);
	return buf.data;
}

static IdemPlan *
plan_for(const UpdateTarget *target, Statement which)
{
	StringInfoData signature;
	Oid			user = GetUserId();
	Oid			relid = RelationGetRelid(target->table.rel);
	ListCell   *lc;
	IdemCallerStatement statement = {
		.write_sql = write_sql, .state = target,
		.nargs = target->nargs, .argtypes = target->types
	};

	/* Privileges shape the statements, hence the user. */
	initStringInfo(&signature);
	appendStringInfoChar(&signature, 'p');
	appendStringInfoChar(&signature, target->patch->expected.exists ? 'v' : '-');
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
static bool
run(const UpdateTarget *target, Statement which, Found *found)
{
	Datum		values[3];
	bool		isnull[3];

	if (idem_spi_caller(plan_for(target, which), target->args, target->isnull,
						which == LOCK_ROW ? 3 : 2, values, isnull) == 0)
		return false;

	found->row = DatumGetJsonbP(values[0]);
	found->version = idem_row_version_value(values[1], isnull[1]);
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
is_as_patched(UpdateTarget *target, const Found *found)
{
	return target->altered &&
		idem_trial_write_keeps(found->row, target->names, repeat_update, target);
}

/*
 * Raises ID203 unless the row has the version expected.  False if there is nothing
 * left to do.
 */
static bool
check_version(UpdateTarget *target, const Found *found)
{
	const IdemUpdateArgs *patch = target->patch;
	IdemVersionMatch match = idem_row_version_match(&found->version,
													&patch->expected);

	if (match == IDEM_VERSION_EXPECTED)
		return found->differs;
	/* one past it, and as patched: our own lost acknowledgement */
	if (match == IDEM_VERSION_NEXT &&
		(!found->differs || is_as_patched(target, found)))
		return false;
	idem_row_version_error(patch->target, patch->id->text, &found->version,
						   &patch->expected);
}

static void
kept_error(const UpdateTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s of \"%s\" was kept from being updated",
					target->patch->id->text,
					RelationGetRelationName(target->table.rel)),
			 errhint("A trigger of the table suppresses the update, or makes of it what the row is already. In that case give \"key\" or \"expected_version\", by which a retry is known.")));
}

/* Updates the row; false if it is not as expected, or as wanted already. */
static bool
update_row(const UpdateTarget *target, Found *found)
{
	const IdemUpdateArgs *patch = target->patch;

	if (!run(target, UPDATE_ROW, found))
		return false;
	/* a disabled trigger has not raised it, or another has put the row back */
	if (patch->expected.exists &&
		idem_row_version_match(&found->version, &patch->expected) ==
		IDEM_VERSION_EXPECTED)
		kept_error(target);
	return true;
}

/*
 * Updates the row, which is locked and differs from the patch.  A trigger that
 * returns the old row lets the update be made, but changes nothing by it.
 */
static void
update_locked(const UpdateTarget *target, Found *found)
{
	Jsonb	   *before = found->row;

	if (!update_row(target, found) || idem_row_to_jsonb_same(before, found->row))
		kept_error(target);
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
	UpdateTarget target;
	Found		found;
	bool		updated;

	open_target(&target, patch);
	/* what triggers may alter is compared with what it was before */
	updated = target.nfields > 0 && !target.altered && update_row(&target, &found);
	if (!updated)
	{
		if (!run(&target, LOCK_ROW, &found))
			idem_error_no_row(patch->target, patch->id->text, NULL);
		updated = check_version(&target, &found);
		if (updated)
			update_locked(&target, &found);
	}
	idem_target_close(&target.table);

	result->outcome = updated ? IDEM_UPDATED : IDEM_UNCHANGED;
	result->row = found.row;
	result->version = found.version;
}
