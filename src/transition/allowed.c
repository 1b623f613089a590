/*
 * allowed.c
 *	  SQL: idem_allowed(), the states that a row may go to now.
 *
 * The row is read with the caller's rights.  Where the machine has guards, the
 * whole row is read, to be shown to them as it would be in each state; else its
 * state will do.
 *
 * The caller only looks.  So whatever else there is of code that belongs to the
 * table, domains above all, runs with the rights of the table's owner, and guards
 * with those that guard.c tells of.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/error.h"
#include "base/unique.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "run/owner.h"
#include "run/query.h"
#include "table/follow.h"
#include "table/revision.h"
#include "table/rowid.h"
#include "table/table.h"

PG_FUNCTION_INFO_V1(idem_allowed);

/* A row as it was read. */
typedef struct Row
{
	const char *state;			/* NULL: it has none */
	HeapTuple	tuple;			/* the whole row; NULL if it was not wanted */
} Row;

static Relation
open_target(Oid relid, IdemLifecycle *lifecycle)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	char		relkind;

	if (rel == NULL)
		idem_error_no_relation(relid);
	relkind = rel->rd_rel->relkind;
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot follow a state machine",
						RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(relkind)));
	if (!idem_follow_find(lifecycle, rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow a state machine",
						RelationGetRelationName(rel)),
				 errhint("Call idem_attach(), or enable the triggers it made.")));
	return rel;
}

static char *
write_sql(Relation rel, const IdemLifecycle *lifecycle, const IdemUnique *key,
		  bool whole)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  lifecycle->status - 1);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT idem_row.%s",
					 quote_identifier(NameStr(att->attname)));
	if (whole)
		appendStringInfo(&buf, ", (idem_row.*)::%s",
						 format_type_be_qualified(rel->rd_rel->reltype));
	appendStringInfo(&buf, " FROM %s%s AS idem_row WHERE ",
					 rel->rd_rel->relkind == RELKIND_RELATION ? "ONLY " : "",
					 idem_table_name(rel));
	idem_rowid_condition(&buf, rel, key);
	return buf.data;
}

static HeapTuple
tuple_of(Datum row)
{
	HeapTuple	tuple = palloc0(sizeof(HeapTupleData));

	tuple->t_data = DatumGetHeapTupleHeader(row);
	tuple->t_len = HeapTupleHeaderGetDatumLength(tuple->t_data);
	ItemPointerSetInvalid(&tuple->t_self);
	return tuple;
}

/* Reads the row; raises ID205 if there is none. */
static Row
read_row(Relation rel, const IdemLifecycle *lifecycle, const IdemRowId *id,
		 bool whole)
{
	struct
	{
		char		kind;
		bool		whole;
		Oid			user;
		Oid			target;
	}			signature;
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  lifecycle->status - 1);
	IdemUnique	key;
	Oid			types[INDEX_MAX_KEYS];
	Datum		args[INDEX_MAX_KEYS];
	IdemPlan   *plan;
	Datum		values[2];
	bool		isnull[2];
	Oid			function;
	bool		isvarlena;
	IdemCaller	caller;
	Row			row = {0};

	idem_unique_need_primary(&key, rel);
	idem_owner_enter(&caller, rel->rd_rel->relowner);
	idem_rowid_bind(id, rel, &key, types, args);
	idem_owner_leave(&caller);

	memset(&signature, 0, sizeof(signature));
	signature.kind = 'a';
	signature.whole = whole;
	signature.user = GetUserId();
	signature.target = RelationGetRelid(rel);
	plan = idem_query_find((char *) &signature, sizeof(signature));
	if (plan == NULL)
		plan = idem_query_keep((char *) &signature, sizeof(signature),
							   write_sql(rel, lifecycle, &key, whole),
							   key.ncolumns, types);
	if (idem_query_caller(plan, args, NULL, whole ? 2 : 1, values, isnull) == 0)
		idem_error_no_row(RelationGetRelid(rel), id->text, NULL);

	getTypeOutputInfo(att->atttypid, &function, &isvarlena);
	if (!isnull[0])
		row.state = OidOutputFunctionCall(function, values[0]);
	if (whole)
		row.tuple = tuple_of(values[1]);
	return row;
}

/* The row as it would be in another state, with the version it would have. */
static HeapTuple
put_state(Relation rel, const IdemLifecycle *lifecycle, HeapTuple row,
		  const char *state)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  lifecycle->status - 1);
	int			number = lifecycle->status;
	bool		isnull;
	int64		version;
	Datum		value;
	Oid			function;
	Oid			ioparam;
	IdemCaller	caller;

	idem_owner_enter(&caller, rel->rd_rel->relowner);
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	value = OidInputFunctionCall(function, unconstify(char *, state), ioparam,
								 att->atttypmod);
	version = idem_revision_get(row, rel, lifecycle->version, &isnull);
	if (!isnull)
		row = idem_revision_set(row, rel, lifecycle->version,
								idem_revision_next(rel, lifecycle->version,
												   version));
	idem_owner_leave(&caller);
	isnull = false;
	return heap_modify_tuple_by_cols(row, RelationGetDescr(rel), 1, &number,
									 &value, &isnull);
}

/* The edges by which a row may leave its state, or begin with one. */
static List *
exits(const char *name, const char *state)
{
	const IdemMachine *machine = idem_machine_find(name);
	IdemEdge   *edge;

	if (state != NULL)
		return idem_machine_exits(machine, state);
	edge = palloc0(sizeof(IdemEdge));
	edge->to = pstrdup(idem_machine_initial(machine));
	return list_make1(edge);
}

static bool
guarded(List *edges)
{
	ListCell   *lc;

	foreach(lc, edges)
	{
		if (((const IdemEdge *) lfirst(lc))->guard != NULL)
			return true;
	}
	return false;
}

/*
 * idem_allowed(target regclass, id) -> SETOF text
 *
 * Raises 42P01 and 42809 for what is not a table, 55000 for one that does not
 * follow a machine, 42P10 for want of a primary key, what idem_rowid_bind raises
 * for an id that does not fit it, ID205 where there is no such row, and whatever
 * a guard raises.
 */
static Datum
allowed(FunctionCallInfo fcinfo, const IdemRowId *id)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	IdemLifecycle lifecycle;
	IdemGuards *guards;
	Relation	rel;
	Row			row;
	List	   *edges;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	rel = open_target(PG_GETARG_OID(0), &lifecycle);
	row = read_row(rel, &lifecycle, id, false);
	edges = exits(lifecycle.machine, row.state);
	if (guarded(edges))
	{
		/* it may have moved on since */
		row = read_row(rel, &lifecycle, id, true);
		edges = exits(lifecycle.machine, row.state);
	}

	guards = idem_guard_make_looking(rel);
	foreach(lc, edges)
	{
		const IdemEdge *edge = lfirst(lc);
		Datum		value = CStringGetTextDatum(edge->to);
		bool		isnull = false;

		if (edge->guard == NULL ||
			idem_guard_ask(guards, edge,
						   put_state(rel, &lifecycle, row.tuple, edge->to),
						   NULL, &isnull))
		{
			isnull = false;
			tuplestore_putvalues(result->setResult, result->setDesc, &value,
								 &isnull);
		}
	}
	relation_close(rel, NoLock);
	return (Datum) 0;
}

Datum
idem_allowed(PG_FUNCTION_ARGS)
{
	return allowed(fcinfo, idem_rowid_argument(fcinfo, 1));
}
