/*
 * saga_table.c
 *	  The rows of idem_saga and idem_saga_step, found as they are committed now.
 *
 * A call that changes a saga locks its row first, and only then reads its steps: so
 * it has them to itself, whoever else works on other sagas.  The rows are read by
 * index without a statement, which neither takes part in serializable conflict
 * detection nor is bound to the transaction's snapshot.  Where that is the one of the
 * whole transaction and does not see them, 40001 is raised: what this call would
 * answer has come after all that the transaction has seen so far.
 *
 * Both tables are locked until the transaction ends, so that no VACUUM FULL or
 * CLUSTER moves the rows between finding and writing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/interval.h"
#include "base/role.h"
#include "run/committed_row.h"
#include "saga/saga_rules.h"
#include "saga/saga_table.h"

StaticAssertDecl((int) IDEM_SAGA_COLUMNS < (int) IDEM_STEP_COLUMNS,
				 "a row of steps has place for one of sagas");

/* A row taken apart. */
typedef struct Row
{
	Datum		values[IDEM_STEP_COLUMNS];
	bool		isnull[IDEM_STEP_COLUMNS];
} Row;

static Datum
value_of(const Row *row, int column)
{
	return row->values[column - 1];
}

static bool
is_null(const Row *row, int column)
{
	return row->isnull[column - 1];
}

static void
take_apart(Relation rel, HeapTuple tuple, int columns, Row *row)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < columns; i++)
		row->values[i] = heap_getattr(tuple, i + 1, desc, &row->isnull[i]);
}

static text *
text_of(const Row *row, int column)
{
	return is_null(row, column) ? NULL : DatumGetTextPP(value_of(row, column));
}

static TimestampTz
time_of(const Row *row, int column)
{
	return is_null(row, column) ? 0 : DatumGetTimestampTz(value_of(row, column));
}

static int64
span_of(const Row *row, int column, const char *name)
{
	return idem_interval_us_or_zero(DatumGetIntervalP(value_of(row, column)), name);
}

static void
jsonb_of(const Row *row, int column, IdemSagaValue *value)
{
	value->value = value_of(row, column);
	value->isnull = is_null(row, column);
	value->is_new = false;
}

static void
place_of(HeapTuple tuple, IdemSagaPlace *place)
{
	place->ctid = tuple->t_self;
	place->xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
}

static bool
is_text(text *value, text *other)
{
	return VARSIZE_ANY_EXHDR(value) == VARSIZE_ANY_EXHDR(other) &&
		memcmp(VARDATA_ANY(value), VARDATA_ANY(other), VARSIZE_ANY_EXHDR(value)) == 0;
}

/* Raises XX001: somebody has written to the table what idem never does. */
pg_noreturn static void
error_damaged(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("saga \"%s\" has an invalid row", name),
			 errdetail("Its status, or what is due of a step, is none that idem writes.")));
}

static int
status_of(const Row *row, int column, const char *(*name) (int), int count,
		  const char *saga)
{
	text	   *status = text_of(row, column);

	for (int i = 0; status != NULL && i < count; i++)
	{
		if (strlen(name(i)) == VARSIZE_ANY_EXHDR(status) &&
			memcmp(name(i), VARDATA_ANY(status), VARSIZE_ANY_EXHDR(status)) == 0)
			return i;
	}
	error_damaged(saga);
}

static const char *
saga_status_name(int status)
{
	return idem_saga_rules_status((IdemSagaStatus) status);
}

static const char *
step_status_name(int status)
{
	return idem_saga_rules_step_status((IdemStepStatus) status);
}

static void
read_saga(Relation rel, HeapTuple tuple, IdemSaga *saga)
{
	Row			row;

	take_apart(rel, tuple, IDEM_SAGA_COLUMNS, &row);
	saga->saga = text_of(&row, IDEM_SAGA_COLUMN_SAGA);
	saga->scope = text_of(&row, IDEM_SAGA_COLUMN_SCOPE);
	saga->name = text_to_cstring(saga->saga);
	saga->owner = DatumGetObjectId(value_of(&row, IDEM_SAGA_COLUMN_OWNER));
	saga->fingerprint = *DatumGetUUIDP(value_of(&row, IDEM_SAGA_COLUMN_FINGERPRINT));
	saga->status = status_of(&row, IDEM_SAGA_COLUMN_STATUS, saga_status_name,
							 IDEM_SAGA_COMPENSATED + 1, saga->name);
	saga->stored = saga->status;
	saga->compensates = DatumGetBool(value_of(&row, IDEM_SAGA_COLUMN_COMPENSATES));
	saga->started_at = time_of(&row, IDEM_SAGA_COLUMN_STARTED_AT);
	saga->ended_at = time_of(&row, IDEM_SAGA_COLUMN_ENDED_AT);
	saga->expires_at = time_of(&row, IDEM_SAGA_COLUMN_EXPIRES_AT);
	saga->deadline = time_of(&row, IDEM_SAGA_COLUMN_DEADLINE);
	saga->ttl_us = span_of(&row, IDEM_SAGA_COLUMN_TTL, "ttl");
	jsonb_of(&row, IDEM_SAGA_COLUMN_INPUT, &saga->input);
	jsonb_of(&row, IDEM_SAGA_COLUMN_ERROR, &saga->error);
	place_of(tuple, &saga->place);
}

