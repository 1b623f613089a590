/*
 * table.h
 *	  Tables as calls write to them.
 */
#ifndef IDEM_TABLE_H
#define IDEM_TABLE_H

#include "access/attnum.h"
#include "utils/relcache.h"

/* What a call is to do with a table. */
typedef enum IdemTableUse
{
	IDEM_TABLE_UPSERT,
	IDEM_TABLE_UPDATE
} IdemTableUse;

extern const char *idem_table_name(Relation rel);
extern void idem_table_check(Relation rel, IdemTableUse use, bool keyed);
extern AttrNumber idem_table_version(Relation rel, bool expected,
									 bool *unraised);
extern bool idem_table_alters(Relation rel);
extern bool idem_table_alters_now(Relation rel);
extern bool idem_table_fills(Relation rel, bool partitions);

#endif							/* IDEM_TABLE_H */
