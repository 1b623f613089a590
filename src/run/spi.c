/*
 * spi.c
 *	  Running SQL: the only file that calls SPI.
 *
 * spi_own.c has the statements of idem's own, spi_caller.c those of the caller.
 * An ERROR needs no clean-up here: ending the (sub)transaction frees what SPI
 * holds.
 *
 * A plan that is being run may be wanted again on the way, by a trigger for one,
 * and be found out of date then: another takes its place, but the execution below
 * holds on to it.  So executions are counted, and a plan that has been forgotten
 * is freed with the last of them.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/plancache.h"

#include "base/compat.h"
#include "base/error.h"
#include "run/own_names.h"
#include "run/spi.h"

static void
connect_spi(void)
{
	int			rc = SPI_connect();

	if (rc != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect returned %s", SPI_result_code_string(rc));
}

static void
finish_spi(void)
{
	int			rc = SPI_finish();

	if (rc != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish returned %s", SPI_result_code_string(rc));
}

/* A plan that goes with the connection that made it. */
static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *argtypes)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, argtypes);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare returned %s for \"%s\"",
			 SPI_result_code_string(SPI_result), sql);
	return plan;
}

/* The text of a statement, as the plan cache has it and gives it to the planner. */
static const char *
text_of(const IdemPlan *plan)
{
	List	   *sources = idem_spi_sources(plan);

	return sources == NIL ? NULL :
		((CachedPlanSource *) linitial(sources))->query_string;
}

/*
 * The error that was caught, where it is to be thrown again about an operation,
 * NULL where it stays as it is.  The memory is what was current before.
 */
static ErrorData *
take_error(const IdemOperationOn *operation, const char *sql, MemoryContext memory)
{
	return operation->kind == NULL ? NULL :
		idem_operation_error(operation, sql, memory);
}

pg_noreturn static void
throw_again(ErrorData *error)
{
	if (error == NULL)
		PG_RE_THROW();
	ReThrowError(error);
}

/* The same of a statement that may be idem's: if own is not NULL, own tells. */
static SPIPlanPtr
prepare_own(const char *sql, int nargs, Oid *argtypes, const IdemOwnNames *own,
			const IdemOperationOn *operation)
{
	MemoryContext memory = CurrentMemoryContext;
	IdemOwnNames named = {NULL};
	IdemOwnNames outer;
	volatile SPIPlanPtr plan = NULL;

	if (own != NULL)
		named = *own;
	named.text = own != NULL ? sql : NULL;

	outer = idem_own_names_begin(&named);
	PG_TRY();
	{
		plan = prepare(sql, nargs, argtypes);
	}
	PG_CATCH();
	{
		idem_own_names_end(&outer);
		throw_again(take_error(operation, sql, memory));
	}
	PG_END_TRY();
	idem_own_names_end(&outer);
	return plan;
}

/*
 * Makes a plan that lives until idem_spi_forget(), and with it data_size bytes of
 * zeros.  own tells what the text may name, but for the text; NULL: the text is
 * another's.  operation is what errors say that it does; NULL: they have the text.
 */
IdemPlan *
idem_spi_prepare(const char *sql, int nargs, Oid *argtypes, Size data_size,
				 const IdemOwnNames *own, const IdemOperationOn *operation)
{
	static const IdemOperationOn none = {NULL};
	Size		size = MAXALIGN(sizeof(IdemPlan));
	SPIPlanPtr	made;
	IdemPlan   *plan;

	connect_spi();
	made = prepare_own(sql, nargs, argtypes, own,
					   operation != NULL ? operation : &none);
	plan = MemoryContextAllocZero(TopMemoryContext, size + data_size);
	plan->plan = made;
	if (operation != NULL)
	{
		plan->operation.kind = operation->kind;
		plan->operation.said = MemoryContextStrdup(TopMemoryContext,
												   operation->said);
	}
	if (own != NULL)
	{
		plan->own = *own;
		plan->own.text = text_of(plan);
	}
	plan->data = (char *) plan + size;
	SPI_keepplan(made);
	finish_spi();
	return plan;
}

/* Would a plan be run as it was made? */
bool
idem_spi_is_valid(const IdemPlan *plan)
{
	return SPI_plan_is_valid(plan->plan);
}

/* Is it being run?  Then what is called on the way has come back to it. */
bool
idem_spi_is_running(const IdemPlan *plan)
{
	return plan->running > 0;
}

