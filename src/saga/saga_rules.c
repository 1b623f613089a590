/*
 * saga_rules.c
 *	  What becomes of a saga: its states, decided in memory.
 *
 * The caller has locked the saga's row and read its steps; what is changed here it
 * writes back, and claims and ends the keys that belong to that.  Nothing is read
 * or written here, so that these rules can be compared with model/saga.pml line by
 * line, and are changed together with it.
 *
 * Of a saga that has not ended, one step is due: to be done, or to be undone.  A
 * step that is held is due when its lease ends.  saga/README has the states.
 */
#include "postgres.h"

#include "base/interval.h"
#include "saga/saga_rules.h"

static const char *const statuses[] = {
	[IDEM_SAGA_RUNNING] = "running",
	[IDEM_SAGA_COMPENSATING] = "compensating",
	[IDEM_SAGA_STUCK] = "stuck",
	[IDEM_SAGA_COMPLETED] = "completed",
	[IDEM_SAGA_COMPENSATED] = "compensated"
};

static const char *const step_statuses[] = {
	[IDEM_STEP_PENDING] = "pending",
	[IDEM_STEP_RUNNING] = "running",
	[IDEM_STEP_DONE] = "done",
	[IDEM_STEP_FAILED] = "failed",
	[IDEM_STEP_UNDOING] = "undoing",
	[IDEM_STEP_UNDONE] = "undone",
	[IDEM_STEP_STUCK] = "stuck",
	[IDEM_STEP_SKIPPED] = "skipped"
};

const char *
idem_saga_rules_status(IdemSagaStatus status)
{
	return statuses[status];
}

const char *
idem_saga_rules_step_status(IdemStepStatus status)
{
	return step_statuses[status];
}

bool
idem_saga_rules_ended(const IdemSaga *saga)
{
	return saga->status == IDEM_SAGA_COMPLETED ||
		saga->status == IDEM_SAGA_COMPENSATED;
}

/*
 * Is there no way back?  From the start of the pivot on, since nobody knows
 * meanwhile whether it has happened, unless it was refused for good.
 */
bool
idem_saga_rules_past_pivot(const IdemSaga *saga)
{
	for (int i = 0; i < saga->nsteps; i++)
	{
		const IdemSagaStep *step = &saga->steps[i];

		if (step->pivot && step->start_no > 0 &&
			step->status != IDEM_STEP_FAILED && step->status != IDEM_STEP_UNDONE &&
			step->status != IDEM_STEP_SKIPPED)
			return true;
	}
	return false;
}

/* Is it time to go back, since the deadline has passed? */
bool
idem_saga_rules_late(const IdemSaga *saga)
{
	return saga->status == IDEM_SAGA_RUNNING && saga->deadline != 0 &&
		saga->deadline <= saga->now && !idem_saga_rules_past_pivot(saga);
}

/* The step of which something is due, now or later; NULL if none is. */
IdemSagaStep *
idem_saga_rules_due(IdemSaga *saga)
{
	for (int i = 0; i < saga->nsteps; i++)
	{
		if (saga->steps[i].due != IDEM_STEP_DUE_NOTHING)
			return &saga->steps[i];
	}
	return NULL;
}

/* The work that is due of a step; NULL if none is. */
text *
idem_saga_rules_due_work(const IdemSagaStep *step)
{
	switch (step->due)
	{
		case IDEM_STEP_DUE_WORK:
			return step->work;
		case IDEM_STEP_DUE_UNDO:
			return step->undo;
		default:
			return NULL;
	}
}

/* Has a step had all attempts that it may have? */
bool
idem_saga_rules_exhausted(const IdemSagaStep *step)
{
	return step->attempts >= step->max_attempts;
}

static void
set_value(IdemSagaValue *to, Jsonb *value)
{
	to->value = JsonbPGetDatum(value);
	to->isnull = (value == NULL);
	to->is_new = true;
}

static void
set_status(IdemSagaStep *step, IdemStepStatus status)
{
	step->status = status;
	step->changed = true;
}

static void
set_due(IdemSagaStep *step, IdemStepDue due, TimestampTz next_at)
{
	if (step->due == due && step->next_at == next_at)
		return;
	step->due = due;
	step->next_at = next_at;
	step->changed = true;
}

/* The step to do next: the first that is not settled, or NULL. */
static IdemSagaStep *
next_to_do(IdemSaga *saga)
{
	for (int i = 0; i < saga->nsteps; i++)
	{
		IdemStepStatus status = saga->steps[i].status;

		if (status != IDEM_STEP_DONE && status != IDEM_STEP_SKIPPED)
			return &saga->steps[i];
	}
	return NULL;
}

