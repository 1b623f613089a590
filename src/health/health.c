/*
 * health.c
 *	  SQL: the view idem_health.
 *
 * Each check is a row: what was looked at, how it stands, and what to do.  None
 * costs more where there is more data: what there is to know of rows was noted by
 * the purger, or is kept by the server's statistics.
 *
 * No row tells of any key, and none names another role's session or another
 * database, unless to those who may read all statistics.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/result_tuple.h"
#include "base/settings.h"
#include "health/health.h"
#include "stats/stats_counter.h"

PG_FUNCTION_INFO_V1(idem_health);

#define COLUMNS		4

static const char *const severities[] = {
	[IDEM_HEALTH_OK] = "ok",
	[IDEM_HEALTH_WARNING] = "warning",
	[IDEM_HEALTH_CRITICAL] = "critical",
};

/* Says what a check has found; hint may be NULL. */
void
idem_health_set(IdemFinding *finding, IdemSeverity severity, const char *value,
				const char *hint)
{
	finding->severity = severity;
	finding->value = value;
	finding->hint = hint;
}

/* A time as people read it, to the second. */
const char *
idem_health_span(int64 us)
{
	int64		seconds = us / USECS_PER_SEC;

	return psprintf("%lld:%02d:%02d", (long long) (seconds / 3600),
					(int) (seconds / 60 % 60), (int) (seconds % 60));
}

/* What was counted in the current database. */
uint64
idem_health_count(int counter)
{
	return idem_stats_shared_place() == IDEM_STATS_OFF ? 0 :
		idem_stats_shared_sum(idem_stats_shared_mine(), counter);
}

/* Is anything counted, and for this database alone? */
static void
check_counters(const IdemHealth *health, IdemFinding *finding)
{
	switch (idem_stats_shared_place())
	{
		case IDEM_STATS_OFF:
			idem_health_set(finding, IDEM_HEALTH_WARNING, "off",
							_("The server had no shared memory left for counters. Add idem to shared_preload_libraries and restart."));
			break;
		case IDEM_STATS_COMMON:
			idem_health_set(finding, IDEM_HEALTH_WARNING, "shared",
							_("This database is counted together with others that came too late for counters of their own, in the rows of idem_stats without a datname. Add idem to shared_preload_libraries and restart, which gives room for 64 databases."));
			break;
		case IDEM_STATS_OWN:
			idem_health_set(finding, IDEM_HEALTH_OK, "on", NULL);
			break;
	}
}

static void
check_ttl(const IdemHealth *health, IdemFinding *finding)
{
	const char *text;

	if (idem_settings_ttl_or_zero(&text) > 0)
		idem_health_set(finding, IDEM_HEALTH_OK, text, NULL);
	else
		idem_health_set(finding, IDEM_HEALTH_CRITICAL, text,
						_("idem.ttl is no interval, so every call under a key that gives no ttl fails. Set it to one, such as \"24 hours\", where it was set: ALTER SYSTEM, ALTER DATABASE or ALTER ROLE."));
}

/* A counter that should stay at zero. */
static void
check_zero(IdemCounter counter, IdemSeverity severity, const char *hint,
		   IdemFinding *finding)
{
	uint64		count = idem_health_count(counter);

	finding->value = psprintf("%llu", (unsigned long long) count);
	if (count > 0)
		idem_health_set(finding, severity, finding->value, hint);
}

static void
check_mismatches(const IdemHealth *health, IdemFinding *finding)
{
	check_zero(IDEM_COUNT_KEY_MISMATCH, IDEM_HEALTH_WARNING,
			   _("A client sends different requests under one key (error ID001, in the server's log). Have it make a new key for each request, and keep that key for retries alone; then idem_stats_reset()."),
			   finding);
}