/* Has a plan been thrown away, while it is running? */
bool
idem_spi_is_forgotten(const IdemPlan *plan)
{
	Assert(plan->running > 0);
	return plan->forgotten;
}

/* What the plan cache has of a plan (CachedPlanSource *). */
List *
idem_spi_sources(const IdemPlan *plan)
{
	return SPI_plan_get_plan_sources(plan->plan);
}

/* Memory that goes with a plan. */
MemoryContext
idem_spi_memory(IdemPlan *plan)
{
	if (plan->memory == NULL)
		plan->memory = AllocSetContextCreate(TopMemoryContext, "idem plan",
											 ALLOCSET_SMALL_SIZES);
	return plan->memory;
}

static void
free_plan(IdemPlan *plan)
{
	Assert(plan->running == 0 && plan->forgotten);
	SPI_freeplan(plan->plan);
	if (plan->memory != NULL)
		MemoryContextDelete(plan->memory);
	if (plan->operation.said != NULL)
		pfree(unconstify(char *, plan->operation.said));
	pfree(plan);
}

/* Frees a plan that nothing refers to any more, once it is at rest. */
void
idem_spi_forget(IdemPlan *plan)
{
	Assert(!plan->forgotten);
	plan->forgotten = true;
	if (plan->running == 0)
		free_plan(plan);
}

static void
begin_running(IdemPlan *plan)
{
	Assert(plan->plan != NULL && plan->running >= 0);
	/* only an execution below may hold on to a plan that was forgotten */
	Assert(!plan->forgotten);
	plan->running++;
}

static void
end_running(IdemPlan *plan)
{
	Assert(plan->running > 0);
	plan->running--;
	if (plan->running == 0 && plan->forgotten)
		free_plan(plan);
}

/*
 * Hands the first ncols columns of the first row, if there is one, to the memory
 * that was current before SPI was connected.
 */
static uint64
hand_over(int ncols, Datum *values, bool *isnull)
{
	Assert(SPI_processed == 0 || ncols == 0 ||
		   ncols <= SPI_tuptable->tupdesc->natts);
	if (SPI_processed > 0 && ncols > 0)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		HeapTuple	tuple = SPI_tuptable->vals[0];

		for (int i = 0; i < ncols; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			values[i] = SPI_getbinval(tuple, desc, i + 1, &isnull[i]);
			if (!isnull[i])
				values[i] = SPI_datumTransfer(values[i], att->attbyval,
											  att->attlen);
		}
	}
	return SPI_processed;
}

