/*
 * insert_direct.h
 *	  Inserting rows by the plan of an INSERT, without running the executor.
 */
#ifndef IDEM_INSERT_DIRECT_H
#define IDEM_INSERT_DIRECT_H

#include "utils/jsonb.h"

#include "run/spi.h"
#include "upsert/insert_values.h"

/* Rows to be inserted by one statement, run once for each. */
typedef struct IdemInsertRows
{
	Datum		data;			/* jsonb, of the first row */

	/*
	 * Called after each, with what it is now: makes data those of another, or
	 * returns false.  NULL: there is only one.
	 */
	bool		(*next) (void *state, Jsonb *inserted, Datum *data);
	void	   *state;
	/* set by inserting */
	Jsonb	   *inserted;		/* what the last row is now; NULL: it was
								 * there already */
} IdemInsertRows;

/* What has become of a statement. */
typedef enum IdemInsertResult
{
	IDEM_INSERT_DONE,			/* up to a row that was there */
	IDEM_INSERT_BY_PLAN,		/* nothing: the plan has to be executed */
	IDEM_INSERT_PLAN_GONE		/* nothing: the statement is to be planned
								 * anew */
} IdemInsertResult;

extern IdemInsertResult idem_insert_direct(IdemPlan *plan, Oid table, int nargs,
										   const Oid *argtypes,
										   IdemInsertRows *rows);

#endif							/* IDEM_INSERT_DIRECT_H */
