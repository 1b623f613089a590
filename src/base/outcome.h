/*
 * outcome.h
 *	  What comes of a call.
 */
#ifndef IDEM_OUTCOME_H
#define IDEM_OUTCOME_H

/*
 * The values of the enum idem_outcome, in its order.  A call reports one, and
 * the row of a key keeps one.  A new value gets its name in outcome.c and in the
 * CREATE TYPE of the install script.
 */
typedef enum IdemOutcome
{
	IDEM_INSERTED,
	IDEM_UPDATED,
	IDEM_UNCHANGED,
	IDEM_EXECUTED,
	IDEM_CLAIMED,
	IDEM_IN_PROGRESS,
	IDEM_ABANDONED,
	IDEM_COMPLETED,
	IDEM_FAILED,
	IDEM_APPLIED,
	IDEM_NOOP
} IdemOutcome;

#define IDEM_OUTCOMES	(IDEM_NOOP + 1)

extern const char *idem_outcome_name(IdemOutcome outcome);
extern const char *idem_outcome_call(IdemOutcome outcome);
extern bool idem_outcome_is_claim(IdemOutcome outcome);

#endif							/* IDEM_OUTCOME_H */
