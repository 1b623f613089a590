/*
 * spi.c
 *	  Running SQL: the only room that calls SPI.
 *
 * Statements are of two kinds.  idem's own touch idem's tables only; they run
 * as the owner of those tables, so that callers need no privilege on them, and
 * restricted (usercontext.c), since triggers on those tables may be anybody's.  The
 * caller's touch the tables that the caller names, and run just as if the
 * caller had sent them.  An ERROR needs no clean-up here: ending the
 * (sub)transaction restores the user and frees what SPI holds.
 *
 * Plans are kept for the session.  A plan that is no longer valid is thrown
 * away and made again from its text, rather than left to the plan cache, since
 * the text itself may depend on what has changed.  It may depend on what the
 * caller may read, too.  A change of a table's privileges invalidates the plans
 * that use it; one of a role's attributes or memberships does not, so it makes
 * all of the caller's plans stale.
 */
#include "postgres.h"

#include "access/table.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "base/catalog.h"
#include "run/internal_function.h"
#include "run/plan_cache.h"
#include "run/simple_dml.h"
#include "run/spi.h"
#include "run/usercontext.h"

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

/* A plan that outlives it. */
static SPIPlanPtr
make_plan(const char *sql, int nargs, Oid *argtypes)
{
	SPIPlanPtr	plan = prepare(sql, nargs, argtypes);

	SPI_keepplan(plan);
	return plan;
}

/* Frees one of those. */
void
idem_spi_free(SPIPlanPtr plan)
{
	SPI_freeplan(plan);
}

/*
 * Hands the first ncols columns of the first row, if there is one, to the memory
 * that was current before SPI was connected.
 */
static uint64
hand_over(int ncols, Datum *values, bool *isnull)
{
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

/* What an execution takes, and gives. */
typedef struct Execution
{
	Datum	   *args;
	const bool *arg_isnull;		/* NULL: none is */
	/* the first row's columns go there */
	int			ncols;
	Datum	   *values;
	bool	   *isnull;
	/* or all rows do, of arguments that bind makes */
	DestReceiver *dest;			/* NULL: they do not */
	IdemBindCallback bind;
	void	   *state;
	bool		is_callers;		/* has the caller written the statement? */
} Execution;

/* Which arguments are null, as SPI takes it; in the current memory. */
static const char *
spi_nulls(SPIPlanPtr plan, const bool *isnull)
{
	int			nargs = SPI_getargcount(plan);
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
take_row(SPIPlanPtr plan, const Execution *how)
{
	int			rc = SPI_execute_plan(plan, how->args,
									  spi_nulls(plan, how->arg_isnull),
									  false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan returned %s", SPI_result_code_string(rc));
	return hand_over(how->ncols, how->values, how->isnull);
}

/* The arguments are made in memory that is freed afterwards. */
static uint64
send_rows(SPIPlanPtr plan, const Execution *how)
{
	SPIExecuteOptions options = {0};
	int			nargs = SPI_getargcount(plan);
	Oid		   *types = palloc(sizeof(Oid) * (nargs + 1));
	ParamListInfo params;
	int			rc;

	for (int i = 0; i < nargs; i++)
		types[i] = SPI_getargtypeid(plan, i);
	params = how->bind(nargs, types, how->state);
	/* where there are none, planner hooks do not expect a list */
	options.params = nargs > 0 ? params : NULL;
	options.dest = how->dest;
	rc = SPI_execute_plan_extended(plan, &options);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan_extended returned %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/* The text of a statement, as the plan cache has it and gives it to the planner. */
static const char *
text_of(SPIPlanPtr plan)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);

	return sources == NIL ? NULL :
		((CachedPlanSource *) linitial(sources))->query_string;
}

/* Runs a plan; needs a connection.  Making arguments may run code of others. */
static uint64
run_plan(IdemPlan *plan, const Execution *how)
{
	volatile uint64 rows;
	const char *outer;

	idem_plan_cache_begin(plan);
	outer = idem_internal_function_begin(how->is_callers ? NULL : text_of(plan->plan));
	PG_TRY();
	{
		rows = how->dest != NULL ? send_rows(plan->plan, how) :
			take_row(plan->plan, how);
	}
	PG_FINALLY();
	{
		idem_internal_function_end(outer);
		idem_plan_cache_end(plan);
	}
	PG_END_TRY();
	return rows;
}

/* Puts the schema's name where the text has "@". */
static char *
place_schema(const char *text, const char *schema)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		if (*c == '@')
			appendStringInfoString(&buf, schema);
		else
			appendStringInfoChar(&buf, *c);
	}
	return buf.data;
}

