/*
 * claim.c
 *	  SQL: claims of keys, for work that an idem function cannot do by itself,
 *	  such as what leaves the database.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "base/settings.h"
#include "key/key_init.h"
#include "key/lease.h"
#include "key/lease_claim.h"
#include "run/sole_call.h"

PG_FUNCTION_INFO_V1(idem_claim);
PG_FUNCTION_INFO_V1(idem_complete);
PG_FUNCTION_INFO_V1(idem_fail);
PG_FUNCTION_INFO_V1(idem_release);
PG_FUNCTION_INFO_V1(idem_extend);
PG_FUNCTION_INFO_V1(idem_checkpoint);

static pg_uuid_t
fingerprint(Jsonb *request)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "claim");
	idem_fingerprint_jsonb(&fp, request);
	return idem_fingerprint_value(&fp);
}

/*
 * Raises 25P01 for a claim without a lease that would be over at once: the key
 * would be completed before the caller has done anything.
 */
static void
check_transaction(FunctionCallInfo fcinfo)
{
	if (idem_sole_call(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("a claim without a lease needs a transaction block"),
				 errdetail("It lasts as long as its transaction, which is this statement."),
				 errhint("Send BEGIN first and COMMIT after the work, or give a lease.")));
}

/*
 * idem_claim(key text, request jsonb, lease interval, scope text, ttl interval,
 *			  wait boolean)
 *		-> outcome idem_outcome, response jsonb, fence bigint,
 *		   expires_at timestamptz, lease_until timestamptz
 *
 * Claims the key, for the transaction or under a lease, or returns how it stands.
 * Errors: those of idem_lease_claim, 22023 for a lease that is not positive, 25P01
 * without one where the transaction does nothing else.
 */
Datum
idem_claim(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	IdemKeyRow	row;
	Datum		values[5];
	bool		nulls[5] = {false, true, true, true, true};

	idem_key_init(&key, fcinfo, "idem_claim()", 0, 3, 4);
	key.fingerprint_isnull = PG_ARGISNULL(1);
	if (!key.fingerprint_isnull)
	{
		Jsonb	   *request = PG_GETARG_JSONB_P(1);

		key.request = JsonbPGetDatum(request);
		/* without a lease it is not kept */
		if (!PG_ARGISNULL(2))
			idem_settings_check_response(VARSIZE(request), "request");
		key.fingerprint = fingerprint(request);
	}
	key.lease = PG_ARGISNULL(2) ? NULL : PG_GETARG_INTERVAL_P(2);
	if (key.lease == NULL)
		check_transaction(fcinfo);
	if (PG_ARGISNULL(5))
		idem_error_null("wait");

	if (idem_lease_claim(&key, PG_GETARG_BOOL(5), &row))
	{
		values[1] = row.response;
		nulls[1] = row.response_isnull;
		/* only its holder has a fence, as long as a claim is in progress */
		values[2] = Int64GetDatum(row.fence);
		nulls[2] = (row.outcome == IDEM_IN_PROGRESS);
		values[3] = TimestampTzGetDatum(row.expires_at);
		nulls[3] = false;
		values[4] = TimestampTzGetDatum(row.lease_until);
		nulls[4] = !row.leased;
	}
	else
		row.outcome = IDEM_IN_PROGRESS;
	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[row.outcome]);
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}

/*
 * Ends a claim.  A response that is SQL's null is kept as JSON's, since that of a
 * claim without a lease is SQL's null until it is completed.
 */
static bool
end_claim(FunctionCallInfo fcinfo, const char *function, IdemOutcome outcome)
{
	IdemKey		key;
	int64		fence = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	Datum		response;

	idem_key_init(&key, fcinfo, function, 0, 3, 4);
	response = PG_ARGISNULL(1) ? idem_answer_withheld() :
		JsonbPGetDatum(PG_GETARG_JSONB_P(1));
	idem_settings_check_response(VARSIZE(DatumGetPointer(response)),
								 outcome == IDEM_FAILED ? "error" : "response");
	return idem_lease_end(&key, PG_ARGISNULL(2) ? NULL : &fence, outcome,
						  response);
}

/*
 * idem_complete(key text, response jsonb, fence bigint, scope text,
 *				 ttl interval) -> boolean
 *
 * Ends a claim whose work is done.  True: with this response.  False: it has
 * ended already.  Errors: those of idem_lease_end.
 */
Datum
idem_complete(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(end_claim(fcinfo, "idem_complete()", IDEM_COMPLETED));
}

/*
 * idem_fail(key text, error jsonb, fence bigint, scope text, ttl interval)
 *		-> boolean
 *
 * The same for work that is refused for good.
 */
Datum
idem_fail(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(end_claim(fcinfo, "idem_fail()", IDEM_FAILED));
}

/*
 * idem_release(key text, fence bigint, scope text, forget boolean) -> boolean
 *
 * Gives up a claim, so that the work can be tried again at once, or, where the
 * claim is to be forgotten, other work be done under the key.  False: it has ended
 * already.  Errors: those of idem_lease_release.
 */
Datum
idem_release(PG_FUNCTION_ARGS)
{
	IdemKey		key;
	int64		fence = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);

	idem_key_init(&key, fcinfo, "idem_release()", 0, 2, -1);
	if (PG_ARGISNULL(3))
		idem_error_null("forget");
	PG_RETURN_BOOL(idem_lease_release(&key, PG_ARGISNULL(1) ? NULL : &fence,
									  PG_GETARG_BOOL(3)));
}

/*
 * idem_extend(key text, fence bigint, lease interval, scope text)
 *		-> timestamptz
 *
 * Prolongs a lease, from now on, and returns until when it is held, which is not
 * earlier than before.  Errors: those of idem_lease_extend, 22023 for a lease that
 * is not positive.
 */
Datum
idem_extend(PG_FUNCTION_ARGS)
{
	IdemKey		key;

	idem_key_init_held(&key, fcinfo, "idem_extend()", 0, 3);
	if (PG_ARGISNULL(1))
		idem_error_null("fence");
	if (PG_ARGISNULL(2))
		idem_error_null("lease");
	key.lease = PG_GETARG_INTERVAL_P(2);
	PG_RETURN_TIMESTAMPTZ(idem_lease_extend(&key, PG_GETARG_INT64(1)));
}

/*
 * idem_checkpoint(key text, fence bigint, name text, data jsonb, scope text)
 *		-> void
 *
 * Records how far the holder of a lease has come, for the session that takes over.
 * Errors: those of idem_lease_checkpoint.
 */
Datum
idem_checkpoint(PG_FUNCTION_ARGS)
{
	IdemKey		key;

	idem_key_init_held(&key, fcinfo, "idem_checkpoint()", 0, 4);
	if (PG_ARGISNULL(1))
		idem_error_null("fence");
	if (PG_ARGISNULL(2))
		idem_error_null("name");
	idem_lease_checkpoint(&key, PG_GETARG_INT64(1), PG_GETARG_TEXT_PP(2),
						  PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	PG_RETURN_VOID();
}
