/*
 * rows.h
 *	  The rows of a statement as a JSON array of objects.
 */
#ifndef IDEM_ROWS_H
#define IDEM_ROWS_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"

/* A receiver that writes rows down as they come. */
typedef struct IdemRows
{
	DestReceiver receiver;		/* what to send them to; must be first */
	bool		any_set;		/* does the statement return rows, if only none? */
	StringInfo	json;			/* where the array is appended */
	/* private to rows.c */
	TupleDesc	desc;			/* of the rows */
	MemoryContext scratch;		/* for one row */
} IdemRows;

extern void idem_rows_init(IdemRows *rows, StringInfo json);

#endif							/* IDEM_ROWS_H */
