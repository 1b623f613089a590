/*
 * upsert_set.c
 *	  SQL: idem_upsert_batch(), upserts of many rows, each once per key of its own.
 *
 * The upserts are made in the order of their keys, one by one or, where that makes
 * no difference but the time that it takes, some together (upsert_chunk.c): sessions
 * that make sets of them in that order do not wait for each other's keys in a circle.
 * An error of one is an error of all.
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
#include "key/key_init.h"
#include "upsert/upsert_chunk.h"
#include "upsert/upsert_set.h"

PG_FUNCTION_INFO_V1(idem_upsert_batch);

#define COLUMNS		5

/* So many members are run alone, at most, before some are tried together again. */
#define MAX_VAIN	31

/* Whether members are to be run together. */
typedef struct Patience
{
	int			left;			/* not before so many are run alone */
	int			vain;			/* and so many were, the last time */
} Patience;

/* A key, as a call of idem_upsert() would be given it. */
static text *
read_key(Datum value, Oid type)
{
	if (type == UUIDOID)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, value)));
	return DatumGetTextPP(value);
}

static void
read_members(IdemUpsertSet *set, ArrayType *keys, ArrayType *data)
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

	set->members = palloc_extended(sizeof(IdemUpsertMember) * set->count,
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
	const IdemUpsertMember *ma = *(IdemUpsertMember *const *) a;
	const IdemUpsertMember *mb = *(IdemUpsertMember *const *) b;
	int			la = VARSIZE_ANY_EXHDR(ma->key);
	int			lb = VARSIZE_ANY_EXHDR(mb->key);
	int			difference = memcmp(VARDATA_ANY(ma->key), VARDATA_ANY(mb->key),
									Min(la, lb));

	if (difference == 0)
		difference = la - lb;
	return difference != 0 ? difference : ma->number - mb->number;
}

static IdemUpsertMember **
sort_members(const IdemUpsertSet *set)
{
	IdemUpsertMember **sorted = palloc_extended(sizeof(IdemUpsertMember *) * set->count,
												MCXT_ALLOC_HUGE);

	for (int i = 0; i < set->count; i++)
		sorted[i] = &set->members[i];
	qsort(sorted, set->count, sizeof(IdemUpsertMember *), compare_members);
	return sorted;
}

/* Adds to an error which upsert it is about. */
static void
name_member(void *arg)
{
	const IdemUpsertCurrent *current = arg;
	const IdemUpsertMember *member = current->member;

	if (current->members != NULL)
	{
		if (*current->at == current->count)
			return;
		member = current->members[*current->at];
	}
	errcontext("upsert number %d of \"keys\"", member->number + 1);
}

/* Has a member ready to be run, with the key and the call that it takes. */
void
idem_upsert_set_prepare(const IdemUpsertSet *set, const IdemUpsertMember *member,
						IdemKey *key, IdemUpsertCall *call)
{
	*call = set->call;
	idem_key_init_member(key, &set->key, member->key);
	idem_upsert_call_set_data(call, member->data);
	if (set->merge != NULL)
		idem_upsert_call_set_merge(call, set->merge);
	key->fingerprint = idem_upsert_call_fingerprint(call);
}

static void
run_member(const IdemUpsertSet *set, IdemUpsertMember *member)
{
	IdemUpsertCall call;
	IdemKey		key;

	idem_upsert_set_prepare(set, member, &key, &call);
	member->replayed = idem_key_run(&key, idem_upsert_call_run, &call,
									&member->answer);
}

/* Copies an answer to the current memory. */
static void
keep_answer(IdemAnswer *answer)
{
	if (!answer->response_isnull)
		answer->response = PointerGetDatum(PG_DETOAST_DATUM_COPY(answer->response));
}

/*
 * Runs the next members, some together, or one alone; returns how many.  Where
 * nothing can be done together, that is tried again after so many members, and less
 * and less often.
 */
static int
run_next(const IdemUpsertSet *set, IdemUpsertMember **members, int count,
		 IdemUpsertCurrent *current, Patience *patience)
{
	int			done = 0;

	if (patience->left > 0)
		patience->left--;
	else if (set->key.store == NULL)	/* a store is written by statements */
	{
		done = idem_upsert_chunk_run(set, members, count, current);
		patience->vain = done > 0 ? 0 :
			Min(patience->vain * 2 + 1, MAX_VAIN);
		patience->left = patience->vain;
	}
	if (done == 0)
	{
		current->member = members[0];
		run_member(set, members[0]);
		done = 1;
	}
	return done;
}

/* Runs all; what they allocate but for the answers goes with scratch. */
static void
run_members(const IdemUpsertSet *set)
{
	IdemUpsertMember **sorted = sort_members(set);
	IdemUpsertCurrent current = {0};
	Patience	patience = {0};
	ErrorContextCallback context;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "idem upsert of a set",
												  ALLOCSET_DEFAULT_SIZES);

	idem_error_push_context(&context, name_member, &current);
	for (int i = 0, done; i < set->count; i += done)
	{
		MemoryContext former = MemoryContextSwitchTo(scratch);

		CHECK_FOR_INTERRUPTS();
		current.member = sorted[i];
		done = run_next(set, &sorted[i], set->count - i, &current, &patience);
		MemoryContextSwitchTo(former);
		for (int j = i; j < i + done; j++)
			keep_answer(&sorted[j]->answer);
		MemoryContextReset(scratch);
	}
	idem_error_pop_context(&context);
	MemoryContextDelete(scratch);
}

static void
return_members(ReturnSetInfo *result, const IdemUpsertSet *set)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	for (int i = 0; i < set->count; i++)
	{
		const IdemUpsertMember *member = &set->members[i];
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
	IdemUpsertSet set = {0};
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
