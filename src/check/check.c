/*
 * check.c
 *	  SQL: idem_check(), whether a statement does any more when it is run again.
 *
 * Everything happens in a subtransaction that is rolled back in the end, the
 * second run in one of its own within that.  Each begins with its constraints
 * deferred or not as a transaction does, and has checked them all by its end.
 * What ends with a transaction, or with the session of a client that is gone, the
 * first run does not leave to the second: settings, and open cursors.
 *
 * The caller may handle an error in a subtransaction of its own, which
 * has to be the innermost again by then.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/portal.h"

#include "base/error.h"
#include "base/result_tuple.h"
#include "check/constraint_modes.h"
#include "check/write_set.h"
#include "execute/command.h"
#include "execute/params.h"
#include "run/spi.h"
#include "run/subtransaction.h"

PG_FUNCTION_INFO_V1(idem_check);

/* What is checked, and what came of it. */
typedef struct Check
{
	const char *command;
	Jsonb	   *params;
	List	   *put_off;		/* tables of which something was put off
								 * before, and stays so */
	bool		unended;		/* has a run put off what does not end? */
	Datum		first;			/* what the runs answered, as jsonb */
	Datum		second;
	bool		failed;			/* did the second run raise an error? */
	IdemWriteSet *written;		/* by the second run */
	IdemRowDiff differences;
} Check;

/* The names of the cursors that are open, as text[]; NULL if there are none. */
static ArrayType *
open_cursors(void)
{
	Datum		names;
	bool		isnull;

	(void) idem_spi_once("SELECT pg_catalog.array_agg(name) FROM pg_catalog.pg_cursors",
						 InvalidOid, 0, NULL, NULL, 1, &names, &isnull);
	return isnull ? NULL : DatumGetArrayTypeP(names);
}

static bool
is_among(Datum name, ArrayType *names)
{
	Datum	   *elements;
	int			count = 0;

	if (names != NULL)
		deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements,
						  NULL, &count);
	while (count-- > 0)
	{
		if (DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, name,
												 elements[count])))
			return true;
	}
	return false;
}

/* Closes the cursors that have been opened since those were all. */
static void
close_cursors(ArrayType *former)
{
	ArrayType  *open = open_cursors();
	Datum	   *names;
	int			count;

	if (open == NULL)
		return;
	deconstruct_array(open, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		Portal		portal = GetPortalByName(TextDatumGetCString(names[i]));

		if (PortalIsValid(portal) && !portal->portalPinned &&
			!is_among(names[i], former))
			PortalDrop(portal, false);
	}
}

/* Runs the command, and what it puts off, and returns its answer. */
static Datum
run(Check *check)
{
	ArrayType  *cursors = open_cursors();
	int			settings = NewGUCNestLevel();
	Datum		answer;

	answer = idem_command_run(check->command, check->params, false);
	if (list_difference_oid(idem_constraint_modes_fire(), check->put_off) != NIL)
		check->unended = true;
	AtEOXact_GUC(false, settings);
	close_cursors(cursors);
	return answer;
}

