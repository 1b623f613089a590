/*
 * request.c
 *	  What the functions of transitions are asked, and how they answer.
 *
 * All of them have the same arguments but for the second, the row or the rows,
 * and the fourth, the version or versions expected; those are theirs to read.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/error.h"
#include "transition/request.h"

/*
 * Reads the arguments.  Raises 25006 where nothing may be written, 22004 for a
 * null target or state, and what idem_key_init raises.
 */
void
idem_request_read(IdemRequest *request, FunctionCallInfo fcinfo,
				  const IdemRequestKind *kind)
{
	PreventCommandIfReadOnly(kind->function);
	if (PG_ARGISNULL(0))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null(kind->state);

	memset(request, 0, sizeof(IdemRequest));
	request->kind = kind;
	request->target = PG_GETARG_OID(0);
	request->to = kind->is_enum ?
		DatumGetCString(DirectFunctionCall1(enum_out, PG_GETARG_DATUM(2))) :
		text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(7))
		request->wish.note = PG_GETARG_JSONB_P(7);
	if (!PG_ARGISNULL(4))
	{
		idem_key_init(&request->key, kind->function, PG_GETARG_TEXT_PP(4),
					  PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5),
					  PG_ARGISNULL(6) ? NULL : PG_GETARG_INTERVAL_P(6));
		request->wish.scope = text_to_cstring(request->key.scope);
		request->wish.key = request->key.name;
	}
}

/* Adds the version that is expected to a fingerprint. */
void
idem_request_fingerprint_version(IdemFingerprint *fp, const IdemWish *wish)
{
	if (wish->versioned)
		idem_fingerprint_int8(fp, wish->expected_version);
	else
		idem_fingerprint_null(fp);
}

/* Adds the note to a fingerprint. */
void
idem_request_fingerprint_note(IdemFingerprint *fp, const IdemWish *wish)
{
	if (wish->note != NULL)
		idem_fingerprint_jsonb(fp, wish->note);
	else
		idem_fingerprint_null(fp);
}

/* Opens the target for what is wanted of it; raises what idem_stage_open does. */
void
idem_request_open(const IdemRequest *request, IdemStage *stage)
{
	idem_stage_open(stage, request->target, request->kind->machine,
					request->to, request->wish.key != NULL);
}

/* Makes the columns of an answer, from the outcome on, of a change. */
void
idem_request_answer(const IdemChange *change, bool replayed,
					Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * IDEM_REQUEST_COLUMNS);
	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[change->outcome]);
	values[1] = BoolGetDatum(replayed);
	nulls[2] = (change->from == NULL);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(change->from);
	nulls[3] = (change->to == NULL);
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(change->to);
	values[4] = Int64GetDatum(change->version);
}