/*
 * Has a rule left nothing of a statement?  Its plan then depends on no table, and
 * stays valid when the rule is dropped.
 */
static bool
is_empty(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	return source->query_list == NIL;
}

/* Makes the statement's plan fit the catalog; needs a connection. */
static void
ready_own(IdemStatement *statement, const IdemCatalog *cat)
{
	char	   *sql;
	Oid			argtypes[IDEM_MAX_ARGS];
	IdemPlan   *plan;

	if (statement->plan != NULL &&
		statement->reloads == cat->reloads &&
		SPI_plan_is_valid(statement->plan->plan) &&
		!is_empty(statement->plan->plan))
		return;

	sql = place_schema(statement->text, cat->schema);
	for (int i = 0; i < statement->nargs; i++)
		argtypes[i] = OidIsValid(statement->argtypes[i]) ?
			statement->argtypes[i] : cat->outcome_type;
	plan = idem_plan_cache_make(make_plan(sql, statement->nargs, argtypes));
	pfree(sql);

	/* an execution of the former may be under way below us */
	if (statement->plan != NULL)
		idem_plan_cache_forget(statement->plan);
	statement->plan = plan;
	statement->reloads = cat->reloads;
}

/*
 * Does a statement run no code but the server's?  Its table is locked as the
 * statement would, so that nothing can be attached to it before that has run.
 */
static bool
is_bare(const IdemStatement *statement)
{
	Relation	rel;
	bool		bare;

	if (statement->table == 0)
		return false;
	rel = table_open(*(const Oid *) ((const char *) idem_catalog() +
									 statement->table), RowExclusiveLock);
	bare = idem_simple_dml_runs_nothing(rel);
	table_close(rel, NoLock);
	return bare;
}

static uint64
run_own(IdemStatement *statement, const Execution *how)
{
	bool		bare = is_bare(statement);
	const IdemCatalog *cat = idem_catalog();
	IdemUserContext caller;
	uint64		rows;

	if (bare)
		idem_usercontext_enter_bare(&caller, cat->owner);
	else
		idem_usercontext_enter(&caller, cat->owner);
	connect_spi();
	ready_own(statement, cat);
	rows = run_plan(statement->plan, how);
	finish_spi();
	idem_usercontext_leave(&caller);
	return rows;
}

/*
 * Runs a statement of idem's own as the owner of idem's tables.
 *
 * arg_isnull tells which arguments are null; NULL stands for none.  Returns the
 * number of rows, and the first ncols columns of the first row in the caller's
 * memory.
 */
uint64
idem_spi_own(IdemStatement *statement, Datum *args, const bool *arg_isnull,
			 int ncols, Datum *values, bool *isnull)
{
	Execution	how = {
		.args = args, .arg_isnull = arg_isnull,
		.ncols = ncols, .values = values, .isnull = isnull
	};

	return run_own(statement, &how);
}

