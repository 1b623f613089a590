/*
 * saga_write.c
 *	  The rows of idem_saga and idem_saga_step, written.
 *
 * A saga's row has been locked, and both tables, since the rows were read, so a row
 * is known by its place; its key is compared all the same.  The triggers of the
 * tables check each change of status and keep the history.  They have none for a new
 * row: a dump brings rows in any status.  So what a saga begins with is recorded
 * here.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/unique_index.h"
#include "history/history_write.h"
#include "key/scope.h"
#include "lifecycle/transition_context.h"
#include "run/spi_own.h"
#include "run/usercontext.h"
#include "saga/saga_rules.h"
#include "saga/saga_write.h"
#include "stats/stats_counter.h"
#include "table/pk_json.h"

#define INITIAL_VERSION	1

static IdemStatement insert_saga = {
	.text = "INSERT INTO @.idem_saga (version, started_at, ended_at, expires_at,"
	" deadline, ttl, fingerprint, owner, compensates, saga, scope, status, input)"
	" VALUES (1, $1, $2, $3, $4, $5, $6, $7::@.idem_role, false, $8, $9, $10, $11)"
	" ON CONFLICT (saga, scope) DO NOTHING",
	.nargs = 11,
	.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	INTERVALOID, UUIDOID, OIDOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	.table = offsetof(IdemCatalog, saga_table)
};

static IdemStatement insert_step = {
	.text = "INSERT INTO @.idem_saga_step (version, next_at, backoff, cap, step,"
	" max_attempts, attempts, pivot, saga, scope, status, work, undo, due, input)"
	" VALUES (1, $1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10, $11, $12, $13)",
	.nargs = 13,
	.argtypes = {TIMESTAMPTZOID, INTERVALOID, INTERVALOID, INT4OID, INT4OID, BOOLOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	.table = offsetof(IdemCatalog, saga_step_table)
};

/* Called as functions, the comparisons are none that the planner has an index for. */
static IdemStatement update_saga = {
	.text = "UPDATE ONLY @.idem_saga AS s SET status = $1, compensates = $2,"
	" ended_at = $3, expires_at = $4,"
	" error = CASE WHEN $5 THEN $6 ELSE s.error END"
	" WHERE s.ctid OPERATOR(pg_catalog.=) $7 AND s.xmin OPERATOR(pg_catalog.=) $8"
	" AND pg_catalog.texteq(s.saga, $9) AND pg_catalog.texteq(s.scope, $10)"
	" RETURNING ctid",
	.nargs = 10,
	.argtypes = {TEXTOID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, JSONBOID,
	TIDOID, XIDOID, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, saga_table)
};

static IdemStatement update_step = {
	.text = "UPDATE ONLY @.idem_saga_step AS s SET status = $1, attempts = $2,"
	" start_no = $3, held_by = $4::@.idem_role, due = $5, next_at = $6,"
	" output = CASE WHEN $7 THEN $8 ELSE s.output END,"
	" error = CASE WHEN $9 THEN $10 ELSE s.error END"
	" WHERE s.ctid OPERATOR(pg_catalog.=) $11 AND s.xmin OPERATOR(pg_catalog.=) $12"
	" AND pg_catalog.texteq(s.saga, $13) AND pg_catalog.texteq(s.scope, $14)"
	" AND pg_catalog.int4eq(s.step, $15)"
	" RETURNING ctid",
	.nargs = 15,
	.argtypes = {TEXTOID, INT4OID, INT4OID, OIDOID, TEXTOID, TIMESTAMPTZOID, BOOLOID,
	JSONBOID, BOOLOID, JSONBOID, TIDOID, XIDOID, TEXTOID, TEXTOID, INT4OID},
	.table = offsetof(IdemCatalog, saga_step_table)
};

static Datum
interval_of(int64 us)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return IntervalPGetDatum(interval);
}

static Datum
time_or_null(TimestampTz time, bool *isnull)
{
	*isnull = (time == 0);
	return TimestampTzGetDatum(time);
}

static Datum
text_or_null(text *value, bool *isnull)
{
	*isnull = (value == NULL);
	return PointerGetDatum(value);
}

static Datum
jsonb_or_null(const IdemSagaValue *value, bool *isnull)
{
	*isnull = value->isnull;
	return value->value;
}

/* Records the status that a row of one of the tables begins with. */
static void
record_begin(Oid table, Datum *key, const char *status)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	IdemHistoryEntry entry = {.column = "status", .to = status,
	.version = INITIAL_VERSION};
	IdemUniqueIndex unique;

	idem_unique_index_need_primary(&unique, rel);
	entry.row = idem_pk_json_form(rel, NULL, &unique, key);
	idem_history_write(rel, &entry);
	table_close(rel, NoLock);
}

