/*
 * jsonb_receiver.h
 *	  The rows of a statement as a JSON array of objects.
 */
#ifndef IDEM_JSONB_RECEIVER_H
#define IDEM_JSONB_RECEIVER_H

#include "access/tupdesc.h"
#include "tcop/dest.h"
#include "utils/jsonb.h"

#include "base/compat.h"

/* A receiver that takes rows down as they come. */
typedef struct IdemJsonbReceiver
{
	DestReceiver receiver;		/* what to send them to; must be first */
	IdemJsonbState *object;		/* of which the array becomes a field */
	/* private to jsonb_receiver.c */
	TupleDesc	desc;			/* of the rows */
	MemoryContext memory;		/* of the object */
} IdemJsonbReceiver;

extern void idem_jsonb_receiver_init(IdemJsonbReceiver *rows, IdemJsonbState *object);

#endif							/* IDEM_JSONB_RECEIVER_H */
