/*
 * machine.c
 *	  State machines, compiled.
 *
 * Backends keep the machines they use in compiled form.  A change of the
 * tables of machines fires _idem_machine_changed(), which sends a relcache
 * invalidation for them, as if the table itself had been altered; on its arrival
 * what has been compiled is only flagged.  Such an invalidation also comes of
 * VACUUM, of another machine's change, and of much else.  So at its next use a
 * machine is compiled again only if its rows are no longer the same.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/invalidation.h"
#include "base/locktag.h"
#include "machine/machine.h"
#include "machine/machine_load.h"
#include "stats/stats_counter.h"

/* A machine that is kept. */
typedef struct KeptMachine
{
	IdemMachine *machine;
	MemoryContext context;		/* of this and all of the machine */
	uint64		heard;			/* changes, when its rows were looked at */
	bool		covered;		/* is every change since heard of? */
} KeptMachine;

static List *machines = NIL;	/* of KeptMachine, in machines_context */
static MemoryContext machines_context = NULL;
static bool unchanged = false;	/* reset by invalidations */
static uint64 heard = 0;		/* how often that was found */
static Oid	machine_table = InvalidOid; /* where machines were read from */
static Oid	edge_table = InvalidOid;

/*
 * How many changes of the tables have been heard of.  One that comes in after this
 * counts the next time.
 */
static uint64
count_changes(void)
{
	if (!unchanged)
		heard++;
	unchanged = true;
	return heard;
}

/* Is every change of machines heard of? */
static bool
is_covered(const IdemCatalog *cat)
{
	return idem_invalidation_covers(cat->machine_table) &&
		idem_invalidation_covers(cat->edge_table);
}

/* Compiles a machine; NULL if there is none of that name. */
static const IdemMachine *
add_machine(const IdemCatalog *cat, const char *name)
{
	uint64		now = count_changes();

	/* An error on the way leaves nothing behind. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "idem machine",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext former = MemoryContextSwitchTo(context);
	IdemMachine *machine = idem_machine_load(cat, name);
	KeptMachine *kept;

	if (machine == NULL)
	{
		MemoryContextSwitchTo(former);
		MemoryContextDelete(context);
		return NULL;
	}
	Assert(machine->initial != NULL && machine->nstates > 0);
	kept = palloc(sizeof(KeptMachine));
	kept->machine = machine;
	kept->context = context;
	kept->heard = now;
	kept->covered = is_covered(cat);
	MemoryContextSwitchTo(machines_context);
	machines = lappend(machines, kept);
	MemoryContextSetParent(context, machines_context);
	MemoryContextSwitchTo(former);
	return machine;
}

/* The machine kept under a name, or NULL; one that is out of date is let go. */
static const IdemMachine *
kept_machine(const IdemCatalog *cat, const char *name)
{
	uint64		now = count_changes();
	ListCell   *lc;

	foreach(lc, machines)
	{
		KeptMachine *kept = lfirst(lc);

		if (strcmp(kept->machine->name, name) != 0)
			continue;
		if (kept->heard == now && kept->covered)
			return kept->machine;
		if (idem_machine_load_current(cat, kept->machine))
		{
			kept->heard = now;
			kept->covered = is_covered(cat);
			return kept->machine;
		}
		machines = foreach_delete_current(machines, lc);
		MemoryContextDelete(kept->context);
		return NULL;
	}
	return NULL;
}

/*
 * Locks the definition of a machine until the transaction ends, whether there is
 * one of that name or not: exclusively to change it, shared to keep it as it is.
 * By name, so that a change which is not committed yet, or only prepared, is in
 * nobody's way who means another machine.
 */
void
idem_machine_lock(const char *name, LOCKMODE mode)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) name,
										   strlen(name), 0);
	LOCKTAG		tag;

	Assert(mode == ShareLock || mode == ExclusiveLock);
	IDEM_SET_LOCKTAG(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
					 IDEM_LOCK_MACHINE);
	(void) idem_locktag_acquire(&tag, mode, true);
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
	const IdemMachine *machine;

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
	if (machine_table != cat->machine_table || edge_table != cat->edge_table)
	{
		machines = NIL;
		MemoryContextReset(machines_context);
		machine_table = cat->machine_table;
		edge_table = cat->edge_table;
	}

	machine = kept_machine(cat, name);
	return machine != NULL ? machine : add_machine(cat, name);
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

/* The role that may change the machine, which may be gone. */
Oid
idem_machine_owner(const IdemMachine *machine)
{
	return machine->owner;
}

/* The names (char *) of all states, copied, in the order of definition. */
List *
idem_machine_states(const IdemMachine *machine)
{
	List	   *states = NIL;

	for (int i = 0; i < machine->nstates; i++)
		states = lappend(states, pstrdup(machine->order[i]->name));
	return states;
}

/* Has a machine the state? */
bool
idem_machine_knows(const IdemMachine *machine, const char *state)
{
	return idem_machine_load_state(machine, state) != NULL;
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
	const IdemState *state = idem_machine_load_state(machine, from);
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

	for (int i = 0; i < machine->nstates; i++)
	{
		CHECK_FOR_INTERRUPTS();
		foreach(lc, machine->order[i]->edges)
			edges = lappend(edges, copy_edge(lfirst(lc)));
	}
	return edges;
}

static const IdemEdge *
find_edge(const IdemMachine *machine, const char *from, const char *to)
{
	const IdemState *state = idem_machine_load_state(machine, from);
	const IdemState *target = idem_machine_load_state(machine, to);
	int			low = 0;
	int			high;

	if (state == NULL || target == NULL)
		return NULL;
	/* a state's edges lead to states of the machine, in the order of those */
	Assert(target->position < machine->nstates);
	high = list_length(state->edges);
	while (low < high)
	{
		int			middle = (low + high) / 2;
		const IdemEdge *edge = list_nth(state->edges, middle);

		if (edge->position == target->position)
			return edge;
		if (edge->position < target->position)
			low = middle + 1;
		else
			high = middle;
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
idem_machine_error_transition(const IdemMachine *machine, Relation rel,
							  const char *from, const char *to)
{
	StringInfoData allowed;
	ListCell   *lc;

	idem_stats_counter_hit(IDEM_COUNT_TRANSITION_REFUSED);
	if (from == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_TRANSITION),
				 errmsg("a row of \"%s\" cannot begin in state \"%s\"",
						RelationGetRelationName(rel), to),
				 errdetail("State machine \"%s\" begins with \"%s\".",
						   machine->name, machine->initial),
				 errhint("To load rows that are further on, set session_replication_role to replica or disable the table's triggers meanwhile."),
				 errtable(rel)));

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
					   machine->name, from),
			 errtable(rel)));
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_machine_init(void)
{
	idem_invalidation_watch(&machine_table, &unchanged);
	idem_invalidation_watch(&edge_table, &unchanged);
}
