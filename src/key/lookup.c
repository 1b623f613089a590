/*
 * lookup.c
 *	  SQL: idem_lookup(), which returns how a key stands, and idem_wait(), which
 *	  first waits for what is in progress to end.
 *
 * A wait asks again and again, since what ends a claim may be the clock, or come by
 * replication.  It holds no lock meanwhile, so it is in the way of no session.  But
 * the statement that calls has a snapshot, and as long as it runs, vacuum cannot
 * remove what that may see, in any table: hence MAX_WAIT_US.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/interval.h"
#include "base/result_tuple.h"
#include "key/key_init.h"
#include "key/key_lock.h"
#include "key/lease_claim.h"

PG_FUNCTION_INFO_V1(idem_lookup);
PG_FUNCTION_INFO_V1(idem_wait);

#define MAX_WAIT_US		USECS_PER_MINUTE
#define MIN_NAP_MS		10		/* between two looks, doubled each time */
#define MAX_NAP_MS		1000

/* The row that a look-up returns. */
static Datum
form_result(FunctionCallInfo fcinfo, IdemKeyState found, IdemKeyRow *row)
{
	Datum		values[7];
	bool		nulls[7] = {true, true, true, true, true, true, true};

	if (found == IDEM_KEY_BUSY)
		row->outcome = IDEM_IN_PROGRESS;
	if (found == IDEM_KEY_LIVE || found == IDEM_KEY_LAPSED)
	{
		values[1] = row->response;
		nulls[1] = row->response_isnull;
		values[2] = Int64GetDatum(row->fence);
		values[3] = TimestampTzGetDatum(row->created_at);
		values[4] = TimestampTzGetDatum(row->expires_at);
		nulls[2] = nulls[3] = nulls[4] = false;
		values[5] = TimestampTzGetDatum(row->lease_until);
		nulls[5] = !row->leased;
		values[6] = row->request;
		nulls[6] = row->request_isnull;
	}
	nulls[0] = (found == IDEM_KEY_ABSENT || found == IDEM_KEY_EXPIRED);
	if (!nulls[0])
		values[0] = ObjectIdGetDatum(idem_catalog()->outcome[row->outcome]);
	return idem_result_tuple_form(fcinfo, lengthof(values), values, nulls);
}

/*
 * idem_lookup(key text, scope text)
 *		-> outcome idem_outcome, response jsonb, fence bigint,
 *		   created_at timestamptz, expires_at timestamptz,
 *		   lease_until timestamptz, request jsonb
 *
 * Returns how a key stands as committed now: all null if it is free, in progress
 * without anything else while another transaction uses it.  Does not write, does
 * not wait, works on a standby.  Errors: those of idem_lease_claim_look_up.
 */
Datum
idem_lookup(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	IdemKeyRow	row;
	IdemKeyState found;

	idem_key_init_held(&key, fcinfo, NULL, 0, 1);
	found = idem_lease_claim_look_up(&key, IDEM_WITH_VALUES, &row);
	PG_RETURN_DATUM(form_result(fcinfo, found, &row));
}

/* How long to wait, in microseconds, of at most a minute. */
static int64
read_timeout(FunctionCallInfo fcinfo, int argument)
{
	int64		us;

	if (PG_ARGISNULL(argument))
		idem_error_null("timeout");
	us = idem_interval_us_or_zero(PG_GETARG_INTERVAL_P(argument), "timeout");
	if (us > MAX_WAIT_US)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"timeout\" must not be more than a minute"),
				 errdetail("As long as a statement waits, vacuum cannot remove rows that were deleted after it began."),
				 errhint("Wait again, in a statement of its own and outside a transaction block.")));
	return us;
}

/* What is left of a wait, in milliseconds; the clock may be set meanwhile. */
static int64
left_ms(instr_time start, int64 us)
{
	instr_time	spent;

	INSTR_TIME_SET_CURRENT(spent);
	INSTR_TIME_SUBTRACT(spent, start);
	us -= (int64) INSTR_TIME_GET_MICROSEC(spent);
	/* rounded up, so as not to be awake before it is time */
	return us <= 0 ? 0 : (us + 999) / 1000;
}

/* Raises 55006 where it is this session itself that would be waited for. */
static void
check_other(const IdemKey *key, const IdemKeyRow *row)
{
	if (!row->ours && !idem_key_lock_is_held(key))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("key \"%s\" is in use by this transaction", key->name),
			 errdetail("The session would wait for itself."),
			 errhint("Commit, then wait for the key.")));
}

static void
nap(int64 ms)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = IDEM_WAIT_EVENT("IdemWait");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) ms, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* How a key stands once nothing is in progress any more, or the time is over. */
static IdemKeyState
wait_for_end(IdemKey *key, int64 timeout_us, IdemKeyRow *row)
{
	instr_time	start;
	int64		nap_ms = MIN_NAP_MS;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		int64		left = left_ms(start, timeout_us);
		IdemKeyState found = idem_lease_claim_look_up(key, 0, row);

		if (left == 0 || !idem_lease_claim_is_pending(found, row))
		{
			found = idem_lease_claim_look_up(key, IDEM_WITH_VALUES, row);
			/* it may just have been claimed again */
			if (left == 0 || !idem_lease_claim_is_pending(found, row))
				return found;
		}
		check_other(key, row);
		left = Min(left, nap_ms);
		/* the end of a lease is known, and need not be looked for */
		if (row->leased)
			left = Min(left, Max((row->lease_until - key->now) / 1000 + 1, 1));
		nap(left);
		nap_ms = Min(nap_ms * 2, MAX_NAP_MS);
	}
}

/*
 * idem_wait(key text, timeout interval, scope text) -> as idem_lookup
 *
 * Waits, so long at most, as long as the key is in progress, then returns how it
 * stands as idem_lookup does.  Holds no lock meanwhile, and works on a standby.
 * Errors: those of idem_lease_claim_look_up; 22004 and 22023 for a timeout that is
 * null, negative, or more than a minute; 55006 where this transaction has the key in
 * progress.
 */
Datum
idem_wait(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	IdemKeyRow	row;
	IdemKeyState found;

	idem_key_init_held(&key, fcinfo, NULL, 0, 2);
	found = wait_for_end(&key, read_timeout(fcinfo, 1), &row);
	PG_RETURN_DATUM(form_result(fcinfo, found, &row));
}
