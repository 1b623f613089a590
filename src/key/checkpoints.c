/*
 * checkpoints.c
 *	  The steps that the holders of a claim have recorded.
 *	  SQL: idem_checkpoints(), which returns them.
 *
 * The row of the key keeps them as an array, in the order in which they were
 * recorded: [{"name": ..., "data": ..., "at": ...}, ...].  A name stands there
 * once.  A call whose acknowledgement was lost is sent again, and must not look like
 * a second step; and a step that is recorded again and again, such as how many
 * pages are done, does not make the row grow.
 *
 * A role that may write to the table of keys can have left anything there, so the
 * array is read as answers are (answer.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/result_tuple.h"
#include "base/settings.h"
#include "key/answer.h"
#include "key/checkpoints.h"
#include "key/key.h"
#include "key/key_init.h"

PG_FUNCTION_INFO_V1(idem_checkpoints);

/* Whose answer is read here, for errors. */
#define WRITER	"a checkpoint"

/* Begins to read what a row has, and returns how many there are. */
static int
open_steps(const IdemKeyRow *row, IdemAnswerPart *array)
{
	IdemAnswer	answer = {
		.response = row->checkpoints, .response_isnull = row->checkpoints_isnull
	};
	int			count;

	if (row->checkpoints_isnull)
		return 0;
	count = JsonContainerSize(&DatumGetJsonbP(row->checkpoints)->root);
	idem_answer_array(&answer, WRITER, count, array);
	return count;
}

static char *
read_name(const IdemAnswerPart *step)
{
	char	   *name = idem_answer_string(step, "name");

	if (name == NULL)
		idem_answer_error(WRITER);
	return name;
}

static TimestampTz
read_time(const IdemAnswerPart *step)
{
	char	   *at = idem_answer_string(step, "at");

	if (at == NULL)
		idem_answer_error(WRITER);
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												   CStringGetDatum(at),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}

static void
append_jsonb(StringInfo buf, Jsonb *value)
{
	(void) JsonbToCString(buf, &value->root, VARSIZE(value));
}

/* Appends the step that is recorded now; it has data unless that is NULL. */
static void
append_step(StringInfo buf, const char *name, Jsonb *data,
			TimestampTz recorded_at)
{
	char		at[MAXDATELEN + 1];
	int			utc = 0;

	appendStringInfoString(buf, "{\"name\": ");
	escape_json(buf, name);
	if (data != NULL)
	{
		appendStringInfoString(buf, ", \"data\": ");
		append_jsonb(buf, data);
	}
	/* read the same whatever the session's time zone and date style are */
	JsonEncodeDateTime(at, TimestampTzGetDatum(recorded_at), TIMESTAMPTZOID, &utc);
	appendStringInfo(buf, ", \"at\": \"%s\"}", at);
}

/*
 * The steps of a row and one more, as jsonb, which takes the place of one of its
 * name.  Raises XX001 where the row has what is none, 54000 where they are too long
 * to be kept.
 */
Datum
idem_checkpoints_add(const IdemKeyRow *row, text *name, Jsonb *data,
					 TimestampTz recorded_at)
{
	const char *added = text_to_cstring(name);
	IdemAnswerPart array;
	int			count = open_steps(row, &array);
	StringInfoData buf;
	Datum		steps;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < count; i++)
	{
		IdemAnswerPart step;

		idem_answer_element(&array, i, &step);
		if (strcmp(read_name(&step), added) == 0)
			continue;
		(void) JsonbToCString(&buf, step.json, 0);
		appendStringInfoString(&buf, ", ");
	}
	append_step(&buf, added, data, recorded_at);
	appendStringInfoChar(&buf, ']');
	steps = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	idem_settings_check_response(VARSIZE(DatumGetPointer(steps)), "data");
	return steps;
}

/*
 * The last step of a row, as claims and look-ups show it: {"name": ..., "data":
 * ...}.  Raises XX001 where the row has what is none.
 */
Datum
idem_checkpoints_last(const IdemKeyRow *row, bool *isnull)
{
	IdemAnswerPart array;
	IdemAnswerPart step;
	int			count = open_steps(row, &array);
	Jsonb	   *data;
	StringInfoData buf;

	*isnull = (count == 0);
	if (*isnull)
		return (Datum) 0;
	idem_answer_element(&array, count - 1, &step);
	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"name\": ");
	escape_json(&buf, read_name(&step));
	appendStringInfoString(&buf, ", \"data\": ");
	data = idem_answer_value(&step, "data");
	if (data == NULL)
		appendStringInfoString(&buf, "null");
	else
		append_jsonb(&buf, data);
	appendStringInfoChar(&buf, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

/*
 * idem_checkpoints(key text, scope text)
 *		-> SETOF (name text, data jsonb, recorded_at timestamptz)
 *
 * Returns the steps that the holders of a claim have recorded, as committed now, in
 * that order.  Does not write, does not wait, works on a standby.  Raises 42501 when
 * the key is another role's, 40001 when it was used after the transaction's snapshot
 * was taken, XX001 where its row has what is no step.
 */
Datum
idem_checkpoints(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	IdemKey		key;
	IdemKeyRow	row;
	IdemKeyState found;
	IdemAnswerPart array;
	int			count;

	idem_result_tuple_begin_set(fcinfo, 3);
	idem_key_init_held(&key, fcinfo, NULL, 0, 1);
	/* what others are writing does not count */
	found = idem_key_probe(&key, IDEM_WITH_VALUES | IDEM_COMMITTED, &row);
	if (found != IDEM_KEY_LIVE && found != IDEM_KEY_LAPSED)
		return (Datum) 0;
	idem_key_table_check_owner(&row, key.name);
	count = open_steps(&row, &array);
	for (int i = 0; i < count; i++)
	{
		IdemAnswerPart step;
		Jsonb	   *data;
		Datum		values[3];
		bool		isnull[3] = {false, false, false};

		CHECK_FOR_INTERRUPTS();
		idem_answer_element(&array, i, &step);
		values[0] = CStringGetTextDatum(read_name(&step));
		data = idem_answer_value(&step, "data");
		values[1] = JsonbPGetDatum(data);
		isnull[1] = (data == NULL);
		values[2] = TimestampTzGetDatum(read_time(&step));
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
	return (Datum) 0;
}
