/*
 * message_batch.h
 *	  Inserting the rows of many messages by one statement.
 */
#ifndef IDEM_MESSAGE_BATCH_H
#define IDEM_MESSAGE_BATCH_H

#include "consume/message.h"

extern void idem_message_batch_insert(const IdemDelivery *delivery, int count,
									  Datum *ids, const int *places, bool *marks);

#endif							/* IDEM_MESSAGE_BATCH_H */
