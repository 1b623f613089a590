/*
 * machine_builtin.h
 *	  The state machines that come with idem.
 */
#ifndef IDEM_MACHINE_BUILTIN_H
#define IDEM_MACHINE_BUILTIN_H

/* A transition, by the names of its states. */
typedef struct IdemBuiltinEdge
{
	const char *from;			/* NULL behind the last one */
	const char *to;
} IdemBuiltinEdge;

typedef struct IdemBuiltinMachine
{
	const char *name;
	const char *const *states;	/* the first is the initial one; NULL behind
								 * the last */
	const IdemBuiltinEdge *edges;	/* NULL: each state leads to the next only */
	bool		fixed;			/* is it idem's own, that no definition
								 * changes? */
} IdemBuiltinMachine;

extern const IdemBuiltinMachine *idem_machine_builtin_find(const char *name);
extern void idem_machine_builtin_check(const char *name);

#endif							/* IDEM_MACHINE_BUILTIN_H */
