/*
 * claims_view.c
 *	  SQL: the view idem_claims.
 *
 * A claim is for those who have the rights of the role that made it, or may read the
 * table of keys.  Who may read all statistics sees that there is a claim, and for how
 * long, but not what for: a request is the business of those who made it.
 *
 * All rows of the table are read, since no index leads to those that are in progress:
 * one would make every completion of a claim write to it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/result_tuple.h"
#include "base/role.h"
#include "key/checkpoints.h"
#include "key/key_table.h"
#include "run/committed_row.h"

PG_FUNCTION_INFO_V1(idem_claims);

#define COLUMNS		8

/* What a caller may know of a claim. */
typedef enum Sight
{
	NOTHING,
	THAT_IT_IS,
	ALL
} Sight;

/* What a caller may know of any claim. */
static Sight
sight_of_all(Relation rel)
{
	if (pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_SELECT) ==
		ACLCHECK_OK)
		return ALL;
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ?
		THAT_IT_IS : NOTHING;
}

static bool
is_open(const IdemKeyRow *row, TimestampTz now)
{
	return (row->outcome == IDEM_IN_PROGRESS || row->outcome == IDEM_ABANDONED) &&
		row->expires_at > now;
}

static void
return_claim(ReturnSetInfo *result, HeapTuple tuple, TupleDesc desc,
			 const IdemKeyRow *row, Sight sight)
{
	const char *role = idem_role_name(row->claimed_by);
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};

	values[0] = heap_getattr(tuple, IDEM_KEY_COLUMN_KEY, desc, &nulls[0]);
	values[1] = heap_getattr(tuple, IDEM_KEY_COLUMN_SCOPE, desc, &nulls[1]);
	nulls[2] = role == NULL;
	if (role != NULL)
		values[2] = CStringGetTextDatum(role);
	values[3] = TimestampTzGetDatum(row->created_at);
	values[4] = TimestampTzGetDatum(row->lease_until);
	nulls[4] = !row->leased;
	values[5] = Int64GetDatum(row->fence);
	nulls[6] = nulls[7] = true;
	if (sight == ALL)
	{
		values[6] = idem_checkpoints_last(row, &nulls[6]);
		values[7] = row->request;
		nulls[7] = row->request_isnull;
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * _idem_claims() -> setof (key text, scope text, role text, since timestamptz,
 *							lease_until timestamptz, fence bigint,
 *							checkpoint jsonb, request jsonb)
 *
 * The claims under a lease that have not been answered, whether or not their lease
 * has run out, as far as the caller may know of them.  Raises 55000 where the table
 * of keys was altered, XX001 where a row has what is no checkpoint.
 */
Datum
idem_claims(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	Relation	rel;
	Sight		sight;
	SysScanDesc scan;
	HeapTuple	tuple;

	idem_result_tuple_begin_set(fcinfo, COLUMNS);
	rel = table_open(idem_catalog()->key_table, AccessShareLock);
	/* compares the table with what was made */
	(void) idem_catalog_key_of(rel);
	sight = sight_of_all(rel);
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 0, NULL);
	while (HeapTupleIsValid(tuple = idem_committed_row_next(scan, GetActiveSnapshot())))
	{
		IdemKeyRow	row = {0};
		Sight		sees = sight;

		idem_key_table_read(tuple, RelationGetDescr(rel), now, 0, &row);
		if (!is_open(&row, now))
			continue;
		if (sees != ALL && idem_role_has_rights_of(GetUserId(), row.claimed_by))
			sees = ALL;
		if (sees == NOTHING)
			continue;
		idem_key_table_read(tuple, RelationGetDescr(rel), now, IDEM_WITH_VALUES,
							&row);
		return_claim((ReturnSetInfo *) fcinfo->resultinfo, tuple,
					 RelationGetDescr(rel), &row, sees);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}
