/*
 * saga_json.c
 *	  What the ledger of sagas writes and reads as jsonb.
 *
 * A role that may write to the table of keys can have left anything there, so what
 * is read may be anything.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/uuid.h"

#include "key/answer.h"
#include "saga/saga_json.h"

static Jsonb *
parse(StringInfo buf)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf->data)));
}

static void
append_jsonb(StringInfo buf, Jsonb *value)
{
	if (value == NULL)
		appendStringInfoString(buf, "null");
	else
		(void) JsonbToCString(buf, &value->root, VARSIZE(value));
}

/* What the key of a step is claimed for. */
Jsonb *
idem_saga_json_request(const IdemSaga *saga, int step, bool undo)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"saga\": ");
	escape_json(&buf, saga->name);
	appendStringInfoString(&buf, ", \"scope\": ");
	escape_json(&buf, text_to_cstring(saga->scope));
	appendStringInfo(&buf, ", \"step\": %d, \"undo\": %s}", step,
					 undo ? "true" : "false");
	return parse(&buf);
}

static JsonbValue *
member(Jsonb *json, const char *name)
{
	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	return getKeyJsonValueFromContainer(&json->root, name, strlen(name), NULL);
}

static text *
text_member(Jsonb *json, const char *name)
{
	JsonbValue *value = member(json, name);

	return value == NULL || value->type != jbvString ? NULL :
		cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static char *
string_member(Jsonb *json, const char *name)
{
	text	   *value = json == NULL ? NULL : text_member(json, name);

	return value == NULL ? NULL : text_to_cstring(value);
}

/* The same read again; false if it is none. */
bool
idem_saga_json_read_request(Jsonb *json, IdemSagaRequest *request)
{
	JsonbValue *step = member(json, "step");
	JsonbValue *undo = member(json, "undo");

	request->saga = text_member(json, "saga");
	request->scope = text_member(json, "scope");
	if (request->saga == NULL || request->scope == NULL ||
		step == NULL || step->type != jbvNumeric ||
		undo == NULL || undo->type != jbvBool)
		return false;
	request->step = DatumGetInt32(DirectFunctionCall1(numeric_int4,
													  NumericGetDatum(step->val.numeric)));
	request->undo = undo->val.boolean;
	return true;
}

/*
 * What the key of a step that has ended keeps: the status of the saga since; and
 * which command it was, if one, with its result, if not NULL.
 */
Jsonb *
idem_saga_json_end(const char *status, const pg_uuid_t *command, Jsonb *result)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"status\": \"%s\"", status);
	if (command != NULL)
		appendStringInfo(&buf, ", \"command\": \"%s\"",
						 DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(command))));
	if (command != NULL && result != NULL)
	{
		appendStringInfoString(&buf, ", \"result\": ");
		append_jsonb(&buf, result);
	}
	appendStringInfoChar(&buf, '}');
	return parse(&buf);
}

/* The status that it keeps, or NULL. */
char *
idem_saga_json_status(Jsonb *response)
{
	return string_member(response, "status");
}

/* The command that it keeps, or NULL. */
char *
idem_saga_json_command(Jsonb *response)
{
	return string_member(response, "command");
}

/* The result that it keeps, or NULL. */
Jsonb *
idem_saga_json_result(Jsonb *response)
{
	JsonbValue *result = response == NULL ? NULL : member(response, "result");

	return result == NULL ? NULL : JsonbValueToJsonb(result);
}

/* Why idem itself gives up a step, or a saga; at 0: at no time. */
Jsonb *
idem_saga_json_reason(const char *reason, TimestampTz at)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"reason\": \"%s\"", reason);
	if (at != 0)
	{
		char		time[MAXDATELEN + 1];
		int			utc = 0;

		JsonEncodeDateTime(time, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
		appendStringInfo(&buf, ", \"at\": \"%s\"", time);
	}
	appendStringInfoChar(&buf, '}');
	return parse(&buf);
}

/* The outputs of the steps that have been done, by their numbers; null if none has. */
Datum
idem_saga_json_prior(const IdemSaga *saga, bool *isnull)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < saga->nsteps; i++)
	{
		const IdemSagaStep *step = &saga->steps[i];

		if (step->output.isnull)
			continue;
		appendStringInfo(&buf, "%s\"%d\": ", buf.len > 0 ? ", " : "{", step->number);
		append_jsonb(&buf, DatumGetJsonbP(step->output.value));
	}
	*isnull = (buf.len == 0);
	if (*isnull)
		return (Datum) 0;
	appendStringInfoChar(&buf, '}');
	return JsonbPGetDatum(parse(&buf));
}

/* What a person has decided, for the history. */
Jsonb *
idem_saga_json_verdict(const char *verdict, Jsonb *note)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"verdict\": \"%s\", \"note\": ", verdict);
	append_jsonb(&buf, note);
	appendStringInfoChar(&buf, '}');
	return parse(&buf);
}
