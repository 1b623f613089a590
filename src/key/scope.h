/*
 * scope.h
 *	  Scopes that are some role's own.
 */
#ifndef IDEM_SCOPE_H
#define IDEM_SCOPE_H

extern void idem_scope_check(text *scope);
extern void idem_scope_init(void);

#endif							/* IDEM_SCOPE_H */
