/*
 * machine.h
 *	  State machines, compiled.
 */
#ifndef IDEM_MACHINE_H
#define IDEM_MACHINE_H

#include "compat.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* A machine, compiled from idem_machine and idem_machine_edge. */
typedef struct IdemMachine IdemMachine;

extern void idem_machine_init(void);
extern const IdemMachine *idem_machine_find(const char *name);
extern const char *idem_machine_initial(const IdemMachine *machine);
extern List *idem_machine_states(const IdemMachine *machine);
extern bool idem_machine_allows(const IdemMachine *machine,
								const char *from, const char *to);
pg_noreturn extern void idem_machine_refuse(const IdemMachine *machine,
											Relation rel,
											const char *from, const char *to);

#endif							/* IDEM_MACHINE_H */
