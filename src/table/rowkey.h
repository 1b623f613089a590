/*
 * rowkey.h
 *	  The primary key of a row, as the history keeps it.
 */
#ifndef IDEM_ROWKEY_H
#define IDEM_ROWKEY_H

#include "access/htup.h"
#include "utils/jsonb.h"

#include "base/unique.h"
#include "table/follow.h"

extern Jsonb *idem_rowkey_read(Relation rel, const IdemLifecycle *lifecycle,
							   HeapTuple row, bool stored);
extern Jsonb *idem_rowkey_form(Relation rel, const IdemLifecycle *lifecycle,
							   const IdemUnique *key, const Datum *values);
extern int64 idem_rowkey_place(Oid table, Jsonb *row);

#endif							/* IDEM_ROWKEY_H */
