/*
 * saga_view.c
 *	  SQL: what the views idem_saga_status and idem_saga_work are made of.
 *
 * A caller is shown sagas of roles that it is a member of.  The rows are read without
 * a statement: one that reads the tables would have what their owner has put into
 * their indexes planned by whoever looks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "base/role.h"
#include "run/committed_row.h"
#include "saga/saga_table.h"

PG_FUNCTION_INFO_V1(idem_sagas);
PG_FUNCTION_INFO_V1(idem_saga_steps);

/* The role that the saga of a row belongs to. */
static Oid
owner_of(HeapTuple row, TupleDesc desc, Relation sagas, bool is_step)
{
	bool		isnull;

	if (!is_step)
		return DatumGetObjectId(heap_getattr(row, IDEM_SAGA_COLUMN_OWNER, desc,
											 &isnull));
	return idem_saga_table_owner(sagas,
								 DatumGetTextPP(heap_getattr(row, IDEM_STEP_COLUMN_SAGA,
															 desc, &isnull)),
								 DatumGetTextPP(heap_getattr(row, IDEM_STEP_COLUMN_SCOPE,
															 desc, &isnull)));
}

/* Returns the rows of one of the tables that the caller may know of. */
static void
return_rows(FunctionCallInfo fcinfo, size_t table, bool is_step)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	sagas = table_open(idem_catalog()->saga_table, AccessShareLock);
	Relation	rel = table_open(idem_catalog_table(table), AccessShareLock);
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "idem saga view",
												 ALLOCSET_DEFAULT_SIZES);
	SysScanDesc scan;
	HeapTuple	row;

	/* is it still as it was made? */
	(void) idem_catalog_key_of(rel);
	InitMaterializedSRF(fcinfo, 0);
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 0, NULL);
	while ((row = idem_committed_row_next(scan, GetActiveSnapshot())) != NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(memory);
		Oid			owner;

		owner = owner_of(row, RelationGetDescr(rel), sagas, is_step);
		MemoryContextSwitchTo(former);
		MemoryContextReset(memory);
		if (idem_role_has_rights_of(GetUserId(), owner))
			tuplestore_puttuple(result->setResult, row);
	}
	systable_endscan(scan);
	MemoryContextDelete(memory);
	table_close(rel, AccessShareLock);
	table_close(sagas, AccessShareLock);
}

/* _idem_sagas() -> SETOF idem_saga: those of roles that the caller is a member of */
Datum
idem_sagas(PG_FUNCTION_ARGS)
{
	return_rows(fcinfo, offsetof(IdemCatalog, saga_table), false);
	return (Datum) 0;
}

/* _idem_saga_steps() -> SETOF idem_saga_step: those of such sagas */
Datum
idem_saga_steps(PG_FUNCTION_ARGS)
{
	return_rows(fcinfo, offsetof(IdemCatalog, saga_step_table), true);
	return (Datum) 0;
}
