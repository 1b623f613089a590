/*
 * direct.h
 *	  Inserting a row into one of idem's own tables, or deleting one, without a
 *	  statement.
 */
#ifndef IDEM_DIRECT_H
#define IDEM_DIRECT_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

/* What became of a row that was to be deleted. */
typedef enum IdemDeletion
{
	IDEM_DELETED,
	IDEM_NOT_DELETED,			/* others have changed or deleted it */
	IDEM_NEEDS_STATEMENT		/* the table is not as it was installed */
} IdemDeletion;

extern bool idem_direct_is_plain(Relation rel);
extern bool idem_direct_runs_nothing(Relation rel);
extern bool idem_direct_insert(Oid table, int natts, Datum *values,
							   bool *isnull);
extern IdemDeletion idem_direct_delete_row(Oid table, ItemPointer place);

#endif							/* IDEM_DIRECT_H */
