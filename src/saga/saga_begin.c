/*
 * saga_begin.c
 *	  Claiming what is due of a saga.
 *
 * Whoever looks at a saga for work also sees to what time has made of it: a deadline
 * that has passed, a step whose last attempt lost its lease, a lease that its holder
 * has extended.  There is no process of idem's that would.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "saga/saga_begin.h"
#include "saga/saga_json.h"
#include "saga/saga_rules.h"

static bool
is_among(text *work, text *const *works, int nworks)
{
	for (int i = 0; i < nworks; i++)
	{
		if (VARSIZE_ANY_EXHDR(work) == VARSIZE_ANY_EXHDR(works[i]) &&
			memcmp(VARDATA_ANY(work), VARDATA_ANY(works[i]),
				   VARSIZE_ANY_EXHDR(work)) == 0)
			return true;
	}
	return false;
}

/* Is a step in somebody's hands, so far as its row tells? */
static bool
is_held(const IdemSagaStep *step)
{
	return step->status == IDEM_STEP_RUNNING || step->status == IDEM_STEP_UNDOING;
}

/* Has the holder of a step extended its lease beyond what the row says? */
static bool
is_extended(const IdemSaga *saga, IdemSagaStep *step)
{
	TimestampTz lease_until;

	if (!is_held(step) ||
		!idem_saga_key_held(saga, step->number, step->status == IDEM_STEP_UNDOING,
							&lease_until))
		return false;
	idem_saga_rules_prolong(step, lease_until);
	return true;
}

/*
 * Is a step lost, whose lease is over?  Not to be tried once more, that is, nor to be
 * undone.
 */
static bool
is_lost(const IdemSaga *saga, const IdemSagaStep *step)
{
	if (saga->compensates && step->status == IDEM_STEP_RUNNING)
		return step->undo == NULL;
	return is_held(step) && idem_saga_rules_exhausted(step);
}

/*
 * Brings a saga to where something is to be claimed of it now, and returns that
 * step; NULL if nothing is.
 */
static IdemSagaStep *
make_due(IdemSaga *saga)
{
	for (;;)
	{
		IdemSagaStep *step;

		CHECK_FOR_INTERRUPTS();
		step = idem_saga_rules_due(saga);
		if (step == NULL || step->next_at > saga->now || is_extended(saga, step))
			return NULL;
		if (idem_saga_rules_late(saga))
			idem_saga_rules_compensate(saga, idem_saga_json_reason("deadline",
																   saga->deadline));
		else if (is_lost(saga, step))
		{
			/* a step without undo must not be reported done later on */
			if (saga->compensates && step->status == IDEM_STEP_RUNNING &&
				!idem_saga_key_take_over(saga, step->number, false))
				return NULL;
			idem_saga_rules_lose(saga, step,
								 idem_saga_json_reason("lease lost", step->next_at));
		}
		else
			return step;
	}
}

/* Claims what is due of a step; false if another session is at it just now. */
static bool
claim_step(IdemSaga *saga, IdemSagaStep *step, Interval *lease, IdemSagaClaim *claim)
{
	bool		undo = (step->due == IDEM_STEP_DUE_UNDO);

	if (undo && (step->status == IDEM_STEP_RUNNING || step->status == IDEM_STEP_PENDING) &&
		!idem_saga_key_take_over(saga, step->number, false))
		return false;
	idem_saga_key_init(&claim->key, saga, step->number, undo);
	if (!idem_saga_key_claim(&claim->key, lease, &claim->row))
		return false;
	claim->step = step;
	claim->undo = undo;
	idem_saga_rules_begin(saga, step, claim->row.lease_until, GetUserId());
	return true;
}

/*
 * Claims what is due of a saga that has been opened, if it is one of these works.
 * Either way what has become of the saga is written.  Returns whether the caller has
 * a claim.
 */
bool
idem_saga_begin(IdemSaga *saga, text *const *works, int nworks, Interval *lease,
				IdemSagaClaim *claim)
{
	IdemSagaCall call = {.role = GetUserId()};
	IdemSagaStep *step = idem_saga_rules_ended(saga) ? NULL : make_due(saga);
	bool		claimed = step != NULL &&
		is_among(idem_saga_rules_due_work(step), works, nworks) &&
		claim_step(saga, step, lease, claim);

	if (claimed)
		call.key = claim->key.name;
	idem_saga_write(saga, &call);
	return claimed;
}
