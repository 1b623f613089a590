/*
 * upsert_run.c
 *	  An upsert under way, and running its statements.
 *
 * The statements are those of upsert_deparse.c and run with the caller's rights.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "table/pk_value.h"
#include "table/row_to_jsonb.h"
#include "upsert/upsert_run.h"
#include "upsert/upsert_target.h"

static void
append_names(StringInfo buf, const List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		appendStringInfoString(buf, lfirst(lc));
		appendStringInfoChar(buf, '\0');
	}
	appendStringInfoChar(buf, '\0');
}

/*
 * Begins an upsert.  Privileges shape the statements, hence the user in their
 * signature.
 */
void
idem_upsert_run_init(IdemUpsertState *state, const IdemUpsert *upsert)
{
	const IdemUpsertSpec *spec = &upsert->spec;
	StringInfo	signature = &state->signature;
	Oid			user = GetUserId();
	ListCell   *lc;

	Assert(upsert->expected.exists == spec->versioned);
	state->upsert = upsert;
	idem_conflict_row_init(&state->conflict);

	initStringInfo(signature);
	appendStringInfoChar(signature, IDEM_PLAN_UPSERT);
	appendStringInfoChar(signature, spec->versioned ? 'v' : '-');
	appendStringInfoChar(signature, spec->by_primary_key ? 'p' : '-');
	appendStringInfoChar(signature, spec->keyed ? 'k' : '-');
	appendBinaryStringInfo(signature, (char *) &user, sizeof(Oid));
	appendBinaryStringInfo(signature, (char *) &spec->target, sizeof(Oid));
	append_names(signature, spec->conflict);
	append_names(signature, spec->fields);
	foreach(lc, spec->rules)
		appendStringInfoChar(signature, (char) lfirst_int(lc));
}

/* What the caller may do about an error that comes of upserting as such. */
static const char *
hint(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_NOT_NULL_VIOLATION:
			return gettext_noop("An upsert gives a value to every column that a new row needs; idem_update() changes some columns of a row that is there.");
		case ERRCODE_GENERATED_ALWAYS:
			return gettext_noop("Leave out what the table generates, and find the row by other columns with \"conflict\", or change it with idem_update().");
		default:
			return NULL;
	}
}

const IdemOperation idem_upsert_run_operation = {gettext_noop("upsert into"), hint};

static const char *
write_sql(const void *spec, int which)
{
	return idem_upsert_deparse_sql(spec, which);
}

static Oid	argtypes[] = {JSONBOID, INT8OID, INT8OID};

/* The size of what is kept with the plan of a statement. */
static Size
data_size(IdemUpsertStatement which)
{
	switch (which)
	{
		case IDEM_UPSERT_WRITE:
			return sizeof(IdemUpsertExperience);
		case IDEM_UPSERT_INSERT:
			return sizeof(IdemInsertValues);
		default:
			return 0;
	}
}

static IdemCallerStatement
statement_of(IdemUpsertState *state, IdemUpsertStatement which)
{
	IdemCallerStatement statement = {
		.signature = {state->signature.data, state->signature.len, which},
		.write_sql = write_sql, .state = &state->upsert->spec,
		.table = state->upsert->spec.target, .operation = &idem_upsert_run_operation,
		.nargs = lengthof(argtypes), .argtypes = argtypes,
		.data_size = data_size(which)
	};

	return statement;
}

/* The plan of one of the statements, or NULL if there is no such statement. */
IdemPlan *
idem_upsert_run_plan(IdemUpsertState *state, IdemUpsertStatement which)
{
	IdemCallerStatement statement = statement_of(state, which);

	return idem_spi_caller_plan(&statement);
}

/*
 * Runs one of the statements by its plan, with data or a row as $1: the number of
 * rows, and the columns of the first.
 */
