/*
 * transition_answer.c
 *	  Changes of state as a key remembers them.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "transition/transition_answer.h"

/* Whose answers they are, for errors. */
#define KIND	"a transition"

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
	Assert(result->outcome == IDEM_APPLIED || result->outcome == IDEM_NOOP);
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
idem_transition_answer_encode_set(int count, Jsonb **ids,
								  const IdemTransitionResult *results)
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

/* Reads a change, without its outcome. */
static void
read_change(const IdemAnswerPart *object, IdemTransitionResult *result)
{
	result->from = idem_answer_string(object, "from");
	result->to = idem_answer_string(object, "to");
	result->version = idem_answer_int8(object, "version", NULL);
}

/* The change that a key remembers. */
void
idem_transition_answer_decode(const IdemAnswer *answer,
							  IdemTransitionResult *result)
{
	IdemAnswerPart change;

	idem_answer_object(answer, KIND, &change);
	read_change(&change, result);
	result->outcome = answer->outcome;
}

static IdemOutcome
read_outcome(const IdemAnswerPart *object)
{
	const char *outcome = idem_answer_string(object, "outcome");

	if (outcome != NULL && strcmp(outcome, APPLIED) == 0)
		return IDEM_APPLIED;
	if (outcome == NULL || strcmp(outcome, NOOP) != 0)
		idem_answer_error(object->of);
	return IDEM_NOOP;
}

/* The changes of so many rows that a key remembers. */
void
idem_transition_answer_decode_set(const IdemAnswer *answer, int count,
								  IdemTransitionResult *results)
{
	IdemAnswerPart changes;

	idem_answer_array(answer, KIND, count, &changes);
	for (int i = 0; i < count; i++)
	{
		IdemAnswerPart change;

		idem_answer_element(&changes, i, &change);
		read_change(&change, &results[i]);
		results[i].outcome = read_outcome(&change);
	}
}
