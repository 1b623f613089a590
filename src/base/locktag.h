/*
 * locktag.h
 *	  The classes of heavyweight locks that idem takes.
 *
 * They share the advisory method with pg_advisory_lock(), whose tags carry 1
 * or 2 in the last field; with numbers of its own there idem can neither meet
 * a lock of the user's nor be blocked by one.  pg_locks shows the number as
 * objsubid.
 */
#ifndef IDEM_LOCKTAG_H
#define IDEM_LOCKTAG_H

#include "storage/lock.h"
#include "utils/resowner.h"

#define IDEM_LOCK_KEY		7401	/* a key at work: two halves of its hash */
#define IDEM_LOCK_PURGE		7402	/* purging of a database */
#define IDEM_LOCK_LAUNCHER	7403	/* a launcher: of a database, or of all
									 * (0) */
#define IDEM_LOCK_START		7404	/* starting or stopping a launcher */
#define IDEM_LOCK_MACHINE	7405	/* a machine: two halves of its name's
									 * hash */
#define IDEM_LOCK_MESSAGE	7406	/* a message at work while an index is
									 * built: two halves of its hash */
#define IDEM_LOCK_OUTBOX	7410	/* an era of the outbox that begins: 0 */

#define IDEM_SET_LOCKTAG(tag, dbid, high, low, class) \
	SET_LOCKTAG_ADVISORY(tag, dbid, high, low, class)

/*
 * Takes a lock for the (sub)transaction, as the rows that are written have it, until it
 * is released or that ends.  A function that a cursor calls runs for the cursor: that
 * would own the lock, and lose it where another FETCH fails in a savepoint.  Should
 * waiting raise, ending the (sub)transaction sets the owner anew.
 */
static inline LockAcquireResult
idem_locktag_acquire(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	ResourceOwner former = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, mode, false, !wait);
	CurrentResourceOwner = former;
	return result;
}

/* Gives it back before. */
static inline void
idem_locktag_release(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner former = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(tag, mode, false);
	CurrentResourceOwner = former;
}

#endif							/* IDEM_LOCKTAG_H */
