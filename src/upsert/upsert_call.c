/*
 * upsert_call.c
 *	  An upsert as it is asked for by a call, and as the work of a key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "upsert/merge.h"
#include "upsert/upsert_call.h"
#include "upsert/upsert_exec.h"

/* The names in an array of text.  Raises 22023 where there are none, 22004 for a null. */
List *
idem_upsert_call_conflict(ArrayType *array)
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

/*
 * Takes the data of a call, whose target is set.  Raises 22023 for what is not an
 * object, or nothing of its columns' types.
 */
void
idem_upsert_call_set_data(IdemUpsertCall *call, Jsonb *data)
{
	IdemUpsert *upsert = &call->upsert;

	upsert->data = data;
	upsert->spec.fields = idem_column_sql_names(data, "data", &call->spelling);
	if (call->spelling.matters)
		upsert->data = idem_column_sql_spell(data, upsert->spec.target,
											 &call->spelling);
}

/* Takes the merge rules, after the data.  Raises what idem_merge_rules does. */
void
idem_upsert_call_set_merge(IdemUpsertCall *call, Jsonb *merge)
{
	IdemUpsert *upsert = &call->upsert;

	Assert(upsert->data != NULL);
	upsert->merge = merge;
	upsert->spec.rules = idem_merge_rules(merge, upsert->spec.fields);
}

/* What tells the request from others under its key. */
pg_uuid_t
idem_upsert_call_fingerprint(const IdemUpsertCall *call)
{
	const IdemUpsert *upsert = &call->upsert;
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

/* The data, as they are to be written: numbers may have been left as they were spelled. */
Jsonb *
idem_upsert_call_data(const IdemUpsertCall *call)
{
	const IdemUpsert *upsert = &call->upsert;

	if (call->spelling.names == NIL || call->spelling.matters)
		return upsert->data;
	return idem_column_sql_spell(upsert->data, upsert->spec.target,
								 &call->spelling);
}

/* Inserts or updates the row.  The work of a key. */
void
idem_upsert_call_run(void *call, IdemAnswer *answer)
{
	IdemUpsertCall *asked = call;

	asked->upsert.data = idem_upsert_call_data(asked);
	idem_upsert_exec(&asked->upsert, answer);
}
