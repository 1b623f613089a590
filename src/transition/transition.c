/*
 * transition.c
 *	  SQL: order_transition() and idem_transition(), a change of a row's state,
 *	  once per key if wanted.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/result_tuple.h"
#include "transition/transition_answer.h"
#include "transition/transition_args.h"

PG_FUNCTION_INFO_V1(order_transition);
PG_FUNCTION_INFO_V1(idem_transition);

static const IdemTransitionKind of_order = {
	"order_transition()", "order", "new_status", true
};
static const IdemTransitionKind of_any = {
	"idem_transition()", NULL, "to_state", false
};

static pg_uuid_t
fingerprint(const IdemTransitionCall *call)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transition");
	idem_fingerprint_relation(&fp, call->target);
	idem_pk_value_fingerprint(call->args.id, call->target, &fp);
	idem_fingerprint_string(&fp, call->to);
	idem_transition_args_fingerprint_version(&fp, &call->args);
	idem_transition_args_fingerprint_note(&fp, &call->args);
	return idem_fingerprint_value(&fp);
}

/* Brings the row into the state; a key is to be remembered by the caller. */
static void
change_row(const IdemTransitionCall *call, IdemTransitionResult *result)
{
	IdemTransitionTarget target;

	idem_transition_args_open(call, &target);
	idem_transition_target_bind_row(&target, call->args.id);
	idem_transition_exec(&target, &call->args, result);
	idem_transition_target_close(&target);
}

/*
 * idem_transition(target regclass, id, to_state text,
 *				   expected_version bigint, key text, scope text,
 *				   ttl interval, note jsonb)
 *		-> outcome idem_outcome, replayed boolean, from_state text,
 *		   to_state text, version bigint
 *
 * Brings the row into the state, or tells that it is there already, or what the
 * key remembers.  Errors, in this order: those of idem_key_begin, those of
 * idem_transition_target_open, ID205 where there is no such row, ID203 for a version
 * expected in vain, ID201 where the machine has no such transition, and whatever
 * the statements raise.
 */
static Datum
transit(FunctionCallInfo fcinfo, const IdemTransitionKind *kind,
		const IdemPkValue *id)
{
	IdemTransitionCall call;
	IdemTransitionResult result = {0};
	IdemAnswer	answer = {0};
	bool		keyed;
	bool		replayed = false;
	Datum		values[IDEM_TRANSITION_COLUMNS];
	bool		nulls[IDEM_TRANSITION_COLUMNS];

	idem_transition_args_read(&call, fcinfo, kind);
	call.args.id = id;
	call.args.versioned = !PG_ARGISNULL(3);
	if (call.args.versioned)
		call.args.expected_version = PG_GETARG_INT64(3);

	keyed = (call.args.key != NULL);
	if (keyed)
	{
		call.key.fingerprint = fingerprint(&call);
		replayed = idem_key_begin(&call.key, &answer);
	}

	if (replayed)
		idem_transition_answer_decode(&answer, &result);
	else
		change_row(&call, &result);

	if (keyed && !replayed)
	{
		answer.outcome = result.outcome;
		answer.response = JsonbPGetDatum(idem_transition_answer_encode(&result));
		idem_key_finish(&call.key, &answer);
	}
	idem_transition_args_answer(&result, replayed, values, nulls);
	return idem_result_tuple_form(fcinfo, lengthof(values), values, nulls);
}

Datum
order_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_order, idem_pk_value_argument(fcinfo, 1));
}

Datum
idem_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_any, idem_pk_value_argument(fcinfo, 1));
}
