/*
 * upsert_routed.c
 *	  An upsert into a table whose rows an engine keeps elsewhere.
 *
 * One statement does it, whose parameters are of the columns' types, so that the engine
 * can tell by them where the row is, and which calls nothing that could not be called
 * there.  Whether the row was there already, xmax tells; a row that was left as it was
 * is read by a second statement.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "base/error.h"
#include "run/spi_caller.h"
#include "table/column_sql.h"
#include "table/jsonb_to_datum.h"
#include "table/routed_row.h"
#include "table/sql_name.h"
#include "upsert/upsert_routed.h"
#include "upsert/upsert_target.h"

/* So often a row may come and go between the two statements. */
#define MAX_TRIES	3

typedef enum Statement
{
	WRITE,						/* gives xmax <> 0, the version, the row */
	READ						/* gives whether it differs, and the same */
} Statement;

typedef struct Call
{
	const IdemUpsert *upsert;
	IdemUpsertTarget target;
	IdemRoutedRow row;
	int			nparams;
	Oid		   *types;			/* of the fields, in their order; then int8 */
	Datum	   *values;
	bool	   *isnull;
} Call;

static const char *
field_name(const Call *call, int i)
{
	return idem_sql_name_column(call->target.table.rel, call->target.fields[i]);
}

/* What an error of a value is about, as those of the statements say it. */
static void
tell_target(void *call)
{
	errcontext("upsert into \"%s\"",
			   RelationGetRelationName(((Call *) call)->target.table.rel));
}

/* Gives the statements' parameters their values. */
static void
bind_values(Call *call)
{
	const IdemUpsert *upsert = call->upsert;
	int			most = call->target.nfields + 1;
	ErrorContextCallback context;
	ListCell   *lc;

	idem_error_push_context(&context, tell_target, call);

	call->types = palloc(sizeof(Oid) * most);
	call->values = palloc(sizeof(Datum) * most);
	call->isnull = palloc0(sizeof(bool) * most);
	foreach(lc, upsert->spec.fields)
	{
		const char *name = lfirst(lc);
		int			i = call->nparams++;
		Form_pg_attribute att = idem_target_attribute(&call->target.table,
													  call->target.fields[i]);
		JsonbValue	v;

		if (getKeyJsonValueFromContainer(&upsert->data->root, name, strlen(name),
										 &v) == NULL)
			elog(ERROR, "field \"%s\" is gone", name);
		call->types[i] = att->atttypid;
		call->values[i] = idem_jsonb_to_datum_read(&v, name, att->atttypid,
												   att->atttypmod,
												   &call->isnull[i]);
	}
	if (upsert->spec.versioned)
	{
		call->types[call->nparams] = INT8OID;
		call->values[call->nparams++] = Int64GetDatum(upsert->expected.number);
	}
	idem_error_pop_context(&context);
}

/* Appends the version and the columns of the row. */
static void
append_row(StringInfo buf, const Call *call)
{
	const IdemTarget *table = &call->target.table;

	appendStringInfoString(buf, ", ");
	idem_row_version_append(buf, table->rel, call->upsert->spec.versioned ?
							table->version : InvalidAttrNumber);
	idem_routed_row_append(buf, &call->row);
}

/*
 * Makes the assignments of what is updated, and the condition that the row differs
 * from that: by image, so that no difference at all is taken for none.  A column of the
 * key stands on both sides, lest one become a constant record, which no other node
 * could read.  False if nothing is updated.
 */
static bool
make_update(const Call *call, bool given, StringInfo set, StringInfo differs)
{
	const IdemUpsertTarget *target = &call->target;
	const char *key = idem_sql_name_column(target->table.rel,
										   target->table.key.columns[0]);
	StringInfoData new;
	bool		first = true;

	initStringInfo(set);
	initStringInfo(differs);
	initStringInfo(&new);
	appendStringInfo(differs, "pg_catalog.record_image_ne(ROW(idem_row.%s", key);
	for (int i = 0; i < target->nfields; i++)
	{
		const char *name = field_name(call, i);
		StringInfoData merged;

		if (!idem_upsert_target_updates(target, target->fields[i]))
			continue;
		initStringInfo(&merged);
		idem_merge_values(&merged, target->rules[i],
						  idem_target_attribute(&target->table, target->fields[i]),
						  psprintf("idem_row.%s", name),
						  given ? psprintf("$%d", i + 1) : psprintf("excluded.%s", name));
		appendStringInfo(set, "%s%s = %s", first ? "" : ", ", name, merged.data);
		appendStringInfo(differs, ", idem_row.%s", name);
		appendStringInfo(&new, ", %s", merged.data);
		first = false;
	}
	if (target->table.raise_version)
		idem_row_version_append_raise(set, target->table.rel, target->table.version);
	appendStringInfo(differs, "), ROW(idem_row.%s%s))", key, new.data);
	return !first;
}

