/*
 * purge_worker.c
 *	  The process that purges one database and goes away again.
 *
 * A purger works through what has expired, each batch in a transaction of its
 * own, with a pause between in which it holds neither a transaction nor a lock
 * that could matter to anyone.  It leaves when nothing is left, when its time
 * is up or the pause is long, so that other databases get their turn, and as
 * soon as another session wants the database alone.  For the others' sake it
 * waits for nobody: a table that others have locked, or that cannot be purged,
 * is reported and passed over.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/locktag.h"
#include "base/settings.h"
#include "purge/bgworker.h"
#include "purge/purge.h"
#include "purge/purge_note.h"
#include "purge/purge_ranges.h"
#include "purge/purge_stores.h"
#include "purge/purge_tables.h"
#include "purge/purge_work.h"
#include "stats/stats_counter.h"
#include "stats/stats_shared.h"

#define TURN_MS			(10 * 1000) /* for the tables, and as long for stores */
#define PAUSE_MS		1000	/* the longest pause to be spent in it */
#define ATTENTION_MS	100		/* the longest sleep between looks around */
#define BATCH_MS		(2 * TURN_MS)	/* the longest batch, with what is
										 * attached to the tables */
#define LOCK_WAIT		"1s"	/* the longest wait for a lock */
#define LOOKS_A_ROW		100		/* rows looked at for each that may be deleted */

static char *database_name;		/* for messages */
static TimestampTz turn_end;	/* of the visit to the database */
static emit_log_hook_type previous_log_hook;

/*
 * Frees the process from settings that the configuration file or ALTER
 * DATABASE may make for sessions of another kind.  What a crash may undo is
 * only a deletion, so commits need not wait for the disk.  To be called before
 * connecting, which may meet locks already.
 */
static void
override_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", ""},
		{"statement_timeout", "0"},
		{"lock_timeout", LOCK_WAIT},
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

/* Is there no reason to leave the database? */
static bool
may_stay(void)
{
	return !ShutdownRequestPending && idem_worker_enabled &&
		GetCurrentTimestamp() < turn_end &&
		idem_bgworker_database_is_free(MyDatabaseId);
}

/* How far one batch goes. */
static IdemPurgeBounds
bounds_of_batch(void)
{
	IdemPurgeBounds bounds = {
		.rows = idem_purge_batch_size,
		.looks = (int64) idem_purge_batch_size * LOOKS_A_ROW,
		.go_on = may_stay,
	};

	return bounds;
}

/* One batch of a pass, in a transaction; whether idem is there. */
static bool
run_batch(IdemPurge *purge)
{
	IdemPurgeBounds bounds = bounds_of_batch();
	bool		installed;

	idem_purge_work_begin("purging what has expired");
	installed = idem_catalog_installed();
	if (installed)
	{
		/* where the batch fails, it is too late to look for the counters */
		(void) idem_stats_shared_stripe();
		idem_purge_batch(purge, &bounds);
	}
	idem_purge_work_end();
	return installed;
}

/*
 * As run_batch(), but where the batch fails, its table is passed over for a
 * while. Where the reason is that we are asked to leave, the one who asked
 * hears of it.
 */
static bool
try_batch(IdemPurge *purge, int *failures)
{
	MemoryContext context = CurrentMemoryContext;
	IdemPurge	next = *purge;
	volatile bool installed = true;

	PG_TRY();
	{
		installed = run_batch(&next);
		*purge = next;
	}
	PG_CATCH();
	{
		if (ShutdownRequestPending)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		errcontext("purge of table \"%s\" of database \"%s\"",
				   idem_purge_tables_name(purge->table), database_name);
		idem_purge_work_fail();
		idem_purge_pass_over(purge);
		(*failures)++;
	}
	PG_END_TRY();
	return installed;
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
		TimestampTz end = TimestampTzPlusMilliseconds(start, idem_purge_delay_ms);
		long		left_ms;

		left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
		idem_bgworker_pause(Min(left_ms, ATTENTION_MS));
		if (left_ms <= ATTENTION_MS || !may_stay())
			return;
	}
}

static void
begin_turn(void)
{
	turn_end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MS);
}

static IdemVisit
run_pass(IdemPurge *purge)
{
	int			failures = 0;

	idem_purge_begin(purge, GetCurrentTimestamp(), TopMemoryContext);
	while (purge->left > 0)
	{
		int			left = purge->left;

		if (!idem_bgworker_database_is_free(MyDatabaseId))
			return IDEM_VISIT_UNWELCOME;
		if (!may_stay())
			return IDEM_VISIT_UNFINISHED;
		if (!try_batch(purge, &failures))
			return IDEM_VISIT_NOT_INSTALLED;
		if (purge->left < left)
			continue;
		if (idem_purge_delay_ms > PAUSE_MS)
			return IDEM_VISIT_UNFINISHED;
		pause_between_batches();
	}
	return failures < IDEM_PURGE_TABLES ? IDEM_VISIT_FINISHED : IDEM_VISIT_FAILED;
}

/* One batch of a pass over the stores, in a transaction; whether that was all. */
static bool
run_stores_batch(IdemPurgeStores *stores)
{
	IdemPurgeBounds bounds = bounds_of_batch();
	bool		finished;

	idem_purge_work_begin("purging what has expired in stores");
	(void) idem_stats_shared_stripe();
	finished = !idem_catalog_installed() || idem_purge_stores(stores, &bounds);
	idem_purge_work_end();
	return finished;
}

