/*
 * notify_hook.c
 *	  Calls of pg_notify() that no executor sees.
 *
 * PL/pgSQL evaluates simple expressions by itself.  A notification leaves no trace in
 * the transaction that could be looked for; but a function is asked for before it is
 * called, the first time in a transaction that an expression has it.
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "utils/fmgroids.h"

#include "session/notify_hook.h"
#include "session/session.h"
#include "session/statement_run.h"

static object_access_hook_type next_access = NULL;

static void
object_accessed(ObjectAccessType access, Oid class, Oid object, int column,
				void *arg)
{
	if (access == OAT_FUNCTION_EXECUTE && object == F_PG_NOTIFY &&
		idem_session_watches() && idem_session.mode != IDEM_SESSION_OFF)
		idem_statement_run_notifies();
	if (next_access != NULL)
		next_access(access, class, object, column, arg);
}

/* Begins to look at calls.  To be called once, from _PG_init. */
void
idem_notify_hook_init(void)
{
	next_access = object_access_hook;
	object_access_hook = object_accessed;
}
