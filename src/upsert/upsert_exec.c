/*
 * upsert_exec.c
 *	  A row put into a table of the caller's, as idem_upsert() does it.
 *
 * The statements are those of upsert_deparse.c and run with the caller's rights.  What
 * they cannot return, whether there was a row and what it is if it is kept, the
 * upsert's statement reports by way of a function that stands in it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "base/error.h"
#include "run/spi_caller.h"
#include "run/ticket.h"
#include "table/row_to_jsonb.h"
#include "table/trial_write.h"
#include "upsert/upsert_exec.h"

PG_FUNCTION_INFO_V1(idem_upsert_met);

/* What an upsert learns of the row that it meets. */
typedef struct ConflictRow
{
	IdemTicket	ticket;			/* of the statement, must be first */
	MemoryContext memory;		/* of the upsert, for the row */
	bool		met;			/* was there a row already? */
	Jsonb	   *before;			/* as it was, if triggers may have put it back */
	/* of the row, if it was found and left as it was */
	Jsonb	   *row;			/* NULL: it was not found */
	IdemRowVersion version;
	bool		differs;		/* from the data */
} ConflictRow;

/* An upsert that is under way. */
typedef struct UpsertState
{
	const IdemUpsert *upsert;
	StringInfoData signature;	/* of its statements */
	ConflictRow seen;
} UpsertState;

/* The function that tells of it. */
#define MET		"_idem_upsert_met"

/* What to do about a row that is not there. */
#define ABSENT_HINT		"Leave \"expected_version\" out to insert the row."

/*
 * Where rows keep being new, an insert is tried first: after so many of them in
 * succession, since an attempt in vain costs more than twice what one that
 * succeeds saves.
 */
#define ALL_NEW			4

/* What former upserts have shown, kept with the plan of IDEM_UPSERT_WRITE. */
typedef struct Experience
{
	int			insert_streak;	/* new rows in succession, up to ALL_NEW */
	bool		no_insert;		/* is there no IDEM_UPSERT_INSERT? */

	/*
	 * Is a row that is to have a version to be met by an insert all the same,
	 * since the table has a say in its key?
	 */
	bool		by_insert;
} Experience;

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
 * Makes ready to put the row.  Privileges spec the statements, hence the user
 * in their signatures.
 */
