/*
 * state_counts.c
 *	  How many rows of a table are in which state.
 *
 * All rows count, for every caller: those that row security hides, and those that
 * were committed after the transaction's snapshot.  So the query runs as the
 * owner of the table and under a snapshot of the moment; and since it may be run
 * for somebody else, under security restriction and a search_path in which the
 * owner could have planted nothing.  All the same only idem's text runs, and the
 * output function of the column's type.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "machine/state_counts.h"
#include "run/spi.h"
#include "run/usercontext.h"
#include "table/sql_name.h"

/* So many states are listed at most. */
#define MAX_STATES	10

static char *
write_sql(Relation rel, AttrNumber status, const char *test)
{
	const char *column = idem_sql_name_column(rel, status);

	/*
	 * As the output function gives it, which no cast can change, and compared
	 * byte for byte, as the machine does.
	 */
	return psprintf("SELECT pg_catalog.string_agg(pg_catalog.format('%%s (%%s)',"
					" CASE WHEN c.state IS NULL THEN 'none'"
					" ELSE pg_catalog.format('\"%%s\"', pg_catalog.left(c.state, 80)) END,"
					" c.rows), ', ' ORDER BY c.state)"
					" FROM (SELECT s.state, pg_catalog.count(*) AS rows"
					" FROM (SELECT CASE WHEN r.%s IS NOT NULL"
					" THEN pg_catalog.format('%%s', r.%s) END"
					" COLLATE pg_catalog.\"C\" AS state FROM %s AS r) AS s"
					" WHERE (s.state OPERATOR(pg_catalog.=) ANY ($1)) %s"
					" GROUP BY s.state ORDER BY s.state LIMIT %d) AS c",
					column, column, idem_sql_name_only(rel), test, MAX_STATES);
}

/*
 * Partitions are written to by their own names, too, under a lock of their own
 * only.
 */
static void
lock_partitions(Relation rel)
{
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		(void) find_all_inheritors(RelationGetRelid(rel),
								   ShareRowExclusiveLock, NULL);
}

static const char *
take(Relation rel, const char *sql, List *states)
{
	Oid			argtypes[] = {TEXTARRAYOID};
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(states) + 1));
	int			count = 0;
	Datum		args[1];
	Datum		value;
	bool		isnull;
	ListCell   *lc;
	IdemUserContext caller;

	foreach(lc, states)
		elements[count++] = CStringGetTextDatum(lfirst(lc));
	args[0] = PointerGetDatum(construct_array(elements, count, TEXTOID, -1,
											  false, TYPALIGN_INT));

	lock_partitions(rel);
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	PushActiveSnapshot(GetLatestSnapshot());

	(void) idem_spi_once(sql, RelationGetRelid(rel), 1, argtypes, args, 1, &value, &isnull);

	PopActiveSnapshot();
	idem_usercontext_leave(&caller);
	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * The rows that are in one of these states (char *), counted by state, for
 * people; NULL if there are none.  The caller has the table open and locked
 * against writers.
 */
const char *
idem_state_counts_within(Relation rel, AttrNumber status, List *states)
{
	return take(rel, write_sql(rel, status, "IS TRUE"), states);
}

/* The same for those that are in none of these states, or have no state. */
const char *
idem_state_counts_beyond(Relation rel, AttrNumber status, List *states)
{
	return take(rel, write_sql(rel, status, "IS NOT TRUE"), states);
}
