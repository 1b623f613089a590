/*
 * upsert.c
 *	  SQL: idem_upsert(), a write into the caller's own table, once per key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/result_tuple.h"
#include "key/key.h"
#include "key/key_init.h"
#include "table/column_sql.h"
#include "upsert/merge.h"
#include "upsert/upsert_exec.h"
#include "upsert/upsert_target.h"

PG_FUNCTION_INFO_V1(idem_upsert);

/* The names in an array of text. */
static List *
conflict_names(ArrayType *array)
{
	Datum	   *elements;
	bool	   *isnull;
	int			count;
	List	   *names = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &isnull, &count);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"conflict\" must name at least one column"),
				 errhint("Leave \"conflict\" out to upsert by the primary key.")));
	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			idem_error_null("conflict[]");
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

static pg_uuid_t
fingerprint(const IdemUpsert *upsert)
{
	const IdemUpsertSpec *spec = &upsert->spec;
	IdemFingerprint fp;
	ListCell   *lc;

	idem_fingerprint_init(&fp, "upsert");
	idem_fingerprint_relation(&fp, spec->target);
	foreach(lc, spec->conflict)
		idem_fingerprint_string(&fp, lfirst(lc));
	idem_row_version_fingerprint(&upsert->expected, &fp);
	idem_fingerprint_jsonb(&fp, upsert->data);
	if (upsert->merge != NULL)
		idem_fingerprint_jsonb(&fp, upsert->merge);
	return idem_fingerprint_value(&fp);
}

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

/* A call, as far as its work needs it. */
typedef struct Call
{
	IdemUpsert	upsert;
	IdemSpelling spelling;
} Call;

/*
 * Inserts or updates the row; numbers in the data may have been left as they were
 * spelled.
 */
static void
upsert_row(void *state, IdemAnswer *answer)
{
	Call	   *call = state;
	IdemUpsert *upsert = &call->upsert;

	if (call->spelling.names != NIL && !call->spelling.matters)
		upsert->data = idem_column_sql_spell(upsert->data, upsert->spec.target,
											 &call->spelling);
	idem_upsert_exec(upsert, answer);
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
	Call		call = {0};
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
	upsert->data = PG_GETARG_JSONB_P(2);
	upsert->spec.fields = idem_column_sql_names(upsert->data, "data",
												&call.spelling);
	if (call.spelling.matters)
		upsert->data = idem_column_sql_spell(upsert->data, upsert->spec.target,
											 &call.spelling);
	upsert->spec.by_primary_key = PG_ARGISNULL(3);
	if (!PG_ARGISNULL(3))
		upsert->spec.conflict = conflict_names(PG_GETARG_ARRAYTYPE_P(3));
	upsert->expected = idem_row_version_argument(fcinfo, 4);
	upsert->spec.versioned = upsert->expected.exists;
	if (!PG_ARGISNULL(7))
	{
		upsert->merge = PG_GETARG_JSONB_P(7);
		upsert->spec.rules = idem_merge_rules(upsert->merge,
											  upsert->spec.fields);
	}

	if (upsert->spec.keyed)
	{
		key.fingerprint = fingerprint(upsert);
		replayed = idem_key_run(&key, upsert_row, &call, &answer);
	}
	else
	{
		check_conflict_values(upsert);
		upsert_row(&call, &answer);
	}

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[answer.outcome]);
	values[1] = BoolGetDatum(replayed);
	values[2] = answer.response;
	nulls[2] = answer.response_isnull ||
		(replayed && idem_answer_is_withheld(&answer));
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values,
										   nulls));
}
