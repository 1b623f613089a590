/*
 * upsert_deparse.h
 *	  The statements of an upsert into a table.
 */
#ifndef IDEM_UPSERT_DEPARSE_H
#define IDEM_UPSERT_DEPARSE_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* What an upsert says of its table; its values come later, as parameters. */
typedef struct IdemUpsertSpec
{
	Oid			target;			/* the table */
	bool		keyed;			/* will a key remember it? */
	List	   *fields;			/* names (char *) of the fields of data */
	List	   *rules;			/* how each is merged, an IdemMergeRule; NIL:
								 * set them all */
	bool		by_primary_key; /* else by the columns of conflict */
	List	   *conflict;		/* names (char *) of unique columns */
	bool		versioned;		/* is a version expected? */
} IdemUpsertSpec;

/*
 * The statements.  All have parameters $1 (jsonb), $2 and $3 (bigint).
 *
 * IDEM_UPSERT_WRITE is the upsert of the data $1, with $2 the expected version if
 * there is one: it gives the row if one was written, and calls
 * _idem_upsert_met() with the ticket $3 for a row that was there.
 *
 * IDEM_UPSERT_INSERT does as much where there is no row, and nothing where there
 * is one.  There is such a statement only where it may be tried first.
 *
 * IDEM_UPSERT_READ finds the row by the key columns that $1, data or a row,
 * holds: it gives the row, its version, and whether data of this spec says
 * anything else of it.
 *
 * The others are for a row that is to have a version, and so has to be there.
 * There are none where the table may make up, or alter, the key of a row that is
 * inserted: only the upsert itself can tell then which row is meant.
 *
 * IDEM_UPSERT_UPDATE updates the row that the data names, if it has the version
 * $2 and differs from the data: it gives the row and its version.  There is no
 * such statement if the data names nothing to be updated.
 *
 * IDEM_UPSERT_LOCK gives what IDEM_UPSERT_READ does of that row, and locks it if
 * there is something to be updated.
 *
 * IDEM_UPSERT_REPEAT updates it, whatever it is.  There is such a statement only
 * where triggers may make something else of the data.
 */
typedef enum IdemUpsertStatement
{
	IDEM_UPSERT_WRITE,
	IDEM_UPSERT_INSERT,
	IDEM_UPSERT_READ,
	IDEM_UPSERT_UPDATE,
	IDEM_UPSERT_LOCK,
	IDEM_UPSERT_REPEAT
} IdemUpsertStatement;

extern char *idem_upsert_deparse_sql(const IdemUpsertSpec *spec,
									 IdemUpsertStatement which);

#endif							/* IDEM_UPSERT_DEPARSE_H */
