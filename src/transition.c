/*
 * transition.c
 *	  SQL: order_transition(), a change of a row's state, once per key if wanted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "change.h"
#include "error.h"
#include "fingerprint.h"
#include "key.h"
#include "result.h"

PG_FUNCTION_INFO_V1(order_transition_text);
PG_FUNCTION_INFO_V1(order_transition_bigint);
PG_FUNCTION_INFO_V1(order_transition_uuid);
PG_FUNCTION_INFO_V1(order_transition_jsonb);

/* The machine of order_status, made by the installation. */
#define ORDER_MACHINE	"order"

static void
append_field(StringInfo buf, const char *name, const char *value)
{
	appendStringInfo(buf, "\"%s\": ", name);
	if (value != NULL)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ", ");
}

/* What a key remembers of a change. */
static void
write_answer(const IdemChange *change, IdemAnswer *answer)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	append_field(&buf, "from", change->from);
	append_field(&buf, "to", change->to);
	appendStringInfo(&buf, "\"version\": " INT64_FORMAT "}", change->version);

	answer->outcome = change->outcome;
	answer->response = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	answer->response_isnull = false;
}

static const char *
string_field(Jsonb *response, const char *name)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(&response->root, name, strlen(name),
									 &v) == NULL || v.type != jbvString)
		return NULL;
	return pnstrdup(v.val.string.val, v.val.string.len);
}

/*
 * What a key remembers, as a change.  Whoever may write to the table of keys can
 * have left anything there, and nothing of that may bring the server down.
 */
static void
read_answer(const IdemAnswer *answer, IdemChange *change)
{
	Jsonb	   *response = answer->response_isnull ? NULL :
		DatumGetJsonbP(answer->response);
	JsonbValue	v;

	if (response == NULL || !JB_ROOT_IS_OBJECT(response) ||
		getKeyJsonValueFromContainer(&response->root, "version",
									 strlen("version"), &v) == NULL ||
		v.type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the key does not hold the answer of a transition"),
				 errhint("Use a new key.")));

	change->outcome = answer->outcome;
	change->from = string_field(response, "from");
	change->to = string_field(response, "to");
	change->version = DatumGetInt64(DirectFunctionCall1(numeric_int8,
														NumericGetDatum(v.val.numeric)));
}

static int64
fingerprint(const IdemWish *wish)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transition");
	idem_fingerprint_relation(&fp, wish->target);
	idem_rowid_fingerprint(wish->id, &fp);
	idem_fingerprint_string(&fp, wish->to);
	if (wish->versioned)
		idem_fingerprint_int8(&fp, wish->expected_version);
	else
		idem_fingerprint_null(&fp);
	if (wish->note != NULL)
		idem_fingerprint_jsonb(&fp, wish->note);
	else
		idem_fingerprint_null(&fp);
	return idem_fingerprint_value(&fp);
}

static Datum
make_row(FunctionCallInfo fcinfo, const IdemChange *change, bool replayed)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[change->outcome]);
	values[1] = BoolGetDatum(replayed);
	nulls[2] = (change->from == NULL);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(change->from);
	nulls[3] = (change->to == NULL);
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(change->to);
	values[4] = Int64GetDatum(change->version);
	return idem_result_form(fcinfo, values, nulls);
}

/*
 * order_transition(target regclass, id, new_status order_status,
 *					expected_version bigint, key text, scope text,
 *					ttl interval, note jsonb)
 *		-> outcome idem_outcome, replayed boolean, from_state text,
 *		   to_state text, version bigint
 *
 * Brings the row into the state, or tells that it is there already, or what the
 * key remembers.  Errors, in this order: those of idem_key_claim, ID205 where
 * there is no such row, ID203 for a version expected in vain, ID201 where the
 * machine has no such transition, and whatever the statements raise.
 */
static Datum
transit(FunctionCallInfo fcinfo, const IdemRowId *id)
{
	IdemWish	wish = {0};
	IdemChange	change = {0};
	bool		replayed = false;
	IdemKey		key;
	IdemAnswer	answer = {0};

	PreventCommandIfReadOnly("order_transition()");
	if (PG_ARGISNULL(0))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("new_status");

	wish.target = PG_GETARG_OID(0);
	wish.id = id;
	wish.machine = ORDER_MACHINE;
	wish.to = DatumGetCString(DirectFunctionCall1(enum_out,
												  PG_GETARG_DATUM(2)));
	wish.versioned = !PG_ARGISNULL(3);
	if (wish.versioned)
		wish.expected_version = PG_GETARG_INT64(3);

	if (!PG_ARGISNULL(7))
		wish.note = PG_GETARG_JSONB_P(7);

	if (!PG_ARGISNULL(4))
	{
		idem_key_init(&key, "order_transition()", PG_GETARG_TEXT_PP(4),
					  PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5),
					  PG_ARGISNULL(6) ? NULL : PG_GETARG_INTERVAL_P(6));
		wish.scope = text_to_cstring(key.scope);
		wish.key = key.name;
		key.fingerprint = fingerprint(&wish);
		replayed = !idem_key_claim(&key, &answer);
	}

	if (replayed)
		read_answer(&answer, &change);
	else
		idem_change_make(&wish, &change);

	if (wish.key != NULL && !replayed)
	{
		write_answer(&change, &answer);
		idem_key_finish(&key, &answer);
	}
	return make_row(fcinfo, &change, replayed);
}

Datum
order_transition_text(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo,
				   idem_rowid_value(text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

Datum
order_transition_bigint(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo,
				   idem_rowid_value(psprintf(INT64_FORMAT, PG_GETARG_INT64(1))));
}

Datum
order_transition_uuid(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo,
				   idem_rowid_value(DatumGetCString(DirectFunctionCall1(uuid_out,
																		PG_GETARG_DATUM(1)))));
}

Datum
order_transition_jsonb(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo, idem_rowid_jsonb(PG_GETARG_JSONB_P(1)));
}
