/*
 * upsert.c
 *	  SQL: idem_upsert(), a write into the caller's own table, once per key.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/result_tuple.h"
#include "key/key.h"
#include "key/key_init.h"
#include "upsert/upsert_call.h"
#include "upsert/upsert_target.h"

PG_FUNCTION_INFO_V1(idem_upsert);

/*
 * Without a key a repeat is known by the row alone, and a null in its key is not
 * equal to itself, unless the index says so.
 */
static void
check_conflict_values(const IdemUpsert *upsert)
{
	ListCell   *lc;

	foreach(lc, upsert->spec.conflict)
	{
		const char *name = lfirst(lc);
		JsonbValue	v;

		if (getKeyJsonValueFromContainer(&upsert->data->root, name,
										 strlen(name), &v) != NULL &&
			v.type == jbvNull && !idem_upsert_target_nulls_equal(&upsert->spec))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"key\" must not be null"),
					 errdetail("Conflict column \"%s\" is null, so nothing else would tell a repeat.",
							   name)));
	}
}

/* Without a key there is nothing to remember an error by. */
static void
check_unremembered(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(8))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"key\" must not be null"),
				 errdetail("\"remember_errors\" remembers errors under the key.")));
}

/*
 * idem_upsert(key text, target regclass, data jsonb, conflict text[],
 *			   expected_version bigint, scope text, ttl interval, merge jsonb,
 *			   remember_errors text[], wait boolean, store_response boolean)
 *		-> outcome idem_outcome, replayed boolean, result jsonb
 *
 * Inserts data into target, or updates the row that is there, and remembers
 * the row under the key; or returns what the key remembers.  With merge rules,
 * which make the repeat harmless, the key may be null, and nothing is
 * remembered.  Errors: those of idem_key_init, idem_merge_rules,
 * idem_key_run and idem_upsert_exec.
 */
Datum
idem_upsert(PG_FUNCTION_ARGS)
{
	IdemUpsertCall call = {0};
	IdemUpsert *upsert = &call.upsert;
	IdemKey		key;
	IdemAnswer	answer = {0};
	Datum		values[3];
	bool		nulls[3] = {false};
	bool		replayed = false;

	upsert->spec.keyed = !PG_ARGISNULL(0) || PG_ARGISNULL(7);
	if (!upsert->spec.keyed)
	{
		PreventCommandIfReadOnly("idem_upsert()");
		check_unremembered(fcinfo);
	}
	else
	{
		idem_key_init(&key, fcinfo, "idem_upsert()", 0, 5, 6);
		idem_key_init_work(&key, fcinfo, 8);
	}
	if (PG_ARGISNULL(1))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("data");
	upsert->spec.target = PG_GETARG_OID(1);
	idem_upsert_call_set_data(&call, PG_GETARG_JSONB_P(2));
	upsert->spec.by_primary_key = PG_ARGISNULL(3);
	if (!PG_ARGISNULL(3))
		upsert->spec.conflict = idem_upsert_call_conflict(PG_GETARG_ARRAYTYPE_P(3));
	upsert->expected = idem_row_version_argument(fcinfo, 4);
	upsert->spec.versioned = upsert->expected.exists;
	if (!PG_ARGISNULL(7))
		idem_upsert_call_set_merge(&call, PG_GETARG_JSONB_P(7));

	if (upsert->spec.keyed)
	{
		key.fingerprint = idem_upsert_call_fingerprint(&call);
		replayed = idem_key_run(&key, idem_upsert_call_run, &call, &answer);
	}
	else
	{
		check_conflict_values(upsert);
		idem_upsert_call_run(&call, &answer);
	}

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[answer.outcome]);
	values[1] = BoolGetDatum(replayed);
	values[2] = answer.response;
	nulls[2] = answer.response_isnull ||
		(replayed && idem_answer_is_withheld(&answer));
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values,
										   nulls));
}
