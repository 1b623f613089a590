/*
 * owner.h
 *	  Acting as the owner of a table.
 */
#ifndef IDEM_OWNER_H
#define IDEM_OWNER_H

/* Who acted before, to be returned to. */
typedef struct IdemCaller
{
	Oid			user;
	int			context;
	int			nestlevel;		/* of settings that end with it; 0: none */
} IdemCaller;

extern void idem_owner_enter(IdemCaller *caller, Oid owner);
extern void idem_owner_enter_bare(IdemCaller *caller, Oid owner);
extern void idem_owner_leave(const IdemCaller *caller);
extern void idem_owner_init(void);

#endif							/* IDEM_OWNER_H */
