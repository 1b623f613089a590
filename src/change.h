/*
 * change.h
 *	  A change of a row's state, as a transition makes it.
 */
#ifndef IDEM_CHANGE_H
#define IDEM_CHANGE_H

#include "catalog.h"
#include "rowid.h"

/* What is wanted. */
typedef struct IdemWish
{
	Oid			target;
	const IdemRowId *id;
	const char *machine;		/* that the target has to follow */
	const char *to;				/* state */
	bool		versioned;		/* is a version expected? */
	int64		expected_version;
	const char *scope;			/* of the key */
	const char *key;			/* that will remember it; NULL: none */
	Jsonb	   *note;			/* for the row's triggers; NULL: none */
} IdemWish;

/* What came of it. */
typedef struct IdemChange
{
	IdemOutcome outcome;		/* IDEM_APPLIED or IDEM_NOOP */
	const char *from;			/* NULL: the row had no state */
	const char *to;
	int64		version;
} IdemChange;

extern void idem_change_make(const IdemWish *wish, IdemChange *change);

#endif							/* IDEM_CHANGE_H */
