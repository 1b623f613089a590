/*
 * message_find.h
 *	  The rows of idem_message, found as they are committed now.
 */
#ifndef IDEM_MESSAGE_FIND_H
#define IDEM_MESSAGE_FIND_H

#include "storage/itemptr.h"

#include "consume/message.h"

/* What is found of a message. */
typedef enum IdemMessageState
{
	IDEM_MESSAGE_ABSENT,
	IDEM_MESSAGE_BUSY,			/* a row that a running transaction writes */
	IDEM_MESSAGE_EXPIRED,		/* a row past its time, which counts as none */
	IDEM_MESSAGE_LIVE
} IdemMessageState;

extern IdemMessageState idem_message_find(const IdemDelivery *delivery,
										  Datum id, ItemPointer place);
extern bool idem_message_find_absent(const IdemDelivery *delivery, Datum id);
extern bool idem_message_find_seen(const IdemDelivery *delivery, text *id);
extern bool idem_message_find_consumed(const IdemDelivery *delivery, text *id);

#endif							/* IDEM_MESSAGE_FIND_H */
