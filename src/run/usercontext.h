/*
 * usercontext.h
 *	  Acting as the owner of a table, and with other settings.
 */
#ifndef IDEM_USERCONTEXT_H
#define IDEM_USERCONTEXT_H

#include "nodes/parsenodes.h"

/* Who acted before, to be returned to. */
typedef struct IdemUserContext
{
	Oid			user;
	int			context;
	int			nestlevel;		/* of settings that end with it; 0: none */
	int			depth;			/* how many owners were acted as then */
} IdemUserContext;

extern void idem_usercontext_enter(IdemUserContext *caller, Oid owner);
extern void idem_usercontext_enter_bare(IdemUserContext *caller, Oid owner);
extern void idem_usercontext_leave(const IdemUserContext *caller);
extern int	idem_usercontext_set(const char *const settings[][2], int count);
extern void idem_usercontext_reset(int nestlevel);
extern void idem_usercontext_check(Query *query);
extern bool idem_usercontext_alone(void);
extern void idem_usercontext_init(void);

#endif							/* IDEM_USERCONTEXT_H */
