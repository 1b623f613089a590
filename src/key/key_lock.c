/*
 * key_lock.c
 *	  The lock of a key, and waiting for other sessions that use the key.
 *
 * The lock is a heavyweight one, by a hash of scope and key, so that it belongs to
 * the transaction, shows in pg_locks and takes part in deadlock detection.  It is
 * given back as soon as the key's row is written or is left alone; from then on the
 * row stands in the way of other sessions by itself.
 *
 * A row in a store may be on another node, where no session sees it before it is
 * committed.  So there the lock is taken in one mode while a call is at work, and, once
 * it has written, in another as well, until the end of its (sub)transaction.
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/locktag.h"
#include "base/settings.h"
#include "key/key_lock.h"
#include "stats/stats_counter.h"

/* What names a key in the lock table. */
uint64
idem_key_lock_hash(text *scope, text *key)
{
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(scope),
										   VARSIZE_ANY_EXHDR(scope), 0);

	return hash_bytes_extended((unsigned char *) VARDATA_ANY(key),
							   VARSIZE_ANY_EXHDR(key), hash);
}

/* The mode in which a call has the lock while it is at work. */
static LOCKMODE
mode(const IdemKey *key)
{
	return key->store != NULL ? AccessExclusiveLock : ExclusiveLock;
}

/* The mode in which it has the lock of what it has written to a store. */
#define KEPT_MODE	ExclusiveLock

static void
set_locktag(LOCKTAG *tag, const IdemKey *key)
{
	IDEM_SET_LOCKTAG(*tag, MyDatabaseId, (uint32) (key->hash >> 32),
					 (uint32) key->hash, IDEM_LOCK_KEY);
}

/*
 * Takes the lock of a key; false if another session has it and the caller would
 * have to wait, but does not want to.  Raises 55006 where this session has it.
 *
 * Locks are given back as soon as a key's row is written, so one that is held
 * already belongs to a call that the caller runs inside of.
 */
static bool
take(const IdemKey *key, bool wait)
{
	LOCKTAG		tag;

	set_locktag(&tag, key);
	switch (idem_locktag_acquire(&tag, mode(key), wait))
	{
		case LOCKACQUIRE_OK:
			return true;
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("key \"%s\" is in use by a call that is still running in this session",
							key->name),
					 errhint("A trigger or function that runs under a key needs a key of its own.")));
	}
	return false;				/* keep compiler quiet */
}

/*
 * Takes the lock of a key without waiting; false if another session has it.  Raises
 * 55006 where a call has it that the caller runs inside of.
 */
bool
idem_key_lock_take(const IdemKey *key)
{
	/*
	 * who keeps the lock need not wait for it, but only if it asks as one
	 * that would: others may stand in line
	 */
	return take(key, key->store != NULL && idem_key_lock_is_kept(key));
}

/* Gives back a key's lock, once the key's row is written or is left alone. */
void
idem_key_lock_release(const IdemKey *key)
{
	LOCKTAG		tag;

	Assert(idem_key_lock_is_held(key));
	set_locktag(&tag, key);
	idem_locktag_release(&tag, mode(key));
}

/* Does this session hold the lock of a key? */
bool
idem_key_lock_is_held(const IdemKey *key)
{
	LOCKTAG		tag;

	set_locktag(&tag, key);
	return IDEM_LOCK_HELD(&tag, mode(key));
}

/*
 * Keeps the lock of a key in a store, which the caller has, to the end of the
 * transaction.
 */
void
idem_key_lock_keep(const IdemKey *key)
{
	LOCKTAG		tag;

	Assert(key->store != NULL);
	set_locktag(&tag, key);
	(void) idem_locktag_acquire(&tag, KEPT_MODE, true);
}

/* Does this transaction keep it, having written the key? */
bool
idem_key_lock_is_kept(const IdemKey *key)
{
	LOCKTAG		tag;

	set_locktag(&tag, key);
	return IDEM_LOCK_HELD(&tag, KEPT_MODE);
}

