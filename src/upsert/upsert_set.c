/*
 * upsert_set.c
 *	  SQL: idem_upsert_batch(), upserts of many rows, each once per key of its own.
 *
 * The upserts are made one by one, in the order of their keys: sessions that make
 * sets of them in that order do not wait for each other's keys in a circle.  An
 * error of one is an error of all.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "base/argument.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "key/key.h"
#include "key/key_init.h"
#include "upsert/upsert_call.h"

PG_FUNCTION_INFO_V1(idem_upsert_batch);

#define COLUMNS		5

/* An upsert of the set, and what comes of it. */
typedef struct Member
{
	int			number;			/* its place in the set */
	text	   *key;
	Jsonb	   *data;
	bool		replayed;
	IdemAnswer	answer;
} Member;

/* A call. */
typedef struct Set
{
	IdemKey		key;			/* all but the key itself */
	IdemUpsertCall call;		/* all but the data, and what comes of that */
	Jsonb	   *merge;			/* NULL: none */
	int			count;
	Member	   *members;		/* in the order in which they are asked for */
} Set;

/* A key, as a call of idem_upsert() would be given it. */
static text *
read_key(Datum value, Oid type)
{
	if (type == UUIDOID)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, value)));
	return DatumGetTextPP(value);
}

static void
read_members(Set *set, ArrayType *keys, ArrayType *data)
{
	Oid			type = getBaseType(ARR_ELEMTYPE(keys));
	Datum	   *values;
	Datum	   *rows;
	bool	   *nulls;
	bool	   *row_nulls;

	if (type != TEXTOID && type != VARCHAROID && type != UUIDOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"%s\" must be of type %s", "keys", "text[] or uuid[]")));
	set->count = idem_argument_elements(keys, "keys", InvalidOid, &values, &nulls);
	if (idem_argument_elements(data, "data", JSONBOID, &rows, &row_nulls) !=
		set->count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"data\" must have as many elements as \"keys\"")));

	set->members = palloc_extended(sizeof(Member) * set->count,
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < set->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			idem_error_null("keys[]");
		if (row_nulls[i])
			idem_error_null("data[]");
		set->members[i].number = i;
		set->members[i].key = read_key(values[i], type);
		set->members[i].data = DatumGetJsonbP(rows[i]);
	}
}

/* By key, as the table of keys has it; of equal ones, the first that is asked for. */
static int
compare_members(const void *a, const void *b)
{
	const Member *ma = *(Member *const *) a;
	const Member *mb = *(Member *const *) b;
	int			la = VARSIZE_ANY_EXHDR(ma->key);
	int			lb = VARSIZE_ANY_EXHDR(mb->key);
	int			difference = memcmp(VARDATA_ANY(ma->key), VARDATA_ANY(mb->key),
									Min(la, lb));

	if (difference == 0)
		difference = la - lb;
	return difference != 0 ? difference : ma->number - mb->number;
}

static Member **
sort_members(const Set *set)
{
	Member	  **sorted = palloc_extended(sizeof(Member *) * set->count,
										 MCXT_ALLOC_HUGE);

	for (int i = 0; i < set->count; i++)
		sorted[i] = &set->members[i];
	qsort(sorted, set->count, sizeof(Member *), compare_members);
	return sorted;
}

/* Adds to an error which upsert it is about. */
static void
name_member(void *arg)
{
	const Member *member = *(Member **) arg;

	errcontext("upsert number %d of \"keys\"", member->number + 1);
}

/* Makes one upsert; what it allocates but for the answer goes with scratch. */
static void
run_member(const Set *set, Member *member, MemoryContext scratch)
{
	MemoryContext former = MemoryContextSwitchTo(scratch);
	IdemUpsertCall call = set->call;
	IdemAnswer *answer = &member->answer;
	IdemKey		key;

	idem_key_init_member(&key, &set->key, member->key);
	idem_upsert_call_set_data(&call, member->data);
	if (set->merge != NULL)
		idem_upsert_call_set_merge(&call, set->merge);
	key.fingerprint = idem_upsert_call_fingerprint(&call);
	member->replayed = idem_key_run(&key, idem_upsert_call_run, &call, answer);

	MemoryContextSwitchTo(former);
	if (!answer->response_isnull)
		answer->response = PointerGetDatum(PG_DETOAST_DATUM_COPY(answer->response));
	MemoryContextReset(scratch);
}

static void
run_members(const Set *set)
{
	Member	  **sorted = sort_members(set);
	Member	   *current;
	ErrorContextCallback context;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "idem upsert of a set",
												  ALLOCSET_DEFAULT_SIZES);

	idem_error_push_context(&context, name_member, &current);
	for (int i = 0; i < set->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		current = sorted[i];
		run_member(set, current, scratch);
	}
	idem_error_pop_context(&context);
	MemoryContextDelete(scratch);
}

static void
return_members(ReturnSetInfo *result, const Set *set)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	for (int i = 0; i < set->count; i++)
	{
		const Member *member = &set->members[i];
		const IdemAnswer *answer = &member->answer;

		values[0] = Int64GetDatum(i + 1);
		values[1] = PointerGetDatum(member->key);
		values[2] = ObjectIdGetDatum(idem_catalog()->outcome[answer->outcome]);
		values[3] = BoolGetDatum(member->replayed);
		values[4] = answer->response;
		nulls[4] = answer->response_isnull ||
			(member->replayed && idem_answer_is_withheld(answer));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * idem_upsert_batch(keys text[] or uuid[], target regclass, data jsonb[],
 *					 conflict text[], scope text, ttl interval, merge jsonb)
 *		-> SETOF (ordinal bigint, key text, outcome idem_outcome, replayed boolean,
 *				  result jsonb)
 *
 * As idem_upsert() does for each key with its data, all or none, and returns a row
 * for each, in the order of keys.  A key that stands there twice is a replay the
 * second time.  Raises 22023 for keys and data that are not as many, 42804 for keys
 * of another type, and what idem_upsert() raises, with the place of the key in the
 * error's context.
 */
Datum
idem_upsert_batch(PG_FUNCTION_ARGS)
{
	Set			set = {0};
	IdemUpsertSpec *spec = &set.call.upsert.spec;

	idem_key_init_set(&set.key, fcinfo, "idem_upsert_batch()", 4, 5);
	if (PG_ARGISNULL(0))
		idem_error_null("keys");
	if (PG_ARGISNULL(1))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("data");
	idem_result_tuple_begin_set(fcinfo, COLUMNS);

	spec->keyed = true;
	spec->target = PG_GETARG_OID(1);
	spec->by_primary_key = PG_ARGISNULL(3);
	if (!PG_ARGISNULL(3))
		spec->conflict = idem_upsert_call_conflict(PG_GETARG_ARRAYTYPE_P(3));
	if (!PG_ARGISNULL(6))
		set.merge = PG_GETARG_JSONB_P(6);
	read_members(&set, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(2));

	run_members(&set);
	return_members((ReturnSetInfo *) fcinfo->resultinfo, &set);
	return (Datum) 0;
}
