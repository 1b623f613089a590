/*
 * movement.c
 *	  Rows that an UPDATE moves from one partition to another.
 *
 * Such an UPDATE ends as a DELETE in one partition and an INSERT into another,
 * and nothing tells an AFTER INSERT trigger that the row is not a new one.  The
 * BEFORE UPDATE trigger can foresee it, though: the row no longer satisfies its
 * partition's constraint.  So it notes the departure, and the arrival is told
 * from an INSERT by a departure that fits: in the same tree of partitions, with
 * the same primary key, state and version, under the same subtransaction.  Each
 * departure is good for one arrival, and tells it where the row comes from.
 *
 * A BEFORE trigger that comes after ours and then suppresses the update, or
 * keeps the row where it is, leaves a departure without arrival.  An INSERT of
 * just that row, state and version could then take its place, until the
 * transaction ends.  One that moves a row which we had thought would stay, or
 * gives it another key on the way, is not foreseen; the row is refused.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "lib/ilist.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "movement.h"
#include "partition.h"

struct IdemPlacement
{
	Oid			root;			/* of the tree of partitions */
	Bitmapset  *columns;		/* that decide; numbered as pull_varattnos does */
	ExprState  *constraint;		/* the partition's */
};

typedef struct Departure
{
	dlist_node	node;
	SubTransactionId subxact;	/* in which the row left */
	Oid			root;			/* of the partitions */
	IdemPassage *passage;		/* of the row */
} Departure;

/* Oldest first: rows arrive as they left. */
static dlist_head departures = DLIST_STATIC_INIT(departures);
static MemoryContext departures_context = NULL; /* goes with the transaction */

/* Does an update change a column? */
bool
idem_movement_changed(Relation rel, AttrNumber column,
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
IdemPlacement *
idem_movement_placement(Relation rel)
{
	IdemPlacement *placement = palloc0(sizeof(IdemPlacement));
	List	   *constraint = RelationGetPartitionQual(rel);

	placement->root = idem_partition_root(RelationGetRelid(rel));
	pull_varattnos((Node *) constraint, 1, &placement->columns);
	placement->constraint =
		ExecInitCheck((List *) expression_planner((Expr *) constraint), NULL);
	return placement;
}

/* Does an update make a row leave its partition? */
bool
idem_movement_leaves(const IdemPlacement *placement, Relation rel,
					 HeapTuple old, HeapTuple new)
{
	TupleTableSlot *slot;
	ExprContext *context;
	bool		leaves;
	bool		changed = false;
	int			i = -1;

	while (!changed && (i = bms_next_member(placement->columns, i)) >= 0)
	{
		AttrNumber	number = i + FirstLowInvalidHeapAttributeNumber;

		/* an expression on the whole row may depend on any column */
		changed = number <= 0 || idem_movement_changed(rel, number, old, new);
	}
	if (!changed)
		return false;

	context = CreateStandaloneExprContext();
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(new, slot, false);
	context->ecxt_scantuple = slot;
	leaves = !ExecCheck(placement->constraint, context);
	ExecDropSingleTupleTableSlot(slot);
	FreeExprContext(context, true);
	return leaves;
}

static void
forget_departures(void *arg)
{
	dlist_init(&departures);
	departures_context = NULL;
}

static void
make_context(void)
{
	MemoryContextCallback *callback;

	departures_context = AllocSetContextCreate(TopTransactionContext,
											   "idem departures",
											   ALLOCSET_SMALL_SIZES);
	callback = MemoryContextAllocZero(TopTransactionContext,
									  sizeof(MemoryContextCallback));
	callback->func = forget_departures;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
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

/* A passage with all that it points to, in the current memory context. */
static IdemPassage *
copy_passage(const IdemPassage *passage)
{
	IdemPassage *copy = palloc(sizeof(IdemPassage));

	*copy = *passage;
	copy->row = copy_json(passage->row);
	copy->from = copy_text(passage->from);
	copy->to = copy_text(passage->to);
	copy->scope = copy_text(passage->scope);
	copy->key = copy_text(passage->key);
	copy->note = copy_json(passage->note);
	return copy;
}

/* Notes that a row leaves its partition. */
void
idem_movement_depart(const IdemPlacement *placement,
					 const IdemPassage *passage)
{
	MemoryContext former;
	Departure  *departure;

	if (departures_context == NULL)
		make_context();
	former = MemoryContextSwitchTo(departures_context);
	departure = palloc(sizeof(Departure));
	departure->subxact = GetCurrentSubTransactionId();
	departure->root = placement->root;
	departure->passage = copy_passage(passage);
	MemoryContextSwitchTo(former);
	dlist_push_tail(&departures, &departure->node);
}

/* Has any row left a partition, and not arrived yet? */
bool
idem_movement_underway(void)
{
	return !dlist_is_empty(&departures);
}

static bool
same_passage(const IdemPassage *departed, const IdemPassage *arrived)
{
	return departed->version == arrived->version &&
		strcmp(departed->to, arrived->to) == 0 &&
		VARSIZE(departed->row) == VARSIZE(arrived->row) &&
		memcmp(departed->row, arrived->row, VARSIZE(arrived->row)) == 0;
}

/*
 * If a row that has been inserted into a partition is one that has moved there,
 * its passage from where it comes; NULL if it is new.
 */
IdemPassage *
idem_movement_arrive(const IdemPlacement *placement,
					 const IdemPassage *arrived)
{
	dlist_iter	iter;

	dlist_foreach(iter, &departures)
	{
		Departure  *departure = dlist_container(Departure, node, iter.cur);

		if (departure->root == placement->root &&
			departure->subxact == GetCurrentSubTransactionId() &&
			same_passage(departure->passage, arrived))
		{
			IdemPassage *passage = copy_passage(departure->passage);

			dlist_delete(&departure->node);
			if (dlist_is_empty(&departures))
				MemoryContextReset(departures_context);
			return passage;
		}
	}
	return NULL;
}
