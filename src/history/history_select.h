/*
 * history_select.h
 *	  Finding what is recorded of a row.
 */
#ifndef IDEM_HISTORY_SELECT_H
#define IDEM_HISTORY_SELECT_H

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"
#include "utils/relcache.h"

#include "base/unique_index.h"

/* A row, and the tables whose records of it go together. */
typedef struct IdemHistoryTables
{
	Datum		places;			/* of the row in each */
	Datum		oids;
	Datum		names;
	Datum		rows;			/* the keys that it can have been recorded by */
	Datum		unknown;		/* its places where no table is known */
	Datum		left_out;		/* the column that each of these keys lacks */
	Datum		columns;		/* whose history is wanted; */
	Datum		all;			/* or is that of all? */
} IdemHistoryTables;

extern void idem_history_select_tables(Relation rel, Oid asked,
									   const Bitmapset *managed,
									   const IdemUniqueIndex *key,
									   const Datum *values,
									   IdemHistoryTables *tables);
extern void idem_history_select_columns(IdemHistoryTables *tables, List *names);
extern bool idem_history_select_any(const IdemHistoryTables *tables);
extern void idem_history_select_rows(const IdemHistoryTables *tables,
									 DestReceiver *dest);

#endif							/* IDEM_HISTORY_SELECT_H */
