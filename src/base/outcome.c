/*
 * outcome.c
 *	  What comes of a call: how each outcome is called, and what it says of a key.
 */
#include "postgres.h"

#include "base/outcome.h"

typedef struct Outcome
{
	const char *name;			/* as the value of idem_outcome is called */
	bool		is_claim;		/* does the row of a claimed key keep it? */
} Outcome;

static const Outcome outcomes[] = {
	[IDEM_INSERTED] = {"inserted"},
	[IDEM_UPDATED] = {"updated"},
	[IDEM_UNCHANGED] = {"unchanged"},
	[IDEM_EXECUTED] = {"executed"},
	[IDEM_CLAIMED] = {"claimed"},	/* only reported, the row is in progress */
	[IDEM_IN_PROGRESS] = {"in_progress", .is_claim = true},
	[IDEM_ABANDONED] = {"abandoned", .is_claim = true},
	[IDEM_COMPLETED] = {"completed", .is_claim = true},
	[IDEM_FAILED] = {"failed", .is_claim = true},
	[IDEM_APPLIED] = {"applied"},
	[IDEM_NOOP] = {"noop"},
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

/* Does a key whose row keeps this outcome belong to a claim? */
bool
idem_outcome_is_claim(IdemOutcome outcome)
{
	Assert(outcome < IDEM_OUTCOMES);
	return outcomes[outcome].is_claim;
}
