/*
 * message_store.h
 *	  The rows of messages in a store, reached by statements.
 */
#ifndef IDEM_MESSAGE_STORE_H
#define IDEM_MESSAGE_STORE_H

#include "consume/message.h"

extern bool idem_message_store_add(const IdemDelivery *delivery, Datum id);
extern bool idem_message_store_seen(const IdemDelivery *delivery, Datum id);

#endif							/* IDEM_MESSAGE_STORE_H */
