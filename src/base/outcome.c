/*
 * outcome.c
 *	  What comes of a call: how each outcome is called, and what it says of a key.
 */
#include "postgres.h"

#include "base/outcome.h"

typedef struct Outcome
{
	const char *name;			/* as the value of idem_outcome is called */
	const char *call;			/* which calls leave it in a key's row */
	bool		is_claim;		/* does the row of a claimed key keep it? */
} Outcome;

static const Outcome outcomes[] = {
	[IDEM_INSERTED] = {"inserted", "an upsert"},
	[IDEM_UPDATED] = {"updated", "an upsert or an update"},
	[IDEM_UNCHANGED] = {"unchanged", "an upsert or an update"},
	[IDEM_EXECUTED] = {"executed", "idem_execute()"},
	[IDEM_CLAIMED] = {"claimed", "an unknown call"},	/* only reported */
	[IDEM_IN_PROGRESS] = {"in_progress", "a claim", .is_claim = true},
	[IDEM_ABANDONED] = {"abandoned", "a claim", .is_claim = true},
	[IDEM_COMPLETED] = {"completed", "a claim", .is_claim = true},
	[IDEM_FAILED] = {"failed", "a call that failed", .is_claim = true},
	[IDEM_APPLIED] = {"applied", "a transition"},
	[IDEM_NOOP] = {"noop", "a transition"},
};

StaticAssertDecl(lengthof(outcomes) == IDEM_OUTCOMES,
				 "every outcome must have a name");

/* An outcome as the value of idem_outcome is called. */
const char *
idem_outcome_name(IdemOutcome outcome)
{
	Assert(outcome < IDEM_OUTCOMES && outcomes[outcome].name != NULL);
	return outcomes[outcome].name;
}

/* Which calls use a key so that its row keeps this outcome, for messages. */
const char *
idem_outcome_call(IdemOutcome outcome)
{
	Assert(outcome < IDEM_OUTCOMES && outcomes[outcome].call != NULL);
	return _(outcomes[outcome].call);
}

/* Does a key whose row keeps this outcome belong to a claim? */
bool
idem_outcome_is_claim(IdemOutcome outcome)
{
	Assert(outcome < IDEM_OUTCOMES);
	return outcomes[outcome].is_claim;
}
