/*
 * machine_load.c
 *	  Reading a state machine from its tables.
 *
 * A machine is a row of idem_machine and rows of idem_machine_edge.  One that
 * comes with idem is there only once it has been changed: then the rows count.
 *
 * The rows are read directly and under a snapshot of the moment, as catalogs
 * are.  A transaction's own snapshot would do harm: one that is older than a
 * change would leave the backend with the old machine after the invalidation had
 * come and gone.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "machine/machine_builtin.h"
#include "machine/machine_load.h"

/* Further columns of idem_machine. */
enum
{
	MACHINE_INITIAL = IDEM_MACHINE_COLUMN_NAME + 1,
	MACHINE_STATES,
	MACHINE_OWNER
};

/* Columns of idem_machine_edge. */
enum
{
	EDGE_MACHINE = 1,
	EDGE_FROM_STATE,
	EDGE_TO_STATE,
	EDGE_GUARD
};

StaticAssertDecl((int) IDEM_MACHINE_COLUMN_NAME == (int) EDGE_MACHINE,
				 "begin_scan() serves both tables");

/* A machine as it is being read. */
typedef struct Reading
{
	List	   *states;			/* names, in the order of definition; some
								 * twice */
	List	   *edges;			/* of IdemEdge */
	uint64		stamp;			/* of the rows, see begin_stamp() */
} Reading;

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
begin_scan(Relation rel, Oid index, Snapshot snapshot, const char *name)
{
	ScanKeyData key;

	ScanKeyInit(&key, IDEM_MACHINE_COLUMN_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	return systable_beginscan(rel, index, true, snapshot, 1, &key);
}

/*
 * A stamp of rows tells them from any others: a row that is changed, or put in
 * the place of one that is gone, differs in where it is or who wrote it.
 */
static uint64
begin_stamp(Relation rel, Relation edges)
{
	/*
	 * TRUNCATE and what rewrites a table begin with other files.  The owner
	 * has the machine that comes with idem.
	 */
	Oid			tables[] = {
		RelationGetRelid(rel), rel->rd_rel->relfilenode,
		RelationGetRelid(edges), edges->rd_rel->relfilenode,
		rel->rd_rel->relowner
	};

	return hash_bytes_extended((unsigned char *) tables, sizeof(tables), 0);
}

static void
add_stamp(uint64 *stamp, HeapTuple tuple)
{
	uint32		row[] = {
		HeapTupleHeaderGetRawXmin(tuple->t_data),
		HeapTupleHeaderGetRawCommandId(tuple->t_data),
		ItemPointerGetBlockNumber(&tuple->t_self),
		ItemPointerGetOffsetNumber(&tuple->t_self)
	};

	*stamp = hash_bytes_extended((unsigned char *) row, sizeof(row), *stamp);
}

static void
add_stamps(Relation rel, Oid index, Snapshot snapshot, const char *name,
		   uint64 *stamp)
{
	SysScanDesc scan = begin_scan(rel, index, snapshot, name);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		add_stamp(stamp, tuple);
	}
	systable_endscan(scan);
}

/* Reads the machine itself; false if there is none of that name. */
static bool
read_machine(Relation rel, Snapshot snapshot, IdemMachine *machine,
			 Reading *reading)
{
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = begin_scan(rel, idem_catalog_key_of(rel), snapshot,
								  machine->name);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum	   *states;
		int			nstates;

		add_stamp(&reading->stamp, tuple);
		found = true;
		machine->initial = text_column(tuple, desc, MACHINE_INITIAL);
		deconstruct_array(DatumGetArrayTypeP(heap_getattr(tuple, MACHINE_STATES,
														  desc, &isnull)),
						  TEXTOID, -1, false, TYPALIGN_INT,
						  &states, NULL, &nstates);
		for (int i = 0; i < nstates; i++)
			reading->states = lappend(reading->states,
									  TextDatumGetCString(states[i]));
		machine->owner = DatumGetObjectId(heap_getattr(tuple, MACHINE_OWNER, desc,
													   &isnull));
	}
	systable_endscan(scan);
	return found;
}

static void
read_edges(Relation rel, Snapshot snapshot, const char *name, Reading *reading)
{
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = begin_scan(rel, idem_catalog_key_of(rel), snapshot,
								  name);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		IdemEdge   *edge = palloc0(sizeof(IdemEdge));

		CHECK_FOR_INTERRUPTS();
		add_stamp(&reading->stamp, tuple);
		edge->from = text_column(tuple, desc, EDGE_FROM_STATE);
		edge->to = text_column(tuple, desc, EDGE_TO_STATE);
		if (!heap_attisnull(tuple, EDGE_GUARD, desc))
			edge->guard = text_column(tuple, desc, EDGE_GUARD);
		reading->edges = lappend(reading->edges, edge);
	}
	systable_endscan(scan);
}

static void
add_edge(Reading *reading, const char *from, const char *to)
{
	IdemEdge   *edge = palloc0(sizeof(IdemEdge));

	edge->from = from;
	edge->to = to;
	reading->edges = lappend(reading->edges, edge);
}

/* A machine as it comes with idem, which belongs to the owner of the tables. */
static void
read_builtin(Relation rel, const IdemBuiltinMachine *builtin, IdemMachine *machine,
			 Reading *reading)
{
	machine->initial = builtin->states[0];
	machine->owner = rel->rd_rel->relowner;
	for (int i = 0; builtin->states[i] != NULL; i++)
	{
		reading->states = lappend(reading->states,
								  unconstify(char *, builtin->states[i]));
		if (i > 0 && builtin->edges == NULL)
			add_edge(reading, builtin->states[i - 1], builtin->states[i]);
	}
	for (int i = 0; builtin->edges != NULL && builtin->edges[i].from != NULL; i++)
		add_edge(reading, builtin->edges[i].from, builtin->edges[i].to);
}

