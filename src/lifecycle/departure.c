/*
 * departure.c
 *	  Rows that are to leave their partition, and have not arrived in another.
 *
 * row_movement.c notes them and strikes them off; here they are kept, to be
 * found by the row and by the place that it leaves.  They go with the
 * transaction, and those of a subtransaction that is rolled back with that.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "lifecycle/departure.h"

/* The departures from one tree of partitions, of rows with one primary key. */
typedef struct DepartureRow
{
	uint64		hash;			/* of both; hash key, must be first */
	dlist_head	departures;		/* oldest first: rows arrive as they left */
} DepartureRow;

/*
 * The departures from one place: no more than one of them takes place, and not
 * always the last one that was noted.
 */
typedef struct DeparturePlace
{
	IdemPlace	place;			/* hash key, must be first */
	dlist_head	departures;		/* newest first */
} DeparturePlace;

/* Oldest first; subtransactions are numbered so. */
static dlist_head departures = DLIST_STATIC_INIT(departures);
static HTAB *rows = NULL;
static HTAB *places = NULL;
static MemoryContext memory = NULL; /* goes with the transaction */
static uint64 last_number = 0;

static void
forget_all(void *arg)
{
	dlist_init(&departures);
	rows = NULL;
	places = NULL;
	memory = NULL;
}

static void
free_if_any(const void *pointer)
{
	if (pointer != NULL)
		pfree(unconstify(void *, pointer));
}

/* Forgets a departure, and with the last one of a row or a place those. */
void
idem_departure_forget(IdemDeparture *departure)
{
	IdemHistoryEntry *entry = departure->entry;

	Assert(memory != NULL && !dlist_is_empty(&departures));
	dlist_delete(&departure->node);
	dlist_delete(&departure->same_row);
	dlist_delete(&departure->same_place);
	if (dlist_is_empty(&departure->row->departures))
		hash_search(rows, &departure->row->hash, HASH_REMOVE, NULL);
	if (dlist_is_empty(&departure->stop->departures))
		hash_search(places, &departure->place, HASH_REMOVE, NULL);
	free_if_any(entry->row);
	free_if_any(entry->column);
	free_if_any(entry->from);
	free_if_any(entry->to);
	free_if_any(entry->scope);
	free_if_any(entry->key);
	free_if_any(entry->note);
	pfree(entry);
	pfree(departure);
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
		IdemDeparture *last = dlist_tail_element(IdemDeparture, node,
												 &departures);

		if (last->subxact < subxact)
			break;
		idem_departure_forget(last);
	}
}

static void
make_memory(void)
{
	static bool registered = false;
	MemoryContext context;
	MemoryContextCallback *callback;
	HASHCTL		row = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(DepartureRow)
	};
	HASHCTL		place = {
		.keysize = sizeof(IdemPlace),
		.entrysize = sizeof(DeparturePlace)
	};

	if (!registered)
	{
		RegisterSubXactCallback(subxact_ends, NULL);
		registered = true;
	}

	context = AllocSetContextCreate(TopTransactionContext, "idem departures",
									ALLOCSET_SMALL_SIZES);
	callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	callback->func = forget_all;
	MemoryContextRegisterResetCallback(context, callback);
	row.hcxt = place.hcxt = context;
	rows = hash_create("idem departures by row", 32, &row,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	places = hash_create("idem departures by place", 32, &place,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* last, when all is there */
	memory = context;
}

/* The hash of a row: of its primary key, in a tree of partitions. */
static uint64
row_hash(Oid root, const Jsonb *row)
{
	return hash_bytes_extended((const unsigned char *) row, VARSIZE(row), root);
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

/* An entry with all that it points to, in the current memory context. */
IdemHistoryEntry *
idem_departure_copy_entry(const IdemHistoryEntry *entry)
{
	IdemHistoryEntry *copy = palloc(sizeof(IdemHistoryEntry));

	*copy = *entry;
	copy->row = copy_json(entry->row);
	copy->column = copy_text(entry->column);
	copy->from = copy_text(entry->from);
	copy->to = copy_text(entry->to);
	copy->scope = copy_text(entry->scope);
	copy->key = copy_text(entry->key);
	copy->note = copy_json(entry->note);
	return copy;
}

/* A place, all of it set, as it is hashed. */
IdemPlace
idem_departure_place(Relation rel, ItemPointer tid)
{
	IdemPlace	place;

	memset(&place, 0, sizeof(IdemPlace));
	place.relid = RelationGetRelid(rel);
	place.tid = *tid;
	return place;
}

/* Notes that a row is to leave its place in a partition of the tree of root. */
IdemDeparture *
idem_departure_add(Oid root, const IdemPlace *place,
				   const IdemHistoryEntry *entry)
{
	MemoryContext former;
	IdemDeparture *departure;
	uint64		hash = row_hash(root, entry->row);
	bool		found;

	if (memory == NULL)
		make_memory();
	former = MemoryContextSwitchTo(memory);
	departure = palloc(sizeof(IdemDeparture));
	departure->number = ++last_number;
	departure->subxact = GetCurrentSubTransactionId();
	departure->command = GetCurrentCommandId(false);
	departure->root = root;
	departure->place = *place;
	departure->entry = idem_departure_copy_entry(entry);
	MemoryContextSwitchTo(former);

	departure->row = hash_search(rows, &hash, HASH_ENTER, &found);
	if (!found)
		dlist_init(&departure->row->departures);
	departure->stop = hash_search(places, place, HASH_ENTER, &found);
	if (!found)
		dlist_init(&departure->stop->departures);
	dlist_push_tail(&departures, &departure->node);
	dlist_push_tail(&departure->row->departures, &departure->same_row);
	dlist_push_head(&departure->stop->departures, &departure->same_place);
	return departure;
}

/* All departures, oldest first. */
dlist_head *
idem_departure_all(void)
{
	return &departures;
}

/*
 * The departures of rows with a primary key, and a few more that have the same
 * hash, oldest first; NULL if none was noted.
 */
dlist_head *
idem_departure_of_row(Oid root, const Jsonb *row)
{
	uint64		hash = row_hash(root, row);
	DepartureRow *found = rows == NULL ? NULL :
		hash_search(rows, &hash, HASH_FIND, NULL);

	return found == NULL ? NULL : &found->departures;
}

/* The departures from a place, newest first; NULL if none was noted. */
dlist_head *
idem_departure_from(const IdemPlace *place)
{
	DeparturePlace *found = places == NULL ? NULL :
		hash_search(places, place, HASH_FIND, NULL);

	return found == NULL ? NULL : &found->departures;
}
