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
 * A BEFORE trigger that comes after ours may move a row which we had thought would
 * stay.  Where there is such a trigger, every row is suspected to leave until the
 * next one of the statement is updated, since by then it has left or not.  A row
 * that did is refused: it has arrived with another primary key than it was
 * thought to have, for the key contains what tells the partition.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

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

/* Where a row is that leaves. */
typedef struct Place
{
	Oid			relid;			/* partition */
	ItemPointerData tid;
} Place;

typedef struct Departure
{
	dlist_node	node;			/* of departures */
	struct Bucket *bucket;
	dlist_node	same_row;		/* of the bucket */
	struct Stop *stop;
	dlist_node	same_place;		/* of the stop */
	uint64		number;			/* in the order of departures */
	SubTransactionId subxact;	/* in which it was noted */
	CommandId	command;		/* current then: the row's own is none later */
	Oid			root;			/* of the partitions */
	Place		place;			/* of the row */
	IdemHistoryEntry *entry;	/* of the row */
} Departure;

/* The departures from one tree of partitions, of rows with one primary key. */
typedef struct Bucket
{
	uint64		hash;			/* of both; hash key, must be first */
	dlist_head	departures;		/* oldest first: rows arrive as they left */
} Bucket;

/*
 * The departures from one place: no more than one of them takes place, and not
 * always the last one that was noted.
 */
typedef struct Stop
{
	Place		place;			/* hash key, must be first */
	dlist_head	departures;		/* newest first */
} Stop;

/* Those that have not arrived, oldest first; subtransactions are numbered so. */
static dlist_head departures = DLIST_STATIC_INIT(departures);
static HTAB *buckets = NULL;
static HTAB *stops = NULL;
static MemoryContext departures_context = NULL; /* goes with the transaction */
static uint64 last_number = 0;	/* never given twice */

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

static void
forget_departures(void *arg)
{
	dlist_init(&departures);
	buckets = NULL;
	stops = NULL;
	departures_context = NULL;
}

static void
free_if_any(const void *pointer)
{
	if (pointer != NULL)
		pfree(unconstify(void *, pointer));
}

/* Forgets a departure, but not its stop. */
static void
strike(Departure *departure)
{
	IdemHistoryEntry *entry = departure->entry;

	dlist_delete(&departure->node);
	dlist_delete(&departure->same_row);
	dlist_delete(&departure->same_place);
	if (dlist_is_empty(&departure->bucket->departures))
		hash_search(buckets, &departure->bucket->hash, HASH_REMOVE, NULL);
	free_if_any(entry->row);
	free_if_any(entry->from);
	free_if_any(entry->to);
	free_if_any(entry->scope);
	free_if_any(entry->key);
	free_if_any(entry->note);
	pfree(entry);
	pfree(departure);
}

static void
leave_stop(Stop *stop)
{
	if (dlist_is_empty(&stop->departures))
		hash_search(stops, &stop->place, HASH_REMOVE, NULL);
}

/* Forgets what was noted in a subtransaction that is rolled back, or in its own. */
static void
subxact_ends(SubXactEvent event, SubTransactionId subxact,
			 SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (!dlist_is_empty(&departures))
	{
		Departure  *last = dlist_tail_element(Departure, node, &departures);
		Stop	   *stop = last->stop;

		if (last->subxact < subxact)
			break;
		strike(last);
		leave_stop(stop);
	}
}

static void xact_ends(XactEvent event, void *arg);

static void
make_context(void)
{
	static bool registered = false;
	MemoryContext context;
	MemoryContextCallback *callback;
	HASHCTL		bucket = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(Bucket)
	};
	HASHCTL		stop = {
		.keysize = sizeof(Place),
		.entrysize = sizeof(Stop)
	};

	if (!registered)
	{
		RegisterXactCallback(xact_ends, NULL);
		RegisterSubXactCallback(subxact_ends, NULL);
		registered = true;
	}

	context = AllocSetContextCreate(TopTransactionContext, "idem departures",
									ALLOCSET_SMALL_SIZES);
	callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	callback->func = forget_departures;
	MemoryContextRegisterResetCallback(context, callback);
	bucket.hcxt = stop.hcxt = context;
	buckets = hash_create("idem departures by row", 32, &bucket,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stops = hash_create("idem departures by place", 32, &stop,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* last, when all is there */
	departures_context = context;
}

/* The departures from a place; NULL if none was noted, nor is to. */
static Stop *
find_stop(const Place *place, bool make)
{
	bool		found;
	Stop	   *stop;

	stop = hash_search(stops, place, make ? HASH_ENTER : HASH_FIND, &found);
	if (make && !found)
		dlist_init(&stop->departures);
	return stop;
}

/* The departures of rows with a primary key; NULL if none was noted, nor is to. */
static Bucket *
find_bucket(Oid root, const Jsonb *row, bool make)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) row,
										   VARSIZE(row), root);
	Bucket	   *bucket;
	bool		found;

	bucket = hash_search(buckets, &hash, make ? HASH_ENTER : HASH_FIND, &found);
	if (make && !found)
		dlist_init(&bucket->departures);
	return bucket;
}

static char *
copy_text(const char *text)
{
	return text == NULL ? NULL : pstrdup(text);
}

static Jsonb *
copy_json(const Jsonb *json)
{
	return json == NULL ? NULL : memcpy(palloc(VARSIZE(json)), json,
										VARSIZE(json));
}

