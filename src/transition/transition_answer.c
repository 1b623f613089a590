/*
 * transition_answer.c
 *	  Changes of state as a key remembers them.
 *
 * Whoever may write to the table of keys can have left anything there, and
 * nothing of that may bring the server down.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "transition/transition_answer.h"

#define APPLIED	"applied"
#define NOOP	"noop"

static void
append_state(StringInfo buf, const char *name, const char *state)
{
	appendStringInfo(buf, "\"%s\": ", name);
	if (state != NULL)
		escape_json(buf, state);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ", ");
}

static void
append_change(StringInfo buf, const IdemTransitionResult *result)
{
	append_state(buf, "from", result->from);
	append_state(buf, "to", result->to);
	appendStringInfo(buf, "\"version\": " INT64_FORMAT "}", result->version);
}

static Jsonb *
make_json(StringInfo buf)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(buf->data)));
}

/* A change as JSON; its outcome goes into a column of its own. */
Jsonb *
idem_transition_answer_encode(const IdemTransitionResult *result)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	append_change(&buf, result);
	return make_json(&buf);
}

/* The changes of a set of rows as JSON, in their order. */
Jsonb *
idem_transition_answer_encode_set(int count, Jsonb **ids, const IdemTransitionResult *results)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < count; i++)
	{
		appendStringInfoString(&buf, i > 0 ? ", {\"id\": " : "{\"id\": ");
		(void) JsonbToCString(&buf, &ids[i]->root, VARSIZE(ids[i]));
		appendStringInfo(&buf, ", \"outcome\": \"%s\", ",
						 results[i].outcome == IDEM_APPLIED ? APPLIED : NOOP);
		append_change(&buf, &results[i]);
	}
	appendStringInfoChar(&buf, ']');
	return make_json(&buf);
}

static const char *
string_field(JsonbContainer *object, const char *name)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &v) == NULL ||
		v.type != jbvString)
		return NULL;
	return pnstrdup(v.val.string.val, v.val.string.len);
}

/* Reads a change, without its outcome; false if it is none. */
static bool
read_change(JsonbContainer *object, IdemTransitionResult *result)
{
	JsonbValue	v;

	if (!JsonContainerIsObject(object) ||
		getKeyJsonValueFromContainer(object, "version", strlen("version"),
									 &v) == NULL ||
		v.type != jbvNumeric)
		return false;
	result->from = string_field(object, "from");
	result->to = string_field(object, "to");
	result->version = DatumGetInt64(DirectFunctionCall1(numeric_int8,
														NumericGetDatum(v.val.numeric)));
	return true;
}

static Jsonb *
response_of(const IdemAnswer *answer)
{
	return answer->response_isnull ? NULL : DatumGetJsonbP(answer->response);
}

static void
spoilt_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the key does not hold the answer of a transition"),
			 errhint("Use a new key.")));
}

/* The change that a key remembers. */
void
idem_transition_answer_decode(const IdemAnswer *answer, IdemTransitionResult *result)
{
	Jsonb	   *response = response_of(answer);

	if (response == NULL || !read_change(&response->root, result))
		spoilt_error();
	result->outcome = answer->outcome;
}

static bool
read_set_element(JsonbContainer *array, int i, IdemTransitionResult *result)
{
	JsonbValue *v = getIthJsonbValueFromContainer(array, i);
	const char *outcome;

	if (v == NULL || v->type != jbvBinary ||
		!read_change(v->val.binary.data, result))
		return false;
	outcome = string_field(v->val.binary.data, "outcome");
	if (outcome == NULL)
		return false;
	result->outcome = strcmp(outcome, APPLIED) == 0 ? IDEM_APPLIED : IDEM_NOOP;
	return true;
}

/* The changes of so many rows that a key remembers. */
void
idem_transition_answer_decode_set(const IdemAnswer *answer, int count, IdemTransitionResult *results)
{
	Jsonb	   *response = response_of(answer);

	if (response == NULL || !JB_ROOT_IS_ARRAY(response) ||
		JB_ROOT_IS_SCALAR(response) || JB_ROOT_COUNT(response) != count)
		spoilt_error();
	for (int i = 0; i < count; i++)
	{
		if (!read_set_element(&response->root, i, &results[i]))
			spoilt_error();
	}
}
