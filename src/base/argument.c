/*
 * argument.c
 *	  Arguments of functions that share a name and differ in their types, and
 *	  arrays.
 *
 * One C function serves all of a name, and asks here which of them was called.
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/argument.h"
#include "base/error.h"

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

/*
 * The elements of an array argument, and how many there are; type is what they are
 * declared as, or InvalidOid where the array says it.  Raises 2202E for an array of
 * several dimensions, 42804 for one of another type.
 */
int
idem_argument_elements(ArrayType *array, const char *name, Oid type,
					   Datum **values, bool **nulls)
{
	int16		length;
	bool		byval;
	char		align;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("\"%s\" must have one dimension", name)));
	if (!OidIsValid(type))
		type = ARR_ELEMTYPE(array);
	else if (ARR_ELEMTYPE(array) != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"%s\" must be of type %s", name,
						format_type_be(get_array_type(type)))));
	get_typlenbyvalalign(type, &length, &byval, &align);
	deconstruct_array(array, type, length, byval, align, values, nulls, &count);
	return count;
}

/*
 * Checks a name that an argument gives.  Raises 22004 if it is NULL, 22023 unless it
 * has 1 to so many bytes.
 */
void
idem_argument_check_name(const char *argument, text *name, int most)
{
	int			length;

	if (name == NULL)
		idem_error_null(argument);
	length = VARSIZE_ANY_EXHDR(name);
	if (length < 1 || length > most)
		idem_error_length(argument, length, 1, most);
}
