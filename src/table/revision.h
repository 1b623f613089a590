/*
 * revision.h
 *	  The version of a row, which a trigger raises.
 */
#ifndef IDEM_REVISION_H
#define IDEM_REVISION_H

#include "access/htup.h"
#include "utils/relcache.h"

extern int64 idem_revision_get(HeapTuple row, Relation rel, AttrNumber column,
							   bool *isnull);
extern int64 idem_revision_next(Relation rel, AttrNumber column, int64 version);
extern HeapTuple idem_revision_set(HeapTuple row, Relation rel,
								   AttrNumber column, int64 version);

#endif							/* IDEM_REVISION_H */
