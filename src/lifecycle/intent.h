/*
 * intent.h
 *	  What a call means by the row that it changes, for the triggers of it.
 */
#ifndef IDEM_INTENT_H
#define IDEM_INTENT_H

#include "storage/itemptr.h"
#include "utils/jsonb.h"

/* A change under way.  It lives in the frame of the function that makes it. */
typedef struct IdemIntent
{
	/* to be set before it begins; NULL: there is none */
	const char *scope;			/* of the key */
	const char *key;			/* that remembers the change */
	Jsonb	   *note;			/* for guards and for the history */
	/* set by idem_intent_meet(): which version of which row is changed */
	Oid			relid;			/* InvalidOid: none was met yet */
	ItemPointerData tid;
	/* set by the trigger that validates the change of that row version */
	bool		watched;
	/* private to intent.c */
	struct IdemIntent *outer;	/* the change that this one is part of */
} IdemIntent;

extern void idem_intent_begin(IdemIntent *intent);
extern void idem_intent_meet(Oid relid, ItemPointer tid);
extern void idem_intent_end(IdemIntent *intent);
extern IdemIntent *idem_intent_of(Oid relid, ItemPointer tid);

#endif							/* IDEM_INTENT_H */