/* By name, and those of one name as they were read. */
static int
state_compare(const void *a, const void *b)
{
	const IdemState *left = a;
	const IdemState *right = b;
	int			order = strcmp(left->name, right->name);

	return order != 0 ? order : left->position - right->position;
}

static int
position_compare(const void *a, const void *b)
{
	return (*(IdemState *const *) a)->position -
		(*(IdemState *const *) b)->position;
}

/* The state of that name, or NULL. */
IdemState *
idem_machine_load_state(const IdemMachine *machine, const char *name)
{
	int			low = 0;
	int			high = machine->nstates;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(name, machine->states[middle].name);

		if (order == 0)
			return &machine->states[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static int
edge_compare(const ListCell *a, const ListCell *b)
{
	return ((const IdemEdge *) lfirst(a))->position -
		((const IdemEdge *) lfirst(b))->position;
}

/* Each state once, sorted by name, with its place in the order of definition. */
static void
arrange_states(IdemMachine *machine, List *names)
{
	IdemState  *states = palloc0(sizeof(IdemState) * list_length(names));
	int			count = 0;
	ListCell   *lc;

	foreach(lc, names)
	{
		states[count].name = lfirst(lc);
		states[count].position = count;
		count++;
	}
	qsort(states, count, sizeof(IdemState), state_compare);

	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (machine->nstates == 0 ||
			strcmp(states[machine->nstates - 1].name, states[i].name) != 0)
			states[machine->nstates++] = states[i];
	}
	/* the initial one is always among them */
	Assert(machine->nstates > 0);
	machine->states = states;

	machine->order = palloc(sizeof(IdemState *) * machine->nstates);
	for (int i = 0; i < machine->nstates; i++)
		machine->order[i] = &states[i];
	qsort(machine->order, machine->nstates, sizeof(IdemState *),
		  position_compare);
	for (int i = 0; i < machine->nstates; i++)
		machine->order[i]->position = i;
}

/* Makes what was read ready to be searched. */
static void
arrange(IdemMachine *machine, Reading *reading)
{
	List	   *names = reading->states;
	ListCell   *lc;

	/* A row that was written by hand may leave a state out. */
	names = lappend(names, unconstify(char *, machine->initial));
	foreach(lc, reading->edges)
	{
		const IdemEdge *edge = lfirst(lc);

		names = lappend(names, unconstify(char *, edge->from));
		names = lappend(names, unconstify(char *, edge->to));
	}
	arrange_states(machine, names);

	foreach(lc, reading->edges)
	{
		IdemEdge   *edge = lfirst(lc);
		IdemState  *state = idem_machine_load_state(machine, edge->from);

		CHECK_FOR_INTERRUPTS();
		/* arrange_states() was given all names that edges have */
		Assert(state != NULL && idem_machine_load_state(machine, edge->to) != NULL);
		edge->position = idem_machine_load_state(machine, edge->to)->position;
		state->edges = lappend(state->edges, edge);
	}
	for (int i = 0; i < machine->nstates; i++)
		list_sort(machine->states[i].edges, edge_compare);
}

/*
 * Are the rows of a machine still those that it was compiled of?  Reading no more
 * than that takes a fraction of the time.
 */
bool
idem_machine_load_current(const IdemCatalog *cat, const IdemMachine *machine)
{
	Relation	rel = table_open(cat->machine_table, AccessShareLock);
	Relation	edges = table_open(cat->edge_table, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	uint64		stamp = begin_stamp(rel, edges);

	add_stamps(rel, idem_catalog_key_of(rel), snapshot, machine->name,
			   &stamp);
	add_stamps(edges, idem_catalog_key_of(edges), snapshot, machine->name,
			   &stamp);

	UnregisterSnapshot(snapshot);
	table_close(edges, AccessShareLock);
	table_close(rel, AccessShareLock);
	return stamp == machine->stamp;
}

/*
 * Reads a machine into the current memory context; NULL if there is none of
 * that name.
 */
IdemMachine *
idem_machine_load(const IdemCatalog *cat, const char *name)
{
	IdemMachine *machine = palloc0(sizeof(IdemMachine));
	Relation	rel = table_open(cat->machine_table, AccessShareLock);
	Relation	edges = table_open(cat->edge_table, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	const IdemBuiltinMachine *builtin = idem_machine_builtin_find(name);
	Reading		reading = {.stamp = begin_stamp(rel, edges)};

	/* One snapshot for both tables, or it might be half of each definition. */
	machine->name = pstrdup(name);
	/* rows that are somehow there do not count for one that is idem's own */
	if ((builtin == NULL || !builtin->fixed) &&
		read_machine(rel, snapshot, machine, &reading))
	{
		read_edges(edges, snapshot, name, &reading);
		arrange(machine, &reading);
		machine->stamp = reading.stamp;
	}
	else if (builtin != NULL)
	{
		read_builtin(rel, builtin, machine, &reading);
		arrange(machine, &reading);
		machine->stamp = reading.stamp;
	}
	else
		machine = NULL;

	UnregisterSnapshot(snapshot);
	table_close(edges, AccessShareLock);
	table_close(rel, AccessShareLock);
	return machine;
}
