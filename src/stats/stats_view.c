/*
 * stats_view.c
 *	  SQL: the view idem_stats, and idem_stats_reset().
 *
 * What is counted in the current database is for everybody, as the server's own
 * counters are: it says nothing of any key.  That of other databases is for those
 * who may read all statistics.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/result_tuple.h"
#include "base/rights.h"
#include "stats/stats_counter.h"
#include "stats/stats_shared.h"

PG_FUNCTION_INFO_V1(idem_stats);
PG_FUNCTION_INFO_V1(idem_stats_reset);

#define COLUMNS		4

/* May the caller read what a slot has counted? */
static bool
may_read(int number)
{
	return number == idem_stats_shared_mine() ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

/*
 * The name of the database that has a slot, or NULL for the one that databases
 * share.  False: it has been dropped.
 */
static bool
read_name(const IdemStatsSlot *slot, Name name)
{
	char	   *found;

	if (!OidIsValid(slot->database))
		return true;
	found = get_database_name(slot->database);
	if (found == NULL)
		return false;
	namestrcpy(name, found);
	return true;
}

static void
return_slot(ReturnSetInfo *result, int number)
{
	IdemStatsSlot slot;
	NameData	name;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	if (!idem_stats_shared_slot(number, &slot) || !may_read(number) ||
		!read_name(&slot, &name))
		return;
	values[0] = NameGetDatum(&name);
	nulls[0] = !OidIsValid(slot.database);
	values[3] = TimestampTzGetDatum(slot.reset_at);
	for (int counter = 0; counter < IDEM_COUNTERS; counter++)
	{
		values[1] = CStringGetTextDatum(idem_stats_counter_name(counter));
		values[2] = Int64GetDatum((int64) idem_stats_shared_sum(number, counter));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * _idem_stats() -> setof (datname name, counter text, value bigint,
 *						   reset_at timestamptz)
 *
 * What has been counted, in each database that the caller may read of; without a
 * name where databases share their counters.  No row where there are no counters.
 */
Datum
idem_stats(PG_FUNCTION_ARGS)
{
	idem_result_tuple_begin_set(fcinfo, COLUMNS);
	for (int i = 0; i < idem_stats_shared_slots(); i++)
		return_slot((ReturnSetInfo *) fcinfo->resultinfo, i);
	return (Datum) 0;
}

/*
 * idem_stats_reset() -> void
 *
 * Lets the counters of the current database begin at zero.  Raises 42501 unless the
 * caller may purge.
 */
Datum
idem_stats_reset(PG_FUNCTION_ARGS)
{
	idem_rights_purge(fcinfo, "idem_stats_reset");
	idem_stats_shared_reset();
	PG_RETURN_VOID();
}
