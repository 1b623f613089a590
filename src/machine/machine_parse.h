/*
 * machine_parse.h
 *	  A state machine as its definer describes it.
 */
#ifndef IDEM_MACHINE_PARSE_H
#define IDEM_MACHINE_PARSE_H

#include "utils/jsonb.h"

#include "machine/machine.h"

typedef struct IdemMachineDefinition
{
	const char *name;
	const char *initial;
	List	   *states;			/* names (char *), those reached first first */
	int			nreached;		/* states that can be reached from initial */
	List	   *edges;			/* of IdemEdge */
} IdemMachineDefinition;

extern IdemMachineDefinition *idem_machine_parse(const char *name,
												 const char *initial,
												 Jsonb *transitions);
extern bool idem_machine_parse_equals(const IdemMachineDefinition *definition,
									  const IdemMachine *machine);

#endif							/* IDEM_MACHINE_PARSE_H */
