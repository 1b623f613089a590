/*
 * outbox_place.c
 *	  Where a message stands in the outbox, and how far consumers have come.
 *
 * The messages of a topic are in the order of their eras (outbox_era.c), of the
 * transactions that emitted them, as those took their numbers, and of their ids.
 * The primary key has that order.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "outbox/outbox_place.h"

/* The place that a row of idem_outbox has, or that one of idem_outbox_position says. */
void
idem_outbox_place_of(IdemOutboxPlace *place, HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	StaticAssertStmt((int) IDEM_OUTBOX_XID == (int) IDEM_POSITION_XID &&
					 (int) IDEM_OUTBOX_ID == (int) IDEM_POSITION_ID &&
					 (int) IDEM_OUTBOX_ERA == (int) IDEM_POSITION_ERA,
					 "both tables have the columns of a place in the same order");
	place->xid = DatumGetUInt64(heap_getattr(row, IDEM_OUTBOX_XID, desc, &isnull));
	place->id = DatumGetInt64(heap_getattr(row, IDEM_OUTBOX_ID, desc, &isnull));
	place->era = DatumGetInt32(heap_getattr(row, IDEM_OUTBOX_ERA, desc, &isnull));
}

/* Less than, equal to or greater than zero. */
int
idem_outbox_place_compare(const IdemOutboxPlace *a, const IdemOutboxPlace *b)
{
	if (a->era != b->era)
		return a->era < b->era ? -1 : 1;
	if (a->xid != b->xid)
		return a->xid < b->xid ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return 0;
}

/*
 * Begins to read what comes after a place by the same transaction (stage 0), in the
 * same era (1), and in later eras (2): a range for each, since a scan of an index
 * takes no range of rows.
 */
static void
begin_stage(IdemOutboxScan *scan)
{
	Oid			int4 = scan->stage == 2 ? F_INT4GT : F_INT4EQ;
	Oid			xid8 = scan->stage == 1 ? F_XID8GT : F_XID8EQ;
	ScanKeyData keys[4];

	ScanKeyInit(&keys[0], IDEM_OUTBOX_TOPIC, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(scan->topic));
	ScanKeyInit(&keys[1], IDEM_OUTBOX_ERA,
				scan->stage == 2 ? BTGreaterStrategyNumber : BTEqualStrategyNumber,
				int4, Int32GetDatum(scan->after.era));
	ScanKeyInit(&keys[2], IDEM_OUTBOX_XID,
				scan->stage == 1 ? BTGreaterStrategyNumber : BTEqualStrategyNumber,
				xid8, UInt64GetDatum(scan->after.xid));
	ScanKeyInit(&keys[3], IDEM_OUTBOX_ID, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(scan->after.id));
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index,
											scan->snapshot, 4 - scan->stage,
											keys);
}

/*
 * Begins to read a topic after a place.  With SnapshotAny the scan takes no part in
 * serializable conflict detection, and gives rows that nobody sees, too: the caller
 * asks of each.
 */
void
idem_outbox_place_begin_scan(IdemOutboxScan *scan, Relation rel, text *topic,
							 const IdemOutboxPlace *after, Snapshot snapshot)
{
	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	scan->rel = rel;
	/* the index is asked for now that the table is locked: it may be replaced */
	scan->index = index_open(idem_catalog_key_of(rel), AccessShareLock);
	scan->snapshot = snapshot;
	scan->topic = topic;
	scan->after = *after;
	scan->stage = 0;
	begin_stage(scan);
}

/* The next row, which is good until the next call, or NULL at the end. */
HeapTuple
idem_outbox_place_next(IdemOutboxScan *scan)
{
	HeapTuple	row;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		row = systable_getnext_ordered(scan->scan, ForwardScanDirection);
		if (row != NULL || scan->stage == 2)
			return row;
		systable_endscan_ordered(scan->scan);
		scan->stage++;
		begin_stage(scan);
	}
}

/* Does a snapshot see the row just read? */
bool
idem_outbox_place_is_seen(IdemOutboxScan *scan, Snapshot snapshot)
{
	return table_tuple_satisfies_snapshot(scan->rel, scan->scan->slot, snapshot);
}

void
idem_outbox_place_end_scan(IdemOutboxScan *scan)
{
	systable_endscan_ordered(scan->scan);
	index_close(scan->index, NoLock);
}
