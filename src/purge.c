/*
 * purge.c
 *	  SQL: idem_purge(), and the batch that it and the worker are made of.
 *
 * A pass takes the expired rows in the order of their expiry.  Each batch goes
 * on where the one before ended rather than at the start: as long as an old
 * snapshot is held open somewhere, the entries of deleted rows stay in the
 * index, and every batch would walk past all of them again.
 *
 * Rows that others have locked are skipped, so purging waits for nobody, any
 * number of passes may run side by side without doing anything twice, and what
 * was skipped is for the next pass.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "purge.h"
#include "query.h"
#include "settings.h"

PG_FUNCTION_INFO_V1(idem_purge);

/* A claim that is held by a lease is alive, whatever its expiry says. */
#define IS_EXPIRED \
	" k.expires_at OPERATOR(pg_catalog.<=) $2" \
	" AND (k.lease_until IS NULL OR k.lease_until OPERATOR(pg_catalog.<=) $2)"

/*
 * $1 watermark, $2 clock, $3 limit.  The rows are locked before they are
 * deleted, and tested again as they are: a key that was claimed anew meanwhile
 * stays.
 */
static IdemStatement purge_keys = {
	.text = "WITH batch AS MATERIALIZED ("
	" SELECT pg_catalog.array_agg(r.ctid) AS ctids, pg_catalog.count(*) AS rows,"
	"  pg_catalog.max(r.expires_at) AS watermark"
	" FROM (SELECT k.ctid, k.expires_at FROM @.idem_key AS k"
	"  WHERE k.expires_at OPERATOR(pg_catalog.>=) $1 AND" IS_EXPIRED
	"  ORDER BY k.expires_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS r),"
	" deleted AS (DELETE FROM @.idem_key AS k"
	"  WHERE k.ctid OPERATOR(pg_catalog.=) ANY ((SELECT b.ctids FROM batch AS b)::pg_catalog.tid[])"
	"  AND" IS_EXPIRED " RETURNING 1)"
	" SELECT (SELECT pg_catalog.count(*) FROM deleted), b.rows, b.watermark"
	" FROM batch AS b",
	.nargs = 3,
	.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/* Starts a pass, with the clock as it stands now. */
void
idem_purge_begin(IdemPurge *purge)
{
	purge->now = GetCurrentTimestamp();
	purge->watermark = DT_NOBEGIN;
	purge->purged = 0;
}

/*
 * Makes the planner read the expired keys in order through the index, whatever
 * the statistics say: they are taken while the table is small or much of it
 * has expired, and a plan that reads the table costs that for every batch.  A
 * generic plan also spares planning each batch anew, for which the planner
 * would look up the index's ends, behind all the entries just deleted.
 */
static int
force_index_order(void)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_sort", "off"},
		{"plan_cache_mode", "force_generic_plan"},
	};
	int			nestlevel = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

/*
 * Deletes the next rows of a pass, at most limit, in the current transaction.
 * Returns whether there may be more.
 */
bool
idem_purge_batch(IdemPurge *purge, int64 limit)
{
	int			nestlevel = force_index_order();
	Datum		args[3];
	Datum		values[3];
	bool		isnull[3];

	args[0] = TimestampTzGetDatum(purge->watermark);
	args[1] = TimestampTzGetDatum(purge->now);
	args[2] = Int64GetDatum(limit);
	if (idem_query_own(&purge_keys, args, NULL, 3, values, isnull) != 1)
		elog(ERROR, "a purge returned no counts");
	AtEOXact_GUC(true, nestlevel);

	purge->purged += DatumGetInt64(values[0]);
	if (!isnull[2])
		purge->watermark = DatumGetTimestampTz(values[2]);
	return DatumGetInt64(values[1]) == limit;
}

/*
 * idem_purge(max_rows bigint) -> bigint
 *
 * Deletes expired keys, in the caller's transaction, and returns how many; no
 * more than max_rows unless that is NULL.  Raises 22023 when max_rows is not
 * positive, 25006 in a read-only transaction and on a standby.
 */
Datum
idem_purge(PG_FUNCTION_ARGS)
{
	int64		max_rows = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	IdemPurge	purge;
	int64		limit;

	PreventCommandIfReadOnly("idem_purge()");
	PreventCommandDuringRecovery("idem_purge()");
	if (max_rows <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_rows\" must be positive"),
				 errdetail("It is %lld.", (long long) max_rows),
				 errhint("Leave \"max_rows\" out to purge all expired keys.")));

	idem_purge_begin(&purge);
	do
	{
		CHECK_FOR_INTERRUPTS();
		limit = Min(idem_purge_batch_size, max_rows - purge.purged);
	} while (limit > 0 && idem_purge_batch(&purge, limit));

	PG_RETURN_INT64(purge.purged);
}
