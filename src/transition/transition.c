/*
 * transition.c
 *	  SQL: order_transition() and idem_transition(), a change of a row's state,
 *	  once per key if wanted.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/result_tuple.h"
#include "table/pk_argument.h"
#include "transition/transition_answer.h"
#include "transition/transition_args.h"

PG_FUNCTION_INFO_V1(order_transition);
PG_FUNCTION_INFO_V1(idem_transition);

static const IdemTransitionKind of_order = {
	"order_transition()", "order", "new_status"
};
static const IdemTransitionKind of_any = {
	"idem_transition()", NULL, "to_state"
};

static pg_uuid_t
fingerprint(const IdemTransitionCall *call)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transition");
	idem_fingerprint_relation(&fp, call->target);
	idem_pk_value_fingerprint(call->args.id, call->target, &fp);
	idem_fingerprint_string(&fp, call->to);
	idem_row_version_fingerprint(&call->args.expected, &fp);
	idem_transition_args_fingerprint(&fp, call);
	return idem_fingerprint_value(&fp);
}

/* A call, and what comes of its work. */
typedef struct Call
{
	IdemTransitionCall asked;
	IdemTransitionResult result;
} Call;

/* Brings the row into the state. */
static void
change_row(Call *call)
{
	IdemTransitionTarget target;

	idem_transition_args_open(&call->asked, &target);
	idem_transition_target_bind_row(&target, call->asked.args.id);
	idem_transition_exec(&target, &call->asked.args, &call->result);
	idem_transition_target_close(&target);
}

/* The work of a key. */
static void
change_keyed_row(void *state, IdemAnswer *answer)
{
	Call	   *call = state;

	change_row(call);
	idem_answer_set(answer, call->result.outcome,
					idem_transition_answer_encode(&call->result));
}

/*
 * idem_transition(target regclass, id, to_state text,
 *				   expected_version bigint, key text, scope text,
 *				   ttl interval, note jsonb, expected_state text, status name)
 *		-> outcome idem_outcome, replayed boolean, from_state text,
 *		   to_state text, version bigint
 *
 * Brings the row into the state, unless it is there already, or returns what the
 * key remembers.  Errors, in this order: those of idem_key_init and idem_key_run,
 * those of idem_transition_target_open, ID205 where there is no such row, ID203 for
 * a version expected in vain, ID202 for a state, ID201 where the machine has no such
 * transition, and whatever the statements raise.
 */
static Datum
transit(FunctionCallInfo fcinfo, const IdemTransitionKind *kind,
		const IdemPkValue *id)
{
	Call		call = {0};
	IdemTransitionCall *asked = &call.asked;
	IdemAnswer	answer = {0};
	bool		replayed = false;
	Datum		values[IDEM_TRANSITION_COLUMNS];
	bool		nulls[IDEM_TRANSITION_COLUMNS];

	idem_transition_args_read(asked, fcinfo, kind);
	asked->args.id = id;
	asked->args.expected = idem_row_version_argument(fcinfo, 3);

	if (asked->args.key != NULL)
	{
		asked->key.fingerprint = fingerprint(asked);
		replayed = idem_key_run(&asked->key, change_keyed_row, &call, &answer);
	}
	else
		change_row(&call);

	if (replayed)
		idem_transition_answer_decode(&answer, &call.result);
	idem_transition_args_answer(&call.result, replayed, values, nulls);
	return idem_result_tuple_form(fcinfo, lengthof(values), values, nulls);
}

Datum
order_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_order, idem_pk_argument_read(fcinfo, 1));
}

Datum
idem_transition(PG_FUNCTION_ARGS)
{
	return transit(fcinfo, &of_any, idem_pk_argument_read(fcinfo, 1));
}
