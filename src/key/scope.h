/*
 * scope.h
 *	  Scopes that are some role's own.
 */
#ifndef IDEM_SCOPE_H
#define IDEM_SCOPE_H

/* What the scopes that are idem's own begin with, and those that there are. */
#define IDEM_SCOPE_RESERVED	"idem."
#define IDEM_SCOPE_SAGA		IDEM_SCOPE_RESERVED "saga"
#define IDEM_SCOPE_BARRIER	IDEM_SCOPE_RESERVED "barrier"

extern text *idem_scope_argument(FunctionCallInfo fcinfo, int argument);
extern void idem_scope_check(text *scope);
extern bool idem_scope_is_reserved(text *name);
extern void idem_scope_check_reserved(text *scope);
extern void idem_scope_init(void);

#endif							/* IDEM_SCOPE_H */
