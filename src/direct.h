/*
 * direct.h
 *	  Inserting and deleting rows of idem's own tables, without a statement.
 */
#ifndef IDEM_DIRECT_H
#define IDEM_DIRECT_H

#include "access/attnum.h"
#include "datatype/timestamp.h"

/* Rows that have come to an end. */
typedef struct IdemEnded
{
	AttrNumber	ended;			/* the column (timestamptz) that tells it */
	AttrNumber	held;			/* another, up to which a row lives on; or 0 */
	TimestampTz from;			/* ended from then on; set to the last one read */
	TimestampTz until;			/* and by then */
	int64		limit;			/* so many of them at most */
	int64		deleted;		/* out: so many there were */
} IdemEnded;

extern bool idem_direct_insert(Oid table, int natts, Datum *values,
							   bool *isnull);
extern bool idem_direct_delete(Oid table, IdemEnded *rows);

#endif							/* IDEM_DIRECT_H */
