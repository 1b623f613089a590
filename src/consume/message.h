/*
 * message.h
 *	  The rows of idem_message: remembering which messages have been consumed.
 */
#ifndef IDEM_MESSAGE_H
#define IDEM_MESSAGE_H

#include "datatype/timestamp.h"

#include "store/store.h"

/* What the messages of one call have in common. */
typedef struct IdemDelivery
{
	text	   *consumer;
	const IdemStore *store;		/* where they are remembered; NULL: in
								 * idem_message */
	TimestampTz now;			/* the clock: what has expired by then is gone */
	TimestampTz expires_at;		/* until when they are to be remembered */
} IdemDelivery;

extern int	idem_message_compare(const text *a, const text *b);
extern bool idem_message_add(const IdemDelivery *delivery, text *id);
extern void idem_message_add_all(const IdemDelivery *delivery, int count,
								 Datum *ids, bool *added);

#endif							/* IDEM_MESSAGE_H */
