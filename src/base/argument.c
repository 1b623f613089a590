/*
 * argument.c
 *	  Arguments of functions that share a name and differ in their types.
 *
 * One C function serves them all, and asks here which of them was called.
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/lsyscache.h"

#include "base/argument.h"

/*
 * The type in which a function was given an argument: what the call says, with
 * domains taken for what they are made of, or, called by other means than an
 * expression, what the function is declared with.
 */
Oid
idem_argument_type(FunctionCallInfo fcinfo, int argument)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, argument);

	Assert(argument < fcinfo->nargs);
	if (!OidIsValid(type))
	{
		Oid		   *types;
		int			ntypes;

		(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &ntypes);
		return types[argument];
	}
	/* no type that is declared in pg_type.dat is a domain */
	return type < FirstGenbkiObjectId ? type : getBaseType(type);
}
