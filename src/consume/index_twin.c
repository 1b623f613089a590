/*
 * index_twin.c
 *	  Whether a unique index of the messages is being built anew beside the old
 *	  one, as REINDEX CONCURRENTLY does.
 *
 * INSERT ... ON CONFLICT heeds the indexes that are valid (up to PostgreSQL 18),
 * while rows are put into the new one, too, before it is.  So where two sessions
 * insert one message at the same time, the second may meet the first in the new
 * index, and fail with 23505.  A session that knows of the new index can avoid
 * that.
 *
 * Every session knows in time: rows are put into it only when all transactions that
 * had the table locked before it was there have ended, and a session that locks the
 * table later accepts the invalidation of its indexes with the lock.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/invalidation.h"
#include "consume/index_twin.h"

static Oid	known_table = InvalidOid;	/* the table last looked at */
static bool known = false;		/* and has it not changed since? */
static bool has_twin;			/* has it a unique index that is not valid? */
static Oid	has_twin_of = InvalidOid;	/* the table that this was found of */

static bool
find_twin(Oid table)
{
	Relation	rel = table_open(table, NoLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		found = false;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indisunique && !index->rd_index->indisvalid)
			found = true;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	table_close(rel, NoLock);
	return found;
}

/*
 * Is one being built?  Takes the lock on the table that writing takes, under
 * which none comes in use that this session does not know of.
 */
bool
idem_index_twin_is_built(void)
{
	Oid			table = idem_catalog()->message_table;

	LockRelationOid(table, RowExclusiveLock);
	Assert(CheckRelationOidLockedByMe(table, RowExclusiveLock, false));
	if (!known || has_twin_of != table)
	{
		/* should looking end in an error, the next call looks again */
		has_twin_of = InvalidOid;
		known_table = table;
		known = true;
		has_twin = find_twin(table);
		has_twin_of = table;
	}
	return has_twin;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_index_twin_init(void)
{
	idem_invalidation_watch(&known_table, &known);
}