static void
check_stuck_sagas(const IdemHealth *health, IdemFinding *finding)
{
	check_zero(IDEM_COUNT_SAGA_STUCK, IDEM_HEALTH_CRITICAL,
			   _("A step of a saga has had all its attempts, and there is no way on. See idem_saga_work where status is 'stuck', mend the cause, and decide by idem_saga_resolve(); then idem_stats_reset()."),
			   finding);
}

static void
check_stale_fences(const IdemHealth *health, IdemFinding *finding)
{
	check_zero(IDEM_COUNT_KEY_STALE_FENCE, IDEM_HEALTH_WARNING,
			   _("Work went on after its claim had been taken over or released (error ID002). Make the lease longer than the work takes, or extend it meanwhile; then idem_stats_reset()."),
			   finding);
}

static void
check_losses(const IdemHealth *health, IdemFinding *finding)
{
	bool		lossy = idem_lose_ack > 0 || idem_lose_request > 0 ||
		idem_lose_every > 0;

	check_zero(IDEM_COUNT_ACK_LOST, IDEM_HEALTH_WARNING,
			   _("Connections were cut on purpose, as idem.lose_ack and its like ask for. Where this is no test, see that none of them is set, then idem_stats_reset()."),
			   finding);
	if (lossy)
		idem_health_set(finding, IDEM_HEALTH_WARNING, "on",
						_("idem.lose_ack, idem.lose_request or idem.lose_every is set: connections are cut on purpose. Reset them where this is no test."));
}

static const struct
{
	const char *name;
	void		(*check) (const IdemHealth *health, IdemFinding *finding);
}			checks[] =

{
	{"worker", idem_health_purge_worker},
	{"purge_lag", idem_health_purge_lag},
	{"purge_errors", idem_health_purge_errors},
	{"purge_blocked", idem_health_purge_blocked},
	{"bloat", idem_health_purge_bloat},
	{"stuck_lease", idem_health_lease},
	{"key_mismatch", check_mismatches},
	{"stale_fence", check_stale_fences},
	{"saga_stuck", check_stuck_sagas},
	{"lost_acks", check_losses},
	{"ttl", check_ttl},
	{"counters", check_counters},
};

static void
return_finding(ReturnSetInfo *result, const char *check,
			   const IdemFinding *finding)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};

	values[0] = CStringGetTextDatum(check);
	values[1] = CStringGetTextDatum(severities[finding->severity]);
	nulls[2] = finding->value == NULL;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(finding->value);
	nulls[3] = finding->hint == NULL;
	if (!nulls[3])
		values[3] = CStringGetTextDatum(finding->hint);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static const char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/*
 * _idem_health(prepared_at timestamptz, prepared text, slot text)
 *		-> setof (check text, severity text, value text, hint text)
 *
 * How idem is in the current database.  The view tells what it has from the
 * server's own views: the oldest transaction that is prepared, and a replication
 * slot that nobody uses.
 */
Datum
idem_health(PG_FUNCTION_ARGS)
{
	IdemHealth	health = {0};
	const char *text;

	idem_result_tuple_begin_set(fcinfo, COLUMNS);
	health.now = GetCurrentTimestamp();
	health.ttl_us = idem_settings_ttl_or_zero(&text);
	if (health.ttl_us == 0)
		health.ttl_us = USECS_PER_DAY;
	health.may_read_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	idem_stats_shared_get_pass(&health.pass);
	health.prepared_at = PG_ARGISNULL(0) ? 0 : PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(health.prepared_at))
		health.prepared_at = 0;
	health.prepared = text_argument(fcinfo, 1);
	health.slot = text_argument(fcinfo, 2);

	for (int i = 0; i < lengthof(checks); i++)
	{
		IdemFinding finding = {IDEM_HEALTH_OK};

		CHECK_FOR_INTERRUPTS();
		checks[i].check(&health, &finding);
		return_finding((ReturnSetInfo *) fcinfo->resultinfo, checks[i].name,
					   &finding);
	}
	return (Datum) 0;
}
