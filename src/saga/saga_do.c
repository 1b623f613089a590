/*
 * saga_do.c
 *	  SQL: idem_saga_do(), a step that is one statement of this database.
 *
 * The statement, the claim of the step's key and its end are one transaction.  The
 * saga's row is locked meanwhile, so nobody else claims, cancels or reports.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "execute/command.h"
#include "execute/params.h"
#include "key/answer.h"
#include "saga/saga_argument.h"
#include "saga/saga_begin.h"
#include "saga/saga_json.h"
#include "saga/saga_parse.h"
#include "saga/saga_report.h"
#include "saga/saga_rules.h"
#include "saga/saga_table.h"

PG_FUNCTION_INFO_V1(idem_saga_do);

/* As long as the claim is there nobody else sees it. */
static Interval moment = {.time = USECS_PER_HOUR};

static pg_uuid_t
fingerprint(const char *command, Jsonb *params)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "saga_do");
	idem_fingerprint_string(&fp, command);
	idem_fingerprint_jsonb(&fp, params);
	return idem_fingerprint_value(&fp);
}

static bool
same_name(text *a, text *b)
{
	return a != NULL && b != NULL && VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* What a work is in a saga: to do a step, or to undo one. */
typedef struct Target
{
	IdemSagaStep *step;			/* NULL: the saga has no such work */
	bool		undo;
} Target;

/*
 * Finds the step that a work is of.  Raises 22023 where there are several: a call that
 * is sent again could not be told from one for the next of them.
 */
static Target
find_target(IdemSaga *saga, text *work)
{
	Target		target = {NULL, false};
	int			found = 0;

	for (int i = 0; i < saga->nsteps; i++)
	{
		for (int undo = 0; undo < 2; undo++)
		{
			if (!same_name(undo ? saga->steps[i].undo : saga->steps[i].work, work))
				continue;
			target.step = &saga->steps[i];
			target.undo = undo;
			found++;
		}
	}
	if (found > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("saga \"%s\" has several works \"%s\"", saga->name,
						text_to_cstring(work)),
				 errdetail("A call that is sent again could not be told from one for the next of them."),
				 errhint("Give works names of their own, or use idem_saga_claim().")));
	return target;
}

/*
 * What a command came to that has been run for a target.  False if none has.  Raises
 * ID001 where it was another command.
 */
static bool
find_done(const IdemSaga *saga, const Target *target, const pg_uuid_t *command,
		  Datum *values, bool *nulls)
{
	const IdemSagaStep *step = target->step;
	char	   *wanted = DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(command)));
	IdemKey		key;
	IdemKeyRow	row;
	Jsonb	   *response;
	Jsonb	   *result;
	char	   *was;

	if (step == NULL)
		return false;
	idem_saga_key_init(&key, saga, step->number, target->undo);
	if (!idem_saga_key_find(key.key, &row) || row.outcome != IDEM_COMPLETED ||
		row.response_isnull)
		return false;
	response = DatumGetJsonbP(row.response);
	was = idem_saga_json_command(response);
	if (was == NULL)
		return false;
	if (strcmp(was, wanted) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_KEY_MISMATCH),
				 errmsg("step %d of saga \"%s\" was done by another command",
						step->number, saga->name),
				 errdetail("It was done at %s.", timestamptz_to_str(row.created_at)),
				 errhint("Send exactly the same command and parameters to retry the call.")));
	result = idem_saga_json_result(response);
	values[1] = JsonbPGetDatum(result);
	nulls[1] = (result == NULL);
	values[2] = CStringGetTextDatum(idem_saga_json_status(response));
	return true;
}

