/*
 * saga_purge.h
 *	  Deleting sagas that have ended, with all that belongs to them.
 */
#ifndef IDEM_SAGA_PURGE_H
#define IDEM_SAGA_PURGE_H

#include "storage/itemptr.h"

extern void idem_saga_purge(ItemPointer tids, int n);

#endif							/* IDEM_SAGA_PURGE_H */
