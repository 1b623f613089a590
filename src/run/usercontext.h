/*
 * usercontext.h
 *	  Acting as the owner of a table.
 */
#ifndef IDEM_USERCONTEXT_H
#define IDEM_USERCONTEXT_H

/* Who acted before, to be returned to. */
typedef struct IdemUserContext
{
	Oid			user;
	int			context;
	int			nestlevel;		/* of settings that end with it; 0: none */
} IdemUserContext;

extern void idem_usercontext_enter(IdemUserContext *caller, Oid owner);
extern void idem_usercontext_enter_bare(IdemUserContext *caller, Oid owner);
extern void idem_usercontext_leave(const IdemUserContext *caller);
extern void idem_usercontext_init(void);

#endif							/* IDEM_USERCONTEXT_H */
