/*
 * transition_args.h
 *	  What the functions of transitions are asked, and how they answer.
 */
#ifndef IDEM_TRANSITION_ARGS_H
#define IDEM_TRANSITION_ARGS_H

#include "fmgr.h"

#include "base/fingerprint.h"
#include "key/key.h"
#include "transition/transition_exec.h"

/* The columns of an answer from the outcome on. */
#define IDEM_TRANSITION_COLUMNS	5

/* What tells the functions apart. */
typedef struct IdemTransitionKind
{
	const char *function;		/* its name, for messages */
	const char *machine;		/* that the table has to follow; NULL: any */
	const char *state;			/* name of the argument with the state */
} IdemTransitionKind;

typedef struct IdemTransitionCall
{
	const IdemTransitionKind *kind;
	Oid			target;
	const char *to;				/* state */
	const char *column;			/* with the state; NULL: by the state */
	IdemKey		key;			/* if args.key is set */
	IdemTransitionArgs args;	/* without the row and its version */
} IdemTransitionCall;

extern void idem_transition_args_read(IdemTransitionCall *call,
									  FunctionCallInfo fcinfo,
									  const IdemTransitionKind *kind);
extern void idem_transition_args_fingerprint(IdemFingerprint *fp,
											 const IdemTransitionCall *call);
extern void idem_transition_args_open(const IdemTransitionCall *call,
									  IdemTransitionTarget *target);
extern void idem_transition_args_answer(const IdemTransitionResult *result,
										bool replayed, Datum *values,
										bool *nulls);

#endif							/* IDEM_TRANSITION_ARGS_H */