static void
read_step(Relation rel, HeapTuple tuple, const IdemSaga *saga, IdemSagaStep *step)
{
	Row			row;
	text	   *due;

	take_apart(rel, tuple, IDEM_STEP_COLUMNS, &row);
	step->number = DatumGetInt32(value_of(&row, IDEM_STEP_COLUMN_STEP));
	step->work = text_of(&row, IDEM_STEP_COLUMN_WORK);
	step->undo = text_of(&row, IDEM_STEP_COLUMN_UNDO);
	step->pivot = DatumGetBool(value_of(&row, IDEM_STEP_COLUMN_PIVOT));
	step->max_attempts = DatumGetInt32(value_of(&row, IDEM_STEP_COLUMN_MAX_ATTEMPTS));
	step->backoff_us = span_of(&row, IDEM_STEP_COLUMN_BACKOFF, "backoff");
	step->cap_us = span_of(&row, IDEM_STEP_COLUMN_CAP, "cap");
	step->status = status_of(&row, IDEM_STEP_COLUMN_STATUS, step_status_name,
							 IDEM_STEP_SKIPPED + 1, saga->name);
	step->stored = step->status;
	step->attempts = DatumGetInt32(value_of(&row, IDEM_STEP_COLUMN_ATTEMPTS));
	step->start_no = is_null(&row, IDEM_STEP_COLUMN_START_NO) ? 0 :
		DatumGetInt32(value_of(&row, IDEM_STEP_COLUMN_START_NO));
	step->held_by = is_null(&row, IDEM_STEP_COLUMN_HELD_BY) ? InvalidOid :
		DatumGetObjectId(value_of(&row, IDEM_STEP_COLUMN_HELD_BY));
	step->next_at = time_of(&row, IDEM_STEP_COLUMN_NEXT_AT);
	jsonb_of(&row, IDEM_STEP_COLUMN_INPUT, &step->input);
	jsonb_of(&row, IDEM_STEP_COLUMN_OUTPUT, &step->output);
	jsonb_of(&row, IDEM_STEP_COLUMN_ERROR, &step->error);
	place_of(tuple, &step->place);

	/* one name may stand for both, so the direction tells which is due */
	due = text_of(&row, IDEM_STEP_COLUMN_DUE);
	step->due = due == NULL ? IDEM_STEP_DUE_NOTHING :
		saga->compensates && step->undo != NULL ? IDEM_STEP_DUE_UNDO :
		IDEM_STEP_DUE_WORK;
	if (due != NULL && !is_text(due, idem_saga_rules_due_work(step)))
		error_damaged(saga->name);
}

pg_noreturn static void
error_unseen(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent change of a saga"),
			 errdetail("Another transaction changed saga \"%s\" and committed after this transaction's snapshot was taken.",
					   name),
			 errhint("The transaction might succeed if retried.")));
}

/* Does the transaction's one snapshot lack a row, or, with skip, that of the statement? */
static bool
is_unseen(HeapTuple tuple, bool skip)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

	return skip ? idem_committed_row_is_unseen_by_statement(xmin) :
		idem_committed_row_is_unseen(xmin);
}

/* Raises 42501 unless the caller has the rights of the role that started a saga. */
static void
check_owner(const IdemSaga *saga)
{
	static const IdemRoleError error = {
		.message = "permission denied for saga \"%s\"",
		.detail = "The saga belongs to a role that you are not a member of.",
		.hint = "Use a scope of your own to keep your sagas apart from those of others."
	};

	idem_role_check(saga->owner, saga->name, &error);
}

static void
init_keys(ScanKey keys, text *name, text *scope)
{
	/*
	 * the columns have one number in no two tables: they are set by the
	 * caller
	 */
	ScanKeyInit(&keys[0], IDEM_SAGA_COLUMN_SAGA, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(name));
	ScanKeyInit(&keys[1], IDEM_SAGA_COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(scope));
}

static HeapTuple
find_row(Relation rel, text *name, text *scope)
{
	ScanKeyData keys[2];

	init_keys(keys, name, scope);
	return idem_committed_row_find(rel, idem_catalog_key_of(rel), 2, keys);
}

