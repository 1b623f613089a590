/*
 * session.h
 *	  The transaction that has a key: whether it is recorded or replayed.
 */
#ifndef IDEM_SESSION_H
#define IDEM_SESSION_H

#include "base/settings.h"
#include "key/key.h"
#include "session/record.h"

typedef enum IdemSessionMode
{
	IDEM_SESSION_OFF,			/* no key, or it is not claimed yet */
	IDEM_SESSION_RECORDS,		/* the first under its key: does the work */
	IDEM_SESSION_REPLAYS		/* another was; answers as it did */
} IdemSessionMode;

/* What the transaction under way has to do with a key. */
typedef struct IdemSession
{
	IdemSessionMode mode;
	bool		named;			/* is there a key? */
	bool		starting;		/* is what has named it still running? */
	bool		moment;			/* did an error of the moment end a savepoint? */
	int			lock_level;		/* of the subtransaction that has the key's
								 * lock */
	int			depth;			/* of what runs now; 0: the client's own */
	const char *unrecorded;		/* the command that runs without being
								 * recorded, or NULL */
	struct QueryDesc *starter;	/* the query that has named the key */
	TimestampTz starter_time;	/* when the client sent that */
	IdemKey		key;
	List	   *entries;		/* of IdemEntry */
	List	   *live;			/* of IdemEntry: what has been sent and not
								 * been rolled back, in that order */
	struct IdemSavepoint *savepoints;	/* by nesting level; private to
										 * savepoint.c */
	int			savepoints_size;	/* so many there is space for */
	Size		charged;		/* bytes that the record takes in memory, at
								 * least as many */
	Size text;					/* of them, those that its values have */
	int			sent;			/* in a replay, how many of the first of them
								 * have been sent, at least */
	MemoryContext memory;		/* of all this, until the transaction ends */
} IdemSession;

extern IdemSession idem_session;

/* Is there anything to look at?  To be asked first of all: it must cost nothing. */
static inline bool
idem_session_watches(void)
{
	return unlikely(idem_session.named || idem_key_is_given);
}

extern bool idem_session_ready(bool writes);
extern bool idem_session_is_top(void);
extern bool idem_session_is_outside(bool is_top);
extern void idem_session_started(bool over);
pg_noreturn extern void idem_session_error_unknown(const char *detail);
pg_noreturn extern void idem_session_error_outside(void);
pg_noreturn extern void idem_session_error_unrecorded(const char *command);
extern void idem_session_init(void);

#endif							/* IDEM_SESSION_H */
