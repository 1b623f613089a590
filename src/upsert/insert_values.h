/*
 * insert_values.h
 *	  The row that the plan of an INSERT makes, without the executor.
 */
#ifndef IDEM_INSERT_VALUES_H
#define IDEM_INSERT_VALUES_H

#include "executor/executor.h"

#include "run/spi.h"

/*
 * What is kept with the plan of INSERT ... ON CONFLICT DO NOTHING; all zero: it
 * has not been looked at.
 */
typedef struct IdemInsertValues
{
	MemoryContext memory;		/* has all that is below; NULL: nothing is */
	int			generation;		/* of the server's plan that it was made from */
	uint64		function_changes;	/* there had been by then */
	ExprContext *econtext;		/* NULL: this plan has to be executed */
	ProjectionInfo *row;		/* makes the row, of the parameters */
	int		   *order;			/* of its columns as fields of an object */
	List	   *arbiters;		/* OIDs of the indexes that may have the row */
} IdemInsertValues;

extern PlannedStmt *idem_insert_values_prepare(IdemPlan *plan, Relation rel);
extern ParamListInfo idem_insert_values_params(int nargs, const Oid *argtypes);
extern TupleTableSlot *idem_insert_values_make(IdemInsertValues *kept,
											   ParamListInfo params, Datum data);

extern bool idem_insert_values_is_of_users(Oid function, void *context);

extern void idem_insert_values_init(void);

#endif							/* IDEM_INSERT_VALUES_H */
