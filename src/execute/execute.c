/*
 * execute.c
 *	  SQL: idem_execute(), any one statement of the caller's, once per key.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "execute/command.h"
#include "execute/params.h"
#include "key/key.h"

PG_FUNCTION_INFO_V1(idem_execute);

/*
 * Adds the schemas in which names of the command are looked for, by their own
 * names: tenants that have a schema each must not be answered each other's rows.
 * A session's temporary schema is another one in the session that retries.
 */
static void
add_schemas(IdemFingerprint *fp)
{
	List	   *path = fetch_search_path(false);
	ListCell   *lc;

	foreach(lc, path)
	{
		char	   *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isTempNamespace(lfirst_oid(lc)))
			idem_fingerprint_string(fp, name);
	}
	list_free(path);
}

/* The command counts by its text, and by where its names are looked for. */
static pg_uuid_t
fingerprint(const char *command, Jsonb *params)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "execute");
	idem_fingerprint_string(&fp, command);
	idem_fingerprint_jsonb(&fp, params);
	add_schemas(&fp);
	return idem_fingerprint_value(&fp);
}

/* Takes a field of the answer; false if it is not there. */
static bool
field(Jsonb *response, const char *name, JsonbValue *v)
{
	return getKeyJsonValueFromContainer(&response->root, name, strlen(name),
										v) != NULL;
}

/*
 * The rows and their number, as the key remembers them.  Whoever may write to
 * the table of keys can have left anything there, and nothing of that may bring
 * the server down.
 */
static void
read_answer(const IdemAnswer *answer, Datum *rows, bool *no_rows,
			Datum *processed)
{
	Jsonb	   *response = answer->response_isnull ? NULL :
		DatumGetJsonbP(answer->response);
	JsonbValue	v;

	if (response == NULL || !JB_ROOT_IS_OBJECT(response) ||
		!field(response, "processed", &v) || v.type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the key does not hold the answer of a command"),
				 errhint("Use a new key.")));

	*processed = DirectFunctionCall1(numeric_int8,
									 NumericGetDatum(v.val.numeric));
	*no_rows = !field(response, "rows", &v);
	if (!*no_rows)
		*rows = JsonbPGetDatum(JsonbValueToJsonb(&v));
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

	answer->outcome = IDEM_EXECUTED;
	answer->response = idem_command_run(call->command, call->params, true);
	answer->response_isnull = false;
}

/*
 * idem_execute(key text, command text, params jsonb, scope text, ttl interval)
 *		-> outcome idem_outcome, replayed boolean, result jsonb,
 *		   processed bigint
 *
 * Runs command with params as $1, $2, ... and remembers its rows and their
 * number under the key; or tells what the key remembers.  Errors: those of
 * idem_key_init, idem_key_run and idem_command_run.
 */
Datum
idem_execute(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	IdemAnswer	answer = {0};
	Call		call;
	Datum		values[4];
	bool		nulls[4] = {false};
	bool		replayed;

	idem_key_init(&key, fcinfo, "idem_execute()", 0, 3, 4);
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
	read_answer(&answer, &values[2], &nulls[2], &values[3]);
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
