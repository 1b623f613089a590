/*
 * departure.h
 *	  Rows that are to leave their partition, and have not arrived in another.
 */
#ifndef IDEM_DEPARTURE_H
#define IDEM_DEPARTURE_H

#include "lib/ilist.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "history/history_write.h"

/* Where a row is that leaves. */
typedef struct IdemPlace
{
	Oid			relid;			/* partition */
	ItemPointerData tid;
} IdemPlace;

typedef struct IdemDeparture
{
	dlist_node	node;			/* of all departures, oldest first */
	struct DepartureRow *row;
	dlist_node	same_row;		/* of the row, oldest first */
	struct DeparturePlace *stop;
	dlist_node	same_place;		/* of the place, newest first */
	uint64		number;			/* in the order of departures; never given
								 * twice */
	SubTransactionId subxact;	/* in which it was noted */
	CommandId	command;		/* current then: the row's own is none later */
	Oid			root;			/* of the partitions */
	IdemPlace	place;			/* of the row */
	IdemHistoryEntry *entry;	/* of the row */
} IdemDeparture;

extern IdemPlace idem_departure_place(Relation rel, ItemPointer tid);
extern IdemDeparture *idem_departure_add(Oid root, const IdemPlace *place,
										 const IdemHistoryEntry *entry);
extern void idem_departure_forget(IdemDeparture *departure);
extern IdemHistoryEntry *idem_departure_copy_entry(const IdemHistoryEntry *entry);
extern dlist_head *idem_departure_all(void);
extern dlist_head *idem_departure_of_row(Oid root, const Jsonb *row);
extern dlist_head *idem_departure_from(const IdemPlace *place);

#endif							/* IDEM_DEPARTURE_H */
