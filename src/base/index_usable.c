/*
 * index_usable.c
 *	  Whether an index may be read without a planner that asks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/index_usable.h"

/*
 * May our snapshot, which may be old, use the index, which is open?  As the planner
 * asks (get_relation_info).
 */
bool
idem_index_usable(Relation index)
{
	Form_pg_index form = index->rd_index;

	return form->indisvalid &&
		(!form->indcheckxmin ||
		 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							   TransactionXmin));
}
