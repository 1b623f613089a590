/*
 * attached_tables.h
 *	  The tables that follow a machine, and what a change of it means for them.
 */
#ifndef IDEM_ATTACHED_TABLES_H
#define IDEM_ATTACHED_TABLES_H

#include "machine/machine_parse.h"

extern List *idem_attached_tables_all(void);
extern List *idem_attached_tables_working(const char *machine);
extern const char *idem_attached_tables_names(List *followers);
extern void idem_attached_tables_check(const IdemMachineDefinition *definition,
									   const IdemMachine *machine);

#endif							/* IDEM_ATTACHED_TABLES_H */
