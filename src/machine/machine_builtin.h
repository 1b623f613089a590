/*
 * machine_builtin.h
 *	  The state machines that come with idem.
 */
#ifndef IDEM_MACHINE_BUILTIN_H
#define IDEM_MACHINE_BUILTIN_H

typedef struct IdemBuiltinMachine
{
	const char *name;
	const char *const *states;	/* each leads to the next only, the first is
								 * the initial one; NULL behind the last */
} IdemBuiltinMachine;

extern const IdemBuiltinMachine *idem_machine_builtin_find(const char *name);

#endif							/* IDEM_MACHINE_BUILTIN_H */
