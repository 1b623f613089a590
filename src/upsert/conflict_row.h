/*
 * conflict_row.h
 *	  The row that an upsert finds in its place.
 */
#ifndef IDEM_CONFLICT_ROW_H
#define IDEM_CONFLICT_ROW_H

#include "utils/jsonb.h"

#include "run/ticket.h"
#include "table/row_version.h"

typedef struct IdemConflictRow
{
	IdemTicket	ticket;			/* of the statement, must be first */
	MemoryContext memory;		/* of the call, for the row */
	bool		met;			/* was there a row already? */
	Jsonb	   *before;			/* as it was, if triggers may have put it back */
	/* of the row, if it was found and left as it was */
	Jsonb	   *row;			/* NULL: it was not found */
	IdemRowVersion version;
	bool		differs;		/* from the data */
} IdemConflictRow;

extern void idem_conflict_row_init(IdemConflictRow *conflict);
extern void idem_conflict_row_begin(IdemConflictRow *conflict);
extern void idem_conflict_row_end(IdemConflictRow *conflict);
extern void idem_conflict_row_set(IdemConflictRow *conflict, Datum row,
								  IdemRowVersion version, bool differs);

#endif							/* IDEM_CONFLICT_ROW_H */
