/*
 * machine_builtin.c
 *	  The state machines that come with idem.
 *
 * They are no rows of its tables: such a row would be there already wherever a
 * publication or a dump brings its copy.
 */
#include "postgres.h"

#include "machine/machine_builtin.h"

/* The values of the type order_status. */
static const char *const order_states[] = {
	"PENDING", "PROCESSING", "SHIPPED", "DELIVERED", NULL
};

static const IdemBuiltinMachine machines[] = {
	{"order", order_states},
};

/* The machine of that name as it comes with idem, or NULL if none does. */
const IdemBuiltinMachine *
idem_machine_builtin_find(const char *name)
{
	for (int i = 0; i < lengthof(machines); i++)
	{
		if (strcmp(machines[i].name, name) == 0)
			return &machines[i];
	}
	return NULL;
}
