/*
 * owner.c
 *	  Acting as the owner of a table.
 *
 * Under security restriction, as ri_triggers.c does its checks, so that whatever
 * code the owner has attached to the table can neither change the session nor
 * pass for the caller.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "owner.h"

/*
 * Becomes the owner of a table until idem_owner_leave().  An ERROR needs no
 * clean-up: ending the (sub)transaction restores the user.
 */
void
idem_owner_enter(IdemCaller *caller, Oid owner)
{
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(owner, caller->context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
}

/* Becomes again whoever called idem_owner_enter(). */
void
idem_owner_leave(const IdemCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
}
