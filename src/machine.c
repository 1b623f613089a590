/*
 * machine.c
 *	  State machines, compiled.
 *
 * Backends keep the machines they use in compiled form.  Whoever changes the
 * tables of machines fires _idem_machine_changed(), which sends a relcache
 * invalidation for them, as if the table itself had been altered; on its arrival
 * what has been compiled is only flagged, and compiled again at the next use.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog.h"
#include "compile.h"
#include "error.h"
#include "machine.h"

PG_FUNCTION_INFO_V1(idem_machine_changed);

static List *machines = NIL;	/* of IdemMachine, in machines_context */
static MemoryContext machines_context = NULL;
static bool machines_valid = false; /* reset by invalidations */
static uint64 machines_generation;	/* of the catalog they were read by */
static Oid	machine_table = InvalidOid; /* where they were read from */
static Oid	edge_table = InvalidOid;

/* Compiles a machine; NULL if there is none of that name. */
static const IdemMachine *
add_machine(const IdemCatalog *cat, const char *name)
{
	/* An error on the way leaves nothing behind. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "idem machine",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext former = MemoryContextSwitchTo(context);
	IdemMachine *machine = idem_compile_machine(cat, name);

	if (machine == NULL)
	{
		MemoryContextSwitchTo(former);
		MemoryContextDelete(context);
		return NULL;
	}
	MemoryContextSwitchTo(machines_context);
	machines = lappend(machines, machine);
	MemoryContextSetParent(context, machines_context);
	MemoryContextSwitchTo(former);
	return machine;
}

/*
 * The machine of that name, or NULL if there is none.  The pointer, and what is
 * got by it, is good until the next call, so it is not to be kept while
 * statements run.
 */
const IdemMachine *
idem_machine_seek(const char *name)
{
	const IdemCatalog *cat;
	ListCell   *lc;

	/*
	 * A transaction that goes on with a table it has locked before need not
	 * have heard of what others have committed since.
	 */
	AcceptInvalidationMessages();
	cat = idem_catalog();

	if (machines_context == NULL)
		machines_context = AllocSetContextCreate(TopMemoryContext,
												 "idem machines",
												 ALLOCSET_SMALL_SIZES);
	if (!machines_valid || machines_generation != cat->generation)
	{
		machines = NIL;
		MemoryContextReset(machines_context);
		machines_generation = cat->generation;
		machine_table = cat->machine_table;
		edge_table = cat->edge_table;
		machines_valid = true;
	}

	foreach(lc, machines)
	{
		const IdemMachine *machine = lfirst(lc);

		if (strcmp(machine->name, name) == 0)
			return machine;
	}
	return add_machine(cat, name);
}

/* The same, but raises 42704 if there is none. */
const IdemMachine *
idem_machine_find(const char *name)
{
	const IdemMachine *machine = idem_machine_seek(name);

	if (machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("state machine \"%s\" does not exist", name),
				 errhint("Table %s.idem_machine lists the machines that have been defined.",
						 idem_catalog()->schema)));
	return machine;
}

/* The state in which a row begins. */
const char *
idem_machine_initial(const IdemMachine *machine)
{
	return machine->initial;
}

/* Name of the role that may change the machine. */
const char *
idem_machine_owner(const IdemMachine *machine)
{
	return machine->owner;
}

/* The names (char *) of all states, copied, in the order of definition. */
List *
idem_machine_states(const IdemMachine *machine)
{
	List	   *states = NIL;

	for (int position = 0; position < machine->nstates; position++)
	{
		for (int i = 0; i < machine->nstates; i++)
		{
			if (machine->states[i].position == position)
				states = lappend(states, pstrdup(machine->states[i].name));
		}
	}
	return states;
}

/* Has a machine the state? */
bool
idem_machine_knows(const IdemMachine *machine, const char *state)
{
	return idem_compile_state(machine, state) != NULL;
}

static IdemEdge *
copy_edge(const IdemEdge *edge)
{
	IdemEdge   *copy = palloc(sizeof(IdemEdge));

	*copy = *edge;
	copy->from = pstrdup(edge->from);
	copy->to = pstrdup(edge->to);
	copy->guard = edge->guard != NULL ? pstrdup(edge->guard) : NULL;
	return copy;
}

/*
 * The edges (IdemEdge *) that leave a state, copied, in the order of the states
 * that they lead to.
 */
List *
idem_machine_exits(const IdemMachine *machine, const char *from)
{
	const IdemState *state = idem_compile_state(machine, from);
	List	   *edges = NIL;
	ListCell   *lc;

	foreach(lc, state != NULL ? state->edges : NIL)
		edges = lappend(edges, copy_edge(lfirst(lc)));
	return edges;
}

/* All edges (IdemEdge *), copied, in the order of the states that they leave. */
List *
idem_machine_edges(const IdemMachine *machine)
{
	List	   *edges = NIL;
	ListCell   *lc;

	foreach(lc, idem_machine_states(machine))
		edges = list_concat(edges, idem_machine_exits(machine, lfirst(lc)));
	return edges;
}

static const IdemEdge *
find_edge(const IdemMachine *machine, const char *from, const char *to)
{
	const IdemState *state = idem_compile_state(machine, from);
	ListCell   *lc;

	foreach(lc, state != NULL ? state->edges : NIL)
	{
		const IdemEdge *edge = lfirst(lc);

		if (strcmp(edge->to, to) == 0)
			return edge;
	}
	return NULL;
}

/*
 * May a row go from one state to another, if its guard agrees?  A row that has
 * no state yet (NULL) may begin with the initial one.
 */
bool
idem_machine_allows(const IdemMachine *machine, const char *from, const char *to)
{
	if (from == NULL)
		return strcmp(machine->initial, to) == 0;
	return find_edge(machine, from, to) != NULL;
}

/* A transition, copied, if it has a guard, else NULL. */
IdemEdge *
idem_machine_guarded(const IdemMachine *machine, const char *from,
					 const char *to)
{
	const IdemEdge *edge = from != NULL ? find_edge(machine, from, to) : NULL;

	return edge != NULL && edge->guard != NULL ? copy_edge(edge) : NULL;
}

/* Raises ID201: a row may not go from one state, or from none, to another. */
void
idem_machine_refuse(const IdemMachine *machine, Relation rel,
					const char *from, const char *to)
{
	StringInfoData allowed;
	ListCell   *lc;

	if (from == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_TRANSITION),
				 errmsg("a row of \"%s\" cannot begin in state \"%s\"",
						RelationGetRelationName(rel), to),
				 errdetail("State machine \"%s\" begins with \"%s\".",
						   machine->name, machine->initial),
				 errhint("To load rows that are further on, set session_replication_role to replica or disable the table's triggers meanwhile.")));

	initStringInfo(&allowed);
	foreach(lc, idem_machine_exits(machine, from))
		appendStringInfo(&allowed, "%s\"%s\"", allowed.len ? ", " : "",
						 ((const IdemEdge *) lfirst(lc))->to);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_TRANSITION),
			 errmsg("transition of \"%s\" from \"%s\" to \"%s\" is not allowed",
					RelationGetRelationName(rel), from, to),
			 allowed.len > 0 ?
			 errdetail("State machine \"%s\" leads from \"%s\" to %s.",
					   machine->name, from, allowed.data) :
			 errdetail("State machine \"%s\" leads nowhere from \"%s\".",
					   machine->name, from)));
}

/*
 * Trigger on the machine tables: tells every backend, once this transaction
 * commits, that machines have changed.
 */
Datum
idem_machine_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"_idem_machine_changed")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == machine_table || relid == edge_table)
		machines_valid = false;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_machine_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}