static void
append_conflict(StringInfo buf, const Call *call)
{
	const IdemUpsertTarget *target = &call->target;
	StringInfoData set;
	StringInfoData differs;

	appendStringInfoString(buf, " ON CONFLICT (");
	for (int i = 0; i < target->table.key.ncolumns; i++)
		appendStringInfo(buf, "%s%s", i ? ", " : "",
						 idem_sql_name_column(target->table.rel,
											  target->table.key.columns[i]));
	if (!make_update(call, false, &set, &differs))
	{
		appendStringInfoString(buf, ") DO NOTHING");
		return;
	}
	appendStringInfo(buf, ") DO UPDATE SET %s WHERE %s", set.data, differs.data);
	if (call->upsert->spec.versioned)
		idem_row_version_append_test(buf, target->table.rel, target->table.version,
									 call->nparams);
}

/*
 * Appends the value of field i as a new row gets it: a union of what is given with
 * nothing, so that the same given again adds nothing to it.
 */
static void
append_new_value(StringInfo buf, const IdemUpsertTarget *target, int i)
{
	Form_pg_attribute att = idem_target_attribute(&target->table, target->fields[i]);

	if (target->rules[i] == IDEM_MERGE_UNION)
		idem_merge_values(buf, IDEM_MERGE_UNION, att, "NULL",
						  psprintf("$%d%s", i + 1,
								   idem_column_sql_collate(att->attcollation)));
	else
		appendStringInfo(buf, "$%d", i + 1);
}

static void
write_write(StringInfo buf, const Call *call)
{
	const IdemUpsertTarget *target = &call->target;

	appendStringInfo(buf, "INSERT INTO %s AS idem_row",
					 idem_sql_name(target->table.rel));
	if (target->nfields == 0)
		appendStringInfoString(buf, " DEFAULT VALUES");
	else
	{
		for (int i = 0; i < target->nfields; i++)
			appendStringInfo(buf, "%s%s", i ? ", " : " (", field_name(call, i));
		for (int i = 0; i < target->nfields; i++)
		{
			appendStringInfoString(buf, i ? ", " : ") VALUES (");
			append_new_value(buf, target, i);
		}
		appendStringInfoChar(buf, ')');
	}
	if (target->has_arbiter)
		append_conflict(buf, call);
	appendStringInfoString(buf, " RETURNING idem_row.xmax OPERATOR(pg_catalog.<>) 0");
	append_row(buf, call);
}

/* The number of the field that holds a column; -1 if none does. */
static int
field_of(const IdemUpsertTarget *target, AttrNumber column)
{
	for (int i = 0; i < target->nfields; i++)
	{
		if (target->fields[i] == column)
			return i;
	}
	return -1;
}

static void
write_read(StringInfo buf, const Call *call)
{
	const IdemUpsertTarget *target = &call->target;
	StringInfoData set;
	StringInfoData differs;

	appendStringInfo(buf, "SELECT %s",
					 make_update(call, true, &set, &differs) ? differs.data : "false");
	append_row(buf, call);
	appendStringInfo(buf, " FROM %s AS idem_row WHERE ",
					 idem_sql_name_only(target->table.rel));
	for (int i = 0; i < target->table.key.ncolumns; i++)
	{
		AttrNumber	column = target->table.key.columns[i];

		const char *name = idem_sql_name_column(target->table.rel, column);
		int			parameter = field_of(target, column) + 1;

		appendStringInfo(buf, "%s(idem_row.%s%s %s $%d", i ? " AND " : "", name,
						 target->collated ?
						 idem_column_sql_collate(target->table.key.collation[i]) : "",
						 idem_unique_index_operator(&target->table.key, i), parameter);
		if (target->table.key.nulls_equal)
			appendStringInfo(buf, " OR idem_row.%s IS NULL AND $%d IS NULL", name,
							 parameter);
		appendStringInfoChar(buf, ')');
	}
}

static const char *
write_sql(const void *state, int which)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (which == WRITE)
		write_write(&buf, state);
	else
		write_read(&buf, state);
	return buf.data;
}

