/*
 * routed_row.h
 *	  A row of a routed table, as its columns come back.
 */
#ifndef IDEM_ROUTED_ROW_H
#define IDEM_ROUTED_ROW_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/* The columns that statements return: those that the caller may read. */
typedef struct IdemRoutedRow
{
	int			ncolumns;
	AttrNumber *columns;
	TupleDesc	desc;			/* of just these */
	Datum	   *values;			/* as the last statement returned them; before
								 * them come IDEM_ROUTED_EXTRA others */
	bool	   *isnull;
} IdemRoutedRow;

/* What a statement returns before the columns: two values of its own. */
#define IDEM_ROUTED_EXTRA	2

extern void idem_routed_row_init(IdemRoutedRow *row, Relation rel);
extern void idem_routed_row_append(StringInfo buf, const IdemRoutedRow *row);
extern int	idem_routed_row_width(const IdemRoutedRow *row);
extern Jsonb *idem_routed_row_json(const IdemRoutedRow *row);

#endif							/* IDEM_ROUTED_ROW_H */
