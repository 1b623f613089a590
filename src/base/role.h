/*
 * role.h
 *	  Roles that what idem remembers belongs to.
 */
#ifndef IDEM_ROLE_H
#define IDEM_ROLE_H

extern bool idem_role_is_ours(Oid role);
extern const char *idem_role_name(Oid role);

#endif							/* IDEM_ROLE_H */
