/*
 * saga_purge.c
 *	  Deleting sagas that have ended, with all that belongs to them: their steps and
 *	  the keys of those.
 *
 * The rows of the sagas are locked by whoever purges, and theirs are the last that
 * go.  Steps and keys of a saga that has ended are written by no call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "key/key_table.h"
#include "run/committed_row.h"
#include "run/row_delete.h"
#include "saga/saga_key.h"
#include "saga/saga_purge.h"
#include "saga/saga_table.h"

static IdemStatement delete_steps = IDEM_ROW_DELETE_STATEMENT("idem_saga_step", saga_step_table);
static IdemStatement delete_keys = IDEM_ROW_DELETE_STATEMENT("idem_key", key_table);

/* Places of rows. */
typedef struct Places
{
	ItemPointer tids;
	int			n;
} Places;

static void
begin_places(Places *places, int most)
{
	places->tids = palloc(sizeof(ItemPointerData) * Max(most, 1));
	places->n = 0;
}

static void
delete_places(IdemStatement *statement, const Places *places)
{
	Datum		args[1];

	if (places->n > 0)
		(void) idem_row_delete_run(statement, args, places->tids, places->n);
}

/* Adds the key to do, or to undo, a step, if there is one. */
static void
add_key(const IdemSaga *saga, int step, bool undo, Places *keys)
{
	IdemKey		key;
	IdemKeyRow	row;

	idem_saga_key_init(&key, saga, step, undo);
	if (idem_key_table_find(key.scope, key.key, GetCurrentTimestamp(), IDEM_COMMITTED,
							&row) != IDEM_KEY_ABSENT)
		keys->tids[keys->n++] = row.version.ctid;
}

/* Deletes the steps of a saga, and their keys. */
static void
delete_steps_of(Relation rel, IdemSaga *saga)
{
	ScanKeyData keys[2];
	Places		steps;
	Places		claims;
	List	   *rows;
	ListCell   *lc;

	ScanKeyInit(&keys[0], IDEM_STEP_COLUMN_SAGA, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(saga->saga));
	ScanKeyInit(&keys[1], IDEM_STEP_COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(saga->scope));
	rows = idem_committed_row_list(rel, idem_catalog_key_of(rel), 2, keys);
	begin_places(&steps, list_length(rows));
	begin_places(&claims, 2 * list_length(rows));
	foreach(lc, rows)
	{
		HeapTuple	tuple = lfirst(lc);
		bool		isnull;
		int			step = DatumGetInt32(heap_getattr(tuple, IDEM_STEP_COLUMN_STEP,
													  RelationGetDescr(rel), &isnull));

		steps.tids[steps.n++] = tuple->t_self;
		add_key(saga, step, false, &claims);
		add_key(saga, step, true, &claims);
	}
	delete_places(&delete_keys, &claims);
	delete_places(&delete_steps, &steps);
}

/* Reads of a saga what its steps are found by. */
static void
read_saga(Relation rel, TupleTableSlot *slot, IdemSaga *saga)
{
	bool		isnull;

	memset(saga, 0, sizeof(IdemSaga));
	saga->saga = DatumGetTextPCopy(slot_getattr(slot, IDEM_SAGA_COLUMN_SAGA, &isnull));
	saga->scope = DatumGetTextPCopy(slot_getattr(slot, IDEM_SAGA_COLUMN_SCOPE, &isnull));
	saga->name = text_to_cstring(saga->saga);
	saga->owner = DatumGetObjectId(slot_getattr(slot, IDEM_SAGA_COLUMN_OWNER, &isnull));
}

/*
 * Deletes what belongs to sagas, whose rows are locked; these are the caller's to
 * delete then.  The tables are locked until the transaction ends, which keeps the
 * rows where they are found.
 */
void
idem_saga_purge(ItemPointer tids, int n)
{
	const IdemCatalog *cat = idem_catalog();
	Relation	sagas = table_open(cat->saga_table, RowExclusiveLock);
	Relation	steps = table_open(cat->saga_step_table, RowExclusiveLock);
	Relation	keys = table_open(cat->key_table, RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(sagas, NULL);
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "idem saga purge",
												 ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < n; i++)
	{
		MemoryContext former;
		IdemSaga	saga;

		if (!table_tuple_fetch_row_version(sagas, &tids[i], SnapshotAny, slot))
			continue;
		former = MemoryContextSwitchTo(memory);
		read_saga(sagas, slot, &saga);
		ExecClearTuple(slot);
		delete_steps_of(steps, &saga);
		MemoryContextSwitchTo(former);
		MemoryContextReset(memory);
	}
	MemoryContextDelete(memory);
	ExecDropSingleTupleTableSlot(slot);
	table_close(keys, NoLock);
	table_close(steps, NoLock);
	table_close(sagas, NoLock);
}
