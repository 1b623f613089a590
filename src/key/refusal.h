/*
 * refusal.h
 *	  Errors of a key's work that are remembered as its answer.
 */
#ifndef IDEM_REFUSAL_H
#define IDEM_REFUSAL_H

#include "utils/array.h"

#include "key/answer.h"

/* Does the work of a key, and makes the answer of what came of it. */
typedef void (*IdemKeyWork) (void *call, IdemAnswer *answer);

/* One SQLSTATE, or all of a class. */
typedef struct IdemRefusal
{
	int			sqlstate;		/* of a class, that with three zeros */
	bool		is_class;
} IdemRefusal;

/* The errors that a call wants to be remembered. */
typedef struct IdemRefusals
{
	int			count;
	IdemRefusal list[FLEXIBLE_ARRAY_MEMBER];
} IdemRefusals;

extern const IdemRefusals *idem_refusal_list(ArrayType *names);
extern void idem_refusal_run(const IdemRefusals *refusals, IdemKeyWork work,
							 void *call, IdemAnswer *answer);

#endif							/* IDEM_REFUSAL_H */