uint64
idem_upsert_run(const IdemUpsertState *state, IdemPlan *plan, Jsonb *data,
				int ncols, Datum *values, bool *isnull)
{
	Datum		args[3];
	bool		arg_isnull[3] = {false, !state->upsert->spec.versioned, false};

	Assert(plan != NULL && data != NULL);
	args[0] = JsonbPGetDatum(data);
	args[1] = Int64GetDatum(state->upsert->expected.number);
	args[2] = Int64GetDatum(state->conflict.ticket.number);
	return idem_spi_caller(plan, args, arg_isnull, ncols, values, isnull);
}

/*
 * Runs IDEM_UPSERT_INSERT by its plan, without the executor where that may be done:
 * true, and the row, if it was inserted.
 */
bool
idem_upsert_run_insert(IdemUpsertState *state, IdemPlan *plan, Datum *row,
					   bool *isnull)
{
	IdemInsertRows rows = {.data = JsonbPGetDatum(state->upsert->data)};
	IdemInsertResult result;

	result = idem_insert_direct(plan, state->upsert->spec.target,
								lengthof(argtypes), argtypes, &rows);
	if (result == IDEM_INSERT_PLAN_GONE)
	{
		plan = idem_upsert_run_plan(state, IDEM_UPSERT_INSERT);
		if (plan == NULL)
			return false;
	}
	if (result != IDEM_INSERT_DONE)
		return idem_upsert_run(state, plan, state->upsert->data, 1, row,
							   isnull) > 0;
	*isnull = false;
	if (rows.inserted != NULL)
		*row = JsonbPGetDatum(rows.inserted);
	return rows.inserted != NULL;
}

/*
 * Inserts rows by the plan of IDEM_UPSERT_INSERT, up to the first that is there;
 * false, and none is, where the executor has to.
 */
bool
idem_upsert_run_insert_rows(IdemUpsertState *state, IdemPlan *plan,
							IdemInsertRows *rows)
{
	return idem_insert_direct(plan, state->upsert->spec.target,
							  lengthof(argtypes), argtypes,
							  rows) == IDEM_INSERT_DONE;
}

/* What former upserts have shown; nothing, where no plan is kept. */
IdemUpsertExperience
idem_upsert_run_experience(IdemUpsertState *state)
{
	IdemCallerStatement statement = statement_of(state, IDEM_UPSERT_WRITE);
	const IdemUpsertExperience *kept = idem_spi_caller_data(&statement);
	IdemUpsertExperience none = {0};

	return kept == NULL ? none : *kept;
}

/* Keeps that for the upserts to come, where a plan is kept. */
void
idem_upsert_run_learn(IdemUpsertState *state,
					  const IdemUpsertExperience *experience)
{
	IdemCallerStatement statement = statement_of(state, IDEM_UPSERT_WRITE);
	IdemUpsertExperience *kept = idem_spi_caller_data(&statement);

	if (kept != NULL)
		*kept = *experience;
}

/*
 * What the caller would call the row: the values of its key, as messages show
 * them, of the data, or else of a row unless that is NULL.  The rest of the data is
 * not for a log.
 */
const char *
idem_upsert_run_row_name(const IdemUpsert *upsert, Jsonb *row)
{
	Jsonb	   *sources[] = {upsert->data, row};
	IdemJsonbState object = {0};
	Jsonb	   *json;
	ListCell   *lc;

	idem_jsonb_push(&object, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, idem_upsert_target_key(&upsert->spec))
	{
		const char *name = lfirst(lc);
		JsonbValue	v;

		for (int i = 0; i < lengthof(sources); i++)
		{
			if (sources[i] == NULL ||
				getKeyJsonValueFromContainer(&sources[i]->root, name,
											 strlen(name), &v) == NULL)
				continue;
			idem_row_to_jsonb_name(&object, name);
			idem_jsonb_push(&object, WJB_VALUE, &v);
			break;
		}
	}
	idem_jsonb_push(&object, WJB_END_OBJECT, NULL);

	json = JsonbValueToJsonb(object.result);
	return idem_pk_value_clip(JsonbToCString(NULL, &json->root, VARSIZE(json)));
}
