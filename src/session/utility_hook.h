/*
 * utility_hook.h
 *	  The commands of a transaction that has a key.
 */
#ifndef IDEM_UTILITY_HOOK_H
#define IDEM_UTILITY_HOOK_H

extern void idem_utility_hook_init(void);

#endif							/* IDEM_UTILITY_HOOK_H */
