/*
 * row_movement.h
 *	  Rows that an UPDATE moves from one partition to another.
 */
#ifndef IDEM_ROW_MOVEMENT_H
#define IDEM_ROW_MOVEMENT_H

#include "access/htup.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "history/history_write.h"

/* Where rows of a partition belong, made ready to be asked. */
typedef struct IdemPartitionCheck IdemPartitionCheck;

/* The row of a statement that was suspected last to leave; zero at first. */
typedef struct IdemSuspect
{
	uint64		number;			/* of the departure; 0: none */
	ItemPointerData tid;
} IdemSuspect;

extern bool idem_row_movement_changed(Relation rel, AttrNumber column,
									  HeapTuple old, HeapTuple new);
extern IdemPartitionCheck *idem_row_movement_check(Relation rel);
extern bool idem_row_movement_leaves(const IdemPartitionCheck *check, Relation rel,
									 HeapTuple old, HeapTuple new);
extern void idem_row_movement_add(const IdemPartitionCheck *check, Relation rel,
								  ItemPointer tid,
								  const IdemHistoryEntry *entry);
extern void idem_row_movement_suspect(const IdemPartitionCheck *check,
									  Relation rel, ItemPointer tid,
									  const IdemHistoryEntry *entry,
									  IdemSuspect *suspect);
extern bool idem_row_movement_underway(void);
extern IdemHistoryEntry *idem_row_movement_take(const IdemPartitionCheck *check,
												Relation rel, HeapTuple row,
												const IdemHistoryEntry *arrived);

#endif							/* IDEM_ROW_MOVEMENT_H */
