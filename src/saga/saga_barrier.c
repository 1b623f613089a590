/*
 * saga_barrier.c
 *	  SQL: idem_barrier(), by which a participant of a saga learns whether to do, or
 *	  undo, a step.
 *
 * It is called in the participant's own database, in the transaction of its work.
 * The action of a step and its undo each have a key, in a scope for barriers, which
 * is another than that of the ledger's keys: both may be in one database.  A key is
 * claimed without a lease, so it commits with the work, and another session that
 * comes meanwhile waits.
 *
 * An undo that comes before its action claims the action's key, too, and ends it as
 * failed: then that action can never begin.
 *
 * Both keys expire after idem.barrier_retention, counted from when each was claimed.
 * So an action is also late while the key of its undo is there, even where its own has
 * gone.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/settings.h"
#include "key/key_generate.h"
#include "key/key_init.h"
#include "key/lease.h"
#include "key/lease_claim.h"
#include "key/scope.h"
#include "run/reading_write.h"
#include "run/sole_call.h"
#include "saga/saga_argument.h"

PG_FUNCTION_INFO_V1(idem_barrier);

/* A step of a saga, as a participant sees it. */
typedef struct Barrier
{
	text	   *saga;
	text	   *scope;
	int			step;
	Interval	kept;			/* how long keys are; unless for ever */
} Barrier;

static void
init_key(IdemKey *key, Barrier *barrier, bool undo)
{
	text	   *parts[] = {
		barrier->scope, barrier->saga,
		cstring_to_text(psprintf("%d", barrier->step)),
		cstring_to_text(undo ? "undo" : "do")
	};

	idem_key_init_own(key, IDEM_SCOPE_BARRIER,
					  idem_key_generate_derived(parts, lengthof(parts)),
					  GetUserId());
	key->fingerprint_isnull = true;
	if (idem_barrier_retention_s >= 0)
	{
		key->forever = false;
		key->ttl = &barrier->kept;
	}
}

/*
 * Claims the key of the action, or of the undo, for this transaction.  "claimed" if
 * nobody had it, else what it has come to.
 */
static IdemOutcome
claim(IdemKey *key, int64 *fence)
{
	IdemKeyRow	row;

	(void) idem_lease_claim(key, true, &row);
	*fence = row.fence;
	return row.outcome;
}

/* Is the key of an undo there, whether or not its transaction has ended? */
static bool
is_undone(Barrier *barrier)
{
	IdemKey		key;
	IdemKeyRow	row;

	init_key(&key, barrier, true);
	return idem_lease_claim_look_up(&key, 0, &row) == IDEM_KEY_LIVE;
}

static const char *
begin_action(Barrier *barrier)
{
	IdemKey		key;
	int64		fence;

	init_key(&key, barrier, false);
	switch (claim(&key, &fence))
	{
		case IDEM_CLAIMED:
			if (!is_undone(barrier))
				return "run";
			(void) idem_lease_end(&key, &fence, IDEM_FAILED,
								  DirectFunctionCall1(jsonb_in, CStringGetDatum("\"late\"")));
			return "late";
		case IDEM_COMPLETED:
			return "duplicate";
		default:
			return "late";
	}
}

/*
 * Raises 40001 where an action is to be undone by the very statement that asks, which
 * began before the action had committed, and so does not see what is to be undone.
 */
static void
check_seen(FunctionCallInfo fcinfo, const Barrier *barrier, const IdemKey *key)
{
	IdemKeyRow	row;

	if (!idem_reading_write(fcinfo))
		return;
	(void) idem_key_table_find(key->scope, key->key, GetCurrentTimestamp(),
							   IDEM_COMMITTED | IDEM_BY_STATEMENT, &row);
	if (!row.unseen)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent action of step %d of saga \"%s\"",
					barrier->step, text_to_cstring(barrier->saga)),
			 errdetail("The action committed after this statement began, which does not see what it wrote."),
			 errhint("Ask the barrier in a statement of its own, or retry the transaction.")));
}

static const char *
begin_undo(FunctionCallInfo fcinfo, Barrier *barrier)
{
	IdemKey		key;
	int64		fence;

	init_key(&key, barrier, true);
	if (claim(&key, &fence) != IDEM_CLAIMED)
		return "duplicate";
	init_key(&key, barrier, false);
	switch (claim(&key, &fence))
	{
		case IDEM_CLAIMED:
			(void) idem_lease_end(&key, &fence, IDEM_FAILED,
								  DirectFunctionCall1(jsonb_in, CStringGetDatum("\"empty\"")));
			return "empty";
		case IDEM_COMPLETED:
			check_seen(fcinfo, barrier, &key);
			return "run";
		default:
			return "empty";
	}
}

/* Raises 25P01 where the transaction would be over before the work begins. */
static void
check_transaction(FunctionCallInfo fcinfo)
{
	if (idem_sole_call(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("a barrier needs a transaction block"),
				 errdetail("It lets the work of its transaction begin, which is this statement."),
				 errhint("Send BEGIN first and COMMIT after the work.")));
}

/*
 * idem_barrier(saga text, step integer, undo boolean, scope text) -> text
 *
 * What a participant is to do of a step, in this transaction: "run" it; nothing,
 * since it has been done ("duplicate"), since there is nothing to undo ("empty"), or
 * since its undo came first ("late").  Waits for transactions that do or undo the same
 * step.
 *
 * Raises 40001 where one has committed after the transaction's snapshot was taken, or,
 * for an undo that is part of what it lets begin, after that of its statement; 42501
 * where the step is another role's, 25P01 outside a transaction block, 22004 and 22023
 * for arguments that are none, 25006 in a read-only transaction and on a standby, 27000
 * where a trigger keeps a row from being written.
 */
Datum
idem_barrier(PG_FUNCTION_ARGS)
{
	Barrier		barrier = {0};

	idem_saga_argument_init(fcinfo, "idem_barrier()", 0, 3, &barrier.saga,
							&barrier.scope);
	if (PG_ARGISNULL(1))
		idem_error_null("step");
	barrier.step = PG_GETARG_INT32(1);
	if (barrier.step < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"step\" must be positive"),
				 errdetail("It is %d.", barrier.step)));
	if (PG_ARGISNULL(2))
		idem_error_null("undo");
	check_transaction(fcinfo);
	barrier.kept.time = Max(idem_barrier_retention_s, 1) * USECS_PER_SEC;
	PG_RETURN_TEXT_P(cstring_to_text(PG_GETARG_BOOL(2) ?
									 begin_undo(fcinfo, &barrier) :
									 begin_action(&barrier)));
}