/*
 * Does any session hold the lock of a key, be it this one?  The lock need not be
 * taken to know, so that no session that wants it can meet this one there.
 */
bool
idem_key_lock_is_taken(const IdemKey *key)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	bool		taken;

	set_locktag(&tag, key);
	holders = GetLockConflicts(&tag, mode(key), NULL);
	taken = VirtualTransactionIdIsValid(holders[0]) ||
		IDEM_LOCK_HELD(&tag, mode(key));
	pfree(holders);
	return taken;
}

/*
 * The process that has the lock of a key; 0 if none has, or none that runs: a prepared
 * transaction has the number of the one that was prepared, whose session goes on.
 */
static int
lock_holder(const IdemKey *key)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	PGPROC	   *process;

	set_locktag(&tag, key);
	holders = GetLockConflicts(&tag, mode(key), NULL);
	process = VirtualTransactionIdIsValid(holders[0]) ?
		IDEM_VXID_PROCESS(holders[0]) : NULL;
	return process == NULL || !IDEM_RUNS_VXID(process, holders[0]) ? 0 :
		process->pid;
}

/* The process that writes a busy row; 0 if there is none: it is prepared, or over. */
static int
row_writer(const IdemKeyRow *row)
{
	return BackendXidGetPid(SubTransGetTopmostTransaction(row->writer));
}

/* Waits for the end of the transaction that writes a busy row. */
static void
wait_for_writer(const IdemKeyRow *row)
{
	Assert(TransactionIdIsValid(row->writer));
	if (row->speculative_token != 0)
		SpeculativeInsertionWait(row->writer, row->speculative_token);
	else
		XactLockTableWait(row->writer, NULL, NULL, XLTW_None);
}

/*
 * How long the next wait for another call may take: what is left of
 * idem.wait_timeout, or lock_timeout if that is less.  Milliseconds; 0: forever.
 */
static int
patience(IdemKey *key)
{
	TimestampTz now;
	long		left;

	if (idem_wait_timeout_ms == 0)
		return LockTimeout;
	now = GetCurrentTimestamp();
	if (key->wait_until == 0)
		key->wait_until = TimestampTzPlusMilliseconds(now, idem_wait_timeout_ms);
	left = Max(TimestampDifferenceMilliseconds(now, key->wait_until), 1);
	return LockTimeout > 0 ? Min(left, LockTimeout) : left;
}

/*
 * Throws on the error that ended a wait.  If it was about time, or was asked for,
 * its detail names the process that was waited for, unless that has just ended (0).
 */
pg_noreturn static void
rethrow_waited(const IdemKey *key, int pid, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (pid != 0 && error->detail == NULL &&
		(error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		 error->sqlerrcode == ERRCODE_QUERY_CANCELED))
		error->detail = psprintf(_("Process %d is at work under the key \"%s\"."),
								 pid, key->name);
	ReThrowError(error);
}

/*
 * Waits for another session that uses a key: for the end of the transaction that
 * writes its row, or, without a row, for the lock of the key, which is held on
 * return.  Raises 55P03 when the wait takes too long.
 */
void
idem_key_lock_wait(IdemKey *key, const IdemKeyRow *row)
{
	MemoryContext context = CurrentMemoryContext;
	int			timeout = LockTimeout;

	/* a session that waits for this one may be the one that is waited for */
	Assert(!idem_key_lock_is_held(key));
	/* one call may wait for several sessions, one after the other */
	if (!key->waited)
		idem_stats_counter_hit(IDEM_COUNT_KEY_WAITED);
	key->waited = true;
	LockTimeout = patience(key);
	PG_TRY();
	{
		if (row != NULL)
			wait_for_writer(row);
		else
			(void) take(key, true);
	}
	PG_CATCH();
	{
		LockTimeout = timeout;
		rethrow_waited(key, row != NULL ? row_writer(row) : lock_holder(key),
					   context);
	}
	PG_END_TRY();
	LockTimeout = timeout;
}
