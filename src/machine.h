/*
 * machine.h
 *	  State machines, and which of them a table follows.
 */
#ifndef IDEM_MACHINE_H
#define IDEM_MACHINE_H

#include "compat.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

/* A machine, compiled from idem_machine and idem_machine_edge. */
typedef struct IdemMachine IdemMachine;

/* How a table follows a machine: what the arguments of its triggers say. */
typedef struct IdemLifecycle
{
	const char *machine;		/* name of the machine */
	AttrNumber	status;			/* column with the state */
	AttrNumber	version;		/* column with the version */
} IdemLifecycle;

extern void idem_machine_init(void);
extern const IdemMachine *idem_machine_find(const char *name);
extern const char *idem_machine_initial(const IdemMachine *machine);
extern List *idem_machine_states(const IdemMachine *machine);
extern bool idem_machine_allows(const IdemMachine *machine,
								const char *from, const char *to);
pg_noreturn extern void idem_machine_refuse(const IdemMachine *machine,
											Relation rel,
											const char *from, const char *to);

extern void idem_machine_check_version(Relation rel, AttrNumber column);
extern void idem_machine_lifecycle(IdemLifecycle *lifecycle, Relation rel,
								   const Trigger *trigger);
extern bool idem_machine_attached(IdemLifecycle *lifecycle, Relation rel);

#endif							/* IDEM_MACHINE_H */
