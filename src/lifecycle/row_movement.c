/*
 * row_movement.c
 *	  Rows that an UPDATE moves from one partition to another.
 *
 * Such an UPDATE ends as a DELETE in one partition and an INSERT into another,
 * and nothing tells an AFTER INSERT trigger that the row is not a new one.  The
 * BEFORE UPDATE trigger can foresee it, though: the row no longer satisfies its
 * partition's constraint.  So it notes the departure, with the place of the row
 * that leaves.  Whether it has left is then written there: the server marks a
 * row that moves to another partition as such, and by which command.  An INSERT
 * in the same tree of partitions, of the same primary key, by the very command
 * that the row left by, is its arrival, and must bring it as it left.
 *
 * A departure that came to nothing, since a trigger suppressed the update, or the
 * DELETE, or kept the row where it is, has no such mark and is good for nothing.
 * A row that has left and not arrived has been dropped or given another key by a
 * trigger on its way, which is found out when the transaction is to commit.
 *
 * A table that follows several machines has triggers for each.  Each notes for
 * itself that the row leaves, and has it arrive, by the column with the state.
 *
 * A BEFORE trigger that comes after ours may move a row which we had thought
 * would stay.  Where there is such a trigger, every row is suspected to leave
 * until the next one of the statement is updated, since by then it has left or
 * not.  A row that did is refused: it has arrived with another primary key than
 * it was thought to have, for the key contains what tells the partition.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "lifecycle/departure.h"
#include "lifecycle/row_movement.h"
#include "table/partition_root.h"
#include "table/row_to_jsonb.h"

struct IdemPartitionCheck
{
	Oid			root;			/* of the tree of partitions */
	Bitmapset  *columns;		/* that decide; numbered as pull_varattnos
								 * does */
	ExprState  *constraint;		/* the partition's */
};

/* Does an update change a column? */
bool
idem_row_movement_changed(Relation rel, AttrNumber column,
						  HeapTuple old, HeapTuple new)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Form_pg_attribute att = TupleDescAttr(desc, column - 1);
	bool		old_isnull;
	bool		new_isnull;
	Datum		old_value = heap_getattr(old, column, desc, &old_isnull);
	Datum		new_value = heap_getattr(new, column, desc, &new_isnull);

	if (old_isnull || new_isnull)
		return old_isnull != new_isnull;
	return !datum_image_eq(old_value, new_value, att->attbyval, att->attlen);
}

/*
 * Where rows of the partition that rel is belong, allocated in the current
 * memory context.  Good as long as rel stays locked.
 */
IdemPartitionCheck *
idem_row_movement_check(Relation rel)
{
	IdemPartitionCheck *check = palloc0(sizeof(IdemPartitionCheck));
	List	   *constraint = RelationGetPartitionQual(rel);

	Assert(rel->rd_rel->relispartition);
	check->root = idem_partition_root(RelationGetRelid(rel));
	pull_varattnos((Node *) constraint, 1, &check->columns);
	check->constraint =
		ExecInitCheck((List *) expression_planner((Expr *) constraint), NULL);
	return check;
}

/* Does an update make a row leave its partition? */
bool
idem_row_movement_leaves(const IdemPartitionCheck *check, Relation rel,
						 HeapTuple old, HeapTuple new)
{
	TupleTableSlot *slot;
	ExprContext *context;
	bool		leaves;
	bool		changed = false;
	int			i = -1;

	Assert(check->root != RelationGetRelid(rel));
	while (!changed && (i = bms_next_member(check->columns, i)) >= 0)
	{
		AttrNumber	number = i + FirstLowInvalidHeapAttributeNumber;

		/* an expression on the whole row may depend on any column */
		changed = number <= 0 || idem_row_movement_changed(rel, number, old, new);
	}
	if (!changed)
		return false;

	context = CreateStandaloneExprContext();
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(new, slot, false);
	context->ecxt_scantuple = slot;
	leaves = !ExecCheck(check->constraint, context);
	ExecDropSingleTupleTableSlot(slot);
	FreeExprContext(context, true);
	return leaves;
}

static bool
is_heap(Relation rel)
{
	return rel->rd_tableam == GetHeapamTableAmRoutine();
}

static void xact_ends(XactEvent event, void *arg);

static IdemDeparture *
add(const IdemPartitionCheck *check, Relation rel, ItemPointer tid,
	const IdemHistoryEntry *entry)
{
	static bool registered = false;
	IdemPlace	place = idem_departure_place(rel, tid);

	if (!is_heap(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot move a row of \"%s\" to another partition",
						RelationGetRelationName(rel)),
				 errdetail("It follows a state machine, and its access method is not heap.")));

	if (!registered)
	{
		RegisterXactCallback(xact_ends, NULL);
		registered = true;
	}
	return idem_departure_add(check->root, &place, entry);
}

