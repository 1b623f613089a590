/*
 * executor_hooks.h
 *	  The statements of a transaction that has a key, as the executor runs them.
 */
#ifndef IDEM_EXECUTOR_HOOKS_H
#define IDEM_EXECUTOR_HOOKS_H

extern void idem_executor_hooks_init(void);

#endif							/* IDEM_EXECUTOR_HOOKS_H */