/* Raises ID401, and tells what is due instead. */
pg_noreturn static void
error_not_due(IdemSaga *saga, text *work)
{
	const IdemSagaStep *due = idem_saga_rules_due(saga);

	ereport(ERROR,
			(errcode(ERRCODE_IDEM_NOT_DUE),
			 errmsg("work \"%s\" of saga \"%s\" is not due", text_to_cstring(work),
					saga->name),
			 due == NULL ?
			 errdetail("The saga is %s.", idem_saga_rules_status(saga->status)) :
			 errdetail("The saga is %s, and \"%s\" of its step %d is due at %s.",
					   idem_saga_rules_status(saga->status),
					   text_to_cstring(idem_saga_rules_due_work(due)), due->number,
					   timestamptz_to_str(due->next_at)),
			 errhint("The view idem_saga_work tells what is due, and who holds it.")));
}

/* Does the work, and reports it; what came of it goes to the values. */
static void
do_work(IdemSaga *saga, const IdemSagaClaim *claim, const char *command, Jsonb *params,
		const pg_uuid_t *fp, Datum *values, bool *nulls)
{
	IdemSagaStep *step;
	IdemAnswer	answer = {0};
	IdemAnswerPart part;
	Jsonb	   *rows;
	int			number = claim->step->number;

	answer.response = idem_command_run(command, params, true);
	idem_answer_object(&answer, "a command", &part);
	rows = idem_answer_value(&part, "rows");

	/* the command may have called idem for this saga, too */
	if (idem_saga_table_open(saga, saga->saga, saga->scope, 0) != IDEM_SAGA_OPEN)
		idem_saga_argument_error_absent(saga->name);
	step = &saga->steps[number - 1];
	if (step->status != (claim->undo ? IDEM_STEP_UNDOING : IDEM_STEP_RUNNING))
		error_not_due(saga, claim->undo ? step->undo : step->work);
	values[1] = JsonbPGetDatum(rows);
	nulls[1] = (rows == NULL);
	values[2] = CStringGetTextDatum(idem_saga_report_done(saga, step, claim->undo,
														  claim->key.key,
														  claim->row.fence, rows, fp));
}

/*
 * idem_saga_do(saga text, work text, command text, params jsonb, scope text)
 *		-> replayed boolean, result jsonb, status text
 *
 * Does a step of a saga that is one statement, or undoes it, with the caller's
 * rights, and records that in the same transaction; or returns what came of it
 * before.  Waits for other transactions that work on the saga.
 *
 * Raises ID401 where the work is not due, 22023 where several steps have it, ID001 where the step was done by another
 * command, ID205 where there is no such saga, 42501 where it or the scope is another
 * role's, 40001 where it was changed after the transaction's snapshot was taken, and
 * whatever idem_command_run raises; 22004, 22023 and 25006 as idem_saga_start does.
 */
Datum
idem_saga_do(PG_FUNCTION_ARGS)
{
	IdemSaga	saga;
	IdemSagaClaim claim;
	text	   *name;
	text	   *scope;
	text	   *work;
	char	   *command;
	Jsonb	   *params;
	pg_uuid_t	fp;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	Target		target;
	bool		replayed;

	idem_saga_argument_init(fcinfo, "idem_saga_do()", 0, 4, &name, &scope);
	work = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	idem_saga_parse_check_name("work", work);
	if (PG_ARGISNULL(2))
		idem_error_null("command");
	if (PG_ARGISNULL(3))
		idem_error_null("params");
	command = text_to_cstring(PG_GETARG_TEXT_PP(2));
	params = PG_GETARG_JSONB_P(3);
	idem_params_check(params);
	fp = fingerprint(command, params);
	if (idem_saga_table_open(&saga, name, scope, 0) == IDEM_SAGA_ABSENT)
		idem_saga_argument_error_absent(text_to_cstring(name));

	target = find_target(&saga, work);
	replayed = find_done(&saga, &target, &fp, values, nulls);
	if (!replayed)
	{
		if (!idem_saga_begin(&saga, &work, 1, &moment, &claim))
			error_not_due(&saga, work);
		do_work(&saga, &claim, command, params, &fp, values, nulls);
	}
	values[0] = BoolGetDatum(replayed);
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
