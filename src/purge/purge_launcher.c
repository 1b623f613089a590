/*
 * purge_launcher.c
 *	  The process that decides which database is to be purged when.
 *
 * It sends one purger at a time, always into the database that has been due
 * for the longest time.  A database is due again after idem.purge_naptime,
 * after no more than idem.purge_delay when the purger left expired rows behind,
 * and less and less often while it turns out not to have idem or the purger
 * fails: merely looking takes a process.
 *
 * Connected to no database, it sees the shared catalogs only.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "purge/bgworker.h"

#define MAX_NAPTIMES	32		/* between visits that lead to nothing */

/* A database to look after. */
typedef struct Database
{
	Oid			oid;			/* hash key, must be first */
	bool		listed;			/* was in pg_database at the last look */
	bool		open;			/* accepts connections */
	TimestampTz visited;		/* end of the last visit */
	int			naptimes;		/* to let pass since then; 0: unfinished */
	IdemPurge	purge;			/* how far it is purged */
} Database;

static Oid	only;				/* database to look after, or InvalidOid: all */
static HTAB *databases;			/* of Database */
static TimestampTz listed_at = 0;	/* when pg_database was last looked at */
static dsm_segment *segment;	/* of the IdemReport that purgers leave */

/* Has the time passed since then?  A clock that was set back counts as yes. */
static bool
is_over(TimestampTz since, int64 ms, TimestampTz now)
{
	return now < since || now >= TimestampTzPlusMilliseconds(since, ms);
}

/*
 * Templates, too: keys may be used there as well, and CREATE DATABASE from one
 * waits for us no longer than DROP DATABASE does.
 */
static bool
is_ours(Form_pg_database form)
{
	return !OidIsValid(only) || form->oid == only;
}

static void
note_database(Form_pg_database form)
{
	bool		found;
	Database   *db = hash_search(databases, &form->oid, HASH_ENTER, &found);

	if (!found)
	{
		db->visited = 0;
		db->naptimes = 0;
		memset(&db->purge, 0, sizeof(db->purge));
	}
	db->listed = true;
	/* a connection limit below -1 marks a database that is half dropped */
	db->open = form->datallowconn && form->datconnlimit >= -1;
}

/* Brings our list of databases up to date. */
static void
list_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	HASH_SEQ_STATUS status;
	Database   *db;

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
		db->listed = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (is_ours(form))
			note_database(form);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	pgstat_report_stat(true);

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		if (!db->listed)
			hash_search(databases, &db->oid, HASH_REMOVE, NULL);
	}
	listed_at = GetCurrentTimestamp();
}

/* How long to leave a database alone after a visit. */
static int64
interval_ms(const Database *db)
{
	if (db->naptimes == 0)
		return idem_purge_delay_ms;
	return (int64) db->naptimes * idem_purge_naptime_ms;
}

/* When a database is to be visited next. */
static TimestampTz
due_time(const Database *db)
{
	return TimestampTzPlusMilliseconds(db->visited, interval_ms(db));
}

/* The database that has been due for the longest time, or NULL. */
static Database *
most_overdue(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	Database   *db;
	Database   *best = NULL;

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		if (db->open &&
			is_over(db->visited, interval_ms(db), now) &&
			(best == NULL || due_time(db) < due_time(best)))
			best = db;
	}
	return best;
}

/* Complains of a purger that could not be started, once in a row. */
static void
complain(bool failed)
{
	static bool complained = false;

	if (failed && !complained)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start an idem purger, will keep trying"),
				 errdetail("All background worker slots are taken."),
				 errhint("Consider increasing \"max_worker_processes\".")));
	complained = failed;
}

