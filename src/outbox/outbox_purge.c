/*
 * outbox_purge.c
 *	  Deleting the messages that all consumers have read.
 *
 * The consumers of a topic are those that have a position there, and what none of
 * them has to read any more goes.  Where nobody has, all of it stays.  Positions
 * count as they are committed, and never go back.
 *
 * What is said of vacuum and of old snapshots in purge/purge_delete.c holds here, too,
 * but a topic is walked from its start each time.  While an old snapshot keeps what
 * was deleted, deleting more would free nothing: then the rest may wait.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "outbox/outbox_place.h"
#include "outbox/outbox_purge.h"
#include "run/row_delete.h"
#include "run/usercontext.h"

#define ROWS_A_LOOK		1000	/* rows read between two calls of go_on */

/* A topic, and where its consumers are. */
typedef struct Topic
{
	text	   *name;
	IdemOutboxPlace lowest;		/* all of them have read up to there */
} Topic;

static Topic *
find_topic(List *topics, text *name)
{
	ListCell   *lc;

	foreach(lc, topics)
	{
		Topic	   *topic = lfirst(lc);

		if (VARSIZE_ANY_EXHDR(topic->name) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(VARDATA_ANY(topic->name), VARDATA_ANY(name),
				   VARSIZE_ANY_EXHDR(name)) == 0)
			return topic;
	}
	return NULL;
}

/* Takes into account where a consumer is. */
static List *
add_position(List *topics, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	text	   *name = DatumGetTextPP(heap_getattr(row, IDEM_POSITION_TOPIC, desc,
												   &isnull));
	Topic	   *topic = find_topic(topics, name);
	IdemOutboxPlace place;

	idem_outbox_place_of(&place, row, desc);
	if (topic == NULL)
	{
		topic = palloc(sizeof(Topic));
		topic->name = DatumGetTextPCopy(PointerGetDatum(name));
		topic->lowest = place;
		return lappend(topics, topic);
	}
	if (idem_outbox_place_compare(&place, &topic->lowest) < 0)
		topic->lowest = place;
	return topics;
}

/* The topics that have consumers, as is committed now. */
static List *
find_topics(void)
{
	Relation	rel = table_open(idem_catalog()->outbox_position_table,
								 AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	HeapTuple	row;
	List	   *topics = NIL;

	(void) idem_catalog_key_of(rel);	/* raises, if it was altered */
	/* as in run/committed_row.c, no part in serializable conflict detection */
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (table_tuple_satisfies_snapshot(rel, scan->slot, latest))
			topics = add_position(topics, row, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return topics;
}

/* Is it time to stop after looking at that many rows? */
static bool
is_enough(const IdemOutboxPurge *purge, int64 looked)
{
	return purge->deleted >= purge->limit || looked > purge->looks ||
		(looked % ROWS_A_LOOK == 0 && purge->go_on != NULL && !purge->go_on());
}

/* Deletes messages of a topic; false if some are left that might go. */
static bool
purge_topic(IdemOutboxPurge *purge, const Topic *topic, Relation rel,
			Snapshot snapshot, IdemRowDelete *deletion, int64 *looked)
{
	SnapshotData not_vacuumable;
	IdemOutboxPlace start = {0};
	IdemOutboxScan scan;
	bool		finished = true;
	HeapTuple	row;

	/* sees what somebody may see, and clears the rest out of the index */
	InitNonVacuumableSnapshot(not_vacuumable, GlobalVisTestFor(rel));
	idem_outbox_place_begin_scan(&scan, rel, topic->name, &start, &not_vacuumable);
	while ((row = idem_outbox_place_next(&scan)) != NULL)
	{
		IdemOutboxPlace place;

		idem_outbox_place_of(&place, row, RelationGetDescr(rel));
		if (idem_outbox_place_compare(&place, &topic->lowest) > 0)
			break;
		if (is_enough(purge, ++(*looked)))
		{
			finished = false;
			break;
		}
		if (idem_outbox_place_is_seen(&scan, snapshot))
			purge->deleted += idem_row_delete(deletion, &row->t_self);
	}
	idem_outbox_place_end_scan(&scan);
	return finished;
}

/*
 * Deletes messages that all consumers of their topics have read, and tells how many.
 * The table, idem_outbox, is locked.  Waits for no row.
 */
void
idem_outbox_purge(Relation rel, IdemOutboxPurge *purge)
{
	int64		looked = 0;
	Snapshot	snapshot;
	IdemRowDelete deletion;
	IdemUserContext caller;
	List	   *topics = find_topics();
	ListCell   *lc;

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	purge->deleted = 0;
	purge->finished = true;
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	idem_row_delete_begin(&deletion, rel, snapshot, purge->delete_locked,
						  purge->state);
	foreach(lc, topics)
	{
		if (!purge_topic(purge, lfirst(lc), rel, snapshot, &deletion, &looked))
		{
			purge->finished = false;
			break;
		}
	}
	/* what is left after so many looks is in the way of an old snapshot */
	if (purge->deleted == 0)
		purge->finished = true;
	UnregisterSnapshot(snapshot);
	idem_row_delete_end(&deletion);
	idem_usercontext_leave(&caller);
	/* as after a statement, so that what follows does not see them */
	CommandCounterIncrement();
}
