/*
 * health_purge.c
 *	  Is what has expired purged, and is what was purged cleaned up?
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/lmgr.h"
#include "utils/backend_status.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "health/health.h"
#include "purge/bgworker.h"
#include "stats/stats_counter.h"

/* What a purger may take longer than it should, in the time keys are kept. */
#define SHARE_LATE		10		/* one part of it is late */
#define DEAD_ROWS		10000	/* fewer are nobody's concern */
#define LEASE_LENGTHS	2		/* after which a lease should have ended */

/* From when on something is late, and from when on that is critical. */
static IdemSeverity
lateness(const IdemHealth *health, int64 us)
{
	if (us > health->ttl_us)
		return IDEM_HEALTH_CRITICAL;
	return us > health->ttl_us / SHARE_LATE ? IDEM_HEALTH_WARNING : IDEM_HEALTH_OK;
}

static int64
naptime_us(void)
{
	return (int64) idem_purge_naptime_ms * 1000;
}

/* How long ago the last pass was; until the first, not known (0). */
static int64
since_pass(const IdemHealth *health)
{
	return health->pass.ended == 0 ? 0 :
		Max(health->now - health->pass.ended, 0);
}

static const char *
last_pass(const IdemHealth *health)
{
	return health->pass.ended == 0 ? "no pass since the server started" :
		psprintf("last pass %s ago", idem_health_span(since_pass(health)));
}

/* Does anybody purge? */
void
idem_health_purge_worker(const IdemHealth *health, IdemFinding *finding)
{
	bool		launched;

	if (RecoveryInProgress())
	{
		idem_health_set(finding, IDEM_HEALTH_OK, "standby", NULL);
		return;
	}
	launched = idem_bgworker_launcher_pid(InvalidOid) != 0 ||
		idem_bgworker_launcher_pid(MyDatabaseId) != 0;

	if (launched && idem_worker_enabled)
	{
		/* a busy launcher has other databases, too */
		int64		patience = Max(10 * naptime_us(), USECS_PER_MINUTE);

		if (since_pass(health) > patience)
			idem_health_set(finding, IDEM_HEALTH_WARNING,
							psprintf("on, %s", last_pass(health)),
							_("The worker does not come round to this database. See the server's log; max_worker_processes may be too low, or idem.purge_naptime too long for so many databases."));
		else
			idem_health_set(finding, IDEM_HEALTH_OK,
							psprintf("on, %s", last_pass(health)), NULL);
		return;
	}

	/* somebody who calls idem_purge() now and then needs no worker */
	finding->severity = health->pass.ended == 0 ? IDEM_HEALTH_WARNING :
		lateness(health, since_pass(health) / 2);
	finding->value = psprintf("off, %s", last_pass(health));
	if (finding->severity == IDEM_HEALTH_OK)
		return;
	finding->hint = launched ?
		_("idem.worker is off. Set it to on and reload, or have idem_purge() called regularly.") :
		_("No worker runs. Call idem_worker_start(), or add idem to shared_preload_libraries and restart, or have idem_purge() called regularly.");
}

/* About how many keys are past their time, if they come evenly. */
static int64
backlog(const IdemHealth *health, int64 lag)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(idem_catalog()->key_table));
	double		rows = 0;

	if (HeapTupleIsValid(tuple))
	{
		rows = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
		ReleaseSysCache(tuple);
	}
	return (int64) (Max(rows, 0) * lag / (health->ttl_us + lag));
}

/* How long have rows been past their time? */
void
idem_health_purge_lag(const IdemHealth *health, IdemFinding *finding)
{
	int64		lag;

	if (health->pass.ended == 0)
	{
		finding->value = "not known, since nothing has been purged yet";
		return;
	}
	if (health->pass.oldest != 0)
		lag = Max(health->now - health->pass.oldest, 0);
	else
		lag = Max(since_pass(health) - naptime_us(), 0);
	finding->severity = lateness(health, lag);
	finding->value = psprintf("%s, about %lld keys", idem_health_span(lag),
							  (long long) backlog(health, lag));
	if (finding->severity != IDEM_HEALTH_OK)
		finding->hint = _("Rows stay longer than they are to be kept. If the worker is on: make idem.purge_batch_size larger or idem.purge_delay shorter; see purge_errors and, in the log, which table others have locked.");
}

/* Has purging failed? */
void
idem_health_purge_errors(const IdemHealth *health, IdemFinding *finding)
{
	uint64		count = idem_health_count(IDEM_COUNT_PURGE_ERRORS);

	finding->value = psprintf("%llu", (unsigned long long) count);
	if (count > 0)
		idem_health_set(finding, IDEM_HEALTH_WARNING, finding->value,
						_("The worker failed to purge a table. The server's log names it and says why; put that right, then idem_stats_reset()."));
}

