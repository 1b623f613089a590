/*
 * transition.c
 *	  SQL: order_transition() and idem_transition(), a change of a row's state,
 *	  once per key if wanted.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/result.h"
#include "transition/record.h"
#include "transition/request.h"

PG_FUNCTION_INFO_V1(order_transition);
PG_FUNCTION_INFO_V1(idem_transition);

static const IdemRequestKind of_order = {
	"order_transition()", "order", "new_status", true
};
static const IdemRequestKind of_any = {
	"idem_transition()", NULL, "to_state", false
};

static pg_uuid_t
fingerprint(const IdemRequest *request)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transition");
	idem_fingerprint_relation(&fp, request->target);
	idem_rowid_fingerprint(request->wish.id, request->target, &fp);
	idem_fingerprint_string(&fp, request->to);
	idem_request_fingerprint_version(&fp, &request->wish);
	idem_request_fingerprint_note(&fp, &request->wish);
	return idem_fingerprint_value(&fp);
}

/* Brings the row into the state; a key is to be remembered by the caller. */
static void
change_row(const IdemRequest *request, IdemChange *change)
{
	IdemStage	stage;

	idem_request_open(request, &stage);
	idem_stage_aim(&stage, request->wish.id);
	idem_change_make(&stage, &request->wish, change);
	idem_stage_close(&stage);
}

/*
 * idem_transition(target regclass, id, to_state text,
 *				   expected_version bigint, key text, scope text,
 *				   ttl interval, note jsonb)
 *		-> outcome idem_outcome, replayed boolean, from_state text,
 *		   to_state text, version bigint
 *
 * Brings the row into the state, or tells that it is there already, or what the
 * key remembers.  Errors, in this order: those of idem_key_claim, those of
 * idem_stage_open, ID205 where there is no such row, ID203 for a version
 * expected in vain, ID201 where the machine has no such transition, and whatever
 * the statements raise.
 */
static Datum
transit(FunctionCallInfo fcinfo, const IdemRequestKind *kind,
		const IdemRowId *id)
{
	IdemRequest request;
	IdemChange	change = {0};
	IdemAnswer	answer = {0};
	bool		keyed;
	bool		replayed = false;
	Datum		values[IDEM_REQUEST_COLUMNS];
	bool		nulls[IDEM_REQUEST_COLUMNS];

	idem_request_read(&request, fcinfo, kind);
	request.wish.id = id;
	request.wish.versioned = !PG_ARGISNULL(3);
	if (request.wish.versioned)
		request.wish.expected_version = PG_GETARG_INT64(3);

	keyed = (request.wish.key != NULL);
	if (keyed)
	{
		request.key.fingerprint = fingerprint(&request);
		replayed = !idem_key_claim(&request.key, &answer);
	}

	if (replayed)
		idem_record_read(&answer, &change);
	else
		change_row(&request, &change);

	if (keyed && !replayed)
	{
		answer.outcome = change.outcome;
		answer.response = JsonbPGetDatum(idem_record_write(&change));
		idem_key_finish(&request.key, &answer);
	}
	idem_request_answer(&change, replayed, values, nulls);
	return idem_result_form(fcinfo, lengthof(values), values, nulls);
}

Datum
order_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_order, idem_rowid_argument(fcinfo, 1));
}

Datum
idem_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_any, idem_rowid_argument(fcinfo, 1));
}
