/*
 * rows.h
 *	  The rows of a statement as a JSON array of objects.
 */
#ifndef IDEM_ROWS_H
#define IDEM_ROWS_H

#include "access/tupdesc.h"
#include "tcop/dest.h"
#include "utils/jsonb.h"

#include "base/compat.h"

/* A receiver that takes rows down as they come. */
typedef struct IdemRows
{
	DestReceiver receiver;		/* what to send them to; must be first */
	IdemJsonbState *object;		/* of which the array becomes a field */
	/* private to rows.c */
	TupleDesc	desc;			/* of the rows */
	MemoryContext memory;		/* of the object */
} IdemRows;

extern void idem_rows_init(IdemRows *rows, IdemJsonbState *object);

#endif							/* IDEM_ROWS_H */