static void
init_put(UpsertState *put, const IdemUpsert *upsert)
{
	const IdemUpsertSpec *spec = &upsert->spec;
	StringInfo	signature = &put->signature;
	Oid			user = GetUserId();
	ListCell   *lc;

	memset(put, 0, sizeof(UpsertState));
	put->upsert = upsert;
	put->seen.memory = CurrentMemoryContext;

	initStringInfo(signature);
	appendStringInfoChar(signature, 'u');
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

static const char *
write_sql(const void *state, int which)
{
	const UpsertState *put = state;

	return idem_upsert_deparse_sql(&put->upsert->spec, which);
}

static IdemCallerStatement
statement_of(UpsertState *put, IdemUpsertStatement which)
{
	static Oid	argtypes[] = {JSONBOID, INT8OID, INT8OID};
	IdemCallerStatement statement = {
		.signature = {put->signature.data, put->signature.len, which},
		.write_sql = write_sql, .state = put,
		.nargs = lengthof(argtypes), .argtypes = argtypes,
		.data_size = which == IDEM_UPSERT_WRITE ? sizeof(Experience) : 0
	};

	return statement;
}

/* The plan of one of the statements, or NULL if there is no such statement. */
static IdemPlan *
plan_for(UpsertState *put, IdemUpsertStatement which)
{
	IdemCallerStatement statement = statement_of(put, which);

	return idem_spi_caller_plan(&statement);
}

static uint64
run(const UpsertState *put, IdemPlan *plan, Jsonb *data,
	int ncols, Datum *values, bool *isnull)
{
	Datum		args[3];
	bool		arg_isnull[3] = {false, !put->upsert->spec.versioned, false};

	args[0] = JsonbPGetDatum(data);
	args[1] = Int64GetDatum(put->upsert->expected.number);
	args[2] = Int64GetDatum(put->seen.ticket.number);
	return idem_spi_caller(plan, args, arg_isnull, ncols, values, isnull);
}

/* What former upserts have shown: nothing, where no plan is kept. */
static Experience
read_experience(UpsertState *put)
{
	IdemCallerStatement statement = statement_of(put, IDEM_UPSERT_WRITE);
	const Experience *kept = idem_spi_caller_data(&statement);
	Experience	none = {0};

	return kept == NULL ? none : *kept;
}

static void
write_experience(UpsertState *put, const Experience *experience)
{
	IdemCallerStatement statement = statement_of(put, IDEM_UPSERT_WRITE);
	Experience *kept = idem_spi_caller_data(&statement);

	if (kept != NULL)
		*kept = *experience;
}

/*
 * What the caller would call the row: the values of its key, as far as people
 * read them.  The rest of the data may be nobody's business.
 */
static const char *
row_name(const UpsertState *put)
{
	Jsonb	   *sources[] = {put->upsert->data, put->seen.row};
	IdemJsonbState state = {0};
	Jsonb	   *json;
	ListCell   *lc;
	char	   *text;
	int			length;

	idem_jsonb_push(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, idem_upsert_deparse_key(&put->upsert->spec))
	{
		const char *name = lfirst(lc);
		JsonbValue	v;

		for (int i = 0; i < lengthof(sources); i++)
		{
			if (sources[i] == NULL ||
				getKeyJsonValueFromContainer(&sources[i]->root, name,
											 strlen(name), &v) == NULL)
				continue;
			idem_row_to_jsonb_name(&state, name);
			idem_jsonb_push(&state, WJB_VALUE, &v);
			break;
		}
	}
	idem_jsonb_push(&state, WJB_END_OBJECT, NULL);

	json = JsonbValueToJsonb(state.result);
	text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	length = strlen(text);
	if (length > 80)
		strcpy(text +pg_mbcliplen(text, length, 77), "...");
	return text;
}

/* Notes a row that was left as it was. */
static void
note_row(ConflictRow *seen, Datum row, IdemRowVersion version, bool differs)
{
	MemoryContext old = MemoryContextSwitchTo(seen->memory);

	seen->row = (Jsonb *) PG_DETOAST_DATUM_COPY(row);
	seen->version = version;
	seen->differs = differs;
	MemoryContextSwitchTo(old);
}

/*
 * Finds the row that the write left as it was, where it was not handed over:
 * the statement says DO NOTHING, or a trigger declined the write.
 *
 * A row that was handed over is looked for all the same where row security
 * applies, since ON CONFLICT may have compared with a row that the caller must
 * not see.  That row is as good as absent.
 */
static void
find_row(UpsertState *put)
{
	ConflictRow *seen = &put->seen;
	const IdemUpsert *upsert = put->upsert;
	Jsonb	   *handed = seen->row;
	Datum		values[3];
	bool		isnull[3];

	if (handed != NULL &&
		check_enable_rls(upsert->spec.target, InvalidOid, true) != RLS_ENABLED)
		return;

	if (run(put, plan_for(put, IDEM_UPSERT_READ), handed ? handed : upsert->data,
			3, values, isnull) == 0)
		seen->row = NULL;
	else
		note_row(seen, values[0], idem_row_version_value(values[1], isnull[1]),
				 handed ? seen->differs : DatumGetBool(values[2]));
}

/* Updates the row once more, for idem_trial_write_keeps(). */
static Jsonb *
repeat_update(void *state)
{
	UpsertState *put = state;
	Datum		row;
	bool		isnull;

	if (run(put, plan_for(put, IDEM_UPSERT_REPEAT), put->upsert->data,
			1, &row, &isnull) == 0 || isnull)
		return NULL;
	return DatumGetJsonbP(row);
}

/* Is the row what the table's triggers make of the data? */
static bool
is_as_written(UpsertState *put)
{
	return plan_for(put, IDEM_UPSERT_REPEAT) != NULL &&
		idem_trial_write_keeps(put->seen.row, idem_upsert_deparse_updated(&put->upsert->spec),
							   repeat_update, put);
}

/* Raises ID203 unless the row, which is there, has the version expected. */
static void
check_version(UpsertState *put)
{
	ConflictRow *seen = &put->seen;
	const IdemRowVersion *expected = &put->upsert->expected;
	IdemVersionMatch match = idem_row_version_match(&seen->version, expected);

	/* one past it, with the same data: our own lost acknowledgement */
	if (match == IDEM_VERSION_OTHER ||
		(match == IDEM_VERSION_NEXT && seen->differs && !is_as_written(put)))
		idem_row_version_error(put->upsert->spec.target, row_name(put),
							   &seen->version, expected);
}

/*
 * What to say of a row that was left as it was, if it was found: it is as it
 * should be, or has another version than expected.
 */
static void
check_unchanged_row(UpsertState *put, IdemAnswer *answer)
{
	ConflictRow *seen = &put->seen;

	if (put->upsert->spec.versioned)
	{
		if (seen->row == NULL)
			idem_error_no_row(put->upsert->spec.target, row_name(put), NULL);
		check_version(put);
	}

	answer->outcome = IDEM_UNCHANGED;
	answer->response_isnull = (seen->row == NULL);
	answer->response = answer->response_isnull ? (Datum) 0 :
		JsonbPGetDatum(seen->row);
}

/*
 * Runs a statement that writes the row; false if it wrote none.  A trigger that
 * returns the old row has it written, but declines the update all the same.
 */
static bool
write_row(UpsertState *put, IdemPlan *plan, IdemAnswer *answer)
{
	volatile uint64 rows;

	(void) idem_ticket_take(&put->seen.ticket, MET);
	PG_TRY();
	{
		rows = run(put, plan, put->upsert->data, 1,
				   &answer->response, &answer->response_isnull);
	}
	PG_FINALLY();
	{
		idem_ticket_return(&put->seen.ticket);
	}
	PG_END_TRY();

	answer->outcome = put->seen.met ? IDEM_UPDATED : IDEM_INSERTED;
	if (rows > 0 && put->seen.before != NULL && !answer->response_isnull &&
		idem_row_to_jsonb_same(put->seen.before, DatumGetJsonbP(answer->response)))
		answer->outcome = IDEM_UNCHANGED;
	return rows > 0;
}

/* Inserts the row, or updates the one that is there. */
static void
put_row(UpsertState *put, IdemAnswer *answer)
{
	if (!write_row(put, plan_for(put, IDEM_UPSERT_WRITE), answer))
	{
		find_row(put);
		check_unchanged_row(put, answer);
	}
	else if (put->upsert->spec.versioned && !put->seen.met)
		idem_error_no_row(put->upsert->spec.target, row_name(put), ABSENT_HINT);
}

/* The same, where rows may keep being new. */
static void
put_new_row(UpsertState *put, IdemAnswer *answer)
{
	Experience	experience = read_experience(put);
	int			former_streak = experience.insert_streak;

	if (experience.no_insert)
	{
		put_row(put, answer);
		return;
	}
	if (experience.insert_streak == ALL_NEW)
	{
		IdemPlan   *plan = plan_for(put, IDEM_UPSERT_INSERT);

		if (plan != NULL && write_row(put, plan, answer))
			return;
		experience.no_insert = (plan == NULL);
		experience.insert_streak = 0;
	}
	put_row(put, answer);
	if (answer->outcome != IDEM_INSERTED)
		experience.insert_streak = 0;
	else if (experience.insert_streak < ALL_NEW)
		experience.insert_streak++;
	if (experience.insert_streak != former_streak || experience.no_insert)
		write_experience(put, &experience);
}

/*
 * The version of a row has not been raised by an update.  Either a trigger has
 * returned the old row, or the row is as wanted, and nobody could tell that from
 * the version: in a partition whose trigger is disabled.
 */
static void
check_unraised(UpsertState *put)
{
	IdemPlan   *plan = plan_for(put, IDEM_UPSERT_LOCK);
	Datum		values[3];
	bool		isnull[3];

	if (plan != NULL &&
		run(put, plan, put->upsert->data, 3, values, isnull) > 0 &&
		!DatumGetBool(values[2]))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the version of a row of \"%s\" was not raised",
						get_rel_name(put->upsert->spec.target)),
				 errhint("Enable the trigger that raises it, in all partitions.")));
}

