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
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "base/error.h"
#include "base/unique_index.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "run/spi_caller.h"
#include "run/usercontext.h"
#include "table/attachment_choice.h"
#include "table/pk_argument.h"
#include "table/pk_value.h"
#include "table/row_version.h"
#include "table/sql_name.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_allowed);

/* A row as it was read. */
typedef struct Row
{
	List	  **exits;			/* the ways out of its states, of each
								 * attachment */
	HeapTuple	tuple;			/* the whole row; NULL if it was not wanted */
} Row;

/* The attachments that are asked about: all, or that by the column named. */
static List *
read_attachments(FunctionCallInfo fcinfo, Relation rel)
{
	List	   *attachments = idem_attachment_choice_need(rel, NULL);
	const IdemAttachment *named;

	if (PG_ARGISNULL(3))
		return attachments;
	named = idem_attachment_choice_named(attachments, rel, NULL,
										 NameStr(*PG_GETARG_NAME(3)));
	return list_make1(unconstify(IdemAttachment *, named));
}

/* The table of a row, and what tells the row from others. */
typedef struct Target
{
	Relation	rel;
	List	   *attachments;
	const IdemUniqueIndex *key;
} Target;

/* The statements: for one column with a state or all, with the whole row or not. */
static int
statement_of(List *attachments, bool whole)
{
	const IdemAttachment *first = linitial(attachments);
	int			column = list_length(attachments) > 1 ? 0 : first->status;

	return column * 2 + (whole ? 1 : 0);
}

static const IdemOperation operation = {gettext_noop("look at a row of")};

/* Reads the states of the row, and the whole row if that is asked for. */
static const char *
write_sql(const void *state, int which)
{
	const Target *target = state;
	Relation	rel = target->rel;
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, target->attachments)
		appendStringInfo(&buf, "%s idem_row.%s", buf.len > 0 ? "," : "SELECT",
						 idem_sql_name_column(rel, ((IdemAttachment *) lfirst(lc))->status));
	if (which == statement_of(target->attachments, true))
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

/* The state that a row has in a column; NULL where it has none. */
static const char *
state_text(Relation rel, AttrNumber status, Datum value, bool isnull)
{
	Oid			function;
	bool		isvarlena;

	if (isnull)
		return NULL;
	getTypeOutputInfo(TupleDescAttr(RelationGetDescr(rel), status - 1)->atttypid,
					  &function, &isvarlena);
	return OidOutputFunctionCall(function, value);
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

/* Reads the row; raises ID205 if there is none. */
static Row
read_row(Relation rel, List *attachments, const IdemPkValue *id, bool whole)
{
	IdemTableSignature signature = {
		IDEM_PLAN_ALLOWED, GetUserId(), RelationGetRelid(rel)
	};
	IdemUniqueIndex key;
	Oid			types[INDEX_MAX_KEYS];
	Datum		args[INDEX_MAX_KEYS];
	Target		target = {rel, attachments, &key};
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature),
		statement_of(attachments, whole)},
		.write_sql = write_sql, .state = &target,
		.argtypes = types,
		.table = RelationGetRelid(rel), .looks = true,
		/* but for policies, as in any query */
		.runs_nothing = check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED,
		.operation = &operation
	};
	int			count = list_length(attachments);
	Datum	   *values = palloc(sizeof(Datum) * (count + 1));
	bool	   *isnull = palloc(sizeof(bool) * (count + 1));
	IdemUserContext caller;
	Row			row = {0};

	idem_unique_index_need_primary(&key, rel);
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	idem_pk_value_bind(id, rel, &key, types, args);
	idem_usercontext_leave(&caller);

	statement.nargs = key.ncolumns;
	if (idem_spi_caller(idem_spi_caller_plan(&statement), args, NULL,
						whole ? count + 1 : count, values, isnull) == 0)
		idem_error_no_row(RelationGetRelid(rel), id->text, NULL);

	row.exits = palloc(sizeof(List *) * count);
	for (int i = 0; i < count; i++)
	{
		const IdemAttachment *attachment = list_nth(attachments, i);

		row.exits[i] = exits(attachment->machine,
							 state_text(rel, attachment->status, values[i],
										isnull[i]));
	}
	if (whole)
		row.tuple = tuple_of(values[count]);
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

/* Is any way out of its states guarded? */
static bool
guarded(const Row *row, int count)
{
	for (int i = 0; i < count; i++)
	{
		ListCell   *lc;

		foreach(lc, row->exits[i])
		{
			if (((const IdemEdge *) lfirst(lc))->guard != NULL)
				return true;
		}
	}
	return false;
}

/* Returns the states that a row may go to by one of the machines. */
static void
return_exits(ReturnSetInfo *result, Relation rel, const IdemAttachment *attachment,
			 HeapTuple row, List *edges, Jsonb *note)
{
	IdemGuards *guards = idem_guard_make_looking(rel, attachment->column);
	ListCell   *lc;

	foreach(lc, edges)
	{
		const IdemEdge *edge = lfirst(lc);
		Datum		value = CStringGetTextDatum(edge->to);
		bool		isnull = false;

		if (edge->guard != NULL &&
			!idem_guard_ask(guards, edge,
							put_state(rel, attachment, row, edge->to),
							note, &isnull))
			continue;
		isnull = false;
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
}

/*
 * idem_allowed(target regclass, id, note jsonb, status name) -> SETOF text
 *
 * Of all machines that the table follows, or of that by the column named status.
 * Raises 42P01 and 42809 for what is not a table, 55000 for one that does not
 * follow a machine, 42703 for a column that does not, 42P10 for want of a primary
 * key, what idem_pk_value_bind raises for an id that does not fit it, ID205 where
 * there is no such row, and whatever a guard raises.
 */
static Datum
allowed(FunctionCallInfo fcinfo, const IdemPkValue *id)
{
	List	   *attachments;
	Relation	rel;
	Row			row;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel == NULL)
		idem_error_no_relation(PG_GETARG_OID(0));
	idem_target_check_kind(rel, IDEM_TARGET_ALLOWED);
	attachments = read_attachments(fcinfo, rel);

	row = read_row(rel, attachments, id, false);
	/* where it may go from then on: it may have moved on since */
	if (guarded(&row, list_length(attachments)))
		row = read_row(rel, attachments, id, true);
	foreach(lc, attachments)
		return_exits((ReturnSetInfo *) fcinfo->resultinfo, rel, lfirst(lc),
					 row.tuple, row.exits[foreach_current_index(lc)],
					 PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2));
	relation_close(rel, NoLock);
	return (Datum) 0;
}

Datum
idem_allowed(PG_FUNCTION_ARGS)
{
	return allowed(fcinfo, idem_pk_argument_read(fcinfo, 1));
}
