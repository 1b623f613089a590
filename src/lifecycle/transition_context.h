/*
 * transition_context.h
 *	  What a call means by the row that it changes, for the triggers of it.
 */
#ifndef IDEM_TRANSITION_CONTEXT_H
#define IDEM_TRANSITION_CONTEXT_H

#include "storage/itemptr.h"
#include "utils/jsonb.h"

/* A change under way.  It lives in the frame of the function that makes it. */
typedef struct IdemTransitionContext
{
	/* to be set before it begins */
	const char *column;			/* with the state that is changed */
	/* NULL: there is none */
	const char *scope;			/* of the key */
	const char *key;			/* that remembers the change */
	Jsonb	   *note;			/* for guards and for the history */
	Oid			role;			/* whose change it is; InvalidOid: the current
								 * user's */

	/*
	 * set by idem_transition_context_set_tuple(): which version of which row
	 * is changed
	 */
	Oid			relid;			/* InvalidOid: none was met yet */
	ItemPointerData tid;
	/* set by the trigger of the column, for the change of that row version */
	bool		watched;
	/* private to transition_context.c */
	struct IdemTransitionContext *outer;	/* the change that this one is
											 * part of */
} IdemTransitionContext;

extern void idem_transition_context_push(IdemTransitionContext *context);
extern void idem_transition_context_set_tuple(Oid relid, ItemPointer tid);
extern void idem_transition_context_pop(IdemTransitionContext *context);
extern IdemTransitionContext *idem_transition_context_find(Oid relid,
														   ItemPointer tid);
extern bool idem_transition_context_means(const IdemTransitionContext *context,
										  const char *column);

#endif							/* IDEM_TRANSITION_CONTEXT_H */
