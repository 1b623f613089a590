/*
 * answer.c
 *	  What a key remembers of its work.
 *
 * The response of a stored answer is JSON of the function that wrote it, which
 * reads it field by field for a replay.  A role that may write to the table of keys
 * can have left anything there, and nothing of that may bring the server down: what
 * is not as idem wrote it raises an error, the same one in all functions.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "key/answer.h"

/* Makes the answer of a call. */
void
idem_answer_set(IdemAnswer *answer, IdemOutcome outcome, Jsonb *response)
{
	Assert(response != NULL);
	answer->outcome = outcome;
	answer->response = JsonbPGetDatum(response);
	answer->response_isnull = false;
}

/*
 * What stands for a response that is not to be kept.  It is JSON's null, as where a
 * claim is completed with none: SQL's may have come from anywhere.
 */
Datum
idem_answer_withheld(void)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum("null"));
}

/* Is a response that, or none, rather than one to be read? */
bool
idem_answer_is_withheld(const IdemAnswer *answer)
{
	JsonbValue	v;

	return !answer->response_isnull &&
		JB_ROOT_IS_SCALAR(DatumGetJsonbP(answer->response)) &&
		JsonbExtractScalar(&DatumGetJsonbP(answer->response)->root, &v) &&
		v.type == jbvNull;
}

/* Raises XX001: the key does not hold what such a call has written. */
void
idem_answer_error(const char *of)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the key does not hold the answer of %s", of),
			 errhint("Use a new key.")));
}

/* Begins to read a stored response, of whatever kind. */
static void
open_response(const IdemAnswer *answer, const char *of, IdemAnswerPart *part)
{
	if (answer->response_isnull)
		idem_answer_error(of);
	part->json = &DatumGetJsonbP(answer->response)->root;
	part->of = of;
}

/* Begins to read a stored response; raises XX001 unless it is an object. */
void
idem_answer_object(const IdemAnswer *answer, const char *of,
				   IdemAnswerPart *object)
{
	open_response(answer, of, object);
	if (!JsonContainerIsObject(object->json))
		idem_answer_error(of);
}

/*
 * Begins to read a stored response; raises XX001 unless it is an array of that many
 * elements.
 */
void
idem_answer_array(const IdemAnswer *answer, const char *of, int count,
				  IdemAnswerPart *array)
{
	open_response(answer, of, array);
	if (!JsonContainerIsArray(array->json) ||
		JsonContainerIsScalar(array->json) ||
		JsonContainerSize(array->json) != count)
		idem_answer_error(of);
}

/* An element of an array, from 0; raises XX001 unless it is an object. */
void
idem_answer_element(const IdemAnswerPart *array, int i, IdemAnswerPart *object)
{
	JsonbValue *v;

	Assert(JsonContainerIsArray(array->json));
	v = getIthJsonbValueFromContainer(array->json, i);
	if (v == NULL || v->type != jbvBinary ||
		!JsonContainerIsObject(v->val.binary.data))
		idem_answer_error(array->of);
	object->json = v->val.binary.data;
	object->of = array->of;
}

static bool
find_field(const IdemAnswerPart *object, const char *name, JsonbValue *v)
{
	Assert(JsonContainerIsObject(object->json));
	return getKeyJsonValueFromContainer(object->json, name, strlen(name),
										v) != NULL;
}

/* A field, copied; NULL if it is not there. */
Jsonb *
idem_answer_value(const IdemAnswerPart *object, const char *name)
{
	JsonbValue	v;

	return find_field(object, name, &v) ? JsonbValueToJsonb(&v) : NULL;
}

/* A field, copied, NULL for null; raises XX001 unless it is a string or that. */
char *
idem_answer_string(const IdemAnswerPart *object, const char *name)
{
	JsonbValue	v;

	if (!find_field(object, name, &v) ||
		(v.type != jbvString && v.type != jbvNull))
		idem_answer_error(object->of);
	return v.type == jbvNull ? NULL :
		pnstrdup(v.val.string.val, v.val.string.len);
}

/*
 * A field; raises XX001 unless it is a number, or null where that may be, which
 * isnull then tells, and 22003 for a number that no bigint can be.
 */
int64
idem_answer_int8(const IdemAnswerPart *object, const char *name, bool *isnull)
{
	JsonbValue	v;
	bool		null;

	if (!find_field(object, name, &v))
		idem_answer_error(object->of);
	null = (v.type == jbvNull);
	if (v.type != jbvNumeric && (!null || isnull == NULL))
		idem_answer_error(object->of);
	if (isnull != NULL)
		*isnull = null;
	return null ? 0 :
		DatumGetInt64(DirectFunctionCall1(numeric_int8,
										  NumericGetDatum(v.val.numeric)));
}
