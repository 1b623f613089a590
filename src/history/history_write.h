/*
 * history_write.h
 *	  The record of what state rows have been in.
 */
#ifndef IDEM_HISTORY_WRITE_H
#define IDEM_HISTORY_WRITE_H

#include "utils/jsonb.h"
#include "utils/relcache.h"

/* A row's entry from one state to another. */
typedef struct IdemHistoryEntry
{
	Jsonb	   *row;			/* its primary key, as of pk_json.h */
	const char *column;			/* with the state */
	const char *from;			/* state; NULL: it had none, or is new */
	const char *to;
	int64		version;		/* that it has from then on */
	bool		recorded;		/* does the table keep a history of it? */
	/* of the call that made it; NULL: there is none */
	const char *scope;			/* of the key */
	const char *key;
	Jsonb	   *note;
	Oid			role;			/* whose change it is; InvalidOid: the current
								 * user's */
} IdemHistoryEntry;

extern void idem_history_write_init(void);
extern void idem_history_write(Relation rel, const IdemHistoryEntry *entry);

#endif							/* IDEM_HISTORY_WRITE_H */
