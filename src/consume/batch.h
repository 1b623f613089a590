/*
 * batch.h
 *	  Inserting the rows of many messages by one statement.
 */
#ifndef IDEM_BATCH_H
#define IDEM_BATCH_H

#include "consume/message.h"

extern void idem_batch_insert(const IdemDelivery *delivery, int count,
							  Datum *ids, const int *places, bool *marks);

#endif							/* IDEM_BATCH_H */
