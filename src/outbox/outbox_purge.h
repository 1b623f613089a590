/*
 * outbox_purge.h
 *	  Deleting the messages that all consumers have read.
 */
#ifndef IDEM_OUTBOX_PURGE_H
#define IDEM_OUTBOX_PURGE_H

#include "utils/relcache.h"

#include "run/row_delete.h"

/* How many messages go, and how. */
typedef struct IdemOutboxPurge
{
	int64		limit;			/* so many are deleted at most, */
	int64		looks;			/* so many looked at */
	bool		(*go_on) (void);	/* asked now and then; NULL: always yes */
	IdemRowDeleteLocked delete_locked;	/* where the table has code attached */
	void	   *state;			/* of delete_locked */
	int64		deleted;		/* out: so many were */
	bool		finished;		/* out: were all looked at? */
} IdemOutboxPurge;

extern void idem_outbox_purge(Relation rel, IdemOutboxPurge *purge);

#endif							/* IDEM_OUTBOX_PURGE_H */
