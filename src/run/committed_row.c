/*
 * committed_row.c
 *	  Reading a row of idem's own tables as it is committed now.
 *
 * It may be one that the transaction's own snapshot does not see, and is read
 * without taking part in serializable conflict detection: reading by an ordinary
 * scan under an MVCC snapshot would lock the page of the index where the row is, or
 * would be, and so fail transactions that write its neighbours.  Only scans under
 * an MVCC snapshot are noticed, so here every version is fetched, and judged by
 * hand.  Views of a whole table read it so, too, under the snapshot of their
 * statement: an ordinary scan locks the table, and fails whoever writes to it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "run/committed_row.h"

/*
 * The next row of a scan under SnapshotAny that a snapshot sees, or NULL; it is good
 * until the next one.  The snapshot has to be older than the scan.
 */
HeapTuple
idem_committed_row_next(SysScanDesc scan, Snapshot snapshot)
{
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (table_tuple_satisfies_snapshot(scan->heap_rel, scan->slot, snapshot))
			return tuple;
	}
	return NULL;
}

/*
 * Copies of the rows that an index of a table that the caller has locked has under
 * a key, and no more than so many.  Never waits, works on
 * a standby.
 *
 * The snapshot is there before the index is read.  So what it sees was in the
 * index by then, and VACUUM leaves it there meanwhile: no row is missed that is
 * just being updated, as it could be with SnapshotSelf or a dirty snapshot.
 */
static List *
find_rows(Relation rel, Oid index, int nkeys, ScanKey keys, int most)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, index, true, SnapshotAny,
										  nkeys, keys);
	List	   *found = NIL;
	HeapTuple	tuple;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	while (list_length(found) < most &&
		   HeapTupleIsValid(tuple = idem_committed_row_next(scan, latest)))
		found = lappend(found, heap_copytuple(tuple));
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	return found;
}

/* The one row under a key, or NULL if there is none. */
HeapTuple
idem_committed_row_find(Relation rel, Oid index, int nkeys, ScanKey keys)
{
	List	   *found = find_rows(rel, index, nkeys, keys, 1);

	return found == NIL ? NULL : linitial(found);
}

/* All rows (HeapTuple) whose key begins with these values, in no order. */
List *
idem_committed_row_list(Relation rel, Oid index, int nkeys, ScanKey keys)
{
	return find_rows(rel, index, nkeys, keys, PG_INT32_MAX);
}

/*
 * Was a row written by a transaction, xmin, that the statement does not see, at
 * whatever isolation level?
 */
bool
idem_committed_row_is_unseen_by_statement(TransactionId xmin)
{
	return !TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot());
}

/*
 * Was a row written by a transaction, xmin, that the one snapshot of the current
 * transaction does not see?
 */
bool
idem_committed_row_is_unseen(TransactionId xmin)
{
	return IsolationUsesXactSnapshot() &&
		!TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetTransactionSnapshot());
}
