/*
 * notify_hook.h
 *	  Calls of pg_notify() that no executor sees.
 */
#ifndef IDEM_NOTIFY_HOOK_H
#define IDEM_NOTIFY_HOOK_H

extern void idem_notify_hook_init(void);

#endif							/* IDEM_NOTIFY_HOOK_H */
