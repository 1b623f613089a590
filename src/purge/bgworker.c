/*
 * bgworker.c
 *	  Purging in the background: how launchers come and go, and what they have
 *	  in common with their purgers.
 *	  SQL: idem_worker_start(), idem_worker_stop().
 *
 * With shared_preload_libraries one launcher looks after all databases;
 * without it, idem_worker_start() starts one for the current database.  A
 * launcher is connected to no database: it sends a short-lived purger into one
 * when it is time, so that in between nobody stands in the way of DROP DATABASE
 * and its like.
 *
 * A launcher holds a session lock for as long as it lives.  Who holds it is
 * how others know of the launcher, with or without shared memory of our own.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/locktag.h"
#include "base/rights.h"
#include "purge/bgworker.h"

#define RESTART_SECONDS		5	/* after a launcher has failed */
#define POLL_MS				10	/* between looks at a launcher's lock */

PG_FUNCTION_INFO_V1(idem_worker_start);
PG_FUNCTION_INFO_V1(idem_worker_stop);

/* The lock of a database's launcher, or of the one of all with InvalidOid. */
void
idem_bgworker_launcher_tag(LOCKTAG *tag, Oid database)
{
	IDEM_SET_LOCKTAG(*tag, database, 0, 0, IDEM_LOCK_LAUNCHER);
}

/*
 * The lock that a session that starts or stops a database's launcher holds to the
 * end of its transaction.  While it is taken, CREATE EXTENSION may not have been
 * committed yet.
 */
void
idem_bgworker_start_tag(LOCKTAG *tag, Oid database)
{
	IDEM_SET_LOCKTAG(*tag, database, 0, 0, IDEM_LOCK_START);
}

/* Fills in what launchers and purgers have in common. */
void
idem_bgworker_describe(BackgroundWorker *worker, const char *type,
					   const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "idem", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* on a standby, wait for the promotion */
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
}

static void
describe_launcher(BackgroundWorker *worker, Oid database)
{
	idem_bgworker_describe(worker, "idem launcher", "idem_purge_launcher_main");
	worker->bgw_restart_time = RESTART_SECONDS;
	worker->bgw_main_arg = ObjectIdGetDatum(database);
	if (OidIsValid(database))
		snprintf(worker->bgw_name, BGW_MAXLEN,
				 "idem launcher for database %u", database);
}

/*
 * Registers the launcher of all databases, if the library is being preloaded.
 * Nothing may be written while pg_upgrade has the server.
 */
void
idem_bgworker_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	describe_launcher(&worker, InvalidOid);
	RegisterBackgroundWorker(&worker);
}

/* Sleeps until something happens or the time is over (never, if negative). */
static void
sleep_as(uint32 wait_event, long timeout_ms)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
					 (timeout_ms >= 0 ? WL_TIMEOUT : 0),
					 timeout_ms, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* In a launcher: sleeps so long at most, then does what signals ask for. */
void
idem_bgworker_wait(long timeout_ms)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = IDEM_WAIT_EVENT("IdemWorker");
	sleep_as(wait_event, timeout_ms);
}

/* The same in a purger, between two batches. */
void
idem_bgworker_pause(long timeout_ms)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = IDEM_WAIT_EVENT("IdemPurgeDelay");
	sleep_as(wait_event, timeout_ms);
}

/*
 * Does nobody hold, or wait for, a lock on the database that keeps newcomers
 * out?  Those who drop, rename, move or copy a database take that lock first,
 * then give the others in it a few seconds to leave.
 */
bool
idem_bgworker_database_is_free(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	if (LockAcquire(&tag, RowExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(&tag, RowExclusiveLock, true);
	return true;
}

/* Process ID of the launcher of a database, or of all; zero if there is none. */
int
idem_bgworker_launcher_pid(Oid database)
{
	LockData   *locks = GetLockStatusData();
	LOCKTAG		tag;
	int			pid = 0;

	idem_bgworker_launcher_tag(&tag, database);
	for (int i = 0; i < locks->nelements && pid == 0; i++)
	{
		LockInstanceData *lock = &locks->locks[i];

		if (lock->holdMask != 0 &&
			memcmp(&lock->locktag, &tag, sizeof(LOCKTAG)) == 0)
			pid = lock->pid;
	}
	if (locks->locks)
		pfree(locks->locks);
	pfree(locks);
	return pid;
}

/* Keeps others from starting or stopping a launcher of this database. */
static void
lock_start(void)
{
	LOCKTAG		tag;

	idem_bgworker_start_tag(&tag, MyDatabaseId);
	(void) idem_locktag_acquire(&tag, ExclusiveLock, true);
}

/* In the caller's session: a short sleep that can be interrupted. */
static void
poll_wait(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 POLL_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

pg_noreturn static void
error_not_started(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start the idem worker"),
			 errdetail("The server could not run another background worker."),
			 errhint("Consider increasing \"max_worker_processes\"; the server's log may tell more.")));
}

/*
 * idem_worker_start() -> boolean
 *
 * Starts a launcher for the current database.  False: one is at work already,
 * for this database or for all.  It is there when the call returns, even if
 * the transaction rolls back; it begins when the transaction has ended.
 *
 * Raises 42501 unless the caller may purge, 25006 on a standby, 53000 when the
 * server has no place for it.
 */
Datum
idem_worker_start(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	idem_rights_purge(fcinfo, "idem_worker_start");
	PreventCommandDuringRecovery("idem_worker_start()");
	lock_start();
	if (idem_bgworker_launcher_pid(InvalidOid) != 0 || idem_bgworker_launcher_pid(MyDatabaseId) != 0)
		PG_RETURN_BOOL(false);

	describe_launcher(&worker, MyDatabaseId);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		error_not_started();
	while (idem_bgworker_launcher_pid(MyDatabaseId) == 0)
	{
		if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
		{
			TerminateBackgroundWorker(handle);	/* no second try */
			error_not_started();
		}
		poll_wait();
	}
	PG_RETURN_BOOL(true);
}

/*
 * idem_worker_stop() -> boolean
 *
 * Ends the launcher that idem_worker_start() started in this database, and
 * its purger.  False: there is none.  It has ended when the call returns.  Raises
 * 42501 unless the caller may purge.
 */
Datum
idem_worker_stop(PG_FUNCTION_ARGS)
{
	int			pid;
	int			stopped = 0;

	idem_rights_purge(fcinfo, "idem_worker_stop");
	lock_start();
	while ((pid = idem_bgworker_launcher_pid(MyDatabaseId)) != 0)
	{
		if (pid != stopped && kill(pid, SIGTERM) == 0)
			stopped = pid;
		poll_wait();
	}
	PG_RETURN_BOOL(stopped != 0);
}
