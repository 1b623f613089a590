/*
 * saga_pick.c
 *	  Finding steps that are due, those first that have been for longest.
 *
 * The index on (scope, due, next_at) has them in this order for each work, so
 * finding some costs the same however many there are.  It is read without a
 * statement, as it is now, and without taking part in serializable conflict
 * detection: that two workers read the same entries is no conflict, since each step
 * is looked at again once its saga's row is locked.
 *
 * Entries of steps that have been claimed since stay in the index until nobody can
 * see them any more.  So that they are not in everybody's way for longer, they are
 * read as purge/ reads them: with a snapshot that takes what is dead out of the next
 * reader's way.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/index_usable.h"
#include "saga/saga_pick.h"
#include "saga/saga_table.h"

/* The steps due of one work. */
struct IdemSagaPickSource
{
	SysScanDesc scan;
	bool		ended;
	/* the next one, if it has been read */
	bool		has_next;
	TimestampTz next_at;
	IdemSagaPicked next;
};

static bool
is_right(Relation index)
{
	static const AttrNumber columns[] = {
		IDEM_STEP_COLUMN_SCOPE, IDEM_STEP_COLUMN_DUE, IDEM_STEP_COLUMN_NEXT_AT
	};
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || form->indnkeyatts < lengthof(columns) ||
		!idem_index_usable(index) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < lengthof(columns); i++)
	{
		if (form->indkey.values[i] != columns[i] ||
			(index->rd_indoption[i] & INDOPTION_DESC) != 0)
			return false;
	}
	return true;
}

/* The index, opened, or NULL if its owner has dropped it: then the table is read. */
static Relation
open_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		if (is_right(index))
			return index;
		index_close(index, NoLock);
	}
	return NULL;
}

/*
 * Begins to look for steps of a scope of which one of these works, each of which is
 * another, is due by now.
 */
void
idem_saga_pick_begin(IdemSagaPick *pick, text *scope, text *const *works,
					 int nworks, TimestampTz now)
{
	AcceptInvalidationMessages();
	pick->rel = table_open(idem_catalog()->saga_step_table, RowExclusiveLock);
	/* is it still as it was made? */
	(void) idem_catalog_key_of(pick->rel);
	pick->snapshot = RegisterSnapshot(GetLatestSnapshot());
	pick->index = open_index(pick->rel);
	pick->now = now;
	pick->nsources = nworks;
	pick->sources = palloc0(sizeof(IdemSagaPickSource) * nworks);
	InitNonVacuumableSnapshot(pick->not_vacuumable, GlobalVisTestFor(pick->rel));
	for (int i = 0; i < nworks; i++)
	{
		ScanKeyData keys[3];

		ScanKeyInit(&keys[0], IDEM_STEP_COLUMN_SCOPE, BTEqualStrategyNumber,
					F_TEXTEQ, PointerGetDatum(scope));
		ScanKeyInit(&keys[1], IDEM_STEP_COLUMN_DUE, BTEqualStrategyNumber,
					F_TEXTEQ, PointerGetDatum(works[i]));
		ScanKeyInit(&keys[2], IDEM_STEP_COLUMN_NEXT_AT, BTLessEqualStrategyNumber,
					F_TIMESTAMPTZ_LE, TimestampTzGetDatum(now));
		pick->sources[i].scan = pick->index == NULL ?
			systable_beginscan(pick->rel, InvalidOid, false, SnapshotAny, 3, keys) :
			systable_beginscan_ordered(pick->rel, pick->index, &pick->not_vacuumable,
									   3, keys);
	}
}

/* Reads the next step of a work that is there now, if there is one. */
static void
read_next(IdemSagaPick *pick, IdemSagaPickSource *source)
{
	TupleDesc	desc = RelationGetDescr(pick->rel);
	HeapTuple	tuple;

	while (!source->ended && !source->has_next)
	{
		Snapshot	latest;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		tuple = pick->index == NULL ? systable_getnext(source->scan) :
			systable_getnext_ordered(source->scan, ForwardScanDirection);
		if (tuple == NULL)
		{
			source->ended = true;
			return;
		}
		/* what this call has written meanwhile counts, too */
		latest = RegisterSnapshot(GetLatestSnapshot());
		source->has_next = table_tuple_satisfies_snapshot(pick->rel,
														  source->scan->slot, latest);
		UnregisterSnapshot(latest);
		if (!source->has_next)
			continue;
		source->next_at =
			DatumGetTimestampTz(heap_getattr(tuple, IDEM_STEP_COLUMN_NEXT_AT, desc,
											 &isnull));
		source->next.saga =
			DatumGetTextPCopy(heap_getattr(tuple, IDEM_STEP_COLUMN_SAGA, desc, &isnull));
		source->next.scope =
			DatumGetTextPCopy(heap_getattr(tuple, IDEM_STEP_COLUMN_SCOPE, desc, &isnull));
	}
}

/* The step that has been due for longest, of those not returned yet; false: no more. */
bool
idem_saga_pick_next(IdemSagaPick *pick, IdemSagaPicked *picked)
{
	IdemSagaPickSource *first = NULL;

	for (int i = 0; i < pick->nsources; i++)
	{
		IdemSagaPickSource *source = &pick->sources[i];

		read_next(pick, source);
		if (source->has_next && (first == NULL || source->next_at < first->next_at))
			first = source;
	}
	if (first == NULL)
		return false;
	*picked = first->next;
	first->has_next = false;
	return true;
}

void
idem_saga_pick_end(IdemSagaPick *pick)
{
	for (int i = 0; i < pick->nsources; i++)
	{
		if (pick->index == NULL)
			systable_endscan(pick->sources[i].scan);
		else
			systable_endscan_ordered(pick->sources[i].scan);
	}
	if (pick->index != NULL)
		index_close(pick->index, NoLock);
	UnregisterSnapshot(pick->snapshot);
	table_close(pick->rel, NoLock);
}
