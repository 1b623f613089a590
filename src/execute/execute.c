/*
 * execute.c
 *	  SQL: idem_execute(), any one statement of the caller's, once per key.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "execute/command.h"
#include "execute/params.h"
#include "key/key.h"
#include "key/key_init.h"

PG_FUNCTION_INFO_V1(idem_execute);

/* The command counts by its text, and by where its names are looked for. */
static pg_uuid_t
fingerprint(const char *command, Jsonb *params)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "execute");
	idem_fingerprint_string(&fp, command);
	idem_fingerprint_jsonb(&fp, params);
	idem_fingerprint_search_path(&fp);
	return idem_fingerprint_value(&fp);
}

/* A call, as far as its work needs it. */
typedef struct Call
{
	char	   *command;
	Jsonb	   *params;
} Call;

static void
run_command(void *state, IdemAnswer *answer)
{
	const Call *call = state;

	Datum		response = idem_command_run(call->command, call->params, true);

	idem_answer_set(answer, IDEM_EXECUTED, DatumGetJsonbP(response));
}

/*
 * What came of a command, as the last two columns of a row: result and processed.
 * All that there is of one that was refused is the error, and of one that another
 * transaction runs, or whose response was not to be kept, nothing.
 */
static void
read_answer(const IdemAnswer *answer, bool replayed, Datum *values, bool *isnull)
{
	IdemAnswerPart response;
	Jsonb	   *rows;

	if (answer->outcome == IDEM_IN_PROGRESS ||
		(replayed && idem_answer_is_withheld(answer)))
		return;
	idem_answer_object(answer, "a command", &response);
	if (answer->outcome == IDEM_FAILED)
	{
		values[0] = answer->response;
		isnull[0] = false;
		return;
	}
	rows = idem_answer_value(&response, "rows");
	values[0] = JsonbPGetDatum(rows);
	isnull[0] = (rows == NULL);
	values[1] = Int64GetDatum(idem_answer_int8(&response, "processed", NULL));
	isnull[1] = false;
}

/*
 * idem_execute(key text, command text, params jsonb, scope text, ttl interval,
 *				remember_errors text[], wait boolean, store_response boolean)
 *		-> outcome idem_outcome, replayed boolean, result jsonb,
 *		   processed bigint
 *
 * Runs command with params as $1, $2, ... and remembers its rows and their
 * number under the key; or returns what the key remembers.  Errors: those of
 * idem_key_init, idem_key_run and idem_command_run.
 */
Datum
idem_execute(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	IdemAnswer	answer = {0};
	Call		call;
	Datum		values[4];
	bool		nulls[4] = {false, false, true, true};
	bool		replayed;

	idem_key_init(&key, fcinfo, "idem_execute()", 0, 3, 4);
	idem_key_init_work(&key, fcinfo, 5);
	if (PG_ARGISNULL(1))
		idem_error_null("command");
	if (PG_ARGISNULL(2))
		idem_error_null("params");
	call.command = text_to_cstring(PG_GETARG_TEXT_PP(1));
	call.params = PG_GETARG_JSONB_P(2);
	idem_params_check(call.params);
	key.fingerprint = fingerprint(call.command, call.params);
	replayed = idem_key_run(&key, run_command, &call, &answer);

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[answer.outcome]);
	values[1] = BoolGetDatum(replayed);
	read_answer(&answer, replayed, values + 2, nulls + 2);
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
