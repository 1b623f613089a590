/*
 * definition.h
 *	  A state machine as its definer describes it.
 */
#ifndef IDEM_DEFINITION_H
#define IDEM_DEFINITION_H

#include "utils/jsonb.h"

#include "machine/machine.h"

typedef struct IdemDefinition
{
	const char *name;
	const char *initial;
	List	   *states;			/* names (char *), those reached first first */
	int			nreached;		/* states that can be reached from initial */
	List	   *edges;			/* of IdemEdge */
} IdemDefinition;

extern IdemDefinition *idem_definition_read(const char *name,
											const char *initial,
											Jsonb *transitions);
extern bool idem_definition_equals(const IdemDefinition *definition,
								   const IdemMachine *machine);

#endif							/* IDEM_DEFINITION_H */
