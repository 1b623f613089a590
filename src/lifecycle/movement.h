/*
 * movement.h
 *	  Rows that an UPDATE moves from one partition to another.
 */
#ifndef IDEM_MOVEMENT_H
#define IDEM_MOVEMENT_H

#include "access/htup.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "history/history.h"

/* Where rows of a partition belong, made ready to be asked. */
typedef struct IdemPlacement IdemPlacement;

/* The row of a statement that was suspected last to leave; zero at first. */
typedef struct IdemSuspect
{
	uint64		number;			/* of the departure; 0: none */
	ItemPointerData tid;
} IdemSuspect;

extern bool idem_movement_changed(Relation rel, AttrNumber column,
								  HeapTuple old, HeapTuple new);
extern IdemPlacement *idem_movement_placement(Relation rel);
extern bool idem_movement_leaves(const IdemPlacement *placement, Relation rel,
								 HeapTuple old, HeapTuple new);
extern void idem_movement_depart(const IdemPlacement *placement, Relation rel,
								 ItemPointer tid,
								 const IdemPassage *passage);
extern void idem_movement_suspect(const IdemPlacement *placement,
								  Relation rel, ItemPointer tid,
								  const IdemPassage *passage,
								  IdemSuspect *suspect);
extern bool idem_movement_underway(void);
extern IdemPassage *idem_movement_arrive(const IdemPlacement *placement,
										 Relation rel, HeapTuple row,
										 const IdemPassage *arrived);

#endif							/* IDEM_MOVEMENT_H */