static void
insert_one_step(const IdemSaga *saga, const IdemSagaStep *step)
{
	Datum		args[13];
	bool		isnull[13] = {false};
	Datum		key[3];

	args[0] = time_or_null(step->next_at, &isnull[0]);
	args[1] = interval_of(step->backoff_us);
	args[2] = interval_of(step->cap_us);
	args[3] = Int32GetDatum(step->number);
	args[4] = Int32GetDatum(step->max_attempts);
	args[5] = BoolGetDatum(step->pivot);
	args[6] = PointerGetDatum(saga->saga);
	args[7] = PointerGetDatum(saga->scope);
	args[8] = CStringGetTextDatum(idem_saga_rules_step_status(step->status));
	args[9] = PointerGetDatum(step->work);
	args[10] = text_or_null(step->undo, &isnull[10]);
	args[11] = text_or_null(idem_saga_rules_due_work(step), &isnull[11]);
	args[12] = jsonb_or_null(&step->input, &isnull[12]);
	if (idem_spi_own(&insert_step, args, isnull, 0, NULL, NULL) == 0)
		idem_error_prevented("idem_saga_step");

	key[0] = PointerGetDatum(saga->saga);
	key[1] = PointerGetDatum(saga->scope);
	key[2] = Int32GetDatum(step->number);
	record_begin(idem_catalog()->saga_step_table, key,
				 idem_saga_rules_step_status(step->status));
}

/*
 * Inserts a saga with its steps, as the caller's.  False if another transaction has
 * inserted it meanwhile.
 */
bool
idem_saga_write_insert(const IdemSaga *saga)
{
	Datum		args[11];
	bool		isnull[11] = {false};
	Datum		key[2];

	args[0] = TimestampTzGetDatum(saga->started_at);
	args[1] = time_or_null(saga->ended_at, &isnull[1]);
	args[2] = time_or_null(saga->expires_at, &isnull[2]);
	args[3] = time_or_null(saga->deadline, &isnull[3]);
	args[4] = interval_of(saga->ttl_us);
	args[5] = UUIDPGetDatum(&saga->fingerprint);
	args[6] = ObjectIdGetDatum(saga->owner);
	args[7] = PointerGetDatum(saga->saga);
	args[8] = PointerGetDatum(saga->scope);
	args[9] = CStringGetTextDatum(idem_saga_rules_status(saga->status));
	args[10] = jsonb_or_null(&saga->input, &isnull[10]);
	if (idem_spi_own(&insert_saga, args, isnull, 0, NULL, NULL) == 0)
		return false;

	key[0] = PointerGetDatum(saga->saga);
	key[1] = PointerGetDatum(saga->scope);
	record_begin(idem_catalog()->saga_table, key,
				 idem_saga_rules_status(saga->status));
	for (int i = 0; i < saga->nsteps; i++)
		insert_one_step(saga, &saga->steps[i]);
	idem_stats_counter_hit(IDEM_COUNT_SAGA_STARTED);
	return true;
}

/*
 * Runs a statement on a row that was found, and tells the triggers what the change is
 * about.  place becomes that of the row's new version.  The planner would rather
 * read the whole of a small table, which locks it for serializable conflict detection.
 */
static void
run_update(IdemStatement *statement, size_t table, Datum *args, const bool *isnull,
		   const IdemSaga *saga, const IdemSagaCall *call, IdemSagaPlace *place)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_tidscan", "on"},
	};
	IdemTransitionContext context = {
		.column = "status", .note = call->note, .role = call->role,
		.scope = call->key != NULL ? IDEM_SCOPE_SAGA : NULL, .key = call->key
	};
	int			nestlevel = idem_usercontext_set(settings, lengthof(settings));
	Datum		found;
	bool		found_isnull;
	volatile uint64 rows = 0;

	idem_transition_context_push(&context);
	PG_TRY();
	{
		idem_transition_context_set_tuple(idem_catalog_table(table), &place->ctid);
		rows = idem_spi_own(statement, args, isnull, 1, &found, &found_isnull);
	}
	PG_FINALLY();
	{
		idem_transition_context_pop(&context);
	}
	PG_END_TRY();
	idem_usercontext_reset(nestlevel);
	if (rows == 0)
		idem_error_prevented(table == offsetof(IdemCatalog, saga_table) ?
							 "idem_saga" : "idem_saga_step");
	place->ctid = *(ItemPointer) DatumGetPointer(found);
	place->xmin = GetCurrentTransactionId();
}

