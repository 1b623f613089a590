/*
 * usercontext.c
 *	  Acting as the owner of a table, and with other settings.
 *
 * As an owner always under security restriction, as ri_triggers.c does its checks, and with
 * a search_path in which no other role can have put anything, as the server does where
 * it runs code of a table's owner (ANALYZE, REINDEX): the code that is attached
 * to the table can then neither change the session nor pass for the caller.
 *
 * The session's temporary schema cannot be left out of a search_path, only come
 * last.  For the server that is enough, since the session's role is the one with
 * the greater rights.  Here it is the caller: a name that is found nowhere else
 * might lead to a table of the caller's, and its triggers would run with the
 * owner's rights.  So while idem acts as an owner, statements that use temporary
 * objects of another role are refused: before they are planned, which may already
 * run functions, and again before they are run.  TRUNCATE, which is not planned
 * but fires triggers, is refused, too.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "run/named_objects.h"
#include "run/usercontext.h"

/* So deep may triggers of idem's tables call idem again. */
#define MAX_SECTIONS	64

/* The subtransactions in which idem became an owner, innermost last. */
static SubTransactionId sections[MAX_SECTIONS];
static int	nsections = 0;

static ExecutorCheckPerms_hook_type next_check_perms = NULL;
static object_access_hook_type next_access = NULL;

/*
 * Becomes the owner of a table until idem_usercontext_leave(), for a table that no
 * code is attached to: the search_path, which costs to be set, stays.
 */
void
idem_usercontext_enter_bare(IdemUserContext *caller, Oid owner)
{
	Assert(OidIsValid(owner));
	if (nsections == MAX_SECTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("calls of idem are nested too deeply"),
				 errhint("Look for a trigger that calls idem for what its own call writes.")));
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(owner, caller->context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	caller->depth = nsections;
	sections[nsections++] = GetCurrentSubTransactionId();
	caller->nestlevel = 0;
}

/*
 * The same for a table that may have code attached.  An ERROR needs no clean-up:
 * ending the (sub)transaction restores user and settings.
 */
void
idem_usercontext_enter(IdemUserContext *caller, Oid owner)
{
	idem_usercontext_enter_bare(caller, owner);
	caller->nestlevel = NewGUCNestLevel();
	idem_restrict_search_path();
}

/* Becomes again the role that called idem_usercontext_enter(), with its settings. */
void
idem_usercontext_leave(const IdemUserContext *caller)
{
	/* what was entered on the way has been left, or has failed */
	Assert(nsections == caller->depth + 1);
	Assert(InSecurityRestrictedOperation());
	nsections--;
	if (caller->nestlevel > 0)
		AtEOXact_GUC(false, caller->nestlevel);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/*
 * Sets parameters, given by names and values, until idem_usercontext_reset() is
 * called with what this returns, or an error ends it.
 */
int
idem_usercontext_set(const char *const settings[][2], int count)
{
	int			nestlevel = NewGUCNestLevel();

	for (int i = 0; i < count; i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

void
idem_usercontext_reset(int nestlevel)
{
	Assert(nestlevel > 1);		/* 1 is the transaction's own */
	AtEOXact_GUC(true, nestlevel);
}

/* What an ERROR has left ends with its subtransaction. */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId subxact,
					SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (nsections > 0 && sections[nsections - 1] >= subxact)
		nsections--;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		nsections = 0;
}

/*
 * The session's temporary schema, if idem acts as an owner.
 *
 * A parallel worker is given the leader's user, search_path and temporary schema,
 * but does not know why the restriction is there.  Whatever the reason, the code
 * is not the leader's.
 */
static Oid
foreign_schema(void)
{
	Oid			schema = InvalidOid;
	Oid			toast;

	if (nsections > 0 ||
		(IsParallelWorker() && InSecurityRestrictedOperation()))
		GetTempNamespaceState(&schema, &toast);
	return schema;
}

/* Raises 42501 for an object in that schema that is not the current user's. */
static void
check_object(const IdemNamedObject *object, void *schema)
{
	if (object->schema != *(Oid *) schema || object->owner == GetUserId())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for temporary object \"%s\"", object->name),
			 errdetail("A statement runs with the rights of role \"%s\" here, which does not own it.",
					   GetUserNameFromId(GetUserId(), false)),
			 errhint("Qualify the names in functions that triggers, checks and indexes of idem's tables call.")));
}

/* Raises 42501 for what a query that is about to be planned may not name. */
void
idem_usercontext_check(Query *query)
{
	Oid			schema = foreign_schema();

	if (OidIsValid(schema))
		idem_named_objects_check(query, IDEM_NAMED_RELATION | IDEM_NAMED_DOMAIN,
								 check_object, &schema);
}

static bool
check_perms(IDEM_CHECK_PERMS_ARGS)
{
	Oid			schema = foreign_schema();
	ListCell   *lc;

	if (OidIsValid(schema))
	{
		foreach(lc, rangeTable)
			idem_named_objects_check_entry(lfirst(lc), check_object, &schema);
	}
	return next_check_perms == NULL || next_check_perms(IDEM_CHECK_PERMS_PASS);
}

static void
object_accessed(ObjectAccessType access, Oid class, Oid object, int column,
				void *arg)
{
	if (access == OAT_TRUNCATE)
	{
		Oid			schema = foreign_schema();

		if (OidIsValid(schema))
			idem_named_objects_check_relation(object, check_object, &schema);
	}
	if (next_access != NULL)
		next_access(access, class, object, column, arg);
}

/*
 * Does nobody else watch whom the tables of a statement are open to?  What audits
 * them so rests on what the executor does before and after.
 */
bool
idem_usercontext_alone(void)
{
	return ExecutorCheckPerms_hook == check_perms && next_check_perms == NULL;
}

/* Watches statements and transactions.  To be called once, from _PG_init. */
void
idem_usercontext_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
	next_check_perms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = check_perms;
	next_access = object_access_hook;
	object_access_hook = object_accessed;
}
