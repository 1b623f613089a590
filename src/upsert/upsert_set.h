/*
 * upsert_set.h
 *	  Upserts of many rows, each under a key of its own.
 */
#ifndef IDEM_UPSERT_SET_H
#define IDEM_UPSERT_SET_H

#include "key/key.h"
#include "upsert/upsert_call.h"

/* An upsert of a set, and what comes of it. */
typedef struct IdemUpsertMember
{
	int			number;			/* its place in the set */
	text	   *key;
	Jsonb	   *data;
	bool		replayed;
	IdemAnswer	answer;
} IdemUpsertMember;

typedef struct IdemUpsertSet
{
	IdemKey		key;			/* all but the key itself */
	IdemUpsertCall call;		/* all but the data, and what comes of that */
	Jsonb	   *merge;			/* NULL: none */
	int			count;
	IdemUpsertMember *members;	/* in the order in which they are asked for */
} IdemUpsertSet;

/* The member that an error is about. */
typedef struct IdemUpsertCurrent
{
	IdemUpsertMember *member;
	IdemUpsertMember *const *members;	/* if not NULL, it is one of these, */
	int			count;			/* of so many, */
	const int  *at;				/* by its number; none is, if that is count */
} IdemUpsertCurrent;

extern void idem_upsert_set_prepare(const IdemUpsertSet *set,
									const IdemUpsertMember *member,
									IdemKey *key, IdemUpsertCall *call);

#endif							/* IDEM_UPSERT_SET_H */
