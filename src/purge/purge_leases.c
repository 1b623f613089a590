/*
 * purge_leases.c
 *	  Claims whose lease has run out, looked for a part of the table at a time.
 *
 * No index leads to the claims that are in progress: one would make every completion
 * of a claim write to it.  So after each pass some pages of the table of keys are
 * read, from where the look before ended, and once they are through, the claim whose
 * lease ends first is noted for idem_health.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "key/key_table.h"
#include "purge/purge_leases.h"
#include "stats/stats_shared.h"

#define PAGES_A_LOOK	1000

/* Notes a row where it is a claim whose lease ends before that of any other so far. */
static void
meet(TupleTableSlot *row, TimestampTz now, IdemStatsLeases *leases)
{
	bool		isnull;
	TimestampTz until;

	until = DatumGetTimestampTz(slot_getattr(row, IDEM_KEY_COLUMN_LEASE_UNTIL,
											 &isnull));
	if (isnull || TIMESTAMP_NOT_FINITE(until) ||
		(leases->next_until != 0 && leases->next_until <= until) ||
		idem_catalog_outcome(DatumGetObjectId(slot_getattr(row, IDEM_KEY_COLUMN_OUTCOME,
														   &isnull))) != IDEM_IN_PROGRESS ||
		DatumGetTimestampTz(slot_getattr(row, IDEM_KEY_COLUMN_EXPIRES_AT,
										 &isnull)) <= now)
		return;
	leases->next_until = until;
	leases->next_since =
		DatumGetTimestampTz(slot_getattr(row, IDEM_KEY_COLUMN_CREATED_AT, &isnull));
}

/* Reads pages of the table, from one up to before another. */
static void
read_pages(Relation rel, BlockNumber from, BlockNumber to, IdemStatsLeases *leases)
{
	TimestampTz now = GetCurrentTimestamp();
	TupleTableSlot *row = table_slot_create(rel, NULL);
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc scan;

	ItemPointerSet(&first, from, FirstOffsetNumber);
	ItemPointerSet(&last, to - 1, MaxOffsetNumber);
	scan = IDEM_BEGIN_TID_RANGE(rel, GetActiveSnapshot(), &first, &last);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		meet(row, now, leases);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
}

/*
 * Looks at some more pages of the table of keys.  Waits for nobody: not for a session
 * that has locked the table.  Raises 55000 where the table was altered.
 */
void
idem_purge_leases_look(void)
{
	Oid			table = idem_catalog()->key_table;
	IdemStatsLeases leases;
	Relation	rel;
	BlockNumber pages;
	BlockNumber end;

	if (!idem_stats_shared_get_leases(&leases) ||
		!ConditionalLockRelationOid(table, AccessShareLock))
		return;
	rel = table_open(table, NoLock);
	(void) idem_catalog_key_of(rel);
	pages = RelationGetNumberOfBlocks(rel);
	if (leases.page > pages)
		leases.page = pages;
	end = Min(leases.page + PAGES_A_LOOK, pages);
	if (leases.page < end)
		read_pages(rel, leases.page, end, &leases);
	leases.page = end;
	if (end == pages)
	{
		leases.looked_at = GetCurrentTimestamp();
		leases.since = leases.next_since;
		leases.until = leases.next_until;
		leases.page = 0;
		leases.next_since = leases.next_until = 0;
	}
	idem_stats_shared_set_leases(&leases);
	table_close(rel, NoLock);
}