/* What is reported of an error, as jsonb. */
static Datum
describe_error(const ErrorData *error)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"error\": {\"sqlstate\": \"%s\", \"message\": ",
					 unpack_sql_state(error->sqlerrcode));
	escape_json(&json, error->message != NULL ? error->message : "");
	if (error->detail != NULL)
	{
		appendStringInfoString(&json, ", \"detail\": ");
		escape_json(&json, error->detail);
	}
	appendStringInfoString(&json, "}}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* The second run, whose rows are read while they are there. */
static bool
run_second(void *arg)
{
	Check	   *check = arg;

	idem_constraint_modes_reset();
	check->failed = true;
	check->second = run(check);
	check->failed = false;
	idem_write_set_read(check->written);
	return false;
}

/* Runs the command once more and finds out what that has changed. */
static void
run_again(Check *check)
{
	ErrorData  *error;

	check->written = idem_write_set_begin();
	error = idem_subtransaction_try(run_second, check);
	if (error == NULL)
	{
		idem_write_set_read_undone(check->written);
		idem_write_set_report(check->written, &check->differences);
		return;
	}
	if (!check->failed || idem_error_is_circumstance(error->sqlerrcode))
		ReThrowError(error);
	check->second = describe_error(error);
}

/* Runs the command twice, and leaves nothing behind. */
static bool
run_twice(void *arg)
{
	Check	   *check = arg;

	/*
	 * Lest what was put off before be taken for the first run's.  At this
	 * level: what is set in a subtransaction that is released stays when this
	 * one is rolled back, unless this one has set it, too
	 * (AfterTriggerEndSubXact).
	 */
	check->put_off = idem_constraint_modes_fire();
	idem_constraint_modes_reset();
	check->first = run(check);
	run_again(check);
	return false;
}

static int
row_compare(const void *a, const void *b)
{
	return compareJsonbContainers(&(*(Jsonb *const *) a)->root,
								  &(*(Jsonb *const *) b)->root);
}

/* The rows of an answer, sorted; NULL if it has none. */
static Jsonb **
sorted_rows(Datum answer, int *count)
{
	JsonbValue	rows;
	JsonbValue	row;
	JsonbIterator *it;
	JsonbIteratorToken token;
	Jsonb	  **sorted;

	*count = 0;
	if (getKeyJsonValueFromContainer(&DatumGetJsonbP(answer)->root, "rows", 4,
									 &rows) == NULL ||
		rows.type != jbvBinary)
		return NULL;
	sorted = palloc(sizeof(Jsonb *) * (JsonContainerSize(rows.val.binary.data) + 1));
	it = JsonbIteratorInit(rows.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &row, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			sorted[(*count)++] = JsonbValueToJsonb(&row);
	}
	qsort(sorted, *count, sizeof(Jsonb *), row_compare);
	return sorted;
}

/*
 * Do two answers have the same rows, in whatever order?  Without ORDER BY that is
 * a matter of where they lie, which the first run may have changed.
 */
static bool
same_answer(Datum first, Datum second)
{
	int			nfirst;
	int			nsecond;
	Jsonb	  **a;
	Jsonb	  **b;
	Datum		name = CStringGetTextDatum("rows");

	if (DatumGetBool(DirectFunctionCall2(jsonb_eq, first, second)))
		return true;
	a = sorted_rows(first, &nfirst);
	b = sorted_rows(second, &nsecond);
	if (a == NULL || b == NULL || nfirst != nsecond ||
		!DatumGetBool(DirectFunctionCall2(jsonb_eq,
										  DirectFunctionCall2(jsonb_delete, first, name),
										  DirectFunctionCall2(jsonb_delete, second, name))))
		return false;
	for (int i = 0; i < nfirst; i++)
	{
		if (row_compare(&a[i], &b[i]) != 0)
			return false;
	}
	return true;
}

/*
 * idem_check(command text, params jsonb)
 *		-> idempotent boolean, same_answer boolean, differences jsonb,
 *		   rewritten bigint, first jsonb, second jsonb
 *
 * Runs command with params as $1, $2, ... twice, and tells what the second run
 * changed.  idempotent is null where nothing is seen to differ, but not all
 * could be looked at.  Errors: those of idem_command_run in the first run, and
 * in the second if it is about the circumstances; 54001 where what is put off to
 * the end of a run does not come to its end.
 */
Datum
idem_check(PG_FUNCTION_ARGS)
{
	Check		check = {0};
	Datum		values[6];
	bool		nulls[6] = {false};
	ErrorData  *error;

	if (PG_ARGISNULL(0))
		idem_error_null("command");
	if (PG_ARGISNULL(1))
		idem_error_null("params");
	check.command = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check.params = PG_GETARG_JSONB_P(1);
	idem_params_check(check.params);
	PreventCommandIfReadOnly("idem_check()");

	idem_row_diff_init(&check.differences);
	error = idem_subtransaction_try(run_twice, &check);
	if (error != NULL)
		ReThrowError(error);
	if (check.unended)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("deferred triggers put off more than can be checked"),
				 errdetail("Each of %d rounds of them has deferred others.",
						   IDEM_CONSTRAINT_ROUNDS),
				 errhint("Check statements that do what the triggers do.")));

	values[0] = BoolGetDatum(!check.failed && check.differences.differing == 0);
	nulls[0] = DatumGetBool(values[0]) && check.differences.unseen;
	values[1] = BoolGetDatum(same_answer(check.first, check.second));
	values[2] = DirectFunctionCall1(jsonb_in,
									CStringGetDatum(psprintf("[%s]", check.differences.json.data)));
	values[3] = Int64GetDatum((int64) check.differences.rewritten);
	values[4] = check.first;
	values[5] = check.second;
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
