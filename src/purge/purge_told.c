/*
 * purge_told.c
 *	  Telling the log of tables of stores that cannot be purged.
 *
 * Anybody may have some, and the log is not for them to fill: in a while so many are told
 * of, and no more.  They take turns, in the order of their OIDs: else the first ones
 * would be the only ones.
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "purge/purge_told.h"

/* So many tables are told of, and no more for so long. */
#define MAX_TOLD	10
#define TOLD_US		(600 * USECS_PER_SEC)

/*
 * Has more tables be told of, if it is time, in a new round if the last one has come
 * to its end.
 */
void
idem_purge_told_begin(IdemPurgeTold *told, TimestampTz now)
{
	if (told->since != 0 && told->since <= now && now < told->since + TOLD_US)
		return;
	if (told->left > 0)
		told->relid = told->end = InvalidOid;
	told->left = MAX_TOLD;
	told->since = 0;
}

/*
 * Ends a round that is new with the last table that there is: else who goes on making
 * new ones would keep it from its end.
 */
void
idem_purge_told_bound(IdemPurgeTold *told, Oid last)
{
	if (!OidIsValid(told->end))
		told->end = last;
}

/*
 * Tells of a table that could not be purged, if it is its turn.  The error is not sent as
 * what it was: a client takes that for the end of its statement.
 */
void
idem_purge_told_report(IdemPurgeTold *told, Oid relid, const ErrorData *error)
{
	const char *schema;
	const char *name;

	if (told->left == 0 || relid <= told->relid || relid > told->end)
		return;
	schema = get_namespace_name(get_rel_namespace(relid));
	name = get_rel_name(relid);
	if (schema == NULL || name == NULL)
		return;					/* it has been dropped */
	told->left--;
	told->relid = relid;
	if (told->since == 0)
		told->since = GetCurrentTimestamp();
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("table \"%s\" of store \"%s\" could not be purged", name, schema),
			 errdetail_internal("%s", error->message)));
}
