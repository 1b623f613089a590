/*
 * history_read.c
 *	  SQL: idem_history(), the states that a row has been in.
 *
 * A row's history is for those who may read the row, and that of a column for those
 * who may read the column.  So the row is looked for first, by a statement of the
 * caller's.  Where there is none, it has been deleted, or row security hides it; a
 * caller for whom row security holds does not learn which.
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "base/error.h"
#include "base/result_tuple.h"
#include "base/unique_index.h"
#include "history/history_order.h"
#include "history/history_select.h"
#include "run/spi_caller.h"
#include "run/usercontext.h"
#include "table/attachment.h"
#include "table/partition_root.h"
#include "table/pk_argument.h"
#include "table/pk_value.h"
#include "table/sql_name.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_history);

#define COLUMNS		9			/* of the result */

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
	idem_target_check_kind(rel, IDEM_TARGET_HISTORY);
	return rel;
}

static void
append_column(StringInfo buf, Relation rel, AttrNumber number)
{
	appendStringInfo(buf, "%sidem_row.%s", buf->len > 0 ? ", " : "",
					 idem_sql_name_column(rel, number));
}

/* The table of a row, and what tells the row from others. */
typedef struct Target
{
	Relation	rel;
	List	   *attachments;	/* NIL: it follows no machine */
	const IdemUniqueIndex *key;
} Target;

/*
 * What it takes to see a row's history, beside a state: its key and version; the
 * whole row where the table no longer follows a machine.
 */
static const char *
write_sql(const void *state, int which)
{
	const Target *target = state;
	Relation	rel = target->rel;
	const IdemUniqueIndex *key = target->key;
	StringInfoData columns;
	StringInfoData sql;

	initStringInfo(&columns);
	for (int i = 0; i < key->ncolumns; i++)
		append_column(&columns, rel, key->columns[i]);
	if (target->attachments != NIL)
		append_column(&columns, rel,
					  ((const IdemAttachment *) linitial(target->attachments))->version);
	else
		appendStringInfoString(&columns, ", idem_row.*");

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s AS idem_row WHERE ",
					 columns.data, idem_sql_name_only(rel));
	idem_pk_value_condition(&sql, rel, key);
	return sql.data;
}

static const IdemOperation operation = {gettext_noop("look at a row of")};

/*
 * Reads the key of the row that the caller means, as the row has it.  False:
 * the caller sees no such row.  Raises 42501 if the caller may not read the
 * table.
 */
static bool
find_row(Relation rel, List *attachments, const IdemUniqueIndex *key,
		 Oid *types, Datum *values)
{
	IdemTableSignature signature = {
		IDEM_PLAN_HISTORY, GetUserId(), RelationGetRelid(rel)
	};
	Target		target = {rel, attachments, key};
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature)},
		.write_sql = write_sql, .state = &target,
		.nargs = key->ncolumns, .argtypes = types,
		.table = RelationGetRelid(rel), .looks = true,
		/* but for policies, as in any query */
		.runs_nothing = check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED,
		.operation = &operation
	};
	Datum		found[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (idem_spi_caller(idem_spi_caller_plan(&statement), values, NULL,
						key->ncolumns, found, isnull) == 0)
		return false;
	memcpy(values, found, sizeof(Datum) * key->ncolumns);
	return true;
}

static bool
may_read_all(Relation rel)
{
	return pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_SELECT) ==
		ACLCHECK_OK;
}

static bool
may_read_column(Relation rel, AttrNumber number)
{
	return may_read_all(rel) ||
		pg_attribute_aclcheck(RelationGetRelid(rel), number, GetUserId(),
							  ACL_SELECT) == ACLCHECK_OK;
}

/* Raises 42501 unless the caller may read a state that a machine gives a row. */
static void
check_states(Relation rel, List *attachments)
{
	ListCell   *lc;

	foreach(lc, attachments)
	{
		if (may_read_column(rel, ((const IdemAttachment *) lfirst(lc))->status))
			return;
	}
	if (attachments != NIL)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   RelationGetRelationName(rel));
}

/*
 * The columns (char *) whose history the caller may read; NIL: all that there have
 * been.
 */
static List *
readable_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *columns = NIL;

	if (may_read_all(rel))
		return NIL;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && may_read_column(rel, att->attnum))
			columns = lappend(columns, NameStr(att->attname));
	}
	Assert(columns != NIL);		/* the key at least */
	return columns;
}

/* Raises 55000 where no history is kept of a table, nor ever was. */
static void
need_history(Relation rel, const IdemHistoryTables *tables)
{
	if (idem_attachment_records(rel, NULL) || idem_history_select_any(tables))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" keeps no history", RelationGetRelationName(rel)),
			 errdetail("None of its rows has a recorded transition."),
			 errhint("Call idem_attach() with history => true.")));
}

/* Returns the transitions of a row; false if there are none. */
static bool
return_history(ReturnSetInfo *result, const IdemHistoryTables *tables)
{
	Tuplestorestate *found = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);
	bool		any;

	SetTuplestoreDestReceiverParams(dest, found, CurrentMemoryContext, false,
									NULL, NULL);
	idem_history_select_rows(tables, dest);
	dest->rDestroy(dest);
	any = idem_history_order(found, result->setDesc, result->setResult);
	tuplestore_end(found);
	return any;
}

/*
 * idem_history(target regclass, id)
 *		-> setof (version bigint, from_state text, to_state text,
 *		   changed_at timestamptz, changed_by text, scope text, key text,
 *		   note jsonb, status_column text)
 *
 * The transitions of a row, oldest first; none if the caller may not know of
 * it.  Errors: 42P01 and 42809 for what is not a table, 42P10 for want of a
 * primary key, what idem_pk_value_bind raises for an id that does not fit it,
 * 42501 for want of the privilege to read the row, 55000 where no history is
 * kept.
 */
static Datum
read_history(FunctionCallInfo fcinfo, const IdemPkValue *id)
{
	Relation	rel;
	List	   *attachments;
	IdemUniqueIndex key;
	IdemHistoryTables tables;
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	IdemUserContext caller;
	bool		visible;

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	idem_result_tuple_begin_set(fcinfo, COLUMNS);

	rel = open_target(PG_GETARG_OID(0));
	idem_unique_index_need_primary(&key, rel);
	/* the caller only looks: what the key's types check is the owner's code */
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	idem_pk_value_bind(id, rel, &key, types, values);
	idem_usercontext_leave(&caller);
	attachments = idem_attachment_all(rel, false);
	visible = find_row(rel, attachments, &key, types, values) ||
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED;
	check_states(rel, attachments);
	idem_history_select_tables(rel, PG_GETARG_OID(0), idem_attachment_columns(rel),
							   &key, values, &tables);
	idem_history_select_columns(&tables, readable_columns(rel));
	if (!visible ||
		!return_history((ReturnSetInfo *) fcinfo->resultinfo, &tables))
		need_history(rel, &tables);
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}

Datum
idem_history(PG_FUNCTION_ARGS)
{
	return read_history(fcinfo, idem_pk_argument_read(fcinfo, 1));
}
