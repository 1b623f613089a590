/*
 * outbox_place.h
 *	  Where a message stands in the outbox, and how far consumers have come.
 */
#ifndef IDEM_OUTBOX_PLACE_H
#define IDEM_OUTBOX_PLACE_H

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"

/* Columns of idem_outbox. */
enum
{
	IDEM_OUTBOX_XID = 1,
	IDEM_OUTBOX_ID,
	IDEM_OUTBOX_EMITTED_AT,
	IDEM_OUTBOX_ERA,
	IDEM_OUTBOX_TOPIC,
	IDEM_OUTBOX_KEY,
	IDEM_OUTBOX_PAYLOAD,
	IDEM_OUTBOX_HEADERS
};

#define IDEM_OUTBOX_COLUMNS		IDEM_OUTBOX_HEADERS

/* Columns of idem_outbox_position. */
enum
{
	IDEM_POSITION_XID = 1,
	IDEM_POSITION_ID,
	IDEM_POSITION_READ_AT,
	IDEM_POSITION_ERA,
	IDEM_POSITION_CONSUMER,
	IDEM_POSITION_TOPIC
};

/* A place in the order of a topic.  All zero: before the first message. */
typedef struct IdemOutboxPlace
{
	int32		era;
	uint64		xid;			/* of the transaction that emitted it */
	int64		id;
} IdemOutboxPlace;

/* Messages of a topic, in their order, from a place on. */
typedef struct IdemOutboxScan
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	text	   *topic;
	IdemOutboxPlace after;		/* the scan began after that one */
	int			stage;			/* how much of it the messages have in common */
	SysScanDesc scan;			/* of the stage */
} IdemOutboxScan;

extern void idem_outbox_place_of(IdemOutboxPlace *place, HeapTuple row,
								 TupleDesc desc);
extern int	idem_outbox_place_compare(const IdemOutboxPlace *a,
									  const IdemOutboxPlace *b);
extern void idem_outbox_place_begin_scan(IdemOutboxScan *scan, Relation rel,
										 text *topic,
										 const IdemOutboxPlace *after,
										 Snapshot snapshot);
extern HeapTuple idem_outbox_place_next(IdemOutboxScan *scan);
extern bool idem_outbox_place_is_seen(IdemOutboxScan *scan, Snapshot snapshot);
extern void idem_outbox_place_end_scan(IdemOutboxScan *scan);

#endif							/* IDEM_OUTBOX_PLACE_H */