/* Which arguments are null, as SPI takes it; in the current memory. */
static const char *
spi_nulls(const IdemPlan *plan, const bool *isnull)
{
	int			nargs = SPI_getargcount(plan->plan);
	char	   *nulls;

	if (isnull == NULL)
		return NULL;
	nulls = palloc(nargs + 1);
	for (int i = 0; i < nargs; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	nulls[nargs] = '\0';
	return nulls;
}

static uint64
take_row(const IdemPlan *plan, const IdemExecution *how)
{
	const char *nulls = spi_nulls(plan, how->arg_isnull);
	int			rc;

	Assert(plan->running > 0);
	rc = SPI_execute_plan(plan->plan, how->args, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan returned %s", SPI_result_code_string(rc));
	return hand_over(how->ncols, how->values, how->isnull);
}

/* The arguments are made in memory that is freed afterwards. */
static uint64
send_rows(const IdemPlan *plan, const IdemExecution *how)
{
	SPIExecuteOptions options = {0};
	int			nargs = SPI_getargcount(plan->plan);
	Oid		   *types = palloc(sizeof(Oid) * (nargs + 1));
	ParamListInfo params;
	int			rc;

	Assert(plan->running > 0);
	for (int i = 0; i < nargs; i++)
		types[i] = SPI_getargtypeid(plan->plan, i);
	params = how->bind(nargs, types, how->state);
	Assert(params->numParams == nargs);
	/* where there are none, planner hooks do not expect a list */
	options.params = nargs > 0 ? params : NULL;
	options.dest = how->dest;
	rc = SPI_execute_plan_extended(plan->plan, &options);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan_extended returned %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/* Runs a plan; needs a connection.  Making arguments may run the caller's code. */
static uint64
run_plan(IdemPlan *plan, const IdemExecution *how)
{
	MemoryContext memory = CurrentMemoryContext;
	volatile uint64 rows;
	IdemOwnNames outer;

	begin_running(plan);
	outer = idem_own_names_begin(&plan->own);
	PG_TRY();
	{
		rows = how->dest != NULL ? send_rows(plan, how) : take_row(plan, how);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		idem_own_names_end(&outer);
		error = take_error(&plan->operation, plan->own.text, memory);
		end_running(plan);
		throw_again(error);
	}
	PG_END_TRY();
	idem_own_names_end(&outer);
	end_running(plan);
	return rows;
}

/* The line of a context that SPI would add. */
static void
tell_text(void *plan)
{
	errcontext("SQL statement \"%s\"", ((IdemPlan *) plan)->own.text);
}

/*
 * Has work, which is called with state, do what running a plan of a statement that
 * idem wrote would do.  Its errors are those of the statement.  False: the plan was
 * thrown away meanwhile, and is no more.
 */
bool
idem_spi_run_instead(IdemPlan *plan, void (*work) (void *state), void *state)
{
	MemoryContext memory = CurrentMemoryContext;
	ErrorContextCallback context;
	IdemOwnNames outer;
	bool		kept;

	Assert(plan->own.text != NULL);
	begin_running(plan);
	outer = idem_own_names_begin(&plan->own);
	idem_error_push_context(&context, tell_text, plan);
	PG_TRY();
	{
		work(state);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		idem_own_names_end(&outer);
		error = take_error(&plan->operation, plan->own.text, memory);
		end_running(plan);
		throw_again(error);
	}
	PG_END_TRY();
	idem_error_pop_context(&context);
	idem_own_names_end(&outer);
	kept = !plan->forgotten;
	end_running(plan);
	return kept;
}

/*
 * Keeps a plan for work, which is called with state and runs it, or instead of it, as
 * often as it likes.  False: it was thrown away meanwhile, and is no more.
 */
bool
idem_spi_hold(IdemPlan *plan, void (*work) (void *state), void *state)
{
	bool		kept;

	begin_running(plan);
	PG_TRY();
	{
		work(state);
	}
	PG_CATCH();
	{
		end_running(plan);
		PG_RE_THROW();
	}
	PG_END_TRY();
	kept = !plan->forgotten;
	end_running(plan);
	return kept;
}

/* Runs a plan as the current user, and returns the number of rows processed. */
uint64
idem_spi_run(IdemPlan *plan, const IdemExecution *how)
{
	uint64		rows;

	connect_spi();
	rows = run_plan(plan, how);
	finish_spi();
	return rows;
}

/*
 * Runs a statement of the caller's of which no plan is kept, sends the rows, if
 * it returns any, to dest, and returns the number of rows processed.
 */
uint64
idem_spi_once_send(const char *sql, int nargs, Oid *argtypes,
				   IdemBindCallback bind, void *state, DestReceiver *dest)
{
	IdemExecution how = {
		.dest = dest, .bind = bind, .state = state
	};
	IdemPlan	plan = {0};
	uint64		rows;

	connect_spi();
	plan.plan = prepare(sql, nargs, argtypes);
	rows = run_plan(&plan, &how);
	finish_spi();
	return rows;
}

/*
 * Runs a query for once, keeping no plan, as the current user and under the
 * active snapshot: one that looks at a table, or, if that is InvalidOid, at what is
 * the server's only.  Arguments, none of them null, and result as in idem_spi_own.
 */
uint64
idem_spi_once(const char *sql, Oid table, int nargs, Oid *argtypes, Datum *args,
			  int ncols, Datum *values, bool *isnull)
{
	IdemOwnNames own = {sql, table, true};
	IdemOwnNames outer;
	uint64		rows;
	volatile int rc = 0;

	connect_spi();
	outer = idem_own_names_begin(&own);
	PG_TRY();
	{
		rc = SPI_execute_with_args(sql, nargs, argtypes, args, NULL, true, 0);
	}
	PG_FINALLY();
	{
		idem_own_names_end(&outer);
	}
	PG_END_TRY();
	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args returned %s",
			 SPI_result_code_string(rc));
	rows = hand_over(ncols, values, isnull);
	finish_spi();
	return rows;
}

/* Runs a utility command with the caller's rights. */
void
idem_spi_command(const char *sql)
{
	int			rc;

	connect_spi();
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute returned %s", SPI_result_code_string(rc));
	finish_spi();
}
