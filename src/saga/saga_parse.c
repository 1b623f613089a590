/*
 * saga_parse.c
 *	  The steps of a saga as its caller describes them.
 *
 * The description is JSON: the steps in their order,
 *
 *		[{"do": "charge", "undo": "refund", "input": {}, "attempts": 5,
 *		  "backoff": "1s", "cap": "5min", "pivot": false}, ...]
 *
 * of which only "do" has to be there.  What is not known is an error, lest a slip
 * in a name leave a step without its undo.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/error.h"
#include "base/interval.h"
#include "saga/saga_parse.h"

#define MAX_STEPS		1000
#define MAX_ATTEMPTS	1000000

#define DEFAULT_ATTEMPTS	5
#define DEFAULT_BACKOFF_US	USECS_PER_SEC
#define DEFAULT_CAP_US		(5 * USECS_PER_MINUTE)

/* Checks the name of a saga or a work.  Raises 22004 and 22023. */
void
idem_saga_parse_check_name(const char *argument, text *name)
{
	idem_argument_check_name(argument, name, IDEM_SAGA_MAX_NAME);
}

static const char *
shown(const JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	char	   *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	return pnstrdup(text, pg_mbcliplen(text, strlen(text), 200));
}

pg_noreturn static void
error_field(int step, const char *name, const char *wanted, const JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of step %d must be %s", name, step, wanted),
			 value == NULL ? errdetail("It is missing.") :
			 errdetail("It is %s.", shown(value))));
}

pg_noreturn static void
error_steps(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"steps\" must be an array of 1 to %d steps", MAX_STEPS),
			 errdetail_internal("%s", detail),
			 errhint("Describe each step as an object: [{\"do\": \"charge\", \"undo\": \"refund\"}, {\"do\": \"ship\"}].")));
}

static text *
read_name(int step, const char *name, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len < 1 ||
		value->val.string.len > IDEM_SAGA_MAX_NAME)
		error_field(step, name, "a name of 1 to 255 bytes", value);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static int
read_attempts(int step, const JsonbValue *value)
{
	const char *wanted = "a whole number from 1 to 1000000";
	Numeric		number;
	int64		attempts;

	if (value->type != jbvNumeric)
		error_field(step, "attempts", wanted, value);
	number = value->val.numeric;
	if (DatumGetBool(DirectFunctionCall2(numeric_ne, NumericGetDatum(number),
										 DirectFunctionCall1(numeric_floor,
															 NumericGetDatum(number)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number),
										 NumericGetDatum(int64_to_numeric(MAX_ATTEMPTS)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(number),
										 NumericGetDatum(int64_to_numeric(1)))))
		error_field(step, "attempts", wanted, value);
	attempts = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
	return (int) attempts;
}

static int64
read_span(int step, const char *name, const JsonbValue *value)
{
	int64		us;

	if (value->type != jbvString ||
		!idem_interval_parse(pnstrdup(value->val.string.val, value->val.string.len),
							 &us) ||
		us == IDEM_INTERVAL_ENDLESS)
		error_field(step, name, "a positive interval, such as \"1s\"", value);
	return us;
}

static void
read_field(IdemSagaStep *step, const char *name, JsonbValue *value)
{
	int			number = step->number;

	if (strcmp(name, "do") == 0)
		step->work = read_name(number, name, value);
	else if (strcmp(name, "undo") == 0)
		step->undo = value->type == jbvNull ? NULL : read_name(number, name, value);
	else if (strcmp(name, "input") == 0)
	{
		step->input.isnull = (value->type == jbvNull);
		if (!step->input.isnull)
			step->input.value = JsonbPGetDatum(JsonbValueToJsonb(value));
	}
	else if (strcmp(name, "attempts") == 0)
		step->max_attempts = read_attempts(number, value);
	else if (strcmp(name, "backoff") == 0)
		step->backoff_us = read_span(number, name, value);
	else if (strcmp(name, "cap") == 0)
		step->cap_us = read_span(number, name, value);
	else if (strcmp(name, "pivot") == 0)
	{
		if (value->type != jbvBool)
			error_field(number, name, "true or false", value);
		step->pivot = value->val.boolean;
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %d has an unknown field \"%s\"", number, name),
				 errdetail("A step has \"do\", \"undo\", \"input\", \"attempts\", \"backoff\", \"cap\" and \"pivot\".")));
}

static void
read_step(IdemSagaStep *step, JsonbValue *element)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	field;
	const char *name = NULL;

	if (element->type != jbvBinary ||
		!JsonContainerIsObject(element->val.binary.data))
		error_steps(psprintf(_("Step %d is %s."), step->number, shown(element)));
	it = JsonbIteratorInit(element->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &field, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(field.val.string.val, field.val.string.len);
		else if (token == WJB_VALUE)
			read_field(step, name, &field);
	}
	if (step->work == NULL)
		error_field(step->number, "do", "a name of 1 to 255 bytes", NULL);
}

/*
 * Reads the steps of a saga that is to be started.  Raises 22023 for what is no
 * description of steps.
 */
void
idem_saga_parse_steps(IdemSaga *saga, Jsonb *steps)
{
	int			count = JB_ROOT_COUNT(steps);

	if (!JB_ROOT_IS_ARRAY(steps) || JB_ROOT_IS_SCALAR(steps))
		error_steps(_("It is not an array."));
	if (count < 1 || count > MAX_STEPS)
		error_steps(psprintf(_("It has %d elements."), count));
	saga->nsteps = count;
	saga->steps = palloc0(sizeof(IdemSagaStep) * count);
	for (int i = 0; i < count; i++)
	{
		IdemSagaStep *step = &saga->steps[i];

		step->number = i + 1;
		step->input.isnull = true;
		step->output.isnull = true;
		step->error.isnull = true;
		step->status = IDEM_STEP_PENDING;
		step->max_attempts = DEFAULT_ATTEMPTS;
		step->backoff_us = DEFAULT_BACKOFF_US;
		step->cap_us = DEFAULT_CAP_US;
		read_step(step, getIthJsonbValueFromContainer(&steps->root, i));
	}
}