/* May a step that was started have an effect that is still to be undone? */
static bool
is_to_be_undone(const IdemSagaStep *step)
{
	switch (step->status)
	{
		case IDEM_STEP_PENDING:
		case IDEM_STEP_RUNNING:
		case IDEM_STEP_UNDOING:
		case IDEM_STEP_STUCK:
			return true;
		case IDEM_STEP_DONE:
			return step->undo != NULL;
		default:
			return false;
	}
}

/* The step to undo next: of those to be undone the last one started, or NULL. */
static IdemSagaStep *
next_to_undo(IdemSaga *saga)
{
	IdemSagaStep *next = NULL;

	for (int i = 0; i < saga->nsteps; i++)
	{
		IdemSagaStep *step = &saga->steps[i];

		if (step->start_no > 0 && is_to_be_undone(step) &&
			(next == NULL || step->start_no > next->start_no))
			next = step;
	}
	return next;
}

/* What is due of the step whose turn it is. */
static IdemStepDue
due_of(const IdemSaga *saga, const IdemSagaStep *step)
{
	if (step->status == IDEM_STEP_STUCK)
		return IDEM_STEP_DUE_NOTHING;
	/* what cannot be undone is at least to be seen when its lease is over */
	return saga->compensates && step->undo != NULL ? IDEM_STEP_DUE_UNDO :
		IDEM_STEP_DUE_WORK;
}

static void
end(IdemSaga *saga)
{
	saga->status = saga->compensates ? IDEM_SAGA_COMPENSATED : IDEM_SAGA_COMPLETED;
	saga->ended_at = saga->now;
	saga->expires_at = idem_interval_end(saga->now, saga->ttl_us);
}

/*
 * Finds out, once a step has changed, which is the next one, and what that makes of
 * the saga.
 */
void
idem_saga_rules_settle(IdemSaga *saga)
{
	IdemSagaStep *next = saga->compensates ? next_to_undo(saga) : next_to_do(saga);
	IdemSagaStatus before = saga->status;

	Assert(!idem_saga_rules_ended(saga));
	for (int i = 0; i < saga->nsteps; i++)
	{
		if (&saga->steps[i] != next)
			set_due(&saga->steps[i], IDEM_STEP_DUE_NOTHING, 0);
	}
	if (next == NULL)
		end(saga);
	else
	{
		IdemStepDue due = due_of(saga, next);
		TimestampTz next_at = next->next_at;

		if (due == IDEM_STEP_DUE_NOTHING)
			next_at = 0;
		else if (next->due != due && next->status != IDEM_STEP_RUNNING)
			next_at = saga->now;
		/* someone has to look at it then */
		if (next->status == IDEM_STEP_PENDING && saga->deadline != 0 &&
			!saga->compensates && !idem_saga_rules_past_pivot(saga))
			next_at = Min(next_at, Max(saga->deadline, saga->now));
		set_due(next, due, next_at);
		saga->status = next->status == IDEM_STEP_STUCK ? IDEM_SAGA_STUCK :
			saga->compensates ? IDEM_SAGA_COMPENSATING : IDEM_SAGA_RUNNING;
	}
	if (saga->status != before)
		saga->changed = true;
}

/*
 * Lets a saga go back.  Steps that never began are left out, and so are those that
 * nobody is at, and that have no undo.  One that is held goes on until its holder
 * reports, or its lease is over.
 */
void
idem_saga_rules_compensate(IdemSaga *saga, Jsonb *error)
{
	Assert(saga->status == IDEM_SAGA_RUNNING && !saga->compensates);
	saga->compensates = true;
	saga->changed = true;
	set_value(&saga->error, error);
	for (int i = 0; i < saga->nsteps; i++)
	{
		IdemSagaStep *step = &saga->steps[i];

		if (step->status == IDEM_STEP_PENDING &&
			(step->start_no == 0 || step->undo == NULL))
			set_status(step, IDEM_STEP_SKIPPED);
	}
	idem_saga_rules_settle(saga);
}

static int
last_start(const IdemSaga *saga)
{
	int			last = 0;

	for (int i = 0; i < saga->nsteps; i++)
		last = Max(last, saga->steps[i].start_no);
	return last;
}

/* A role has claimed what is due of a step, until then. */
void
idem_saga_rules_begin(IdemSaga *saga, IdemSagaStep *step, TimestampTz lease_until,
					  Oid role)
{
	if (step->due == IDEM_STEP_DUE_UNDO && step->status != IDEM_STEP_UNDOING)
	{
		step->attempts = 0;
		set_status(step, IDEM_STEP_UNDOING);
	}
	else if (step->due == IDEM_STEP_DUE_WORK)
	{
		Assert(!saga->compensates);
		if (step->start_no == 0)
			step->start_no = last_start(saga) + 1;
		set_status(step, IDEM_STEP_RUNNING);
	}
	step->attempts++;
	step->held_by = role;
	step->next_at = lease_until;
	step->changed = true;
}

