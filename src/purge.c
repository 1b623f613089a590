/*
 * purge.c
 *	  SQL: idem_purge(), and the batch that it and the worker are made of.
 *
 * A pass takes the expired rows of each table in the order of their expiry.
 * Each batch goes on where the one before ended rather than at the start: as
 * long as an old snapshot is held open somewhere, the entries of deleted rows
 * stay in the index, and every batch would walk past all of them again.
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
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "direct.h"
#include "purge.h"
#include "query.h"
#include "rights.h"
#include "settings.h"

PG_FUNCTION_INFO_V1(idem_purge);

/*
 * A batch of a table's rows that have come to an end, where it takes a statement
 * (direct.c): $1 watermark, $2 what has ended by then goes, $3 limit.  The rows
 * are locked before they are deleted, and tested again as they are: a key that
 * was claimed anew meanwhile stays.
 */
#define PURGE(table, column, condition) { \
	.text = "WITH batch AS MATERIALIZED (" \
	" SELECT pg_catalog.array_agg(r.ctid) AS ctids, pg_catalog.count(*) AS rows," \
	"  pg_catalog.max(r.ended) AS watermark" \
	" FROM (SELECT k.ctid, k." column " AS ended FROM @." table " AS k" \
	"  WHERE k." column " OPERATOR(pg_catalog.>=) $1" \
	"  AND k." column " OPERATOR(pg_catalog.<=) $2" condition \
	"  ORDER BY k." column " LIMIT $3 FOR UPDATE SKIP LOCKED) AS r)," \
	" deleted AS (DELETE FROM @." table " AS k" \
	"  WHERE k.ctid OPERATOR(pg_catalog.=) ANY ((SELECT b.ctids FROM batch AS b)::pg_catalog.tid[])" \
	"  AND k." column " OPERATOR(pg_catalog.<=) $2" condition " RETURNING 1)" \
	" SELECT (SELECT pg_catalog.count(*) FROM deleted), b.rows, b.watermark" \
	" FROM batch AS b", \
	.nargs = 3, \
	.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID} \
}

/* A claim that is held by a lease is alive, whatever its expiry says. */
#define NOT_HELD \
	" AND (k.lease_until IS NULL OR k.lease_until OPERATOR(pg_catalog.<=) $2)"

/* A table to be purged. */
typedef struct Store
{
	const char *table;
	const char *ended;			/* its column that tells the end */
	const char *held;			/* another, up to which a row lives on, or NULL */
	IdemStatement batch;
	const int  *kept_s;			/* past the time in its column; -1: forever;
								 * NULL: not at all */
} Store;

/* The tables that are purged, one after the other. */
static Store stores[] = {
	{"idem_key", "expires_at", "lease_until",
	PURGE("idem_key", "expires_at", NOT_HELD), NULL},
	{"idem_message", "expires_at", NULL,
	PURGE("idem_message", "expires_at", ""), NULL},
	{"idem_history", "changed_at", NULL,
	PURGE("idem_history", "changed_at", ""), &idem_history_retention_s},
};

/* Starts a pass, with the clock as it stands now. */
void
idem_purge_begin(IdemPurge *purge)
{
	purge->now = GetCurrentTimestamp();
	purge->store = 0;
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

/* Deletes rows by a statement; how many it looked at. */
static int64
purge_by_statement(IdemPurge *purge, IdemEnded *rows)
{
	Datum		args[3];
	Datum		values[3];
	bool		isnull[3];
	int			nestlevel = force_index_order();

	args[0] = TimestampTzGetDatum(rows->from);
	args[1] = TimestampTzGetDatum(rows->until);
	args[2] = Int64GetDatum(rows->limit);
	if (idem_query_own(&stores[purge->store].batch, args, NULL,
					   3, values, isnull) != 1)
		elog(ERROR, "a purge returned no counts");
	AtEOXact_GUC(true, nestlevel);

	rows->deleted = DatumGetInt64(values[0]);
	if (!isnull[2])
		rows->from = DatumGetTimestampTz(values[2]);
	return DatumGetInt64(values[1]);
}

/* Deletes rows of the table that the pass has reached; how many it looked at. */
static int64
purge_store(IdemPurge *purge, int64 limit)
{
	const Store *store = &stores[purge->store];
	Oid			table = get_relname_relid(store->table, idem_catalog()->schema_oid);
	int			kept_s = store->kept_s == NULL ? 0 : *store->kept_s;
	IdemEnded	rows;
	int64		seen;

	if (kept_s < 0)
		return 0;
	rows.ended = get_attnum(table, store->ended);
	rows.held = store->held == NULL ? InvalidAttrNumber :
		get_attnum(table, store->held);
	rows.from = purge->watermark;
	rows.until = purge->now - kept_s * USECS_PER_SEC;
	rows.limit = limit;
	seen = idem_direct_delete(table, &rows) ? rows.deleted :
		purge_by_statement(purge, &rows);

	purge->purged += rows.deleted;
	purge->watermark = rows.from;
	return seen;
}

/*
 * Deletes the next rows of a pass, at most limit, in the current transaction.
 * Returns whether there may be more.
 */
bool
idem_purge_batch(IdemPurge *purge, int64 limit)
{
	while (limit > 0 && purge->store < lengthof(stores))
	{
		int64		rows = purge_store(purge, limit);

		if (rows < limit)
		{
			purge->store++;
			purge->watermark = DT_NOBEGIN;
		}
		limit -= rows;
	}
	return purge->store < lengthof(stores);
}

/*
 * idem_purge(max_rows bigint) -> bigint
 *
 * Deletes what is past its time, in the caller's transaction, and returns how
 * many; no more than max_rows unless that is NULL.  Raises 22023 when max_rows
 * is not positive, 25006 in a read-only transaction and on a standby.
 */
Datum
idem_purge(PG_FUNCTION_ARGS)
{
	int64		max_rows = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	IdemPurge	purge;
	int64		limit;

	idem_rights_purge("idem_purge");
	PreventCommandIfReadOnly("idem_purge()");
	PreventCommandDuringRecovery("idem_purge()");
	if (max_rows <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_rows\" must be positive"),
				 errdetail("It is %lld.", (long long) max_rows),
				 errhint("Leave \"max_rows\" out to purge all that is past its time.")));

	idem_purge_begin(&purge);
	do
	{
		CHECK_FOR_INTERRUPTS();
		limit = Min(idem_purge_batch_size, max_rows - purge.purged);
	} while (limit > 0 && idem_purge_batch(&purge, limit));

	PG_RETURN_INT64(purge.purged);
}
