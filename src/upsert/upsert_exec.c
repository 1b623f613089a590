/*
 * upsert_exec.c
 *	  A row inserted into a table of the caller's, or updated, as idem_upsert()
 *	  does it.
 *
 * Which statements are run, in which order, and what their results mean.  What
 * they cannot return, whether there was a row and what it is if it is kept, the
 * upsert's statement reports through conflict_row.c.
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "base/error.h"
#include "base/routed.h"
#include "table/row_to_jsonb.h"
#include "table/trial_write.h"
#include "upsert/upsert_exec.h"
#include "upsert/upsert_routed.h"
#include "upsert/upsert_target.h"

/* What to do about a row that is not there. */
#define ABSENT_HINT		"Leave \"expected_version\" out to insert the row."

/*
 * Where rows keep being new, an insert is tried first: after so many of them in
 * succession, since an attempt in vain costs more than twice what one that
 * succeeds saves.
 */
#define ALL_NEW			4

static const char *
row_name(const IdemUpsertState *state)
{
	return idem_upsert_run_row_name(state->upsert, state->conflict.row);
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
find_row(IdemUpsertState *state)
{
	IdemConflictRow *conflict = &state->conflict;
	const IdemUpsert *upsert = state->upsert;
	Jsonb	   *handed = conflict->row;
	IdemPlan   *plan;
	Datum		values[3];
	bool		isnull[3];

	if (handed != NULL &&
		check_enable_rls(upsert->spec.target, InvalidOid, true) != RLS_ENABLED)
		return;

	plan = idem_upsert_run_plan(state, IDEM_UPSERT_READ);
	if (idem_upsert_run(state, plan, handed ? handed : upsert->data,
						3, values, isnull) == 0)
		conflict->row = NULL;
	else
		idem_conflict_row_set(conflict, values[0],
							  idem_row_version_value(values[1], isnull[1]),
							  handed ? conflict->differs :
							  DatumGetBool(values[2]));
}

/* Updates the row once more, for idem_trial_write_keeps(). */
static Jsonb *
repeat_update(void *upsert_state)
{
	IdemUpsertState *state = upsert_state;
	IdemPlan   *plan = idem_upsert_run_plan(state, IDEM_UPSERT_REPEAT);
	Datum		row;
	bool		isnull;

	if (idem_upsert_run(state, plan, state->upsert->data, 1, &row,
						&isnull) == 0 || isnull)
		return NULL;
	return DatumGetJsonbP(row);
}

/* Is the row what the table's triggers make of the data? */
static bool
is_as_written(IdemUpsertState *state)
{
	List	   *names;

	if (idem_upsert_run_plan(state, IDEM_UPSERT_REPEAT) == NULL)
		return false;
	names = idem_upsert_target_updated(&state->upsert->spec);
	return idem_trial_write_keeps(state->conflict.row, names, repeat_update,
								  state);
}

/* Raises ID203 unless the row, which is there, has the version expected. */
static void
check_version(IdemUpsertState *state)
{
	IdemConflictRow *conflict = &state->conflict;
	const IdemRowVersion *expected = &state->upsert->expected;
	IdemVersionMatch match = idem_row_version_match(&conflict->version,
													expected);

	/* one past it, with the same data: after a lost acknowledgement */
	if (match == IDEM_VERSION_OTHER ||
		(match == IDEM_VERSION_NEXT && conflict->differs &&
		 !is_as_written(state)))
		idem_row_version_error(state->upsert->spec.target, row_name(state),
							   &conflict->version, expected);
}

/*
 * What to say of a row that was left as it was, if it was found: it is as it
 * should be, or has another version than expected.
 */
static void
check_unchanged_row(IdemUpsertState *state, IdemAnswer *answer)
{
	IdemConflictRow *conflict = &state->conflict;

	if (state->upsert->spec.versioned)
	{
		if (conflict->row == NULL)
			idem_error_no_row(state->upsert->spec.target, row_name(state),
							  NULL);
		check_version(state);
	}

	answer->outcome = IDEM_UNCHANGED;
	answer->response_isnull = (conflict->row == NULL);
	answer->response = answer->response_isnull ? (Datum) 0 :
		JsonbPGetDatum(conflict->row);
}

/*
 * Runs a statement that writes the row; false if it wrote none.  A trigger that
 * returns the old row has it written, but declines the update all the same.
 */
static bool
write_row(IdemUpsertState *state, IdemPlan *plan, IdemAnswer *answer)
{
	IdemConflictRow *conflict = &state->conflict;
	volatile uint64 rows;

	idem_conflict_row_begin(conflict);
	PG_TRY();
	{
		rows = idem_upsert_run(state, plan, state->upsert->data, 1,
							   &answer->response, &answer->response_isnull);
	}
	PG_FINALLY();
	{
		idem_conflict_row_end(conflict);
	}
	PG_END_TRY();

	answer->outcome = conflict->met ? IDEM_UPDATED : IDEM_INSERTED;
	if (rows > 0 && conflict->before != NULL && !answer->response_isnull &&
		idem_row_to_jsonb_same(conflict->before,
							   DatumGetJsonbP(answer->response)))
		answer->outcome = IDEM_UNCHANGED;
	return rows > 0;
}

/* Inserts the row, or updates the one that is there. */
static void
upsert_row(IdemUpsertState *state, IdemAnswer *answer)
{
	IdemPlan   *plan = idem_upsert_run_plan(state, IDEM_UPSERT_WRITE);

	if (!write_row(state, plan, answer))
	{
		find_row(state);
		check_unchanged_row(state, answer);
	}
	else if (state->upsert->spec.versioned && !state->conflict.met)
		idem_error_no_row(state->upsert->spec.target, row_name(state),
						  ABSENT_HINT);
}

/* The same, where rows may keep being new. */
static void
upsert_new_row(IdemUpsertState *state, IdemAnswer *answer)
{
	IdemUpsertExperience experience = idem_upsert_run_experience(state);
	int			former_streak = experience.insert_streak;

	if (experience.no_insert)
	{
		upsert_row(state, answer);
		return;
	}
	if (experience.insert_streak == ALL_NEW)
	{
		IdemPlan   *plan = idem_upsert_run_plan(state, IDEM_UPSERT_INSERT);

		answer->outcome = IDEM_INSERTED;
		if (plan != NULL &&
			idem_upsert_run_insert(state, plan, &answer->response,
								   &answer->response_isnull))
			return;
		experience.no_insert = (plan == NULL);
		experience.insert_streak = 0;
	}
	upsert_row(state, answer);
	if (answer->outcome != IDEM_INSERTED)
		experience.insert_streak = 0;
	else if (experience.insert_streak < ALL_NEW)
		experience.insert_streak++;
	if (experience.insert_streak != former_streak || experience.no_insert)
		idem_upsert_run_learn(state, &experience);
}

/*
 * The version of a row has not been raised by an update.  Either a trigger has
 * returned the old row, or the row is as wanted, and its version does not show it:
 * in a partition whose trigger is disabled.
 */
static void
check_unraised(IdemUpsertState *state)
{
	IdemPlan   *plan = idem_upsert_run_plan(state, IDEM_UPSERT_LOCK);
	Datum		values[3];
	bool		isnull[3];

	if (plan != NULL &&
		idem_upsert_run(state, plan, state->upsert->data, 3, values,
						isnull) > 0 &&
		!DatumGetBool(values[2]))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the version of a row of \"%s\" was not raised",
						get_rel_name(state->upsert->spec.target)),
				 errhint("Enable the trigger that raises it, in all partitions.")));
}

