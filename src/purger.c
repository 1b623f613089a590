/*
 * purger.c
 *	  The process that purges one database and goes away again.
 *
 * A purger works through what has expired, each batch in a transaction of its
 * own, with a pause between in which it holds neither a transaction nor a lock
 * that could matter to anyone.  It leaves when nothing is left, when its time
 * is up or the pause is long, so that other databases get their turn, and as
 * soon as somebody wants the database for himself.  An error ends it, to be
 * tried again later.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "lock.h"
#include "purge.h"
#include "settings.h"
#include "worker.h"

#define TURN_MS			(10 * 1000) /* the longest visit to a database */
#define PAUSE_MS		1000	/* the longest pause to be spent in it */
#define ATTENTION_MS	100		/* the longest sleep between looks around */

/*
 * Frees the process from settings that the configuration file or ALTER
 * DATABASE may make for sessions of another kind.  What a crash may undo is
 * only a deletion, so commits need not wait for the disk.
 */
static void
override_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", ""},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		IDEM_TRANSACTION_TIMEOUT
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"synchronous_commit", "off"},
		{"jit", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET,
						PGC_S_OVERRIDE);
}

/* Makes this the only purger of the database, if it is. */
static bool
lock_purge(void)
{
	LOCKTAG		tag;

	IDEM_SET_LOCKTAG(tag, MyDatabaseId, 0, 0, IDEM_LOCK_PURGE);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* One batch of a pass, in a transaction of its own. */
static IdemVisit
run_batch(IdemPurge *purge)
{
	IdemVisit	visit;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	debug_query_string = "purging what has expired";
	pgstat_report_activity(STATE_RUNNING, debug_query_string);

	if (!idem_catalog_installed())
		visit = IDEM_VISIT_NOT_INSTALLED;
	else if (idem_purge_batch(purge, idem_purge_batch_size))
		visit = IDEM_VISIT_UNFINISHED;
	else
		visit = IDEM_VISIT_FINISHED;

	PopActiveSnapshot();
	CommitTransactionCommand();
	debug_query_string = NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return visit;
}

/*
 * Waits for idem.purge_delay, or less if there is reason to leave.  Always
 * lets signals in.
 */
static void
pause_between_batches(void)
{
	TimestampTz start = GetCurrentTimestamp();

	for (;;)
	{
		long		left_ms;

		left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												  TimestampTzPlusMilliseconds(start,
																			  idem_purge_delay_ms));
		idem_worker_wait(Min(left_ms, ATTENTION_MS));
		if (left_ms <= ATTENTION_MS || !idem_worker_enabled ||
			!idem_worker_is_welcome(MyDatabaseId))
			return;
	}
}

static IdemVisit
purge_database(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MS);
	IdemPurge	purge;
	IdemVisit	visit = IDEM_VISIT_UNFINISHED;

	idem_purge_begin(&purge);
	while (idem_worker_enabled && GetCurrentTimestamp() < end)
	{
		if (!idem_worker_is_welcome(MyDatabaseId))
			return IDEM_VISIT_UNWELCOME;
		visit = run_batch(&purge);
		if (visit != IDEM_VISIT_UNFINISHED || idem_purge_delay_ms > PAUSE_MS)
			break;
		pause_between_batches();
	}
	return visit;
}

/* Entry point of the process. */
void
idem_purger_main(Datum arg)
{
	IdemErrand	errand;
	dsm_segment *segment;
	IdemVisit  *visit;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	memcpy(&errand, MyBgworkerEntry->bgw_extra, sizeof(errand));
	segment = dsm_attach(errand.visit);
	if (segment == NULL)
		proc_exit(0);			/* the launcher is gone */
	visit = dsm_segment_address(segment);

	BackgroundWorkerInitializeConnectionByOid(errand.database, InvalidOid, 0);
	override_settings();
	*visit = lock_purge() ? purge_database() : IDEM_VISIT_FINISHED;
	proc_exit(0);
}
