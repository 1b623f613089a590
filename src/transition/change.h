/*
 * change.h
 *	  A change of a row's state, as a transition makes it.
 */
#ifndef IDEM_CHANGE_H
#define IDEM_CHANGE_H

#include "base/catalog.h"
#include "transition/stage.h"

/* What is wanted of a row. */
typedef struct IdemWish
{
	const IdemRowId *id;
	bool		versioned;		/* is a version expected? */
	int64		expected_version;
	/* for the row's triggers; NULL: there is none */
	const char *scope;			/* of the key */
	const char *key;			/* that will remember it */
	Jsonb	   *note;
} IdemWish;

/* What came of it. */
typedef struct IdemChange
{
	IdemOutcome outcome;		/* IDEM_APPLIED or IDEM_NOOP */
	const char *from;			/* NULL: the row had no state */
	const char *to;
	int64		version;
} IdemChange;

extern void idem_change_make(IdemStage *stage, const IdemWish *wish,
							 IdemChange *change);

#endif							/* IDEM_CHANGE_H */
