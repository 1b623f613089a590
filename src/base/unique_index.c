/*
 * unique_index.c
 *	  Unique indexes, as what tells one row from another.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_index.h"
#include "catalog/pg_operator.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/unique_index.h"

/*
 * Reads an index, if it tells any two rows of its table apart at any time:
 * false for one that is not unique, is partial, deferrable, on expressions,
 * over ranges (WITHOUT OVERLAPS), or not valid.
 */
bool
idem_unique_index_read(IdemUniqueIndex *unique, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		form->indisexclusion)
		return false;
	if (RelationGetIndexPredicate(index) != NIL)
		return false;

	Assert(form->indnkeyatts > 0 && form->indnkeyatts <= INDEX_MAX_KEYS);
	unique->index = RelationGetRelid(index);
	unique->ncolumns = form->indnkeyatts;
	unique->nulls_equal = form->indnullsnotdistinct;
	for (int i = 0; i < unique->ncolumns; i++)
	{
		unique->columns[i] = form->indkey.values[i];
		if (unique->columns[i] == InvalidAttrNumber)
			return false;		/* an expression */
		unique->collation[i] = index->rd_indcollation[i];
		unique->equality[i] =
			get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
								index->rd_opcintype[i], BTEqualStrategyNumber);
		if (!OidIsValid(unique->equality[i]))
			return false;
	}
	return true;
}

/*
 * Opens the index of a table's primary key; NULL if it has none.  The table is to
 * be open and locked.
 */
Relation
idem_unique_index_open_primary(Relation rel)
{
	Oid			former = InvalidOid;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	for (;;)
	{
		Oid			primary;
		Relation	index;

		/*
		 * sets rd_pkindex, which is good only until an invalidation is
		 * accepted
		 */
		list_free(RelationGetIndexList(rel));
		primary = rel->rd_pkindex;
		if (!OidIsValid(primary))
			return NULL;
		index = index_open(primary, AccessShareLock);
		if (index->rd_index->indisvalid || primary == former)
			return index;

		/* before it was open, REINDEX CONCURRENTLY put another in its place */
		index_close(index, AccessShareLock);
		former = primary;
	}
}

/* Reads the primary key of a table; false if it has none of that kind. */
bool
idem_unique_index_primary(IdemUniqueIndex *unique, Relation rel)
{
	Relation	index = idem_unique_index_open_primary(rel);
	bool		good;

	if (index == NULL)
		return false;
	good = idem_unique_index_read(unique, index);
	index_close(index, AccessShareLock);
	return good;
}

/* Reads the primary key of a table that must have one: raises 42P10. */
void
idem_unique_index_need_primary(IdemUniqueIndex *unique, Relation rel)
{
	if (!idem_unique_index_primary(unique, rel))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no primary key to find a row by",
						RelationGetRelationName(rel)),
				 errdetail("A deferrable primary key does not count."),
				 errhint("Add a primary key."),
				 errtable(rel)));
}

/* The operator that compares a column with a value, as SQL. */
const char *
idem_unique_index_operator(const IdemUniqueIndex *unique, int column)
{
	Oid			operator = unique->equality[column];
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *sql;

	Assert(column >= 0 && column < unique->ncolumns);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	sql = psprintf("OPERATOR(%s.%s)",
				   quote_identifier(get_namespace_name(form->oprnamespace)),
				   NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return sql;
}
