/*
 * record.h
 *	  What the statements of a transaction answered.
 */
#ifndef IDEM_RECORD_H
#define IDEM_RECORD_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "key/answer.h"
#include "session/row_text.h"
#include "session/statement_key.h"

/* What is known of a statement. */
typedef enum IdemEntryKind
{
	IDEM_ENTRY_WRITE = 'w',		/* its answer; it does not run again */
	IDEM_ENTRY_READ = 'r',		/* the same, but it need not be sent again */
	IDEM_ENTRY_AGAIN = 'a',		/* nothing: it runs again */
	IDEM_ENTRY_FAILED = 'f',	/* the error that it raised in a savepoint */
	IDEM_ENTRY_REMOVED = '-'	/* all is as if it had not been sent */
} IdemEntryKind;

typedef struct IdemEntry
{
	IdemStatementKey key;
	IdemEntryKind kind;
	bool		undone;			/* did a savepoint that it was in roll back? */
	bool		partial;		/* were not all of its rows asked for? */
	uint64		processed;		/* as the command tag has it */
	IdemRows	rows;
	uint32		names;			/* a hash of those of the columns */
	ErrorData  *error;			/* of one that failed, or of the rows beyond
								 * those of a partial one */
	int			index;			/* in the record, from 0 */
	bool		sent;			/* in a replay, has it been sent? */
	int			place;			/* among those that have been sent, where
								 * idem_savepoint_sent() has put it */
	bool		spent;			/* in a replay, sent and rolled back as the
								 * first time */
} IdemEntry;

extern Jsonb *idem_record_encode(List *entries);
extern List *idem_record_decode(const IdemAnswer *answer);

#endif							/* IDEM_RECORD_H */
