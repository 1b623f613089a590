/*
 * saga_argument.c
 *	  What the functions of sagas are called with.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "base/settings.h"
#include "key/scope.h"
#include "saga/saga_argument.h"
#include "saga/saga_parse.h"

/*
 * The scope that an argument gives, or else the setting.  Raises 22023 for one of a
 * wrong length, 42939 for one of idem's own, 42501 for one that is another role's.
 */
text *
idem_saga_argument_scope(FunctionCallInfo fcinfo, int argument)
{
	text	   *scope = idem_scope_argument(fcinfo, argument);

	idem_scope_check_reserved(scope);
	idem_scope_check(scope);
	return scope;
}

/*
 * Reads the name of a saga, and its scope.  Raises 22004 and 22023 for what is none,
 * what idem_saga_argument_scope raises, and 25006 where nothing may be written.
 */
void
idem_saga_argument_init(FunctionCallInfo fcinfo, const char *function, int name,
						int scope_argument, text **saga, text **scope)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	*saga = PG_ARGISNULL(name) ? NULL : PG_GETARG_TEXT_PP(name);
	idem_saga_parse_check_name("saga", *saga);
	*scope = idem_saga_argument_scope(fcinfo, scope_argument);
}

/* There is no saga of that name in the scope. */
void
idem_saga_argument_error_absent(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_ROW_NOT_FOUND),
			 errmsg("saga \"%s\" does not exist", name),
			 errdetail("It was never started in this scope, or has been purged.")));
}
