/*
 * saga_resolve.c
 *	  SQL: idem_saga_cancel(), which lets a saga go back, and idem_saga_resolve(), by
 *	  which a person decides about one that is stuck.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "base/settings.h"
#include "saga/saga_argument.h"
#include "saga/saga_json.h"
#include "saga/saga_key.h"
#include "saga/saga_rules.h"
#include "saga/saga_table.h"
#include "saga/saga_write.h"

PG_FUNCTION_INFO_V1(idem_saga_cancel);
PG_FUNCTION_INFO_V1(idem_saga_resolve);

pg_noreturn static void
error_no_way_back(const IdemSaga *saga)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_TRANSITION),
			 errmsg("saga \"%s\" cannot be cancelled", saga->name),
			 idem_saga_rules_ended(saga) ?
			 errdetail("It is %s.", idem_saga_rules_status(saga->status)) :
			 errdetail("It is past its pivot, and only goes forward."),
			 errhint("Undo what it has done by a saga of its own.")));
}

/* Opens the saga that the arguments name.  Raises ID205 if there is none. */
static void
open_saga(FunctionCallInfo fcinfo, const char *function, int scope_argument,
		  IdemSaga *saga)
{
	text	   *name;
	text	   *scope;

	idem_saga_argument_init(fcinfo, function, 0, scope_argument, &name, &scope);
	if (idem_saga_table_open(saga, name, scope, 0) == IDEM_SAGA_ABSENT)
		idem_saga_argument_error_absent(text_to_cstring(name));
}

static Datum
status_of(const IdemSaga *saga)
{
	return CStringGetTextDatum(idem_saga_rules_status(saga->status));
}

/*
 * idem_saga_cancel(saga text, reason jsonb, scope text) -> text
 *
 * Lets a saga go back.  What is running may end: if it is done, it is undone then.
 * Returns the saga's status since; called again, that of now.  Waits for other
 * transactions that work on the saga.
 *
 * Raises ID201 where the saga is completed or past its pivot, ID205 where there is
 * none, 42501 where it or the scope is another role's, 40001 where it was changed
 * after the transaction's snapshot was taken, 22004, 22023, 54000, 25006 and 27000 as
 * idem_saga_start does.
 */
Datum
idem_saga_cancel(PG_FUNCTION_ARGS)
{
	Jsonb	   *reason = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	IdemSaga	saga;
	IdemSagaCall call = {.role = GetUserId(), .note = reason};

	if (reason != NULL)
		idem_settings_check_response(VARSIZE(reason), "reason");
	open_saga(fcinfo, "idem_saga_cancel()", 2, &saga);

	/*
	 * one that goes back already, or has, was cancelled before, or need not
	 * be
	 */
	if (saga.compensates)
		PG_RETURN_DATUM(status_of(&saga));
	if (saga.status != IDEM_SAGA_RUNNING || idem_saga_rules_past_pivot(&saga))
		error_no_way_back(&saga);
	idem_saga_rules_compensate(&saga, reason);
	idem_saga_write(&saga, &call);
	PG_RETURN_DATUM(status_of(&saga));
}

/* A verdict, and what it makes of a step; which is to be done, or to be undone. */
typedef struct Verdict
{
	const char *name;
	IdemStepStatus forward;		/* IDEM_STEP_STUCK: it makes no sense there */
	IdemStepStatus backward;
	bool		ends;			/* is the step not to be claimed any more? */
} Verdict;

static const Verdict verdicts[] = {
	{"retry", IDEM_STEP_PENDING, IDEM_STEP_UNDOING, false},
	{"done", IDEM_STEP_DONE, IDEM_STEP_STUCK, true},
	{"undone", IDEM_STEP_STUCK, IDEM_STEP_UNDONE, true},
	{"skip", IDEM_STEP_SKIPPED, IDEM_STEP_SKIPPED, true},
};

static const Verdict *
read_verdict(FunctionCallInfo fcinfo, int argument)
{
	char	   *name;

	if (PG_ARGISNULL(argument))
		idem_error_null("verdict");
	name = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; i < lengthof(verdicts); i++)
	{
		if (strcmp(verdicts[i].name, name) == 0)
			return &verdicts[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"verdict\" must be \"retry\", \"done\", \"undone\" or \"skip\""),
			 errdetail("It is \"%s\".", name)));
}

/* The step that is stuck.  Raises ID205 for a number that none has, ID201 else. */
static IdemSagaStep *
stuck_step(IdemSaga *saga, int number)
{
	IdemSagaStep *step;

	if (number < 1 || number > saga->nsteps)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_ROW_NOT_FOUND),
				 errmsg("saga \"%s\" has no step %d", saga->name, number),
				 errdetail("It has %d steps.", saga->nsteps)));
	step = &saga->steps[number - 1];
	if (step->status != IDEM_STEP_STUCK)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_TRANSITION),
				 errmsg("step %d of saga \"%s\" is not stuck", number, saga->name),
				 errdetail("The step is %s, and the saga %s.",
						   idem_saga_rules_step_status(step->status),
						   idem_saga_rules_status(saga->status))));
	return step;
}

/*
 * idem_saga_resolve(saga text, step integer, verdict text, note jsonb, scope text)
 *		-> text
 *
 * Decides about a step that is stuck: retry it; it is done; it is undone; skip it.
 * The history has the verdict and the note.  Returns the saga's status since.  Waits
 * for other transactions that work on the saga.
 *
 * Raises ID201 where the step is not stuck or the verdict makes no sense for it, 55006
 * where the last holder of the step is at it again, and what idem_saga_cancel raises.
 */
Datum
idem_saga_resolve(PG_FUNCTION_ARGS)
{
	IdemSaga	saga;
	IdemSagaStep *step;
	const Verdict *verdict;
	Jsonb	   *note = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	IdemSagaCall call = {.role = GetUserId()};
	IdemStepStatus status;

	if (PG_ARGISNULL(1))
		idem_error_null("step");
	verdict = read_verdict(fcinfo, 2);
	if (note != NULL)
		idem_settings_check_response(VARSIZE(note), "note");
	open_saga(fcinfo, "idem_saga_resolve()", 4, &saga);
	step = stuck_step(&saga, PG_GETARG_INT32(1));
	status = saga.compensates ? verdict->backward : verdict->forward;
	if (status == IDEM_STEP_STUCK)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_TRANSITION),
				 errmsg("step %d of saga \"%s\" cannot be resolved as \"%s\"",
						step->number, saga.name, verdict->name),
				 saga.compensates ?
				 errdetail("It is to be undone.") :
				 errdetail("It is past the pivot, and to be done.")));
	if (verdict->ends &&
		!idem_saga_key_take_over(&saga, step->number, saga.compensates))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("step %d of saga \"%s\" is held by a claim", step->number,
						saga.name),
				 errdetail("Its last holder has extended the lease."),
				 errhint("Wait for what it reports, or until the lease has run out.")));
	call.note = idem_saga_json_verdict(verdict->name, note);
	idem_saga_rules_resolve(&saga, step, status);
	idem_saga_write(&saga, &call);
	PG_RETURN_DATUM(status_of(&saga));
}
