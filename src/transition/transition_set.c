/*
 * transition_set.c
 *	  SQL: idem_transition_batch(), a change of a set of rows, as one request.
 *
 * The rows are changed one by one, in the order of their primary key: sessions that
 * change sets of rows in that order do not deadlock with each other.  An error for
 * one row is an error for the whole request.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/argument.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "base/unique_index.h"
#include "table/pk_argument.h"
#include "transition/transition_answer.h"
#include "transition/transition_args.h"

PG_FUNCTION_INFO_V1(idem_transition_batch);

static const IdemTransitionKind of_set = {
	"idem_transition_batch()", NULL, "to_state"
};

/* A row of the set. */
typedef struct Row
{
	int			number;			/* its place in the set */
	Jsonb	   *json;			/* its id, for the answer */
	IdemTransitionArgs args;
	Datum	   *key;			/* the id as the columns of the key have it */
} Row;

/* A call, and what comes of its work. */
typedef struct Set
{
	IdemTransitionCall asked;
	int			count;
	Row		   *rows;			/* in the order in which they are asked for */
	IdemTransitionResult *results;	/* in that order, too */
} Set;

/* By what the rows are sorted. */
typedef struct Order
{
	int			ncolumns;
	FmgrInfo	compare[INDEX_MAX_KEYS];
	Oid			collation[INDEX_MAX_KEYS];
} Order;

/* The rows, in the order in which they are asked for. */
static Row *
read_rows(FunctionCallInfo fcinfo, const IdemTransitionArgs *common, int *count)
{
	IdemPkTable table = {PG_GETARG_OID(0)};
	ArrayType  *array;
	Datum	   *ids;
	Datum	   *versions;
	bool	   *id_nulls;
	bool	   *version_nulls;
	Row		   *rows;

	if (PG_ARGISNULL(1))
		idem_error_null("ids");
	array = PG_GETARG_ARRAYTYPE_P(1);
	*count = idem_argument_elements(array, "ids", InvalidOid, &ids, &id_nulls);
	if (!PG_ARGISNULL(3) &&
		idem_argument_elements(PG_GETARG_ARRAYTYPE_P(3), "expected_versions",
							   INT8OID, &versions, &version_nulls) != *count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"expected_versions\" must have as many elements as \"ids\""),
				 errhint("Give null for a row whose version does not matter.")));

	rows = palloc_extended(sizeof(Row) * *count,
						   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < *count; i++)
	{
		Row		   *row = &rows[i];

		CHECK_FOR_INTERRUPTS();
		if (id_nulls[i])
			idem_error_null("ids[]");
		row->number = i;
		row->args = *common;
		row->args.id = idem_pk_argument_element(&table, ids[i],
												ARR_ELEMTYPE(array), &row->json);
		if (!PG_ARGISNULL(3))
			row->args.expected = idem_row_version_value(versions[i],
														version_nulls[i]);
	}
	return rows;
}

static pg_uuid_t
fingerprint(const Set *set)
{
	const IdemTransitionCall *call = &set->asked;
	const Row  *rows = set->rows;
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transitions");
	idem_fingerprint_relation(&fp, call->target);
	idem_fingerprint_int8(&fp, set->count);
	for (int i = 0; i < set->count; i++)
	{
		idem_fingerprint_int8(&fp, rows[i].args.id->count);
		idem_pk_value_fingerprint(rows[i].args.id, call->target, &fp);
		idem_row_version_fingerprint(&rows[i].args.expected, &fp);
	}
	idem_fingerprint_string(&fp, call->to);
	idem_transition_args_fingerprint(&fp, call);
	return idem_fingerprint_value(&fp);
}

/* The order of the primary key's index, which takes equal ids for equal. */
static void
read_order(const IdemTransitionTarget *target, Order *order)
{
	Relation	index = idem_unique_index_open_primary(target->table.rel);

	order->ncolumns = target->table.key.ncolumns;
	for (int i = 0; i < order->ncolumns; i++)
	{
		fmgr_info_copy(&order->compare[i],
					   index_getprocinfo(index, i + 1, BTORDER_PROC),
					   CurrentMemoryContext);
		order->collation[i] = index->rd_indcollation[i];
	}
	index_close(index, AccessShareLock);
}

static int
compare_rows(const void *a, const void *b, void *arg)
{
	const Row  *ra = *(Row *const *) a;
	const Row  *rb = *(Row *const *) b;
	Order	   *order = arg;

	for (int i = 0; i < order->ncolumns; i++)
	{
		int			difference =
			DatumGetInt32(FunctionCall2Coll(&order->compare[i],
											order->collation[i],
											ra->key[i], rb->key[i]));

		if (difference != 0)
			return difference;
	}
	return ra->number - rb->number; /* the first that is asked for, first */
}

/*
 * Works out the rows' keys, and returns the rows sorted by them.  Meanwhile
 * current is the row that an error would be about.
 */
