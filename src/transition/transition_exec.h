/*
 * transition_exec.h
 *	  A change of a row's state, as a transition makes it.
 */
#ifndef IDEM_TRANSITION_EXEC_H
#define IDEM_TRANSITION_EXEC_H

#include "base/catalog.h"
#include "table/row_version.h"
#include "transition/transition_target.h"

/* What is wanted of a row. */
typedef struct IdemTransitionArgs
{
	const IdemPkValue *id;
	IdemRowVersion expected;
	const char *expected_state; /* NULL: any */
	/* for the row's triggers; NULL: there is none */
	const char *scope;			/* of the key */
	const char *key;			/* that will remember it */
	Jsonb	   *note;
} IdemTransitionArgs;

/* The answer. */
typedef struct IdemTransitionResult
{
	IdemOutcome outcome;		/* IDEM_APPLIED or IDEM_NOOP */
	const char *from;			/* NULL: the row had no state */
	const char *to;
	int64		version;
} IdemTransitionResult;

extern void idem_transition_exec(IdemTransitionTarget *target,
								 const IdemTransitionArgs *args,
								 IdemTransitionResult *result);

#endif							/* IDEM_TRANSITION_EXEC_H */