/*
 * Notes that a row, which is in that place, is to leave its partition.  Raises
 * 0A000 where that cannot be told from the row afterwards.
 */
void
idem_row_movement_add(const IdemPartitionCheck *check, Relation rel,
					  ItemPointer tid, const IdemHistoryEntry *entry)
{
	(void) add(check, rel, tid, entry);
}

/* Is any row to leave a partition, and has not arrived yet? */
bool
idem_row_movement_underway(void)
{
	return !dlist_is_empty(idem_departure_all());
}

/*
 * Has the row left its partition for another?  If so, tells by which command.
 * That we have deleted it keeps it where it was until the transaction ends.
 */
static bool
has_left(const IdemDeparture *departure, TransactionId *xid, CommandId *command)
{
	/* locked by the update; NULL if it has been dropped since */
	Relation	rel = try_relation_open(departure->place.relid, AccessShareLock);
	HeapTupleData row;
	Buffer		buffer;
	bool		left = false;

	if (rel == NULL)
		return false;
	row.t_self = departure->place.tid;
	/* it may have been truncated since */
	if (is_heap(rel) &&
		ItemPointerGetBlockNumber(&row.t_self) < RelationGetNumberOfBlocks(rel) &&
		heap_fetch(rel, SnapshotAny, &row, &buffer, false))
	{
		HeapTupleHeader header = row.t_data;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (HeapTupleHeaderIndicatesMovedPartitions(header) &&
			(header->t_infomask & HEAP_XMAX_INVALID) == 0 &&
			!HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		{
			*xid = HeapTupleHeaderGetUpdateXid(header);
			left = TransactionIdIsCurrentTransactionId(*xid);
			if (left)
				*command = HeapTupleHeaderGetCmax(header);
			/* a later one moved it without our trigger */
			left = left && *command <= departure->command;
		}
		UnlockReleaseBuffer(buffer);
	}
	relation_close(rel, NoLock);
	return left;
}

/* The departure that a suspicion led to; NULL if it is settled. */
static IdemDeparture *
find_suspect(Relation rel, IdemSuspect *suspect)
{
	IdemPlace	place = idem_departure_place(rel, &suspect->tid);
	dlist_head *there = suspect->number == 0 ? NULL :
		idem_departure_from(&place);
	dlist_iter	iter;

	if (there == NULL)
		return NULL;
	dlist_foreach(iter, there)
	{
		IdemDeparture *departure = dlist_container(IdemDeparture, same_place,
												   iter.cur);

		if (departure->number == suspect->number)
			return departure;
	}
	return NULL;
}

/*
 * Notes that a row may leave its partition without our knowing, until the next
 * row that the same statement updates there.
 */
void
idem_row_movement_suspect(const IdemPartitionCheck *check, Relation rel,
						  ItemPointer tid, const IdemHistoryEntry *entry,
						  IdemSuspect *suspect)
{
	IdemDeparture *former = find_suspect(rel, suspect);
	TransactionId xid;
	CommandId	command;

	if (!is_heap(rel))
		return;
	/* if it has not left by now, it does not */
	if (former != NULL && !has_left(former, &xid, &command))
		idem_departure_forget(former);

	suspect->number = add(check, rel, tid, entry)->number;
	suspect->tid = *tid;
}

/*
 * Was the row inserted by the command by which the other left?  Of tables that
 * are no heap, foreign ones for one, it cannot be told, and need not be: no
 * other row has left with that key.
 */
static bool
came_by(Relation rel, HeapTuple row, TransactionId xid, CommandId command)
{
	return !is_heap(rel) ||
		(TransactionIdEquals(HeapTupleHeaderGetXmin(row->t_data), xid) &&
		 HeapTupleHeaderGetCmin(row->t_data) == command);
}

static bool
same_state(const IdemHistoryEntry *a, const IdemHistoryEntry *b)
{
	return a->version == b->version && a->to != NULL && b->to != NULL &&
		strcmp(a->to, b->to) == 0;
}

static const char *
row_text(const IdemHistoryEntry *entry)
{
	return JsonbToCString(NULL, &entry->row->root, VARSIZE(entry->row));
}

static const char *
state_text(const IdemHistoryEntry *entry)
{
	return entry->to == NULL ? "no state" :
		psprintf("state \"%s\"", entry->to);
}

static void
changed_error(const IdemDeparture *departure, Relation rel,
			  const IdemHistoryEntry *arrived)
{
	const IdemHistoryEntry *left = departure->entry;

	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s was changed on its way to partition \"%s\"",
					row_text(left), RelationGetRelationName(rel)),
			 errdetail("It left \"%s\" in %s with version " INT64_FORMAT ", and arrived in %s with version " INT64_FORMAT ".",
					   get_rel_name(departure->place.relid),
					   state_text(left), left->version,
					   state_text(arrived), arrived->version),
			 errhint("A BEFORE INSERT trigger changes it, or a BEFORE UPDATE trigger that fires after those of idem_attach().")));
}

