/*
 * saga_report.c
 *	  What the holder of a claim reports of a step.
 *	  SQL: idem_saga_done(), idem_saga_fail().
 *
 * The key says which saga and step a claim is of.  So the saga's row is locked by
 * what the key says, and the key is looked at again under that lock.  What was
 * reported already, with this fence, is answered as it was then.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/interval.h"
#include "base/settings.h"
#include "key/key_init.h"
#include "key/scope.h"
#include "saga/saga_json.h"
#include "saga/saga_key.h"
#include "saga/saga_report.h"
#include "saga/saga_rules.h"
#include "saga/saga_table.h"

PG_FUNCTION_INFO_V1(idem_saga_done);
PG_FUNCTION_INFO_V1(idem_saga_fail);

/* A report, and what it is about. */
typedef struct Report
{
	text	   *key;
	const char *name;			/* key as a string */
	int64		fence;
	bool		done;			/* or failed */
	IdemKeyRow	row;
	IdemSagaRequest request;
	IdemSaga	saga;
	IdemSagaStep *step;
} Report;

pg_noreturn static void
error_no_claim(const Report *report)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_NO_CLAIM),
			 errmsg("key \"%s\" is not claimed", report->name),
			 errdetail("It is that of no saga's step, or its saga has been purged."),
			 errhint("Give the key and the fence that idem_saga_claim() returned.")));
}

pg_noreturn static void
error_lost(const Report *report, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_LEASE_LOST),
			 errmsg("claim of key \"%s\" is lost", report->name),
			 errdetail_internal("%s", detail),
			 errhint("Roll back what was written under the claim. Another session does the step, or undoes it.")));
}

/* Raises ID401: what is reported is not what the step waits for. */
pg_noreturn static void
error_not_due(const Report *report)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_NOT_DUE),
			 errmsg("step %d of saga \"%s\" is not due", report->request.step,
					report->saga.name),
			 errdetail("It is %s, and was reported otherwise before.",
					   idem_saga_rules_step_status(report->step->status)),
			 errhint("Roll back what was written under the claim.")));
}

/* Reads the first two arguments, and opens the saga that they are about. */
static void
open_report(FunctionCallInfo fcinfo, const char *function, Report *report)
{
	report->key = idem_key_init_name(fcinfo, 0, function);
	report->name = text_to_cstring(report->key);
	if (PG_ARGISNULL(1))
		idem_error_null("fence");
	report->fence = PG_GETARG_INT64(1);
	if (!idem_saga_key_find(report->key, &report->row) ||
		report->row.request_isnull)
		error_no_claim(report);
	idem_key_table_check_owner(&report->row, report->name);
	if (!idem_saga_json_read_request(DatumGetJsonbP(report->row.request),
									 &report->request))
		error_no_claim(report);
	idem_scope_check(report->request.scope);
	if (idem_saga_table_open(&report->saga, report->request.saga,
							 report->request.scope, 0) == IDEM_SAGA_ABSENT ||
		report->request.step < 1 || report->request.step > report->saga.nsteps)
		error_no_claim(report);
	report->step = &report->saga.steps[report->request.step - 1];

	/* as it is now that no other session can report anything */
	if (!idem_saga_key_find(report->key, &report->row))
		error_no_claim(report);
	if (report->row.unseen)
		idem_error_serialization(report->name);
}

/* Is a step one that a holder may still report on, by this key? */
static bool
is_open(const Report *report)
{
	IdemStepStatus status = report->step->status;
	bool		undo = report->request.undo;

	if (status == IDEM_STEP_STUCK)
		return report->saga.compensates == undo;
	return status == (undo ? IDEM_STEP_UNDOING : IDEM_STEP_RUNNING);
}

/*
 * The saga's status as it was answered before, or NULL if this is the first report
 * under the fence.  Raises ID002 where the claim is lost, ID401 where something else
 * was reported.
 */
static const char *
answered(const Report *report)
{
	const IdemKeyRow *row = &report->row;
	Jsonb	   *response;
	char	   *status;

	if (report->fence != row->fence)
		error_lost(report, psprintf(_("Its fence is %lld, not %lld: it was claimed again at %s."),
									(long long) row->fence, (long long) report->fence,
									timestamptz_to_str(row->created_at)));
	switch (row->outcome)
	{
		case IDEM_IN_PROGRESS:
			if (!is_open(report))
				error_not_due(report);
			return NULL;
		case IDEM_ABANDONED:
			/* a failure after which the step is tried again, or stuck */
			if (report->done)
				error_lost(report, psprintf(_("It was reported to have failed at %s."),
											timestamptz_to_str(row->lease_until)));
			return idem_saga_rules_status(report->saga.status);
		default:
			if (report->done != (row->outcome == IDEM_COMPLETED))
				error_not_due(report);
			response = row->response_isnull ? NULL : DatumGetJsonbP(row->response);
			status = idem_saga_json_status(response);
			return status != NULL ? status :
				idem_saga_rules_status(report->saga.status);
	}
}