/* The same, but a batch that fails has the pass go on without it. */
static bool
try_stores_batch(IdemPurgeStores *stores)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz began = GetCurrentTimestamp();
	IdemPurgeStores next = *stores;
	volatile bool finished = false;

	PG_TRY();
	{
		finished = run_stores_batch(&next);
		*stores = next;
	}
	PG_CATCH();
	{
		if (ShutdownRequestPending ||
			!idem_purge_stores_pass_over(stores, &next, began))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		errcontext("purge of table with OID %u of database \"%s\"", next.reached,
				   database_name);
		idem_purge_work_fail();
		idem_stats_counter_hit(IDEM_COUNT_PURGE_ERRORS);
	}
	PG_END_TRY();
	return finished;
}

/*
 * A pass over the stores of the database, or the rest of the one before.  What a table
 * raises has been dealt with; what is raised before one is reached ends the visit.
 */
static IdemVisit
run_stores_pass(IdemPurge *purge)
{
	IdemPurgeStores *stores = &purge->stores;
	bool		finished = !idem_purge_stores_begin(stores, GetCurrentTimestamp());

	while (!finished && may_stay())
	{
		finished = try_stores_batch(stores);
		if (!finished)
			pause_between_batches();
	}
	return finished ? IDEM_VISIT_FINISHED : IDEM_VISIT_UNFINISHED;
}

/* Logs a pass that has taken long enough, as idem.log_purge_min_duration says. */
static void
log_pass(const IdemPurge *purge, TimestampTz began)
{
	int64		ms = TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());
	int64		purged = purge->purged + purge->stores.purged;

	if (idem_log_purge_min_duration_ms < 0 ||
		ms < idem_log_purge_min_duration_ms ||
		(purged == 0 && idem_log_purge_min_duration_ms == 0))
		return;
	ereport(LOG,
			(errmsg("idem purged %lld rows of database \"%s\" in %lld batches and %lld ms",
					(long long) purged, database_name,
					(long long) purge->batches, (long long) ms),
			 purge->left > 0 ? errdetail("More rows are past their time.") : 0));
}

/*
 * Purges the database.  The stores come last, but first where the tables have taken all
 * of the last turn: they may take this one, too.
 */
static IdemVisit
purge_database(IdemPurge *purge)
{
	TimestampTz began = GetCurrentTimestamp();
	bool		stores_first = purge->left > 0;
	IdemVisit	stores = IDEM_VISIT_FINISHED;
	IdemVisit	visit;

	purge->stores.purged = 0;
	begin_turn();
	if (stores_first)
	{
		stores = run_stores_pass(purge);
		begin_turn();
	}
	visit = run_pass(purge);
	if (visit == IDEM_VISIT_FINISHED)
		visit = stores_first ? stores : run_stores_pass(purge);

	if (visit == IDEM_VISIT_UNFINISHED || visit == IDEM_VISIT_FINISHED)
	{
		log_pass(purge, began);
		idem_purge_note_pass(purge);
		if (purge->ranges != NULL)
			idem_purge_ranges_note_leases(purge->ranges);
	}
	return visit;
}

/* Keeps warnings from the log, and lets all else be logged as it would be. */
static void
leave_out_warnings(ErrorData *edata)
{
	if (edata->elevel == WARNING)
		edata->output_to_server = false;
	else if (previous_log_hook != NULL)
		previous_log_hook(edata);
}

/*
 * Connects to the database.  What the server warns of then (a setting made for
 * the database that is none, say) it tells every session, and tells nothing new
 * to somebody who comes every few seconds.
 */
static void
connect_to(Oid database)
{
	previous_log_hook = emit_log_hook;
	emit_log_hook = leave_out_warnings;
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	emit_log_hook = previous_log_hook;

	StartTransactionCommand();
	database_name = get_database_name(MyDatabaseId);
	database_name = database_name == NULL ? "" :
		MemoryContextStrdup(TopMemoryContext, database_name);
	CommitTransactionCommand();
}

/*
 * Told to leave, the purger does so as soon as it can be interrupted, be it in
 * the middle of a statement: that is cancelled, rather than the process ended
 * in the way that the server logs as FATAL.
 */
static void
handle_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Purges the database, unless somebody else does, and leaves a report. */
static void
make_visit(Oid database, IdemReport *report)
{
	report->visit = IDEM_VISIT_FAILED;
	override_settings();
	connect_to(database);
	idem_purge_work_init(BATCH_MS);
	report->visit = lock_purge() ? purge_database(&report->purge) :
		IDEM_VISIT_FINISHED;
}

/* Entry point of the process. */
void
idem_purge_worker_main(Datum arg)
{
	IdemErrand	errand;
	dsm_segment *segment;
	IdemReport *report;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	BackgroundWorkerUnblockSignals();

	memcpy(&errand, MyBgworkerEntry->bgw_extra, sizeof(errand));
	segment = dsm_attach(errand.report);
	if (segment == NULL)
		proc_exit(0);			/* the launcher is gone */

	report = dsm_segment_address(segment);

	PG_TRY();
	{
		make_visit(errand.database, report);
	}
	PG_CATCH();
	{
		/* that what we were at was cancelled is worth no line in the log */
		if (!ShutdownRequestPending)
			PG_RE_THROW();
		report->visit = IDEM_VISIT_UNWELCOME;
	}
	PG_END_TRY();
	proc_exit(0);
}