static void
lost_error(const IdemDeparture *departure)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s of \"%s\" did not arrive in another partition",
					row_text(departure->entry),
					get_rel_name(departure->root)),
			 errdetail("It left \"%s\" in %s with version " INT64_FORMAT ".",
					   get_rel_name(departure->place.relid),
					   state_text(departure->entry),
					   departure->entry->version),
			 errhint("A trigger drops it on its way, moves it or gives it another primary key, or the trigger of the state machine is disabled there.")));
}

/* Is a departure about that column with a state? */
static bool
is_about(const IdemDeparture *departure, const IdemHistoryEntry *arrived)
{
	return strcmp(departure->entry->column, arrived->column) == 0;
}

/* Is a departure of a row with the primary key of one that was inserted? */
static bool
is_of(const IdemDeparture *departure, Oid root, const IdemHistoryEntry *arrived)
{
	return departure->root == root && is_about(departure, arrived) &&
		idem_row_to_jsonb_same(departure->entry->row, arrived->row);
}

/*
 * The last of the departures from a place that a row can have made, which has
 * arrived as it left: no other about that column can take place from there.
 */
static IdemHistoryEntry *
settle(IdemPlace place, Oid root, const IdemHistoryEntry *arrived)
{
	IdemHistoryEntry *entry = NULL;
	List	   *settled = NIL;
	ListCell   *lc;
	dlist_iter	iter;

	/* first, since the list goes with its last departure */
	dlist_foreach(iter, idem_departure_from(&place))
	{
		IdemDeparture *departure = dlist_container(IdemDeparture, same_place,
												   iter.cur);

		if (is_about(departure, arrived))
			settled = lappend(settled, departure);
	}
	foreach(lc, settled)
	{
		IdemDeparture *departure = lfirst(lc);

		if (entry == NULL && is_of(departure, root, arrived) &&
			same_state(departure->entry, arrived))
			entry = idem_departure_copy_entry(departure->entry);
		idem_departure_forget(departure);
	}
	Assert(entry != NULL);
	return entry;
}

/*
 * If a row that has been inserted into a partition is one that has moved there,
 * its transition, as it was noted where it left; NULL if it is new.  Raises
 * 27000 if it is not as it left.
 */
IdemHistoryEntry *
idem_row_movement_take(const IdemPartitionCheck *check, Relation rel,
					   HeapTuple row, const IdemHistoryEntry *arrived)
{
	dlist_head *departures = idem_departure_of_row(check->root, arrived->row);
	IdemDeparture *other = NULL;
	dlist_iter	iter;

	if (departures == NULL)
		return NULL;
	dlist_foreach(iter, departures)
	{
		IdemDeparture *departure = dlist_container(IdemDeparture, same_row,
												   iter.cur);
		TransactionId xid;
		CommandId	command;

		CHECK_FOR_INTERRUPTS();
		if (!is_of(departure, check->root, arrived) ||
			!has_left(departure, &xid, &command) ||
			!came_by(rel, row, xid, command))
			continue;
		if (!same_state(departure->entry, arrived))
		{
			other = departure;
			continue;
		}
		return settle(departure->place, check->root, arrived);
	}
	/* without a primary key it may be any row */
	if (other != NULL && JB_ROOT_COUNT(arrived->row) > 0)
		changed_error(other, rel, arrived);
	return NULL;
}

/* A row that has left has to have arrived before the transaction commits. */
static void
xact_ends(XactEvent event, void *arg)
{
	dlist_iter	iter;

	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		return;
	dlist_foreach(iter, idem_departure_all())
	{
		IdemDeparture *departure = dlist_container(IdemDeparture, node, iter.cur);
		TransactionId xid;
		CommandId	command;

		CHECK_FOR_INTERRUPTS();
		if (has_left(departure, &xid, &command))
			lost_error(departure);
	}
}
