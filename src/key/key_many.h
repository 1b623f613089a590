/*
 * key_many.h
 *	  Keys whose work is done together.
 */
#ifndef IDEM_KEY_MANY_H
#define IDEM_KEY_MANY_H

#include "key/key.h"

/*
 * So many at most are under way at once.  Each that is has a lock, and the lock
 * table is everybody's.
 */
#define IDEM_KEY_MANY_MAX	32

/* How a key stands that has been added. */
typedef enum IdemKeyStand
{
	IDEM_KEY_TO_BE_DONE,		/* its work is; its lock is held */
	IDEM_KEY_DONE,				/* it has been, the answer is there */
	IDEM_KEY_BY_ITSELF			/* none of these: not added, to be run alone */
} IdemKeyStand;

/* Keys with work to be done. */
typedef struct IdemKeyMany
{
	IdemKeySearch search;
	bool		looks_first;	/* is the next one likely to be done? */
	int			count;
	IdemKey    *keys[IDEM_KEY_MANY_MAX];
	int			done;			/* so many of them are, the first ones */
	IdemKeyRow	rows[IDEM_KEY_MANY_MAX];	/* what these will say */
	int			replays;
	int			at;				/* the one that an error of finishing is
								 * about, or how many there are: none in
								 * particular */
} IdemKeyMany;

extern void idem_key_many_begin(IdemKeyMany *many);
extern IdemKeyStand idem_key_many_add(IdemKeyMany *many, IdemKey *key,
									  bool may_work, IdemAnswer *answer);
extern void idem_key_many_done(IdemKeyMany *many, const IdemAnswer *answer);
extern void idem_key_many_finish(IdemKeyMany *many);

#endif							/* IDEM_KEY_MANY_H */