static Row **
sort_rows(IdemTransitionTarget *target, Row *rows, int count, Row **current)
{
	Row		  **sorted = palloc_extended(sizeof(Row *) * count,
										 MCXT_ALLOC_HUGE);
	Size		size = sizeof(Datum) * target->table.key.ncolumns;
	Order		order;

	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		*current = &rows[i];
		idem_transition_target_bind_row(target, rows[i].args.id);
		rows[i].key = memcpy(palloc(size), target->values, size);
		sorted[i] = &rows[i];
	}
	*current = NULL;
	read_order(target, &order);
	qsort_arg(sorted, count, sizeof(Row *), compare_rows, &order);
#ifdef USE_ASSERT_CHECKING
	/* no two rows are the same: their numbers differ */
	for (int i = 1; i < count; i++)
		Assert(compare_rows(&sorted[i - 1], &sorted[i], &order) < 0);
#endif
	return sorted;
}

/* Adds to an error which row it is about. */
static void
name_row(void *arg)
{
	const Row  *row = *(Row **) arg;

	if (row != NULL)
		errcontext("transition of row %s, number %d of \"ids\"",
				   row->args.id->text, row->number + 1);
}

static const char *
keep_string(const char *string)
{
	return string ? pstrdup(string) : NULL;
}

/* Brings the rows into the state; results are in the order of the rows. */
static void
change_rows(Set *set)
{
	IdemTransitionResult *results = set->results;
	IdemTransitionTarget target;
	Row		  **sorted;
	Row		   *current = NULL;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "idem transition of a row",
												  ALLOCSET_DEFAULT_SIZES);
	ErrorContextCallback context;

	idem_transition_args_open(&set->asked, &target);

	idem_error_push_context(&context, name_row, &current);
	sorted = sort_rows(&target, set->rows, set->count, &current);
	for (int i = 0; i < set->count; i++)
	{
		MemoryContext former;
		IdemTransitionResult *result;

		CHECK_FOR_INTERRUPTS();
		current = sorted[i];
		Assert(current->number >= 0 && current->number < set->count);
		result = &results[current->number];
		memcpy(target.values, current->key,
			   sizeof(Datum) * target.table.key.ncolumns);

		former = MemoryContextSwitchTo(scratch);
		idem_transition_exec(&target, &current->args, result);
		MemoryContextSwitchTo(former);
		result->from = keep_string(result->from);
		result->to = keep_string(result->to);
		MemoryContextReset(scratch);
	}
	idem_error_pop_context(&context);

	MemoryContextDelete(scratch);
	idem_transition_target_close(&target);
}

/* What a key remembers of the set. */
static void
write_answer(const Set *set, IdemAnswer *answer)
{
	IdemOutcome outcome = IDEM_NOOP;
	Jsonb	  **ids = palloc_extended(sizeof(Jsonb *) * set->count,
									  MCXT_ALLOC_HUGE);

	for (int i = 0; i < set->count; i++)
	{
		ids[i] = set->rows[i].json;
		if (set->results[i].outcome == IDEM_APPLIED)
			outcome = IDEM_APPLIED;
	}
	idem_answer_set(answer, outcome,
					idem_transition_answer_encode_set(set->count, ids,
													  set->results));
}

/* The work of a key. */
static void
change_keyed_rows(void *state, IdemAnswer *answer)
{
	Set		   *set = state;

	change_rows(set);
	write_answer(set, answer);
}

static void
return_rows(ReturnSetInfo *result, const Set *set, bool replayed)
{
	Datum		values[1 + IDEM_TRANSITION_COLUMNS];
	bool		nulls[1 + IDEM_TRANSITION_COLUMNS];

	for (int i = 0; i < set->count; i++)
	{
		values[0] = JsonbPGetDatum(set->rows[i].json);
		nulls[0] = false;
		idem_transition_args_answer(&set->results[i], replayed, values + 1,
									nulls + 1);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * idem_transition_batch(target regclass, ids jsonb[], to_state text,
 *				   expected_versions bigint[], key text, scope text,
 *				   ttl interval, note jsonb, expected_state text, status name)
 *		-> SETOF (id jsonb, outcome idem_outcome, replayed boolean,
 *				  from_state text, to_state text, version bigint)
 *
 * As the function for one row does, for each of the rows, in the order of ids.
 * A row that is named twice is there already the second time.  Raises 22023
 * for ids and versions that are not as many, and what the function for one row
 * raises, with the row in the error's context.
 */
Datum
idem_transition_batch(PG_FUNCTION_ARGS)
{
	Set			set;
	IdemKey    *key = &set.asked.key;
	IdemAnswer	answer = {0};
	bool		replayed = false;

	idem_transition_args_read(&set.asked, fcinfo, &of_set);
	idem_result_tuple_begin_set(fcinfo, 1 + IDEM_TRANSITION_COLUMNS);
	set.rows = read_rows(fcinfo, &set.asked.args, &set.count);
	set.results = palloc_extended(sizeof(IdemTransitionResult) * set.count,
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	if (set.asked.args.key != NULL)
	{
		key->fingerprint = fingerprint(&set);
		replayed = idem_key_run(key, change_keyed_rows, &set, &answer);
	}
	else
		change_rows(&set);

	if (replayed)
		idem_transition_answer_decode_set(&answer, set.count, set.results);
	return_rows((ReturnSetInfo *) fcinfo->resultinfo, &set, replayed);
	return (Datum) 0;
}
