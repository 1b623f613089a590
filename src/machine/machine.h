/*
 * machine.h
 *	  State machines, compiled.
 */
#ifndef IDEM_MACHINE_H
#define IDEM_MACHINE_H

#include "base/compat.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* A machine, compiled from idem_machine and idem_machine_edge. */
typedef struct IdemMachine IdemMachine;

/* A transition from one state to another. */
typedef struct IdemEdge
{
	const char *from;
	const char *to;
	const char *guard;			/* its guard, as guard_signature.c writes it
								 * down, or NULL */
	int			position;		/* of the state it leads to, as defined */
} IdemEdge;

extern void idem_machine_init(void);
extern void idem_machine_lock(const char *name, LOCKMODE mode);
extern const IdemMachine *idem_machine_find(const char *name);
extern const IdemMachine *idem_machine_seek(const char *name);
extern const char *idem_machine_initial(const IdemMachine *machine);
extern Oid	idem_machine_owner(const IdemMachine *machine);
extern List *idem_machine_states(const IdemMachine *machine);
extern bool idem_machine_knows(const IdemMachine *machine, const char *state);
extern List *idem_machine_exits(const IdemMachine *machine, const char *from);
extern List *idem_machine_edges(const IdemMachine *machine);
extern bool idem_machine_allows(const IdemMachine *machine,
								const char *from, const char *to);
extern IdemEdge *idem_machine_guarded(const IdemMachine *machine,
									  const char *from, const char *to);
pg_noreturn extern void idem_machine_error_transition(const IdemMachine *machine,
													  Relation rel,
													  const char *from, const char *to);

#endif							/* IDEM_MACHINE_H */
