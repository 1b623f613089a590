/*
 * saga_claim.c
 *	  SQL: idem_saga_claim(), by which workers get work.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/error.h"
#include "base/interval.h"
#include "base/result_tuple.h"
#include "saga/saga_argument.h"
#include "saga/saga_begin.h"
#include "saga/saga_parse.h"
#include "saga/saga_pick.h"
#include "saga/saga_table.h"

PG_FUNCTION_INFO_V1(idem_saga_claim);

#define COLUMNS		11
#define MAX_CLAIMS	1000
#define MAX_WORKS	1000

/* Sorts names, by their bytes. */
static int
compare_names(const void *a, const void *b)
{
	text	   *left = *(text *const *) a;
	text	   *right = *(text *const *) b;
	int			order = memcmp(VARDATA_ANY(left), VARDATA_ANY(right),
							   Min(VARSIZE_ANY_EXHDR(left), VARSIZE_ANY_EXHDR(right)));

	return order != 0 ? order :
		(int) VARSIZE_ANY_EXHDR(left) - (int) VARSIZE_ANY_EXHDR(right);
}

/* The works that a caller does, each once.  Raises 22004 and 22023 for what is none. */
static text **
read_works(FunctionCallInfo fcinfo, int *count)
{
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	text	  **works;
	int			n;

	if (PG_ARGISNULL(0))
		idem_error_null("works");
	array = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	if (ARR_NDIM(array) != 1 || n > MAX_WORKS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"works\" must be a list of 1 to %d works", MAX_WORKS),
				 errdetail("It is an array of %d dimensions with %d elements.",
						   ARR_NDIM(array), n)));
	works = palloc(sizeof(text *) * n);
	for (int i = 0; i < n; i++)
	{
		works[i] = nulls[i] ? NULL : DatumGetTextPP(values[i]);
		idem_saga_parse_check_name("works", works[i]);
	}
	qsort(works, n, sizeof(text *), compare_names);
	*count = 1;
	for (int i = 1; i < n; i++)
	{
		if (compare_names(&works[*count - 1], &works[i]) != 0)
			works[(*count)++] = works[i];
	}
	return works;
}

static int
read_max(FunctionCallInfo fcinfo)
{
	int			max;

	if (PG_ARGISNULL(2))
		idem_error_null("max");
	max = PG_GETARG_INT32(2);
	if (max < 1 || max > MAX_CLAIMS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must be from 1 to %d", MAX_CLAIMS),
				 errdetail("It is %d.", max)));
	return max;
}

/* Returns a claim to the caller: what it is to do, and by which key and fence. */
static void
return_claim(ReturnSetInfo *result, const IdemSaga *saga, const IdemSagaClaim *claim)
{
	const IdemSagaStep *step = claim->step;
	const IdemSagaValue *input = step->input.isnull ? &saga->input : &step->input;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	values[0] = PointerGetDatum(saga->saga);
	values[1] = PointerGetDatum(saga->scope);
	values[2] = Int32GetDatum(step->number);
	values[3] = PointerGetDatum(claim->undo ? step->undo : step->work);
	values[4] = BoolGetDatum(claim->undo);
	values[5] = PointerGetDatum(claim->key.key);
	values[6] = Int64GetDatum(claim->row.fence);
	values[7] = input->value;
	nulls[7] = input->isnull;
	values[8] = idem_saga_json_prior(saga, &nulls[8]);
	values[9] = claim->row.response;
	nulls[9] = claim->row.response_isnull;
	values[10] = TimestampTzGetDatum(claim->row.lease_until);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * idem_saga_claim(works text[], lease interval, max integer, scope text)
 *		-> SETOF (saga text, scope text, step integer, work text, undo boolean,
 *		   key text, fence bigint, input jsonb, prior jsonb, checkpoint jsonb,
 *		   lease_until timestamptz)
 *
 * Claims what is due of the caller's sagas, what has been due for longest first.
 * Passes over sagas that another transaction works on, and over those that have
 * changed since the snapshot of the statement was taken: so it never waits.
 *
 * Raises 42501 for a scope that is another role's, 22004 and 22023 for arguments that
 * are none, 25006 in a read-only transaction and on a standby, 27000 where a trigger
 * keeps a row from being written.
 */
Datum
idem_saga_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text	  **works;
	int			nworks;
	int			max;
	text	   *scope;
	Interval   *lease;
	IdemSagaPick pick;
	IdemSagaPicked picked;
	MemoryContext memory;

	idem_result_tuple_begin_set(fcinfo, COLUMNS);
	PreventCommandDuringRecovery("idem_saga_claim()");
	PreventCommandIfReadOnly("idem_saga_claim()");
	works = read_works(fcinfo, &nworks);
	if (PG_ARGISNULL(1))
		idem_error_null("lease");
	lease = PG_GETARG_INTERVAL_P(1);
	(void) idem_interval_us(lease, "lease");
	max = read_max(fcinfo);
	scope = idem_saga_argument_scope(fcinfo, 3);

	memory = AllocSetContextCreate(CurrentMemoryContext, "idem saga",
								   ALLOCSET_DEFAULT_SIZES);
	idem_saga_pick_begin(&pick, scope, works, nworks, GetCurrentTimestamp());
	while (max > 0 && idem_saga_pick_next(&pick, &picked))
	{
		MemoryContext former = MemoryContextSwitchTo(memory);
		IdemSaga	saga;
		IdemSagaClaim claim;

		if (idem_saga_table_open(&saga, picked.saga, picked.scope,
								 IDEM_SAGA_SKIP) == IDEM_SAGA_OPEN &&
			idem_saga_begin(&saga, works, nworks, lease, &claim))
		{
			return_claim(result, &saga, &claim);
			max--;
		}
		MemoryContextSwitchTo(former);
		MemoryContextReset(memory);
	}
	MemoryContextDelete(memory);
	idem_saga_pick_end(&pick);
	return (Datum) 0;
}