/* Updates the row if it is as expected; false if nothing was touched. */
static bool
update_row(IdemUpsertState *state, IdemAnswer *answer)
{
	IdemPlan   *plan = idem_upsert_run_plan(state, IDEM_UPSERT_UPDATE);
	Datum		values[2];
	bool		isnull[2];
	IdemRowVersion version;

	if (plan == NULL ||
		idem_upsert_run(state, plan, state->upsert->data, 2, values,
						isnull) == 0)
		return false;

	answer->outcome = IDEM_UPDATED;
	version = idem_row_version_value(values[1], isnull[1]);
	if (idem_row_version_match(&version, &state->upsert->expected) ==
		IDEM_VERSION_EXPECTED)
	{
		check_unraised(state);
		answer->outcome = IDEM_UNCHANGED;
	}
	answer->response = values[0];
	answer->response_isnull = isnull[0];
	return true;
}

/*
 * Updates a row that is to be there, in the version expected.  Nothing is
 * inserted, so that no error is about a row that nobody wants, unless only an insert
 * can tell which row is meant.
 */
static void
update_expected_row(IdemUpsertState *state, IdemAnswer *answer)
{
	static const IdemUpsertExperience by_insert = {.by_insert = true};
	IdemConflictRow *conflict = &state->conflict;
	IdemVersionMatch match;
	IdemPlan   *plan;
	Datum		values[3];
	bool		isnull[3];

	if (idem_upsert_run_experience(state).by_insert)
	{
		upsert_row(state, answer);
		return;
	}
	if (update_row(state, answer))
		return;
	plan = idem_upsert_run_plan(state, IDEM_UPSERT_LOCK);
	if (plan == NULL)
	{
		upsert_row(state, answer);
		idem_upsert_run_learn(state, &by_insert);
		return;
	}
	if (idem_upsert_run(state, plan, state->upsert->data, 3, values,
						isnull) == 0)
	{
		if (!idem_upsert_target_fills(&state->upsert->spec))
			idem_error_no_row(state->upsert->spec.target, row_name(state),
							  ABSENT_HINT);
		upsert_row(state, answer);
		return;
	}

	/* Another session may have changed the row, but it is locked now. */
	idem_conflict_row_set(conflict, values[0],
						  idem_row_version_value(values[1], isnull[1]),
						  DatumGetBool(values[2]));
	match = idem_row_version_match(&conflict->version,
								   &state->upsert->expected);
	if (match != IDEM_VERSION_EXPECTED || !conflict->differs ||
		!update_row(state, answer))
		check_unchanged_row(state, answer);
}