/* Runs a statement; false if it gave no row. */
static bool
run(Call *call, Statement which)
{
	const IdemUpsertSpec *spec = &call->upsert->spec;
	StringInfoData signature;
	IdemTableSignature table = {IDEM_PLAN_UPSERT_ROUTED, GetUserId(), spec->target};
	ListCell   *lc;
	IdemCallerStatement statement = {
		.write_sql = write_sql, .state = call,
		.nargs = call->nparams, .argtypes = call->types,
		.table = spec->target, .operation = &idem_upsert_run_operation
	};

	initStringInfo(&signature);
	appendBinaryStringInfo(&signature, (char *) &table, sizeof(table));
	appendStringInfoChar(&signature, spec->versioned ? 'v' : '-');
	foreach(lc, spec->conflict)
		appendBinaryStringInfo(&signature, lfirst(lc), strlen(lfirst(lc)) + 1);
	appendStringInfoChar(&signature, '\0');
	foreach(lc, spec->fields)
		appendBinaryStringInfo(&signature, lfirst(lc), strlen(lfirst(lc)) + 1);
	foreach(lc, spec->rules)
		appendStringInfoChar(&signature, (char) lfirst_int(lc));
	statement.signature.data = signature.data;
	statement.signature.length = signature.len;
	statement.signature.which = which;
	return idem_spi_caller(idem_spi_caller_plan(&statement), call->values,
						   call->isnull, idem_routed_row_width(&call->row),
						   call->row.values, call->row.isnull) > 0;
}

/* What the caller would call the row: the values of its key that the data has. */
static const char *
row_name(const Call *call)
{
	return idem_upsert_run_row_name(call->upsert, NULL);
}

/* Raises 0A000 for a table of which a statement could not tell what it did. */
static void
check_target(const IdemUpsertTarget *target)
{
	Relation	rel = target->table.rel;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot upsert into distributed table \"%s\", which is partitioned",
						RelationGetRelationName(rel)),
				 errhint("Write to it by idem_execute().")));
	if (target->has_arbiter && !target->named)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot upsert into distributed table \"%s\" by a column that is not in data",
						RelationGetRelationName(rel)),
				 errhint("Give all columns of the key a value in \"data\".")));
}

/*
 * Judges a row that the first statement left as it was.  False if it is to be tried
 * again, since it was another then.
 */
static bool
judge_kept(Call *call, IdemAnswer *answer)
{
	const IdemRowVersion *expected = &call->upsert->expected;
	bool		differs = DatumGetBool(call->row.values[0]);
	IdemRowVersion version = idem_row_version_value(call->row.values[1],
													call->row.isnull[1]);
	IdemVersionMatch match = idem_row_version_match(&version, expected);

	if (differs && (!call->upsert->spec.versioned || match == IDEM_VERSION_EXPECTED))
		return false;
	/* one past it, with the same data: after a lost acknowledgement */
	if (match == IDEM_VERSION_OTHER || (match == IDEM_VERSION_NEXT && differs))
		idem_row_version_error(call->upsert->spec.target, row_name(call), &version,
							   expected);
	answer->outcome = IDEM_UNCHANGED;
	return true;
}

/* Inserts the row, or updates the one that is there, or finds it as it should be. */
static void
upsert_row(Call *call, IdemAnswer *answer)
{
	bool		found = false;

	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		if (run(call, WRITE))
		{
			answer->outcome = DatumGetBool(call->row.values[0]) ? IDEM_UPDATED :
				IDEM_INSERTED;
			if (call->upsert->spec.versioned && answer->outcome == IDEM_INSERTED)
				idem_error_no_row(call->upsert->spec.target, row_name(call),
								  "Leave \"expected_version\" out to insert the row.");
			return;
		}
		if (run(call, READ))
		{
			if (judge_kept(call, answer))
				return;
			found = true;
		}
		CHECK_FOR_INTERRUPTS();
	}

	/*
	 * no retry would end otherwise, as the statement meets another key each
	 * time
	 */
	if (!found)
		idem_target_error_kept(&call->target.table, row_name(call),
							   "A trigger of the table suppresses the insert, or makes it one of another key.");
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("Retry the transaction.")));
}

/*
 * As idem_upsert_exec.  Raises 0A000, too, for a table or a key that it cannot be done
 * for, 40001 where the row comes and goes meanwhile, 27000 where a trigger keeps it out.
 */
void
idem_upsert_routed(const IdemUpsert *upsert, IdemAnswer *answer)
{
	Call		call = {.upsert = upsert};

	idem_upsert_target_open(&call.target, &upsert->spec);
	check_target(&call.target);
	idem_routed_row_init(&call.row, call.target.table.rel);
	bind_values(&call);
	upsert_row(&call, answer);
	answer->response = JsonbPGetDatum(idem_routed_row_json(&call.row));
	answer->response_isnull = false;
	idem_target_close(&call.target.table);
}
