/*
 * owner.c
 *	  Acting as the owner of a table.
 *
 * Always under security restriction, as ri_triggers.c does its checks, and with
 * a search_path in which nobody can have put anything: whatever code is attached
 * to the table can then neither change the session, nor pass for the caller, nor
 * take for its own what the caller has given the name of.  The server does the
 * same where it runs code of a table's owner (amcheck, REINDEX, ANALYZE).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "compat.h"
#include "owner.h"

/*
 * Becomes the owner of a table until idem_owner_leave().  An ERROR needs no
 * clean-up: ending the (sub)transaction restores user and settings.
 */
void
idem_owner_enter(IdemCaller *caller, Oid owner)
{
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(owner, caller->context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	caller->nestlevel = NewGUCNestLevel();
	idem_restrict_search_path();
}

/* Becomes again whoever called idem_owner_enter(), with his settings. */
void
idem_owner_leave(const IdemCaller *caller)
{
	AtEOXact_GUC(false, caller->nestlevel);
	SetUserIdAndSecContext(caller->user, caller->context);
}
