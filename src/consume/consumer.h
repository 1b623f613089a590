/*
 * consumer.h
 *	  Consumers of messages: what is defined of them, and which roles may use them.
 */
#ifndef IDEM_CONSUMER_H
#define IDEM_CONSUMER_H

#include "datatype/timestamp.h"

#include "run/definition.h"

/* A consumer. */
typedef struct IdemConsumer
{
	IdemDefinition definition;	/* must be first */
	bool		takes_late;		/* are messages that may be forgotten new? */
	int64		window_us;		/* how long to remember; 0: idem.ttl */
} IdemConsumer;

/* For how long messages of a call are remembered, in microseconds. */
typedef struct IdemWindow
{
	int64		keep_us;		/* this one remembers them for so long */
	int64		late_us;		/* and every other one for so long at least */
} IdemWindow;

extern void idem_consumer_init(void);
extern void idem_consumer_find(IdemConsumer *consumer, text *name);
extern void idem_consumer_window(const IdemConsumer *consumer,
								 const Interval *ttl, IdemWindow *window);

#endif							/* IDEM_CONSUMER_H */
