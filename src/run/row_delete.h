/*
 * row_delete.h
 *	  Deleting rows of idem's own tables by their places, without waiting.
 */
#ifndef IDEM_ROW_DELETE_H
#define IDEM_ROW_DELETE_H

#include "catalog/pg_type.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "base/catalog.h"
#include "run/spi_own.h"

/* The statement that deletes rows of a table, by that name, by their places. */
#define IDEM_ROW_DELETE_STATEMENT(name, field) \
	{ \
		.text = "DELETE FROM ONLY @." name " AS k" \
		" WHERE k.ctid OPERATOR(pg_catalog.=) ANY ($1)", \
		.nargs = 1, \
		.argtypes = {TIDARRAYOID}, \
		.table = offsetof(IdemCatalog, field) \
	}

/* Deletes n rows, which are locked, by a statement. */
typedef void (*IdemRowDeleteLocked) (void *state, ItemPointer tids, int n);

/* Rows of one table that are being deleted.  All of it is private to row_delete.c. */
typedef struct IdemRowDelete
{
	Relation	rel;
	Snapshot	snapshot;		/* that the rows were read by */
	IdemRowDeleteLocked statement;
	void	   *state;			/* of statement */
	ItemPointer locked;			/* for statement; NULL: it is not needed */
	int			nlocked;
} IdemRowDelete;

extern void idem_row_delete_begin(IdemRowDelete *rows, Relation rel,
								  Snapshot snapshot,
								  IdemRowDeleteLocked statement, void *state);
extern void idem_row_delete_begin_statement(IdemRowDelete *rows, Relation rel,
											Snapshot snapshot,
											IdemRowDeleteLocked statement,
											void *state);
extern bool idem_row_delete(IdemRowDelete *rows, ItemPointer tid);
extern void idem_row_delete_flush(IdemRowDelete *rows);
extern void idem_row_delete_end(IdemRowDelete *rows);
extern uint64 idem_row_delete_run(IdemStatement *statement, Datum *args,
								  ItemPointer tids, int n);

#endif							/* IDEM_ROW_DELETE_H */
