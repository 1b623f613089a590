/*
 * savepoint.c
 *	  The savepoints of a transaction that has a key.
 *
 * A savepoint that rolls back has its statements stay in the record as undone.  A retry
 * takes the same way, and rolls back, too; what it is answered meanwhile counts for
 * nothing.  But where an error of the moment, such as a deadlock, made it roll back, a
 * retry need not: then nothing of that part is kept.
 *
 * Savepoints are nested in time: what has been sent since one began is the end of a list.
 * So where one ends the rest of the list is looked at, and no more; a program may have a
 * savepoint for each statement.
 *
 * The lock of the key belongs to the subtransaction in which it was taken; if that rolls
 * back, the key is claimed anew by what comes next.  The transaction keeps its key even
 * if it rolls back to a savepoint of before: else what it writes from then on would be
 * done twice.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"

#include "base/error.h"
#include "session/entry.h"
#include "session/savepoint.h"
#include "session/session.h"

/* Something of the client's has raised an error, which is being handled. */
void
idem_savepoint_note_error(void)
{
	if (idem_error_is_circumstance(geterrcode()))
		idem_session.moment = true;
}

/*
 * Is a savepoint rolled back by an error that the server's main loop is handling, and not
 * by a command or a function that has caught one?  Such an error may be none of a
 * statement that runs: a statement waits for the locks of its tables as it is parsed.
 *
 * A function that is called without a portal, by the fastpath protocol or as a deferred
 * trigger of a commit, may roll back a savepoint of its own, and has no error left then
 * to be asked about.  The main loop holds off interrupts while it has one, and ending a
 * savepoint holds them off once more.
 */
static bool
is_in_main_loop(void)
{
	return error_context_stack == NULL && ActivePortal == NULL &&
		InterruptHoldoffCount > 1 &&
		idem_session.depth == 0 && !proc_exit_inprogress &&
		TransactionBlockStatusCode() == 'T';
}

/* What the transaction had sent when a savepoint began. */
typedef struct IdemSavepoint
{
	int			live;			/* elements of idem_session.live */
	int			entries;		/* elements of idem_session.entries */
} IdemSavepoint;

/* A savepoint begins. */
static void
begin(int level)
{
	int			size = idem_session.savepoints_size;

	if (level >= size)
	{
		int			wanted = Max(2 * level, 16);
		IdemSavepoint *savepoints = MemoryContextAllocZero(idem_session.memory,
														   wanted * sizeof(IdemSavepoint));

		if (size > 0)
		{
			memcpy(savepoints, idem_session.savepoints, size * sizeof(IdemSavepoint));
			pfree(idem_session.savepoints);
		}
		idem_session.savepoints = savepoints;
		idem_session.savepoints_size = wanted;
	}
	idem_session.savepoints[level].live = list_length(idem_session.live);
	idem_session.savepoints[level].entries = list_length(idem_session.entries);

	/* all that a ROLLBACK TO ends has ended, and the savepoint begins anew */
	idem_session.moment = false;
}

/* The savepoint of a level; one that is older than the key began before all. */
static IdemSavepoint
savepoint(int level)
{
	static const IdemSavepoint oldest = {0};

	return level < idem_session.savepoints_size ?
		idem_session.savepoints[level] : oldest;
}

/* A statement is sent. */
void
idem_savepoint_sent(IdemEntry *entry)
{
	MemoryContext caller = MemoryContextSwitchTo(idem_session.memory);

	entry->place = list_length(idem_session.live);
	idem_session.live = lappend(idem_session.live, entry);
	MemoryContextSwitchTo(caller);
}

/* Was a statement sent before the savepoint of a level began? */
bool
idem_savepoint_is_older(const IdemEntry *entry, int level)
{
	return entry->place < savepoint(level).live;
}

/* Leaves the first elements of a list. */
static List *
leave(List *list, int count)
{
	if (count > 0)
		return list_truncate(list, count);
	list_free(list);
	return NIL;
}

/* A savepoint is released: what was done in it counts as done around it. */
static void
release(int level)
{
	if (idem_session.lock_level == level)
		idem_session.lock_level--;
}

/* Keeps nothing of what has been sent since, nor counts it as kept. */
static void
drop_recorded(const IdemSavepoint *since)
{
	for (int i = since->entries; i < list_length(idem_session.entries); i++)
		idem_entry_forget_rows(list_nth(idem_session.entries, i));
	idem_session.entries = leave(idem_session.entries, since->entries);
}

/* A savepoint rolls back, of a transaction that is recorded. */
static void
undo_recorded(const IdemSavepoint *since)
{
	if (idem_session.moment)
		drop_recorded(since);
	else
		for (int i = since->live; i < list_length(idem_session.live); i++)
			((IdemEntry *) list_nth(idem_session.live, i))->undone = true;
}

/* A savepoint rolls back, of a replay: what is to be sent again may be. */
static void
undo_replayed(const IdemSavepoint *since)
{
	for (int i = since->live; i < list_length(idem_session.live); i++)
	{
		IdemEntry  *entry = list_nth(idem_session.live, i);

		entry->spent = entry->undone;
		entry->sent = false;
		idem_session.sent = Min(idem_session.sent, entry->index);
	}
}

static void
rollback(int level)
{
	IdemSavepoint since = savepoint(level);

	if (is_in_main_loop())
		idem_savepoint_note_error();
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		undo_replayed(&since);
	else
		undo_recorded(&since);
	idem_session.live = leave(idem_session.live, since.live);
	/* the lock goes with the savepoint, and all that was done under it */
	if (idem_session.mode == IDEM_SESSION_RECORDS && idem_session.lock_level >= level)
		idem_session.mode = IDEM_SESSION_OFF;
}

static void
subtransaction(SubXactEvent event, SubTransactionId subxact,
			   SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (!idem_session.named)
		return;
	if (event == SUBXACT_EVENT_START_SUB)
		begin(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		release(level);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		rollback(level);
}

/* Listens for savepoints.  To be called once, from _PG_init. */
void
idem_savepoint_init(void)
{
	RegisterSubXactCallback(subtransaction, NULL);
}
