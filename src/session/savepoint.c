/*
 * savepoint.c
 *	  The savepoints of a transaction that has a key.
 *
 * A savepoint that rolls back has its statements stay in the record as undone.  A retry
 * takes the same way, and rolls back, too; what it is answered meanwhile counts for
 * nothing.  But where an error of the moment, such as a deadlock, made it roll back, a
 * retry need not: then nothing of that part is kept.
 *
 * The lock of the key belongs to the subtransaction in which it was taken; if that rolls
 * back, the key is claimed anew by what comes next.  The transaction keeps its key even
 * if it rolls back to a savepoint of before: else what it writes from then on would be
 * done twice.
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/error.h"
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
 * A savepoint is released: what was done in it counts as done around it.  In a recording
 * that is at the end of the list; a program may have one savepoint for each statement.
 */
static void
release(int level)
{
	for (int i = list_length(idem_session.entries) - 1; i >= 0; i--)
	{
		IdemEntry  *entry = list_nth(idem_session.entries, i);

		if (entry->level == level)
			entry->level--;
		else if (idem_session.mode != IDEM_SESSION_REPLAYS)
			break;
	}
	if (idem_session.lock_level == level)
		idem_session.lock_level--;
}

/* A savepoint rolls back, of a transaction that is recorded. */
static void
undo_recorded(int level)
{
	ListCell   *lc;

	foreach(lc, idem_session.entries)
	{
		IdemEntry  *entry = lfirst(lc);

		if (entry->level < level)
			continue;
		if (idem_session.moment)
			idem_session.entries = foreach_delete_current(idem_session.entries, lc);
		else
		{
			entry->undone = true;
			/* it is part of what is around the savepoint from now on */
			entry->level = level - 1;
		}
	}
}

/* A savepoint rolls back, of a replay: what is to be sent again may be. */
static void
undo_replayed(int level)
{
	ListCell   *lc;

	foreach(lc, idem_session.entries)
	{
		IdemEntry  *entry = lfirst(lc);

		if (entry->level < level)
			continue;
		entry->spent = entry->undone;
		entry->level = 0;
	}
	idem_session.sent = 0;
}

static void
rollback(int level)
{
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		undo_replayed(level);
	else
		undo_recorded(level);
	/* the lock goes with the savepoint, and all that was done under it */
	if (idem_session.mode == IDEM_SESSION_RECORDS && idem_session.lock_level >= level)
		idem_session.mode = IDEM_SESSION_OFF;
}

static void
ends(SubXactEvent event, SubTransactionId subxact,
	 SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (!idem_session.named)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		release(level);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		rollback(level);
	else if (event == SUBXACT_EVENT_START_SUB)
	{
		/*
		 * all that a ROLLBACK TO ends has ended, and the savepoint begins
		 * anew
		 */
		idem_session.moment = false;
	}
}

/* Listens for the ends of savepoints.  To be called once, from _PG_init. */
void
idem_savepoint_init(void)
{
	RegisterSubXactCallback(ends, NULL);
}
