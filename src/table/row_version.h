/*
 * row_version.h
 *	  The version of a row, which a trigger raises.
 */
#ifndef IDEM_ROW_VERSION_H
#define IDEM_ROW_VERSION_H

#include "access/htup.h"
#include "utils/relcache.h"

extern int64 idem_row_version_get(HeapTuple row, Relation rel, AttrNumber column,
								  bool *isnull);
extern int64 idem_row_version_next(Relation rel, AttrNumber column, int64 version);
extern HeapTuple idem_row_version_set(HeapTuple row, Relation rel,
									  AttrNumber column, int64 version);

#endif							/* IDEM_ROW_VERSION_H */