static ParamListInfo
bind_datums(int nargs, const Oid *types, void *datums)
{
	ParamListInfo params = makeParamList(nargs);

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = ((Datum *) datums)[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/*
 * Runs a statement of idem's own as the owner of idem's tables, with arguments
 * none of which is null, and sends its rows to dest.
 */
void
idem_spi_own_send(IdemStatement *statement, Datum *args, DestReceiver *dest)
{
	Execution	how = {.dest = dest, .bind = bind_datums, .state = args};

	(void) run_own(statement, &how);
}

static bool
plan_is_current(const IdemPlan *plan)
{
	return !plan->stale && SPI_plan_is_valid(plan->plan);
}

static IdemPlanSignature
as_signature(const char *data, int length)
{
	IdemPlanSignature signature = {data, length};

	return signature;
}

/*
 * The plan kept under a signature, or NULL if none is or it is out of date.
 * The pointer is good until the next call of this room.
 *
 * Its tables are locked before it is judged.  Otherwise running it might wait
 * for somebody who alters one of them, and the plan cache would then make the
 * plan anew from a text that no longer fits, and call it valid from then on.
 */
IdemPlan *
idem_spi_find(const char *signature, int length)
{
	IdemPlan   *plan = idem_plan_cache_find(as_signature(signature, length));

	if (plan == NULL || !plan_is_current(plan))
		return NULL;
	idem_plan_cache_lock(SPI_plan_get_plan_sources(plan->plan));
	idem_plan_cache_heed_roles();
	return plan_is_current(plan) ? plan : NULL;
}

/*
 * What is noted of the plan kept under a signature, be it out of date or not,
 * for the caller to read and change until the next call of this room; NULL if
 * none is kept.  A plan that is made, or made anew, has 0.
 */
uint8 *
idem_spi_insert_streak(const char *signature, int length)
{
	IdemPlan   *plan = idem_plan_cache_find(as_signature(signature, length));

	return plan == NULL ? NULL : &plan->insert_streak;
}

/*
 * Prepares a statement of the caller's and keeps its plan under a signature,
 * which must tell it from every other statement.  The plan is the caller's to
 * run until the next call of this room.
 */
IdemPlan *
idem_spi_keep(const char *signature, int length,
			  const char *sql, int nargs, Oid *argtypes)
{
	IdemPlan   *plan;

	connect_spi();
	plan = idem_plan_cache_make(make_plan(sql, nargs, argtypes));
	finish_spi();

	idem_plan_cache_make_room(plan_is_current);
	idem_plan_cache_keep(as_signature(signature, length), plan);
	return plan;
}

/*
 * What the plan kept under a signature, be it out of date or not, was given by
 * idem_spi_set_data(), until the next call of this room; NULL if nothing was,
 * or none is kept.
 */
const void *
idem_spi_data(const char *signature, int length)
{
	IdemPlan   *plan = idem_plan_cache_find(as_signature(signature, length));

	return plan == NULL ? NULL : plan->data;
}

/* Memory that goes with a kept plan. */
MemoryContext
idem_spi_memory(IdemPlan *plan)
{
	if (plan->memory == NULL)
		plan->memory = AllocSetContextCreate(TopMemoryContext, "idem plan",
											 ALLOCSET_SMALL_SIZES);
	return plan->memory;
}

/* Keeps something with a plan, which is in memory that goes with it. */
void
idem_spi_set_data(IdemPlan *plan, const void *data)
{
	plan->data = data;
}

static uint64
run_caller(IdemPlan *plan, const Execution *how)
{
	uint64		rows;

	connect_spi();
	rows = run_plan(plan, how);
	finish_spi();
	return rows;
}

/*
 * Runs a kept plan with the caller's rights.  Arguments and result as in
 * idem_spi_own.
 */
uint64
idem_spi_caller(IdemPlan *plan, Datum *args, const bool *arg_isnull,
				int ncols, Datum *values, bool *isnull)
{
	Execution	how = {
		.args = args, .arg_isnull = arg_isnull,
		.ncols = ncols, .values = values, .isnull = isnull
	};

	return run_caller(plan, &how);
}

/*
 * Runs a kept plan with the caller's rights, sends the rows, if it returns
 * any, to dest, and returns the number of rows processed.
 */
uint64
idem_spi_caller_send(IdemPlan *plan, IdemBindCallback bind, void *state,
					 DestReceiver *dest)
{
	Execution	how = {
		.dest = dest, .bind = bind, .state = state, .is_callers = true
	};

	return run_caller(plan, &how);
}

/* The same with a statement of which no plan is kept. */
uint64
idem_spi_once_send(const char *sql, int nargs, Oid *argtypes,
				   IdemBindCallback bind, void *state, DestReceiver *dest)
{
	Execution	how = {
		.dest = dest, .bind = bind, .state = state, .is_callers = true
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
 * active snapshot.  Arguments, none of them null, and result as in
 * idem_spi_own.
 */
uint64
idem_spi_once(const char *sql, int nargs, Oid *argtypes, Datum *args,
			  int ncols, Datum *values, bool *isnull)
{
	uint64		rows;
	int			rc;

	connect_spi();
	rc = SPI_execute_with_args(sql, nargs, argtypes, args, NULL, true, 0);
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