/* Sends a purger into a database and waits until it is back. */
static IdemVisit
visit_database(Database *db)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	BgwHandleStatus status;
	IdemErrand	errand;
	IdemReport *report = dsm_segment_address(segment);
	pid_t		pid;
	bool		registered;

	idem_bgworker_describe(&worker, "idem purger", "idem_purge_worker_main");
	worker.bgw_flags |= IDEM_BGWORKER_INTERRUPTIBLE;
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, BGW_MAXLEN, "idem purger for database %u", db->oid);
	errand.database = db->oid;
	errand.report = dsm_segment_handle(segment);
	memcpy(worker.bgw_extra, &errand, sizeof(errand));

	report->visit = IDEM_VISIT_NOT_MADE;
	report->purge = db->purge;
	registered = RegisterDynamicBackgroundWorker(&worker, &handle);
	complain(!registered);
	if (!registered)
		return IDEM_VISIT_NOT_MADE;

	while ((status = GetBackgroundWorkerPid(handle, &pid)) != BGWH_STOPPED)
	{
		if (ShutdownRequestPending)
		{
			TerminateBackgroundWorker(handle);
			/* a server that shuts down might never start it, nor tell */
			if (status == BGWH_NOT_YET_STARTED)
				break;
		}
		idem_bgworker_wait(-1);
	}
	pfree(handle);
	db->purge = report->purge;
	return report->visit;
}

/* Visits a database and decides when to come again. */
static IdemVisit
attend_to(Database *db)
{
	IdemVisit	visit = IDEM_VISIT_UNWELCOME;

	if (idem_bgworker_database_is_free(db->oid))
		visit = visit_database(db);

	db->visited = GetCurrentTimestamp();
	switch (visit)
	{
		case IDEM_VISIT_UNFINISHED:
			db->naptimes = 0;
			break;
		case IDEM_VISIT_FINISHED:
		case IDEM_VISIT_UNWELCOME:
			db->naptimes = 1;
			break;
		case IDEM_VISIT_NOT_MADE:
			/* no fault of the database's */
			db->naptimes = Max(db->naptimes, 1);
			break;
		case IDEM_VISIT_NOT_INSTALLED:
		case IDEM_VISIT_FAILED:
			db->naptimes = Min(Max(db->naptimes * 2, 1), MAX_NAPTIMES);
			break;
	}
	return visit;
}

/* Sleeps until a database is due, or new ones may have been created. */
static void
nap(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake = TimestampTzPlusMilliseconds(listed_at,
												   idem_purge_naptime_ms);
	HASH_SEQ_STATUS status;
	Database   *db;

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		if (db->open)
			wake = Min(wake, due_time(db));
	}
	idem_bgworker_wait(TimestampDifferenceMilliseconds(now, wake));
}

/* May the current database's CREATE EXTENSION be still to commit? */
static bool
is_being_started(void)
{
	LOCKTAG		tag;

	idem_bgworker_start_tag(&tag, only);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ExclusiveLock, true);
	return false;
}

/*
 * The launcher's work, until it is asked to stop, or, looking after a single
 * database, until that or idem in it is gone.
 */
static void
launch(void)
{
	while (!ShutdownRequestPending)
	{
		TimestampTz now = GetCurrentTimestamp();
		Database   *db;

		if (!idem_worker_enabled)
		{
			idem_bgworker_wait(-1);
			continue;
		}
		if (is_over(listed_at, idem_purge_naptime_ms, now))
			list_databases();
		if (OidIsValid(only) && hash_get_num_entries(databases) == 0)
			return;

		db = most_overdue(now);
		if (db == NULL)
			nap();
		else
		{
			/* to be asked before the visit, which could not see the commit */
			bool		started = OidIsValid(only) && !is_being_started();

			if (attend_to(db) == IDEM_VISIT_NOT_INSTALLED && started)
				return;
		}
	}
}

/* Entry point of the process.  arg: the database to look after, or all. */
void
idem_purge_launcher_main(Datum arg)
{
	HASHCTL		ctl = {0};
	LOCKTAG		tag;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();

	only = DatumGetObjectId(arg);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);

	idem_bgworker_launcher_tag(&tag, only);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		proc_exit(0);			/* somebody else does it */

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Database);
	ctl.hcxt = TopMemoryContext;
	databases = hash_create("idem databases", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	segment = dsm_create(sizeof(IdemReport), 0);

	launch();

	/* Unless it belongs to a single database, the postmaster starts it again. */
	proc_exit(OidIsValid(only) ? 0 : 1);
}
