/*
 * row_delete.c
 *	  Deleting rows of idem's own tables by their places, without waiting.
 *
 * A statement that waits for nobody would have to lock the rows first, which costs
 * as much again, in time and in WAL.  So a row is deleted without one.  Only where
 * code is attached to the table are the rows locked, and left to a statement of the
 * caller's.
 *
 * A row is known by its place.  That is safe since the table is locked from before
 * it is read to the end of the transaction, which keeps VACUUM FULL and CLUSTER out,
 * and the row's version is visible to a snapshot of ours, which keeps vacuum from
 * giving its place to another.  A version that is not the latest any more is left
 * alone, whatever the isolation level.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "run/row_delete.h"
#include "run/simple_dml.h"
#include "run/usercontext.h"

#define CHUNK			1000	/* rows that are left to a statement at a time */

static void
begin(IdemRowDelete *rows, Relation rel, Snapshot snapshot,
	  IdemRowDeleteLocked statement, void *state)
{
	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	Assert(statement != NULL);
	rows->rel = rel;
	rows->snapshot = snapshot;
	rows->statement = statement;
	rows->state = state;
	rows->locked = NULL;
	rows->nlocked = 0;
}

/*
 * Begins to delete rows of a table, which is locked, that are visible to a snapshot.
 * Where code is attached to the table, the statement is called with rows that are
 * locked.
 */
void
idem_row_delete_begin(IdemRowDelete *rows, Relation rel, Snapshot snapshot,
					  IdemRowDeleteLocked statement, void *state)
{
	begin(rows, rel, snapshot, statement, state);
	if (idem_simple_dml_is_plain(rel))
		CheckCmdReplicaIdentity(rel, CMD_DELETE);
	else
		rows->locked = palloc(sizeof(ItemPointerData) * CHUNK);
}

/*
 * The same for rows that are left to the statement in any case, which may do something
 * else with them.
 */
void
idem_row_delete_begin_statement(IdemRowDelete *rows, Relation rel,
								Snapshot snapshot,
								IdemRowDeleteLocked statement, void *state)
{
	begin(rows, rel, snapshot, statement, state);
	rows->locked = palloc(sizeof(ItemPointerData) * CHUNK);
}

/* Locks a row unless others have locked it, or changed it meanwhile. */
static bool
lock_row(const IdemRowDelete *rows, ItemPointer tid)
{
	TupleTableSlot *slot = table_slot_create(rows->rel, NULL);
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(rows->rel, tid, rows->snapshot, slot,
							  GetCurrentCommandId(true), LockTupleExclusive,
							  LockWaitSkip, 0, &failure);
	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

/* Deletes a row unless others have locked it, or changed it meanwhile. */
static bool
delete_row(const IdemRowDelete *rows, ItemPointer tid)
{
	CommandId	command = GetCurrentCommandId(true);
	TM_FailureData failure;
	TM_Result	result;

	result = IDEM_TUPLE_DELETE(rows->rel, tid, command, rows->snapshot, false,
							   &failure);
	/* perhaps it is we alone who have locked it */
	if (result == TM_BeingModified && lock_row(rows, tid))
		result = IDEM_TUPLE_DELETE(rows->rel, tid, command, rows->snapshot, true,
								   &failure);
	return result == TM_Ok;
}

/* Has the statement delete what is locked. */
static void
delete_locked(IdemRowDelete *rows)
{
	if (rows->nlocked > 0)
		rows->statement(rows->state, rows->locked, rows->nlocked);
	rows->nlocked = 0;
}

/*
 * Deletes a row, now or by the end.  False if others have locked it, or changed it
 * meanwhile: it is left alone.
 */
bool
idem_row_delete(IdemRowDelete *rows, ItemPointer tid)
{
	if (rows->locked == NULL)
		return delete_row(rows, tid);
	if (!lock_row(rows, tid))
		return false;
	rows->locked[rows->nlocked++] = *tid;
	if (rows->nlocked == CHUNK)
		delete_locked(rows);
	return true;
}

/* Has all that was deleted so far gone now, where it was to go by the end. */
void
idem_row_delete_flush(IdemRowDelete *rows)
{
	if (rows->locked != NULL)
		delete_locked(rows);
}

/* Ends deleting. */
void
idem_row_delete_end(IdemRowDelete *rows)
{
	if (rows->locked == NULL)
		return;
	delete_locked(rows);
	pfree(rows->locked);
}

/*
 * Runs a statement of idem's own on the rows at the places $1, an array; args has its
 * other arguments.  Returns how many rows it has processed.  The planner would rather
 * read the whole of a small table, which locks it for serializable conflict detection.
 */
uint64
idem_row_delete_run(IdemStatement *statement, Datum *args, ItemPointer tids,
					int n)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_tidscan", "on"},
	};
	Datum	   *places = palloc(sizeof(Datum) * n);
	ArrayType  *array;
	uint64		processed;
	int			nestlevel;

	for (int i = 0; i < n; i++)
		places[i] = PointerGetDatum(&tids[i]);
	array = construct_array(places, n, TIDOID, sizeof(ItemPointerData), false,
							TYPALIGN_SHORT);
	args[0] = PointerGetDatum(array);
	nestlevel = idem_usercontext_set(settings, lengthof(settings));
	processed = idem_spi_own(statement, args, NULL, 0, NULL, NULL);
	idem_usercontext_reset(nestlevel);
	pfree(array);
	pfree(places);
	return processed;
}
