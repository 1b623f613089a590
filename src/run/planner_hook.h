/*
 * planner_hook.h
 *	  What is looked at in a statement before it is planned.
 */
#ifndef IDEM_PLANNER_HOOK_H
#define IDEM_PLANNER_HOOK_H

extern void idem_planner_hook_init(void);

#endif							/* IDEM_PLANNER_HOOK_H */
