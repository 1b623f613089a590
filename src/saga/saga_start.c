/*
 * saga_start.c
 *	  SQL: idem_saga_start(), which writes a saga down, once.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/interval.h"
#include "base/result_tuple.h"
#include "base/routed.h"
#include "base/settings.h"
#include "saga/saga_argument.h"
#include "saga/saga_parse.h"
#include "saga/saga_rules.h"
#include "saga/saga_table.h"
#include "saga/saga_write.h"

PG_FUNCTION_INFO_V1(idem_saga_start);

/* A saga is the same if it has the same steps and the same input. */
static pg_uuid_t
fingerprint(Jsonb *steps, Jsonb *input)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "saga_start");
	idem_fingerprint_jsonb(&fp, steps);
	if (input == NULL)
		idem_fingerprint_null(&fp);
	else
		idem_fingerprint_jsonb(&fp, input);
	return idem_fingerprint_value(&fp);
}

/* Raises ID001 unless a saga that is there was started with the same. */
static void
check_same(const IdemSaga *there, const IdemSaga *saga)
{
	if (memcmp(&there->fingerprint, &saga->fingerprint, sizeof(pg_uuid_t)) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_KEY_MISMATCH),
			 errmsg("saga \"%s\" was started with other steps", there->name),
			 errdetail("It was started at %s, and is %s.",
					   timestamptz_to_str(there->started_at),
					   idem_saga_rules_status(there->status)),
			 errhint("Send exactly the same steps and input to retry the call, or use a new name for a new saga.")));
}

/* When a saga that is started now is to go back, and how long it is kept after its end. */
static void
set_times(IdemSaga *saga, const Interval *deadline, const Interval *ttl)
{
	saga->now = GetCurrentTimestamp();
	saga->started_at = saga->now;
	if (deadline != NULL)
		saga->deadline = idem_interval_end(saga->now,
										   idem_interval_us(deadline, "deadline"));
	if (saga->deadline == DT_NOEND)
		saga->deadline = 0;
	saga->ttl_us = ttl != NULL ? idem_interval_us(ttl, "ttl") :
		idem_settings_ttl_us();
	idem_settings_check_ttl(saga->ttl_us, ttl != NULL ? "ttl" : "idem.ttl");
}

/*
 * idem_saga_start(saga text, steps jsonb, input jsonb, deadline interval,
 *				   scope text, ttl interval) -> replayed boolean, status text
 *
 * Writes a saga down, whose first step is due from then on; or returns how the one
 * of that name stands.  Waits for another transaction that starts it.
 *
 * Raises ID001 where the saga was started with other steps or another input, 42501
 * where it or the scope is another role's, 40001 where it was changed after the
 * transaction's snapshot was taken, 22004 and 22023 for arguments that are none,
 * 54000 for an input that is too long, 25006 in a read-only transaction and on a
 * standby, 27000 where a trigger keeps a row from being written, 0A000 where a table
 * of the database is distributed.
 */
Datum
idem_saga_start(PG_FUNCTION_ARGS)
{
	IdemSaga	saga = {0};
	IdemSaga	there;
	Jsonb	   *steps;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	bool		replayed;

	idem_saga_argument_init(fcinfo, "idem_saga_start()", 0, 4, &saga.saga, &saga.scope);
	saga.name = text_to_cstring(saga.saga);
	if (PG_ARGISNULL(1))
		idem_error_null("steps");
	steps = PG_GETARG_JSONB_P(1);
	idem_saga_parse_steps(&saga, steps);
	saga.input.isnull = PG_ARGISNULL(2);
	if (!saga.input.isnull)
		saga.input.value = JsonbPGetDatum(PG_GETARG_JSONB_P(2));
	idem_settings_check_response(VARSIZE(steps) +
								 (saga.input.isnull ? 0 :
								  VARSIZE(DatumGetPointer(saga.input.value))),
								 "input");
	saga.owner = GetUserId();
	saga.status = IDEM_SAGA_RUNNING;
	saga.fingerprint = fingerprint(steps, saga.input.isnull ? NULL :
								   DatumGetJsonbP(saga.input.value));
	set_times(&saga, PG_ARGISNULL(3) ? NULL : PG_GETARG_INTERVAL_P(3),
			  PG_ARGISNULL(5) ? NULL : PG_GETARG_INTERVAL_P(5));

	idem_routed_check_local("idem_saga", false);
	replayed = idem_saga_table_find(&there, saga.saga, saga.scope);
	if (!replayed)
	{
		idem_saga_rules_settle(&saga);
		replayed = !idem_saga_write_insert(&saga);
		if (replayed && !idem_saga_table_find(&there, saga.saga, saga.scope))
			idem_error_prevented("idem_saga");
	}
	if (replayed)
		check_same(&there, &saga);

	values[0] = BoolGetDatum(replayed);
	values[1] = CStringGetTextDatum(idem_saga_rules_status(replayed ? there.status :
														   saga.status));
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
