/*
 * allowed_transitions.c
 *	  SQL: idem_allowed(), the states that a row may go to now.
 *
 * The row is read with the caller's rights.  Where the machine has guards, the
 * whole row is read, to be shown to them as it would be in each state; else its
 * state will do.
 *
 * The caller only looks.  So whatever else there is of code that belongs to the
 * table, domains above all, runs with the rights of the table's owner, and guards
 * with those that guard.c describes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/error.h"
#include "base/unique_index.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "run/spi_caller.h"
#include "run/usercontext.h"
#include "table/attachment.h"
#include "table/pk_argument.h"
#include "table/pk_value.h"
#include "table/row_version.h"
#include "table/sql_name.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_allowed);

/* A row as it was read. */
typedef struct Row
{
	const char *state;			/* NULL: it has none */
	HeapTuple	tuple;			/* the whole row; NULL if it was not wanted */
} Row;

static Relation
open_target(Oid relid, IdemAttachment *attachment)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL)
		idem_error_no_relation(relid);
	idem_target_check_kind(rel, IDEM_TARGET_ALLOWED);
	idem_attachment_need(attachment, rel, NULL);
	return rel;
}

/* The table of a row, and what tells the row from others. */
typedef struct Target
{
	Relation	rel;
	const IdemAttachment *attachment;
	const IdemUniqueIndex *key;
} Target;

/* Reads the state of the row, and the whole row if that is asked for. */
static const char *
write_sql(const void *state, int whole)
{
	const Target *target = state;
	Relation	rel = target->rel;
	const IdemAttachment *attachment = target->attachment;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT idem_row.%s",
					 idem_sql_name_column(rel, attachment->status));
	if (whole)
		appendStringInfo(&buf, ", (idem_row.*)::%s",
						 format_type_be_qualified(rel->rd_rel->reltype));
	appendStringInfo(&buf, " FROM %s AS idem_row WHERE ",
					 idem_sql_name_only(rel));
	idem_pk_value_condition(&buf, rel, target->key);
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
read_row(Relation rel, const IdemAttachment *attachment, const IdemPkValue *id,
		 bool whole)
{
	IdemTableSignature signature = {
		IDEM_PLAN_ALLOWED, GetUserId(), RelationGetRelid(rel)
	};
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  attachment->status - 1);
	IdemUniqueIndex key;
	Oid			types[INDEX_MAX_KEYS];
	Datum		args[INDEX_MAX_KEYS];
	Target		target = {rel, attachment, &key};
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature), whole},
		.write_sql = write_sql, .state = &target,
		.argtypes = types,
		.table = RelationGetRelid(rel), .looks = true
	};
	Datum		values[2];
	bool		isnull[2];
	Oid			function;
	bool		isvarlena;
	IdemUserContext caller;
	Row			row = {0};

	idem_unique_index_need_primary(&key, rel);
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	idem_pk_value_bind(id, rel, &key, types, args);
	idem_usercontext_leave(&caller);

	statement.nargs = key.ncolumns;
	if (idem_spi_caller(idem_spi_caller_plan(&statement), args, NULL,
						whole ? 2 : 1, values, isnull) == 0)
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
put_state(Relation rel, const IdemAttachment *attachment, HeapTuple row,
		  const char *state)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  attachment->status - 1);
	int			number = attachment->status;
	bool		isnull;
	int64		version;
	Datum		value;
	Oid			function;
	Oid			ioparam;
	IdemUserContext caller;

	Assert(row != NULL);
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	value = OidInputFunctionCall(function, unconstify(char *, state), ioparam,
								 att->atttypmod);
	version = idem_row_version_get(row, rel, attachment->version, &isnull);
	if (!isnull)
	{
		version = idem_row_version_next(rel, attachment->version, version);
		row = idem_row_version_set(row, rel, attachment->version, version);
	}
	idem_usercontext_leave(&caller);
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
 * follow a machine, 42P10 for want of a primary key, what idem_pk_value_bind raises
 * for an id that does not fit it, ID205 where there is no such row, and whatever
 * a guard raises.
 */
static Datum
allowed(FunctionCallInfo fcinfo, const IdemPkValue *id)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	IdemAttachment attachment;
	IdemGuards *guards;
	Relation	rel;
	Row			row;
	List	   *edges;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	rel = open_target(PG_GETARG_OID(0), &attachment);
	row = read_row(rel, &attachment, id, false);
	edges = exits(attachment.machine, row.state);
	if (guarded(edges))
	{
		/* it may have moved on since */
		row = read_row(rel, &attachment, id, true);
		edges = exits(attachment.machine, row.state);
	}

	guards = idem_guard_make_looking(rel);
	foreach(lc, edges)
	{
		const IdemEdge *edge = lfirst(lc);
		Datum		value = CStringGetTextDatum(edge->to);
		bool		isnull = false;

		if (edge->guard == NULL ||
			idem_guard_ask(guards, edge,
						   put_state(rel, &attachment, row.tuple, edge->to),
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
	return allowed(fcinfo, idem_pk_argument_read(fcinfo, 1));
}
