/*
 * machine.c
 *	  State machines, compiled.
 *
 * A machine is rows of idem_machine and idem_machine_edge.  Backends keep the
 * machines they use in compiled form.  Whoever changes those tables fires
 * idem_machine_changed(), which sends a relcache invalidation for them, as if
 * the table itself had been altered; on its arrival what has been compiled is
 * only flagged, and compiled again at the next use.
 *
 * Machines are read from their tables directly and under a snapshot of the
 * moment, as catalogs are.  A transaction's own snapshot would do harm: one
 * that is older than the change would leave the backend with the old machine
 * after the invalidation had come and gone.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog.h"
#include "error.h"
#include "machine.h"

PG_FUNCTION_INFO_V1(idem_machine_changed);

typedef struct Edge
{
	const char *from;
	const char *to;
} Edge;

struct IdemMachine
{
	const char *name;
	const char *initial;		/* state that a row begins in */
	int			nedges;
	Edge	   *edges;			/* sorted, to be searched */
};

static List *machines = NIL;	/* of IdemMachine, in machines_context */
static MemoryContext machines_context = NULL;
static bool machines_valid = false; /* reset by invalidations */
static uint64 machines_generation;	/* of the catalog they were read by */
static Oid	machine_table = InvalidOid; /* where they were read from */
static Oid	edge_table = InvalidOid;

static int
edge_compare(const void *a, const void *b)
{
	const Edge *ea = a;
	const Edge *eb = b;
	int			order = strcmp(ea->from, eb->from);

	return order != 0 ? order : strcmp(ea->to, eb->to);
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, AttrNumber number)
{
	bool		isnull;

	return TextDatumGetCString(heap_getattr(tuple, number, desc, &isnull));
}

/*
 * Rows of one of the two tables whose first column is the machine's name.  The
 * index is to be asked for once the table is locked, lest it be replaced.
 */
static SysScanDesc
begin_scan(Relation rel, Oid index, const char *name)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	return systable_beginscan(rel, index, true, NULL, 1, &key);
}

/* The state the machine begins with, or NULL if there is no such machine. */
static const char *
read_initial(const IdemCatalog *cat, const char *name)
{
	Relation	rel = table_open(cat->machine_table, AccessShareLock);
	SysScanDesc scan = begin_scan(rel, idem_catalog()->machine_index, name);
	HeapTuple	tuple = systable_getnext(scan);
	const char *initial = NULL;

	if (HeapTupleIsValid(tuple))
		initial = text_column(tuple, RelationGetDescr(rel), 2);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return initial;
}

static void
read_edges(const IdemCatalog *cat, IdemMachine *machine)
{
	Relation	rel = table_open(cat->edge_table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = begin_scan(rel, idem_catalog()->edge_index,
								  machine->name);
	HeapTuple	tuple;
	int			room = 16;

	machine->edges = palloc(sizeof(Edge) * room);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Edge	   *edge;

		if (machine->nedges == room)
		{
			room *= 2;
			machine->edges = repalloc(machine->edges, sizeof(Edge) * room);
		}
		edge = &machine->edges[machine->nedges++];
		edge->from = text_column(tuple, desc, 2);
		edge->to = text_column(tuple, desc, 3);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	qsort(machine->edges, machine->nedges, sizeof(Edge), edge_compare);
}

/* Compiles a machine; an error on the way leaves nothing behind. */
static IdemMachine *
compile(const IdemCatalog *cat, const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "idem machine",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext former = MemoryContextSwitchTo(context);
	IdemMachine *machine = palloc0(sizeof(IdemMachine));

	machine->name = pstrdup(name);
	machine->initial = read_initial(cat, name);
	if (machine->initial == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("state machine \"%s\" does not exist", name),
				 errhint("Table %s.idem_machine lists the machines there are.",
						 cat->schema)));
	read_edges(cat, machine);

	MemoryContextSwitchTo(machines_context);
	machines = lappend(machines, machine);
	MemoryContextSetParent(context, machines_context);
	MemoryContextSwitchTo(former);
	return machine;
}

/*
 * The machine of that name.  The pointer is good until the next call, so it is
 * not to be kept while statements run.  Raises 42704 if there is none.
 */
const IdemMachine *
idem_machine_find(const char *name)
{
	const IdemCatalog *cat = idem_catalog();
	ListCell   *lc;

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
	return compile(cat, name);
}

/* The state in which a row begins. */
const char *
idem_machine_initial(const IdemMachine *machine)
{
	return machine->initial;
}

static List *
add_state(List *states, const char *state)
{
	ListCell   *lc;

	foreach(lc, states)
	{
		if (strcmp(lfirst(lc), state) == 0)
			return states;
	}
	return lappend(states, pstrdup(state));
}

/* The names (char *) of all states of a machine. */
List *
idem_machine_states(const IdemMachine *machine)
{
	List	   *states = add_state(NIL, machine->initial);

	for (int i = 0; i < machine->nedges; i++)
	{
		states = add_state(states, machine->edges[i].from);
		states = add_state(states, machine->edges[i].to);
	}
	return states;
}

/*
 * May a row go from one state to another?  A row that has no state yet (NULL)
 * may begin with the initial one.
 */
bool
idem_machine_allows(const IdemMachine *machine, const char *from, const char *to)
{
	Edge		edge = {from, to};

	if (from == NULL)
		return strcmp(machine->initial, to) == 0;
	return bsearch(&edge, machine->edges, machine->nedges, sizeof(Edge),
				   edge_compare) != NULL;
}

/* Raises ID201: a row may not go from one state, or from none, to another. */
void
idem_machine_refuse(const IdemMachine *machine, Relation rel,
					const char *from, const char *to)
{
	StringInfoData allowed;

	if (from == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_TRANSITION),
				 errmsg("a row of \"%s\" cannot begin in state \"%s\"",
						RelationGetRelationName(rel), to),
				 errdetail("State machine \"%s\" begins with \"%s\".",
						   machine->name, machine->initial),
				 errhint("To load rows that are further on, set session_replication_role to replica or disable the table's triggers meanwhile.")));

	initStringInfo(&allowed);
	for (int i = 0; i < machine->nedges; i++)
	{
		if (strcmp(machine->edges[i].from, from) == 0)
			appendStringInfo(&allowed, "%s\"%s\"", allowed.len ? ", " : "",
							 machine->edges[i].to);
	}
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
						"idem_machine_changed")));
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