/* A entry with all that it points to, in the current memory context. */
static IdemHistoryEntry *
copy_passage(const IdemHistoryEntry *entry)
{
	IdemHistoryEntry *copy = palloc(sizeof(IdemHistoryEntry));

	*copy = *entry;
	copy->row = copy_json(entry->row);
	copy->from = copy_text(entry->from);
	copy->to = copy_text(entry->to);
	copy->scope = copy_text(entry->scope);
	copy->key = copy_text(entry->key);
	copy->note = copy_json(entry->note);
	return copy;
}

static bool
is_heap(Relation rel)
{
	return rel->rd_tableam == GetHeapamTableAmRoutine();
}

static Place
make_place(Relation rel, ItemPointer tid)
{
	Place		place;

	/* all of it, as it is hashed */
	memset(&place, 0, sizeof(Place));
	place.relid = RelationGetRelid(rel);
	place.tid = *tid;
	return place;
}

/*
 * Notes that a row, which is in that place, is to leave its partition.  Raises
 * 0A000 where that cannot be told from the row afterwards.
 */
void
idem_row_movement_add(const IdemPartitionCheck *check, Relation rel,
					  ItemPointer tid, const IdemHistoryEntry *entry)
{
	MemoryContext former;
	Departure  *departure;

	if (!is_heap(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot move a row of \"%s\" to another partition",
						RelationGetRelationName(rel)),
				 errdetail("It follows a state machine, and its access method is not heap.")));

	if (departures_context == NULL)
		make_context();
	former = MemoryContextSwitchTo(departures_context);
	departure = palloc(sizeof(Departure));
	departure->number = ++last_number;
	departure->subxact = GetCurrentSubTransactionId();
	departure->command = GetCurrentCommandId(false);
	departure->root = check->root;
	departure->place = make_place(rel, tid);
	departure->entry = copy_passage(entry);
	MemoryContextSwitchTo(former);
	departure->bucket = find_bucket(check->root, entry->row, true);
	departure->stop = find_stop(&departure->place, true);
	dlist_push_tail(&departures, &departure->node);
	dlist_push_tail(&departure->bucket->departures, &departure->same_row);
	dlist_push_head(&departure->stop->departures, &departure->same_place);
}

/* Is any row to leave a partition, and has not arrived yet? */
bool
idem_row_movement_underway(void)
{
	return !dlist_is_empty(&departures);
}

/*
 * Has the row left its partition for another?  If so, tells by which command.
 * That we have deleted it keeps it where it was until the transaction ends.
 */
static bool
has_left(const Departure *departure, TransactionId *xid, CommandId *command)
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
static Departure *
find_suspect(Relation rel, IdemSuspect *suspect)
{
	Place		place = make_place(rel, &suspect->tid);
	Stop	   *stop = NULL;
	dlist_iter	iter;

	if (suspect->number != 0 && departures_context != NULL)
		stop = find_stop(&place, false);
	if (stop == NULL)
		return NULL;
	dlist_foreach(iter, &stop->departures)
	{
		Departure  *departure = dlist_container(Departure, same_place, iter.cur);

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
	Departure  *former = find_suspect(rel, suspect);
	TransactionId xid;
	CommandId	command;

	if (!is_heap(rel))
		return;
	/* if it has not left by now, it does not */
	if (former != NULL && !has_left(former, &xid, &command))
	{
		Stop	   *stop = former->stop;

		strike(former);
		leave_stop(stop);
	}

	idem_row_movement_add(check, rel, tid, entry);
	suspect->number = last_number;
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
changed_error(const Departure *departure, Relation rel,
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
			 errhint("A BEFORE INSERT trigger changes it.")));
}

static void
lost_error(const Departure *departure)
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

/* Is a departure of a row with the primary key of one that was inserted? */
static bool
is_of(const Departure *departure, Oid root, const IdemHistoryEntry *arrived)
{
	return departure->root == root &&
		idem_row_to_jsonb_same(departure->entry->row, arrived->row);
}

/*
 * The last of the departures from a place that a row can have made, which has
 * arrived as it left: nothing else is left of that place.
 */
static IdemHistoryEntry *
settle(Stop *stop, Oid root, const IdemHistoryEntry *arrived)
{
	IdemHistoryEntry *entry = NULL;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &stop->departures)
	{
		Departure  *departure = dlist_container(Departure, same_place, iter.cur);

		if (entry == NULL && is_of(departure, root, arrived) &&
			same_state(departure->entry, arrived))
			entry = copy_passage(departure->entry);
		strike(departure);
	}
	leave_stop(stop);
	return entry;
}

/*
 * If a row that has been inserted into a partition is one that has moved there,
 * its entry from where it comes; NULL if it is new.  Raises 27000 if it is not
 * as it left.
 */
IdemHistoryEntry *
idem_row_movement_take(const IdemPartitionCheck *check, Relation rel,
					   HeapTuple row, const IdemHistoryEntry *arrived)
{
	Bucket	   *bucket = find_bucket(check->root, arrived->row, false);
	Departure  *other = NULL;
	dlist_iter	iter;

	if (bucket == NULL)
		return NULL;
	dlist_foreach(iter, &bucket->departures)
	{
		Departure  *departure = dlist_container(Departure, same_row, iter.cur);
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
		return settle(departure->stop, check->root, arrived);
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
	dlist_foreach(iter, &departures)
	{
		Departure  *departure = dlist_container(Departure, node, iter.cur);
		TransactionId xid;
		CommandId	command;

		CHECK_FOR_INTERRUPTS();
		if (has_left(departure, &xid, &command))
			lost_error(departure);
	}
}