/* Updates the row if it is as expected; false if nothing was touched. */
static bool
update_row(UpsertState *put, IdemAnswer *answer)
{
	IdemPlan   *plan = plan_for(put, IDEM_UPSERT_UPDATE);
	Datum		values[2];
	bool		isnull[2];
	IdemRowVersion version;

	if (plan == NULL || run(put, plan, put->upsert->data, 2, values, isnull) == 0)
		return false;

	answer->outcome = IDEM_UPDATED;
	version = idem_row_version_value(values[1], isnull[1]);
	if (idem_row_version_match(&version, &put->upsert->expected) ==
		IDEM_VERSION_EXPECTED)
	{
		check_unraised(put);
		answer->outcome = IDEM_UNCHANGED;
	}
	answer->response = values[0];
	answer->response_isnull = isnull[0];
	return true;
}

/*
 * Updates a row that is to be there, in the version expected.  Nothing is
 * inserted, so that nothing is said of a row that nobody wants, unless only that
 * can tell which row is meant.
 */
static void
put_expected_row(UpsertState *put, IdemAnswer *answer)
{
	static const Experience by_insert = {.by_insert = true};
	ConflictRow *seen = &put->seen;
	IdemPlan   *plan;
	Datum		values[3];
	bool		isnull[3];

	if (read_experience(put).by_insert)
	{
		put_row(put, answer);
		return;
	}
	if (update_row(put, answer))
		return;
	plan = plan_for(put, IDEM_UPSERT_LOCK);
	if (plan == NULL)
	{
		put_row(put, answer);
		write_experience(put, &by_insert);
		return;
	}
	if (run(put, plan, put->upsert->data, 3, values, isnull) == 0)
	{
		if (!idem_upsert_deparse_fills(&put->upsert->spec))
			idem_error_no_row(put->upsert->spec.target, row_name(put),
							  ABSENT_HINT);
		put_row(put, answer);
		return;
	}

	/* Others may have changed the row in between, but it is locked now. */
	note_row(seen, values[0], idem_row_version_value(values[1], isnull[1]),
			 DatumGetBool(values[2]));
	if (!(seen->differs &&
		  idem_row_version_match(&seen->version, &put->upsert->expected) ==
		  IDEM_VERSION_EXPECTED &&
		  update_row(put, answer)))
		check_unchanged_row(put, answer);
}

