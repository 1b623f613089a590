/*
 * followers.h
 *	  The tables that follow a machine, and what a change of it means for them.
 */
#ifndef IDEM_FOLLOWERS_H
#define IDEM_FOLLOWERS_H

#include "machine/definition.h"

extern List *idem_followers_working(const char *machine);
extern const char *idem_followers_names(List *followers);
extern void idem_followers_check(const IdemDefinition *definition,
								 const IdemMachine *machine);

#endif							/* IDEM_FOLLOWERS_H */
