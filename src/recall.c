/*
 * recall.c
 *	  SQL: idem_history(), the states that a row has been in.
 *
 * A row's history is for those who may read the row.  So the row is looked for
 * first, by a statement of the caller's.  Where there is none, it has been
 * deleted, or row security hides it; whom row security holds for is not told
 * which.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "catalog.h"
#include "error.h"
#include "follow.h"
#include "partition.h"
#include "query.h"
#include "result.h"
#include "rowid.h"
#include "rowkey.h"
#include "unique.h"

PG_FUNCTION_INFO_V1(idem_history);

/*
 * In the order in which the rows were written: under the lock of the row that
 * they are of, so ids tell the order of its changes even where the clock has
 * been set back, or the row was deleted and its versions began anew.
 */
static IdemStatement select_history = {
	.text = "SELECT h.version, h.from_state, h.to_state, h.changed_at,"
	" h.changed_by, h.scope, h.key, h.note FROM @.idem_history AS h"
	" WHERE h.target OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.jsonb_hash(h.row_key) OPERATOR(pg_catalog.=) pg_catalog.jsonb_hash($2)"
	" AND h.row_key OPERATOR(pg_catalog.=) $2 ORDER BY h.id",
	.nargs = 2,
	.argtypes = {REGCLASSOID, JSONBOID}
};

/* The table, or that of which a partition is named, to be closed by the caller. */
static Relation
open_target(Oid target)
{
	Relation	rel = try_relation_open(target, AccessShareLock);

	if (rel == NULL)
		idem_error_no_relation(target);
	if (rel->rd_rel->relispartition)
	{
		Oid			root = idem_partition_root(target);

		relation_close(rel, AccessShareLock);
		return relation_open(root, AccessShareLock);
	}
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot have a history",
						RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(rel->rd_rel->relkind),
				 errhint("Name the table itself.")));
	return rel;
}

static void
append_column(StringInfo buf, Relation rel, AttrNumber number)
{
	appendStringInfo(buf, "%sidem_row.%s", buf->len > 0 ? ", " : "",
					 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel),
															number - 1)->attname)));
}

/*
 * What it takes to see a row's history: its key, state and version; the whole
 * row where the table no longer follows a machine.
 */
static char *
write_sql(Relation rel, const IdemLifecycle *lifecycle, const IdemUnique *key)
{
	StringInfoData columns;
	StringInfoData sql;

	initStringInfo(&columns);
	for (int i = 0; i < key->ncolumns; i++)
		append_column(&columns, rel, key->columns[i]);
	if (lifecycle != NULL)
	{
		append_column(&columns, rel, lifecycle->status);
		append_column(&columns, rel, lifecycle->version);
	}
	else
		appendStringInfoString(&columns, ", idem_row");

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s%s AS idem_row WHERE ",
					 columns.data,
					 rel->rd_rel->relkind == RELKIND_RELATION ? "ONLY " : "",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)));
	idem_rowid_condition(&sql, rel, key);
	return sql.data;
}

/*
 * Reads the key of the row that the caller means, as the row has it.  False: he
 * sees no such row.  Raises 42501 if he may not read the table.
 */
static bool
find_row(Relation rel, const IdemLifecycle *lifecycle, const IdemUnique *key,
		 Oid *types, Datum *values)
{
	struct
	{
		char		kind;
		Oid			user;
		Oid			target;
	}			signature;
	IdemPlan   *plan;
	Datum		found[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	memset(&signature, 0, sizeof(signature));
	signature.kind = 'h';
	signature.user = GetUserId();
	signature.target = RelationGetRelid(rel);
	plan = idem_query_find((char *) &signature, sizeof(signature));
	if (plan == NULL)
		plan = idem_query_keep((char *) &signature, sizeof(signature),
							   write_sql(rel, lifecycle, key),
							   key->ncolumns, types);
	if (idem_query_caller(plan, values, NULL, key->ncolumns, found, isnull) == 0)
		return false;
	memcpy(values, found, sizeof(Datum) * key->ncolumns);
	return true;
}

static void
send_history(FunctionCallInfo fcinfo, Oid target, Jsonb *row)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);
	Datum		args[2];

	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory,
									false, NULL, NULL);
	args[0] = ObjectIdGetDatum(target);
	args[1] = JsonbPGetDatum(row);
	idem_query_own_send(&select_history, args, dest);
	dest->rDestroy(dest);
}

/*
 * idem_history(target regclass, id)
 *		-> setof (version bigint, from_state text, to_state text,
 *		   changed_at timestamptz, changed_by text, scope text, key text,
 *		   note jsonb)
 *
 * The transitions of a row, oldest first; none if the caller may not know of
 * it.  Errors: 42P01 and 42809 for what is not a table, 42P10 for want of a
 * primary key, what idem_rowid_bind raises for an id that does not fit it, 42501
 * for want of the privilege to read the row.
 */
static Datum
recall(FunctionCallInfo fcinfo, const IdemRowId *id)
{
	Relation	rel;
	IdemLifecycle lifecycle;
	const IdemLifecycle *followed;
	IdemUnique	key;
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	idem_result_begin_set(fcinfo, 8);

	rel = open_target(PG_GETARG_OID(0));
	idem_unique_need_primary(&key, rel);
	idem_rowid_bind(id, rel, &key, types, values);
	followed = idem_follow_find_any(&lifecycle, rel) ? &lifecycle : NULL;
	if (find_row(rel, followed, &key, types, values) ||
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED)
		send_history(fcinfo, RelationGetRelid(rel),
					 idem_rowkey_form(rel, followed, &key, values));
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}

Datum
idem_history(PG_FUNCTION_ARGS)
{
	return recall(fcinfo, idem_rowid_argument(fcinfo, 1));
}