/* The role that a saga belongs to, whose table is open; InvalidOid: there is none. */
Oid
idem_saga_table_owner(Relation rel, text *name, text *scope)
{
	HeapTuple	tuple = find_row(rel, name, scope);
	bool		isnull;

	return tuple == NULL ? InvalidOid :
		DatumGetObjectId(heap_getattr(tuple, IDEM_SAGA_COLUMN_OWNER,
									  RelationGetDescr(rel), &isnull));
}

static int
compare_steps(const void *a, const void *b)
{
	return ((const IdemSagaStep *) a)->number - ((const IdemSagaStep *) b)->number;
}

/* Reads the steps; false if the snapshot lacks some. */
static bool
read_steps(IdemSaga *saga, bool skip)
{
	Relation	rel = table_open(idem_catalog()->saga_step_table, RowExclusiveLock);
	ScanKeyData keys[2];
	List	   *rows;
	ListCell   *lc;
	bool		seen = true;

	init_keys(keys, saga->saga, saga->scope);
	keys[0].sk_attno = IDEM_STEP_COLUMN_SAGA;
	keys[1].sk_attno = IDEM_STEP_COLUMN_SCOPE;
	rows = idem_committed_row_list(rel, idem_catalog_key_of(rel), 2, keys);
	saga->nsteps = 0;
	saga->steps = palloc0(sizeof(IdemSagaStep) * (list_length(rows) + 1));
	foreach(lc, rows)
	{
		if (is_unseen(lfirst(lc), skip))
			seen = false;
		read_step(rel, lfirst(lc), saga, &saga->steps[saga->nsteps++]);
	}
	qsort(saga->steps, saga->nsteps, sizeof(IdemSagaStep), compare_steps);
	table_close(rel, NoLock);
	return seen;
}

/* Locks a row that was found.  False if it is another by now, or is not to be waited for. */
static bool
lock_row(Relation rel, HeapTuple tuple, bool skip)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(rel, &tuple->t_self, GetActiveSnapshot(), slot,
							  GetCurrentCommandId(true), LockTupleNoKeyExclusive,
							  skip ? LockWaitSkip : LockWaitBlock, 0, &failure);
	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

/*
 * Opens a saga: locks its row, and reads its steps.  Waits for other transactions
 * that work on it.  With IDEM_SAGA_SKIP it never waits, and is BUSY where it is not
 * for the caller, or not as the statement sees it: one that is newer might be joined
 * with what was written with it, and not found, although it is claimed.
 *
 * Raises 42501 where it is another role's, before it waits, and 40001 where it was
 * changed after the one snapshot of the transaction was taken.
 */
IdemSagaFound
idem_saga_table_open(IdemSaga *saga, text *name, text *scope, int options)
{
	bool		skip = (options & IDEM_SAGA_SKIP) != 0;
	Relation	rel;
	HeapTuple	tuple;
	bool		locked = false;

	memset(saga, 0, sizeof(IdemSaga));
	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->saga_table, RowExclusiveLock);
	while (!locked)
	{
		CHECK_FOR_INTERRUPTS();
		tuple = find_row(rel, name, scope);
		if (tuple == NULL)
		{
			table_close(rel, NoLock);
			return IDEM_SAGA_ABSENT;
		}
		read_saga(rel, tuple, saga);
		if (!skip)
			check_owner(saga);
		else if (!idem_role_has_rights_of(GetUserId(), saga->owner))
			break;
		locked = lock_row(rel, tuple, skip);
		if (skip && !locked)
			break;
	}
	table_close(rel, NoLock);
	if (!locked)
		return IDEM_SAGA_BUSY;

	saga->now = GetCurrentTimestamp();
	if (!read_steps(saga, skip) || is_unseen(tuple, skip))
	{
		if (skip)
			return IDEM_SAGA_BUSY;
		error_unseen(saga->name);
	}
	return IDEM_SAGA_OPEN;
}

/*
 * Finds a saga's row, without locking it and without its steps.  False if there is
 * none.  Raises 42501 and 40001 as idem_saga_table_open does.
 */
bool
idem_saga_table_find(IdemSaga *saga, text *name, text *scope)
{
	Relation	rel;
	HeapTuple	tuple;

	memset(saga, 0, sizeof(IdemSaga));
	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->saga_table, AccessShareLock);
	tuple = find_row(rel, name, scope);
	if (tuple != NULL)
	{
		read_saga(rel, tuple, saga);
		check_owner(saga);
		if (is_unseen(tuple, false))
			error_unseen(saga->name);
	}
	table_close(rel, AccessShareLock);
	return tuple != NULL;
}