/* The holder of a step has extended its lease meanwhile. */
void
idem_saga_rules_prolong(IdemSagaStep *step, TimestampTz lease_until)
{
	set_due(step, step->due, lease_until);
}

/*
 * A step was held, and its lease is over: what is to become of it where it is not to
 * be tried once more.  Its action may have happened.
 */
void
idem_saga_rules_lose(IdemSaga *saga, IdemSagaStep *step, Jsonb *error)
{
	set_value(&step->error, error);
	step->changed = true;
	if (!saga->compensates && !idem_saga_rules_past_pivot(saga))
	{
		/* it is settled when its undo is claimed, or given up for want of one */
		idem_saga_rules_compensate(saga, error);
		return;
	}
	if (step->status == IDEM_STEP_RUNNING && saga->compensates)
	{
		Assert(step->undo == NULL);
		set_status(step, IDEM_STEP_FAILED);
	}
	else
		set_status(step, IDEM_STEP_STUCK);
	idem_saga_rules_settle(saga);
}

/* The holder of a step has done it, or undone it. */
void
idem_saga_rules_done(IdemSaga *saga, IdemSagaStep *step, bool undo, Jsonb *output)
{
	if (!undo && output != NULL)
		set_value(&step->output, output);
	set_status(step, undo ? IDEM_STEP_UNDONE : IDEM_STEP_DONE);
	/* the next one of this step, its undo, is due from now on */
	set_due(step, IDEM_STEP_DUE_NOTHING, 0);
	idem_saga_rules_settle(saga);
}

/* Is a step that has failed to be tried once more, of its own accord? */
bool
idem_saga_rules_retries(const IdemSaga *saga, const IdemSagaStep *step, bool undo)
{
	return !idem_saga_rules_exhausted(step) &&
		(undo || (saga->status == IDEM_SAGA_RUNNING && !idem_saga_rules_late(saga)));
}

/* How long to wait after so many attempts: twice as long after each. */
static int64
backoff(const IdemSagaStep *step)
{
	int64		us = step->backoff_us;

	for (int i = 1; i < step->attempts && us < step->cap_us; i++)
		us = us > step->cap_us / 2 ? step->cap_us : us * 2;
	return Min(us, step->cap_us);
}

/*
 * An attempt has failed, and there will be another: so much later, or as the step
 * says if that is negative, but no later than its cap says.
 */
void
idem_saga_rules_retry(IdemSaga *saga, IdemSagaStep *step, Jsonb *error,
					  int64 after_us)
{
	int64		us = after_us < 0 ? backoff(step) : Min(after_us, step->cap_us);

	set_value(&step->error, error);
	if (step->status == IDEM_STEP_RUNNING)
		set_status(step, IDEM_STEP_PENDING);
	set_due(step, step->due, us > 0 ? idem_interval_end(saga->now, us) : saga->now);
	step->changed = true;
	idem_saga_rules_settle(saga);
}

/*
 * A step has failed, and there will be no other attempt.  If unknown, its effect may
 * be there all the same: what is to be undone is undone, then.
 */
void
idem_saga_rules_fail(IdemSaga *saga, IdemSagaStep *step, bool undo, Jsonb *error,
					 bool unknown)
{
	bool		forward = !saga->compensates;
	bool		stuck = undo;

	/* a pivot that was refused for good is none */
	if (forward)
	{
		IdemStepStatus status = step->status;

		if (!unknown)
			step->status = IDEM_STEP_FAILED;
		stuck = idem_saga_rules_past_pivot(saga);
		step->status = status;
	}
	set_value(&step->error, error);
	if (stuck)
		set_status(step, IDEM_STEP_STUCK);
	else if (unknown && step->undo != NULL)
	{
		step->attempts = 0;
		set_status(step, IDEM_STEP_UNDOING);
	}
	else
		set_status(step, IDEM_STEP_FAILED);
	set_due(step, IDEM_STEP_DUE_NOTHING, 0);
	if (forward && !stuck)
		idem_saga_rules_compensate(saga, error);
	else
		idem_saga_rules_settle(saga);
}

/*
 * A person has decided what is to become of a step that is stuck: the status that it
 * has from then on.
 */
void
idem_saga_rules_resolve(IdemSaga *saga, IdemSagaStep *step, IdemStepStatus verdict)
{
	Assert(step->status == IDEM_STEP_STUCK);
	if (verdict == IDEM_STEP_PENDING || verdict == IDEM_STEP_UNDOING)
		step->attempts = 0;
	set_status(step, verdict);
	idem_saga_rules_settle(saga);
}
