/*
 * machine_builtin.c
 *	  The state machines that come with idem.
 *
 * They are no rows of its tables: such a row would be there already wherever a
 * publication or a dump brings its copy.
 *
 * A definition may take the place of one, but not of those that idem's own tables
 * follow: saga/ rests on them, and a guard would run as the owner of idem's tables.
 */
#include "postgres.h"

#include "machine/machine_builtin.h"

/* The values of the type order_status. */
static const char *const order_states[] = {
	"PENDING", "PROCESSING", "SHIPPED", "DELIVERED", NULL
};

/* A saga goes forward, or compensates; stuck, a person decides. */
static const char *const saga_states[] = {
	"running", "compensating", "stuck", "completed", "compensated", NULL
};

static const IdemBuiltinEdge saga_edges[] = {
	{"running", "completed"},
	{"running", "compensating"},
	{"running", "stuck"},
	{"compensating", "compensated"},
	{"compensating", "stuck"},
	{"stuck", "running"},
	{"stuck", "compensating"},
	{"stuck", "completed"},
	{"stuck", "compensated"},
	{NULL, NULL}
};

static const char *const saga_step_states[] = {
	"pending", "running", "done", "failed", "undoing", "undone", "stuck", "skipped",
	NULL
};

static const IdemBuiltinEdge saga_step_edges[] = {
	{"pending", "running"},
	{"pending", "skipped"},
	{"running", "pending"},
	{"running", "done"},
	{"running", "failed"},
	{"running", "undoing"},
	{"running", "stuck"},
	{"done", "undoing"},
	{"undoing", "undone"},
	{"undoing", "stuck"},
	{"stuck", "pending"},
	{"stuck", "done"},
	{"stuck", "undoing"},
	{"stuck", "undone"},
	{"stuck", "skipped"},
	{NULL, NULL}
};

static const IdemBuiltinMachine machines[] = {
	{"order", order_states, NULL, false},
	{"saga", saga_states, saga_edges, true},
	{"saga_step", saga_step_states, saga_step_edges, true},
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

/* Raises 42939 for the name of a machine that no definition may change. */
void
idem_machine_builtin_check(const char *name)
{
	const IdemBuiltinMachine *machine = idem_machine_builtin_find(name);

	if (machine == NULL || !machine->fixed)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RESERVED_NAME),
			 errmsg("state machine \"%s\" cannot be changed", name),
			 errdetail("Tables of extension \"idem\" follow it."),
			 errhint("Choose another name.")));
}
