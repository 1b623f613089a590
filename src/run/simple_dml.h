/*
 * simple_dml.h
 *	  Inserting a row into one of idem's own tables, or deleting one, without a
 *	  statement.
 */
#ifndef IDEM_SIMPLE_DML_H
#define IDEM_SIMPLE_DML_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

/* What became of a row that was to be deleted. */
typedef enum IdemDeletion
{
	IDEM_DELETED,
	IDEM_NOT_DELETED,			/* another transaction has written it */
	IDEM_NEEDS_STATEMENT		/* the table is not as it was installed */
} IdemDeletion;

extern bool idem_simple_dml_is_plain(Relation rel);
extern bool idem_simple_dml_is_bare(Relation rel);
extern bool idem_simple_dml_runs_nothing(Relation rel);
extern bool idem_simple_dml_insert(Oid table, int natts, Datum *values,
								   bool *isnull);
extern bool idem_simple_dml_insert_many(Oid table, int natts, int count,
										Datum *values, bool *isnull, int *at);
extern IdemDeletion idem_simple_dml_delete_row(Oid table, ItemPointer place);

#endif							/* IDEM_SIMPLE_DML_H */
