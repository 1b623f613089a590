/*
 * pk_json.h
 *	  The primary key of a row, as the history keeps it.
 */
#ifndef IDEM_PK_JSON_H
#define IDEM_PK_JSON_H

#include "access/htup.h"
#include "nodes/bitmapset.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "base/unique_index.h"

extern Jsonb *idem_pk_json_read(Relation rel, const Bitmapset *managed,
								HeapTuple row, bool stored);
extern Jsonb *idem_pk_json_form(Relation rel, const Bitmapset *managed,
								const IdemUniqueIndex *key,
								const Datum *values);
extern int64 idem_pk_json_place(Oid table, Jsonb *row);

#endif							/* IDEM_PK_JSON_H */
