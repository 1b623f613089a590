/*
 * role.h
 *	  Roles that what idem remembers belongs to.
 */
#ifndef IDEM_ROLE_H
#define IDEM_ROLE_H

/*
 * What an error says of something that belongs to a role.  The message takes the
 * name of that thing as "%s", the first detail may take the role's.
 */
typedef struct IdemRoleError
{
	const char *message;
	const char *detail;
	const char *hint;			/* NULL: none */
	/* where the role has been dropped; NULL: the same */
	const char *detail_dropped;
	const char *hint_dropped;
} IdemRoleError;

extern void idem_role_check(Oid owner, const char *name,
							const IdemRoleError *error);
extern bool idem_role_has_rights_of(Oid user, Oid role);
extern const char *idem_role_name(Oid role);

#endif							/* IDEM_ROLE_H */