/* The session of this database whose transaction has been open for the longest time. */
static const LocalPgBackendStatus *
oldest_session(void)
{
	const LocalPgBackendStatus *oldest = NULL;
	int			count = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= count; i++)
	{
		const LocalPgBackendStatus *session = IDEM_SESSION_STATUS(i);
		const PgBackendStatus *status;

		if (session == NULL)
			continue;
		status = &session->backendStatus;
		if (status->st_databaseid != MyDatabaseId ||
			status->st_procpid == MyProcPid ||
			status->st_backendType == B_AUTOVAC_WORKER ||
			status->st_xact_start_timestamp == 0 ||
			(!TransactionIdIsValid(session->backend_xmin) &&
			 !TransactionIdIsValid(session->backend_xid)))
			continue;
		if (oldest == NULL ||
			status->st_xact_start_timestamp <
			oldest->backendStatus.st_xact_start_timestamp)
			oldest = session;
	}
	return oldest;
}

/* How severe it is that a transaction has been open for so long. */
static IdemSeverity
openness(const IdemHealth *health, int64 us)
{
	if (us > health->ttl_us)
		return IDEM_HEALTH_CRITICAL;
	return us > Min(health->ttl_us / SHARE_LATE, USECS_PER_HOUR) ?
		IDEM_HEALTH_WARNING : IDEM_HEALTH_OK;
}

static void
check_session(const IdemHealth *health, const LocalPgBackendStatus *session,
			  IdemFinding *finding)
{
	const PgBackendStatus *status = &session->backendStatus;
	int64		us = health->now - status->st_xact_start_timestamp;
	IdemSeverity severity = openness(health, us);

	if (severity == IDEM_HEALTH_OK || severity < finding->severity)
		return;
	idem_health_set(finding, severity,
					health->may_read_all || status->st_userid == GetUserId() ?
					psprintf("process %d, transaction open for %s",
							 status->st_procpid, idem_health_span(us)) :
					"a session of another role",
					_("Its transaction keeps vacuum from rows that were purged since it began. Commit it or end it: pg_terminate_backend(). Consider idle_in_transaction_session_timeout."));
}

static void
check_prepared(const IdemHealth *health, IdemFinding *finding)
{
	int64		us = health->now - health->prepared_at;
	IdemSeverity severity = openness(health, us);

	if (severity == IDEM_HEALTH_OK || severity < finding->severity)
		return;
	idem_health_set(finding, severity,
					psprintf("prepared transaction %s, open for %s",
							 health->prepared ? health->prepared : "",
							 idem_health_span(us)),
					_("It keeps vacuum from rows that were purged since it began. COMMIT PREPARED or ROLLBACK PREPARED it."));
}

/* Does anything keep vacuum from the rows that were purged? */
void
idem_health_purge_blocked(const IdemHealth *health, IdemFinding *finding)
{
	const LocalPgBackendStatus *session = oldest_session();

	finding->value = "nothing";
	if (health->slot != NULL)
		idem_health_set(finding, IDEM_HEALTH_WARNING,
						psprintf("replication slot %s", health->slot),
						_("Nobody uses it, and it keeps vacuum from rows that were purged. Have its standby come back, or drop it: pg_drop_replication_slot()."));
	if (session != NULL)
		check_session(health, session, finding);
	if (health->prepared_at != 0)
		check_prepared(health, finding);
}

/*
 * How large a table is, as a value says it.  Nobody waits for one that somebody has
 * locked, as VACUUM FULL does for long: whoever monitors would hear nothing at all.
 */
static const char *
size_of(Oid table)
{
	int64		size;

	if (!ConditionalLockRelationOid(table, AccessShareLock))
		return "of a size that is not known while it is locked";
	size = DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
											 ObjectIdGetDatum(table)));
	UnlockRelationOid(table, AccessShareLock);
	return psprintf("%lld MB", (long long) (size / (1024 * 1024)));
}

/* Do dead rows pile up in idem's tables? */
void
idem_health_purge_bloat(const IdemHealth *health, IdemFinding *finding)
{
	const IdemCatalog *catalog = idem_catalog();
	const Oid	tables[] = {
		catalog->key_table, catalog->message_table, catalog->history_table,
		catalog->offset_table
	};
	int64		most = -1;
	bool		found = false;

	for (int i = 0; i < lengthof(tables); i++)
	{
		Datum		table = ObjectIdGetDatum(tables[i]);
		int64		dead = DatumGetInt64(DirectFunctionCall1(pg_stat_get_dead_tuples, table));
		int64		live = DatumGetInt64(DirectFunctionCall1(pg_stat_get_live_tuples, table));
		bool		bloated = dead > DEAD_ROWS && dead > live;

		/* the worst of those that are, or else of the others */
		if (bloated == found ? dead <= most : found)
			continue;
		most = dead;
		found = bloated;
		idem_health_set(finding, IDEM_HEALTH_OK,
						psprintf("%s: %lld dead rows, %lld live, %s",
								 get_rel_name(tables[i]), (long long) dead,
								 (long long) live, size_of(tables[i])),
						NULL);
		if (!bloated)
			continue;
		finding->severity = IDEM_HEALTH_WARNING;
		finding->hint = autovacuum_start_daemon ?
			_("Vacuum does not keep up. See purge_blocked for what keeps it from the rows; if nothing does, VACUUM the table now, and let autovacuum run oftener on it or with a higher cost limit.") :
			_("Autovacuum is off. Switch it on, or VACUUM the table.");
	}
}
