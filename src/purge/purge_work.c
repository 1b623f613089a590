/*
 * purge_work.c
 *	  A piece of a purger's work: a transaction that comes to an end in time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "purge/purge_work.h"

#define GRACE_MS		(2 * 1000)	/* to end one that is cancelled */
#define TICK_MS			500

static int	longest_ms;			/* that it may take before it is cancelled */
static TimeoutId watch;			/* over it */
static int	ticks_left;			/* of it */
static int	ticks_to_leave;		/* once the process is asked to */

/*
 * Code on the tables may handle the error that cancels it, and go on.  So the
 * process is ended that does not leave a batch in time, or not when told to: no
 * database is to have the launcher, or the server's shutdown, wait for it.
 */
static void
tick(void)
{
	ticks_left--;
	if (ShutdownRequestPending)
		ticks_to_leave--;
	if (ticks_left > 0 && ticks_to_leave > 0)
		return;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

static void
begin_watch(void)
{
	ticks_left = (longest_ms + GRACE_MS) / TICK_MS;
	ticks_to_leave = GRACE_MS / TICK_MS;
	enable_timeout_every(watch,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 TICK_MS), TICK_MS);
}

/* Begins a transaction, in which so much is done as what says. */
void
idem_purge_work_begin(const char *what)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	debug_query_string = what;
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	enable_timeout_after(STATEMENT_TIMEOUT, longest_ms);
	begin_watch();
}

/* Commits it. */
void
idem_purge_work_end(void)
{
	disable_timeout(watch, false);
	disable_timeout(STATEMENT_TIMEOUT, false);
	PopActiveSnapshot();
	CommitTransactionCommand();
	debug_query_string = NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Reports the error that it has ended with, and rolls it back. */
void
idem_purge_work_fail(void)
{
	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	EmitErrorReport();
	/* which may have begun subtransactions */
	AbortOutOfAnyTransaction();
	FlushErrorState();
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

/* To be called once, before there is any. */
void
idem_purge_work_init(int most_ms)
{
	longest_ms = most_ms;
	watch = RegisterTimeout(USER_TIMEOUT, tick);
}
