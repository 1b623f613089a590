/*
 * update.c
 *	  SQL: idem_update(), a change of some columns of a row, once per key if
 *	  wanted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "key/key.h"
#include "key/key_init.h"
#include "table/column_sql.h"
#include "table/pk_argument.h"
#include "update/update_exec.h"

PG_FUNCTION_INFO_V1(idem_update);

/* What a key remembers of an update. */
static void
write_answer(const IdemUpdateResult *result, IdemAnswer *answer)
{
	StringInfoData buf;
	Datum		response;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"result\": ");
	(void) JsonbToCString(&buf, &result->row->root, VARSIZE(result->row));
	if (result->version.exists)
		appendStringInfo(&buf, ", \"version\": " INT64_FORMAT "}",
						 result->version.number);
	else
		appendStringInfoString(&buf, ", \"version\": null}");

	response = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	idem_answer_set(answer, result->outcome, DatumGetJsonbP(response));
}

/* What a key remembers, as an update. */
static void
read_answer(const IdemAnswer *answer, IdemUpdateResult *result)
{
	IdemAnswerPart response;
	bool		no_version;

	idem_answer_object(answer, "an update", &response);
	result->outcome = answer->outcome;
	result->row = idem_answer_value(&response, "result");
	if (result->row == NULL)
		idem_answer_error("an update");
	result->version.number = idem_answer_int8(&response, "version",
											  &no_version);
	result->version.exists = !no_version;
}

static pg_uuid_t
fingerprint(const IdemUpdateArgs *args)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "update");
	idem_fingerprint_relation(&fp, args->target);
	idem_pk_value_fingerprint(args->id, args->target, &fp);
	idem_row_version_fingerprint(&args->expected, &fp);
	idem_fingerprint_jsonb(&fp, args->patch);
	return idem_fingerprint_value(&fp);
}

static Datum
make_row(FunctionCallInfo fcinfo, const IdemUpdateResult *result, bool replayed)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[result->outcome]);
	values[1] = BoolGetDatum(replayed);
	values[2] = JsonbPGetDatum(result->row);
	values[3] = Int64GetDatum(result->version.number);
	nulls[3] = !result->version.exists;
	return idem_result_tuple_form(fcinfo, lengthof(values), values, nulls);
}

/* A call, and what comes of its work. */
typedef struct Call
{
	IdemUpdateArgs args;
	IdemUpdateResult result;
} Call;

/* The work of a key. */
static void
update_keyed(void *state, IdemAnswer *answer)
{
	Call	   *call = state;

	idem_update_exec(&call->args, &call->result);
	write_answer(&call->result, answer);
}

/*
 * idem_update(target regclass, id, patch jsonb, expected_version bigint,
 *			   key text, scope text, ttl interval)
 *		-> outcome idem_outcome, replayed boolean, result jsonb, version bigint
 *
 * Gives the row the values that patch names, unless it has them, or returns what
 * the key remembers.  Errors: those of idem_key_init and
 * idem_key_run, then of idem_update_exec.
 */
static Datum
update(FunctionCallInfo fcinfo, const IdemPkValue *id)
{
	Call		call = {0};
	IdemUpdateArgs *args = &call.args;
	bool		replayed = false;
	IdemKey		key;
	IdemAnswer	answer = {0};

	PreventCommandIfReadOnly("idem_update()");
	if (PG_ARGISNULL(0))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("patch");

	args->target = PG_GETARG_OID(0);
	args->id = id;
	args->patch = PG_GETARG_JSONB_P(2);
	args->expected = idem_row_version_argument(fcinfo, 3);
	args->keyed = !PG_ARGISNULL(4);
	if (args->keyed)
	{
		/* the same request, however its values are spelled */
		if (JB_ROOT_IS_OBJECT(args->patch))
		{
			IdemSpelling spelling = {0};

			(void) idem_column_sql_names(args->patch, "patch", &spelling);
			if (spelling.matters)
				args->patch = idem_column_sql_spell(args->patch, args->target,
													&spelling);
		}
		idem_key_init(&key, fcinfo, "idem_update()", 4, 5, 6);
		key.fingerprint = fingerprint(args);
		replayed = idem_key_run(&key, update_keyed, &call, &answer);
	}
	else
		idem_update_exec(args, &call.result);

	if (replayed)
		read_answer(&answer, &call.result);
	return make_row(fcinfo, &call.result, replayed);
}

Datum
idem_update(PG_FUNCTION_ARGS)
{
	return update(fcinfo, idem_pk_argument_read(fcinfo, 1));
}
