/*
 * direct.h
 *	  Inserting and deleting rows of idem's own tables, without a statement.
 */
#ifndef IDEM_DIRECT_H
#define IDEM_DIRECT_H

#include "access/attnum.h"
#include "storage/itemptr.h"
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

/* What became of a row that was to be deleted. */
typedef enum IdemDeletion
{
	IDEM_DELETED,
	IDEM_NOT_DELETED,			/* others have changed or deleted it */
	IDEM_NEEDS_STATEMENT		/* the table is not as it was installed */
} IdemDeletion;

extern bool idem_direct_insert(Oid table, int natts, Datum *values,
							   bool *isnull);
extern bool idem_direct_delete(Oid table, IdemEnded *rows);
extern IdemDeletion idem_direct_delete_row(Oid table, ItemPointer place);

#endif							/* IDEM_DIRECT_H */
