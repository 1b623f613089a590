/*
 * store_run.h
 *	  Running statements about the tables of a store, with the caller's rights.
 */
#ifndef IDEM_STORE_RUN_H
#define IDEM_STORE_RUN_H

#include "store/store.h"

#define IDEM_STORE_MAX_ARGS	18

/* Stand for types that are not the same everywhere. */
#define IDEM_STORE_OUTCOME	((Oid) 1)	/* idem_outcome */
#define IDEM_STORE_ROLE		((Oid) 2)	/* idem_role */
#define IDEM_STORE_SCOPE	((Oid) 3)	/* of the scope of the store's keys */

/*
 * A statement about one table of whichever store; in the text each "@" stands for
 * the store's schema.  It has to be fit to run on another node: its WHERE tells the
 * row by the very columns that rows are spread by, and it calls nothing but the
 * server's immutable functions.
 */
typedef struct IdemStoreStatement
{
	int			number;			/* tells it from all others */
	IdemTable	table;
	bool		reads;			/* does it only read its table? */
	const char *text;
	int			nargs;
	Oid			argtypes[IDEM_STORE_MAX_ARGS];
} IdemStoreStatement;

/* Numbers of statements. */
enum
{
	IDEM_STORE_KEY_STATEMENTS = 0,
	IDEM_STORE_MESSAGE_STATEMENTS = 100,
	IDEM_STORE_OFFSET_STATEMENTS = 200
};

extern uint64 idem_store_run(const IdemStore *store,
							 const IdemStoreStatement *statement, Datum *args,
							 const bool *arg_isnull, int ncols, Datum *values,
							 bool *isnull);

#endif							/* IDEM_STORE_RUN_H */