/*
 * Inserts the row, or updates the one that is there, and answers with the outcome
 * and the row.  Raises ID205 and ID203 for a version expected in vain, 55000 where
 * it was not raised, what idem_upsert_deparse_sql raises, and whatever the statement
 * raises itself.
 */
void
idem_upsert_exec(const IdemUpsert *upsert, IdemAnswer *answer)
{
	IdemUpsertState state;

	if (idem_routed(upsert->spec.target))
	{
		idem_upsert_routed(upsert, answer);
		return;
	}
	idem_upsert_run_init(&state, upsert);
	if (upsert->spec.versioned)
		update_expected_row(&state, answer);
	else
		upsert_new_row(&state, answer);
}

/* Have the rows of such upserts kept being new, so that an insert is tried first? */
bool
idem_upsert_exec_keeps_inserting(const IdemUpsert *upsert)
{
	IdemUpsertState state;
	IdemUpsertExperience experience;

	idem_upsert_run_init(&state, upsert);
	experience = idem_upsert_run_experience(&state);
	return !upsert->spec.versioned && !experience.no_insert &&
		experience.insert_streak == ALL_NEW;
}

/*
 * Inserts the rows of several upserts of one kind, of which upsert is one, up to the
 * first whose row is there: that is for idem_upsert_exec().  False, and none is
 * inserted, where all are.
 */
bool
idem_upsert_exec_rows(const IdemUpsert *upsert, IdemInsertRows *rows)
{
	IdemUpsertState state;
	IdemPlan   *plan;

	Assert(!upsert->spec.versioned);
	idem_upsert_run_init(&state, upsert);
	plan = idem_upsert_run_plan(&state, IDEM_UPSERT_INSERT);
	return plan != NULL && idem_upsert_run_insert_rows(&state, plan, rows);
}