/* Counts what a saga has come to. */
static void
count(const IdemSaga *saga)
{
	if (saga->status == saga->stored)
		return;
	if (saga->status == IDEM_SAGA_COMPLETED)
		idem_stats_counter_hit(IDEM_COUNT_SAGA_COMPLETED);
	else if (saga->status == IDEM_SAGA_COMPENSATED)
		idem_stats_counter_hit(IDEM_COUNT_SAGA_COMPENSATED);
	else if (saga->status == IDEM_SAGA_STUCK)
		idem_stats_counter_hit(IDEM_COUNT_SAGA_STUCK);
}

static void
write_saga(IdemSaga *saga, const IdemSagaCall *call)
{
	Datum		args[10];
	bool		isnull[10] = {false};

	args[0] = CStringGetTextDatum(idem_saga_rules_status(saga->status));
	args[1] = BoolGetDatum(saga->compensates);
	args[2] = time_or_null(saga->ended_at, &isnull[2]);
	args[3] = time_or_null(saga->expires_at, &isnull[3]);
	args[4] = BoolGetDatum(saga->error.is_new);
	args[5] = jsonb_or_null(&saga->error, &isnull[5]);
	args[6] = PointerGetDatum(&saga->place.ctid);
	args[7] = TransactionIdGetDatum(saga->place.xmin);
	args[8] = PointerGetDatum(saga->saga);
	args[9] = PointerGetDatum(saga->scope);
	run_update(&update_saga, offsetof(IdemCatalog, saga_table), args, isnull, saga,
			   call, &saga->place);
	count(saga);
	saga->stored = saga->status;
}

static void
write_step(const IdemSaga *saga, IdemSagaStep *step, const IdemSagaCall *call)
{
	Datum		args[15];
	bool		isnull[15] = {false};

	args[0] = CStringGetTextDatum(idem_saga_rules_step_status(step->status));
	args[1] = Int32GetDatum(step->attempts);
	args[2] = Int32GetDatum(step->start_no);
	isnull[2] = (step->start_no == 0);
	args[3] = ObjectIdGetDatum(step->held_by);
	isnull[3] = !OidIsValid(step->held_by);
	args[4] = text_or_null(idem_saga_rules_due_work(step), &isnull[4]);
	args[5] = time_or_null(step->next_at, &isnull[5]);
	args[6] = BoolGetDatum(step->output.is_new);
	args[7] = jsonb_or_null(&step->output, &isnull[7]);
	args[8] = BoolGetDatum(step->error.is_new);
	args[9] = jsonb_or_null(&step->error, &isnull[9]);
	args[10] = PointerGetDatum(&step->place.ctid);
	args[11] = TransactionIdGetDatum(step->place.xmin);
	args[12] = PointerGetDatum(saga->saga);
	args[13] = PointerGetDatum(saga->scope);
	args[14] = Int32GetDatum(step->number);
	run_update(&update_step, offsetof(IdemCatalog, saga_step_table), args, isnull,
			   saga, call, &step->place);
	step->stored = step->status;
}

/* A status that a row has to pass through on its way, as the machine has it. */
static void
pass_through(IdemSaga *saga, IdemSagaStep *step, const IdemSagaCall *call)
{
	if (step == NULL && saga->stored == IDEM_SAGA_RUNNING &&
		saga->status == IDEM_SAGA_COMPENSATED)
	{
		saga->status = IDEM_SAGA_COMPENSATING;
		write_saga(saga, call);
		saga->status = IDEM_SAGA_COMPENSATED;
	}
	/* idem takes an action over itself, so that nobody else begins it */
	if (step != NULL && step->stored == IDEM_STEP_PENDING &&
		step->status == IDEM_STEP_UNDOING)
	{
		step->status = IDEM_STEP_RUNNING;
		write_step(saga, step, call);
		step->status = IDEM_STEP_UNDOING;
	}
}

/* Writes what has changed of a saga: its row first, then those of steps. */
void
idem_saga_write(IdemSaga *saga, const IdemSagaCall *call)
{
	if (saga->changed)
	{
		pass_through(saga, NULL, call);
		write_saga(saga, call);
		saga->changed = false;
	}
	for (int i = 0; i < saga->nsteps; i++)
	{
		IdemSagaStep *step = &saga->steps[i];

		if (!step->changed)
			continue;
		pass_through(saga, step, call);
		write_step(saga, step, call);
		step->changed = false;
	}
}
