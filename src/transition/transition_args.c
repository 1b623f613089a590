/*
 * transition_args.c
 *	  What the functions of transitions are asked, and how they answer.
 *
 * All of them have the same arguments but for the second, the row or the rows,
 * and the fourth, the version or versions expected; those are theirs to read.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/argument.h"
#include "base/error.h"
#include "key/key_init.h"
#include "transition/transition_args.h"

/* A state that an argument gives, which is declared as text or an enum. */
static const char *
read_state(FunctionCallInfo fcinfo, int argument)
{
	Datum		value = PG_GETARG_DATUM(argument);
	Oid			type = idem_argument_type(fcinfo, argument);

	if (type != TEXTOID && (type == ANYENUMOID || type_is_enum(type)))
		return DatumGetCString(DirectFunctionCall1(enum_out, value));
	return TextDatumGetCString(value);
}

/*
 * Reads the arguments.  Raises 25006 where nothing may be written, 22004 for a
 * null target or state, and what idem_key_init raises.
 */
void
idem_transition_args_read(IdemTransitionCall *call, FunctionCallInfo fcinfo,
						  const IdemTransitionKind *kind)
{
	PreventCommandIfReadOnly(kind->function);
	if (PG_ARGISNULL(0))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null(kind->state);

	memset(call, 0, sizeof(IdemTransitionCall));
	call->kind = kind;
	call->target = PG_GETARG_OID(0);
	call->to = read_state(fcinfo, 2);
	if (!PG_ARGISNULL(7))
		call->args.note = PG_GETARG_JSONB_P(7);
	if (!PG_ARGISNULL(8))
		call->args.expected_state = text_to_cstring(PG_GETARG_TEXT_PP(8));
	if (!PG_ARGISNULL(9))
		call->column = NameStr(*PG_GETARG_NAME(9));
	if (!PG_ARGISNULL(4))
	{
		idem_key_init(&call->key, fcinfo, kind->function, 4, 5, 6);
		call->args.scope = text_to_cstring(call->key.scope);
		call->args.key = call->key.name;
	}
}

/*
 * Adds to a fingerprint what all calls may give.  What came later is there only
 * where it is given: keys from before stay good.
 */
void
idem_transition_args_fingerprint(IdemFingerprint *fp,
								 const IdemTransitionCall *call)
{
	if (call->args.note != NULL)
		idem_fingerprint_jsonb(fp, call->args.note);
	else
		idem_fingerprint_null(fp);
	if (call->args.expected_state != NULL)
	{
		idem_fingerprint_string(fp, "expected_state");
		idem_fingerprint_string(fp, call->args.expected_state);
	}
	if (call->column != NULL)
	{
		idem_fingerprint_string(fp, "status");
		idem_fingerprint_string(fp, call->column);
	}
}

/*
 * Opens the target for what is wanted of it.  Raises what
 * idem_transition_target_open raises.
 */
void
idem_transition_args_open(const IdemTransitionCall *call,
						  IdemTransitionTarget *target)
{
	idem_transition_target_open(target, call->target, call->kind->machine,
								call->column, call->to, call->args.key != NULL);
	if (call->args.expected_state != NULL)
		idem_transition_target_check_state(target, call->args.expected_state);
}

/* Makes the columns of an answer, from the outcome on, of a change. */
void
idem_transition_args_answer(const IdemTransitionResult *result, bool replayed,
							Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * IDEM_TRANSITION_COLUMNS);
	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[result->outcome]);
	values[1] = BoolGetDatum(replayed);
	nulls[2] = (result->from == NULL);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(result->from);
	nulls[3] = (result->to == NULL);
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(result->to);
	values[4] = Int64GetDatum(result->version);
}
