/*
 * machine_load.h
 *	  Reading a state machine from its tables.
 */
#ifndef IDEM_MACHINE_LOAD_H
#define IDEM_MACHINE_LOAD_H

#include "nodes/pg_list.h"

#include "base/catalog.h"
#include "machine/machine.h"

/* Column of idem_machine. */
#define IDEM_MACHINE_COLUMN_NAME	1

/* A state of a machine. */
typedef struct IdemState
{
	const char *name;
	int			position;		/* in the order of definition */
	List	   *edges;			/* of IdemEdge, those that leave it */
} IdemState;

struct IdemMachine
{
	const char *name;
	const char *initial;		/* state that a row begins in */
	Oid			owner;			/* role that may change it, be it gone */
	int			nstates;
	IdemState  *states;			/* sorted by name, to be searched */
	IdemState **order;			/* the same in the order of definition */
	uint64		stamp;			/* of the rows it was compiled of */
};

extern IdemMachine *idem_machine_load(const IdemCatalog *cat,
									  const char *name);
extern bool idem_machine_load_current(const IdemCatalog *cat,
									  const IdemMachine *machine);
extern IdemState *idem_machine_load_state(const IdemMachine *machine,
										  const char *name);

#endif							/* IDEM_MACHINE_LOAD_H */