/*
 * Inserts the row, or updates the one that is there, and tells what came of it.
 * Raises ID205 and ID203 for a version expected in vain, 55000 where it was not
 * raised, what idem_upsert_deparse_sql raises, and whatever the statement raises itself.
 */
void
idem_upsert_exec(const IdemUpsert *upsert, IdemAnswer *answer)
{
	UpsertState put;

	init_put(&put, upsert);
	if (upsert->spec.versioned)
		put_expected_row(&put, answer);
	else
		put_new_row(&put, answer);
}

/*
 * _idem_upsert_met(ticket bigint, changes boolean, kept jsonb, version bigint,
 *					differs boolean) -> boolean
 *
 * Stands in the condition of ON CONFLICT DO UPDATE, which is evaluated for a
 * row that is there already, once it is locked.  Notes that, and the row if it is
 * given, and returns changes; if that is false, the row is kept as it is.
 * Raises 0A000 where it is not the upsert's own statement that asks.
 *
 * RETURNING cannot tell as much: it tells nothing of a row that is kept, before
 * PostgreSQL 18 it knows no old rows, and xmax, which gives an update away,
 * cannot be read of a row inserted into a partition, nor by a caller who may
 * read certain columns only.
 */
Datum
idem_upsert_met(PG_FUNCTION_ARGS)
{
	ConflictRow *seen = (ConflictRow *) idem_ticket_check(fcinfo, 0, MET);
	bool		changes = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);

	seen->met = true;
	if (changes && !PG_ARGISNULL(2))
	{
		MemoryContext old = MemoryContextSwitchTo(seen->memory);

		seen->before = (Jsonb *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(2));
		MemoryContextSwitchTo(old);
	}
	else if (!PG_ARGISNULL(2))
		note_row(seen, PG_GETARG_DATUM(2),
				 idem_row_version_argument(fcinfo, 3),
				 !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
	PG_RETURN_BOOL(changes);
}