static void
write_report(Report *report, Jsonb *note)
{
	IdemSagaCall call = {.role = GetUserId(), .key = report->name, .note = note};

	idem_saga_write(&report->saga, &call);
}

/*
 * A claimed step, of a saga that has been opened, is done, or undone; by a command,
 * unless that is NULL.  Returns the saga's status since.
 */
const char *
idem_saga_report_done(IdemSaga *saga, IdemSagaStep *step, bool undo, text *key,
					  int64 fence, Jsonb *output, const pg_uuid_t *command)
{
	IdemSagaCall call = {.role = GetUserId(), .key = text_to_cstring(key)};
	const char *status;

	idem_saga_rules_done(saga, step, undo, output);
	status = idem_saga_rules_status(saga->status);
	idem_saga_key_end(key, saga, fence, IDEM_COMPLETED,
					  idem_saga_json_end(status, command, output));
	idem_saga_write(saga, &call);
	return status;
}

/*
 * idem_saga_done(key text, fence bigint, output jsonb) -> text
 *
 * A step is done, or undone: what the claim of the key was for.  Returns the saga's
 * status since; called again, the same.  Waits for other transactions that work on
 * the saga.
 *
 * Raises ID002 where the claim is lost, ID003 where there is none, ID401 where the
 * step was reported to have failed, 42501 where the saga is another role's, 40001
 * where it was changed after the transaction's snapshot was taken, 54000 for an output
 * that is too long, 22004 for nulls, 25006 in a read-only transaction and on a
 * standby, 27000 where a trigger keeps a row from being written.
 */
Datum
idem_saga_done(PG_FUNCTION_ARGS)
{
	Report		report = {.done = true};
	Jsonb	   *output = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	const char *status;

	open_report(fcinfo, "idem_saga_done()", &report);
	if (output != NULL)
		idem_settings_check_response(VARSIZE(output), "output");
	status = answered(&report);
	if (status == NULL)
		status = idem_saga_report_done(&report.saga, report.step, report.request.undo,
									   report.key, report.fence, output, NULL);
	PG_RETURN_TEXT_P(cstring_to_text(status));
}

/* An attempt has failed; returns the saga's status since. */
static const char *
fail(Report *report, Jsonb *error, bool retry, int64 after_us)
{
	IdemSaga   *saga = &report->saga;
	IdemSagaStep *step = report->step;
	bool		undo = report->request.undo;
	const char *status;

	/* which it is already, whoever reports it */
	if (step->status == IDEM_STEP_STUCK)
	{
		idem_saga_key_release(report->key, saga, report->fence);
		return idem_saga_rules_status(saga->status);
	}
	if (retry && idem_saga_rules_retries(saga, step, undo))
		idem_saga_rules_retry(saga, step, error, after_us);
	else
		idem_saga_rules_fail(saga, step, undo, error, retry);
	status = idem_saga_rules_status(saga->status);

	/*
	 * what may be claimed again is free from now on; what has failed has
	 * ended
	 */
	if (step->status == IDEM_STEP_FAILED || (!undo && step->status == IDEM_STEP_UNDOING))
		idem_saga_key_end(report->key, saga, report->fence, IDEM_FAILED,
						  idem_saga_json_end(status, NULL, NULL));
	else
		idem_saga_key_release(report->key, saga, report->fence);
	write_report(report, error);
	return status;
}

/*
 * idem_saga_fail(key text, fence bigint, error jsonb, retry boolean, after interval)
 *		-> text
 *
 * An attempt to do a step, or to undo it, has failed.  With retry it is tried again
 * after a while, as often as the step says; without, or when that is used up, the
 * saga goes back, or is stuck.  Returns the saga's status since.  Without retry the
 * action has had no effect; with, nobody knows, and it is undone where the saga goes
 * back.  Errors: those of idem_saga_done, ID401 where the step was reported done,
 * 22023 for a negative interval.
 */
Datum
idem_saga_fail(PG_FUNCTION_ARGS)
{
	Report		report = {.done = false};
	Jsonb	   *error = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	int64		after_us = -1;
	const char *status;

	open_report(fcinfo, "idem_saga_fail()", &report);
	if (error != NULL)
		idem_settings_check_response(VARSIZE(error), "error");
	if (PG_ARGISNULL(3))
		idem_error_null("retry");
	if (!PG_ARGISNULL(4))
		after_us = idem_interval_us_or_zero(PG_GETARG_INTERVAL_P(4), "after");
	status = answered(&report);
	if (status == NULL)
		status = fail(&report, error, PG_GETARG_BOOL(3), after_us);
	PG_RETURN_TEXT_P(cstring_to_text(status));
}
