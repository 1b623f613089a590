/*
 * machine_parse.c
 *	  A state machine as its definer describes it: reading and comparing.
 *
 * The description is JSON: each state with the states that it leads to, which
 * are named, or objects that name a guard, too:
 *
 *		{"A": ["B", {"to": "C", "guard": "may_c"}], "B": []}
 *
 * A state that is only led to need not be listed, and leads nowhere.  "*" stands
 * for every state: what it leads to, each of the others leads to, final ones
 * included, unless that is said for itself.  A state leads to itself only where
 * that is said.  Such transitions are written down one by one.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#include "machine/guard_signature.h"
#include "machine/machine_parse.h"

/* As long as a key may be, so that an edge fits into an index entry. */
#define MAX_NAME	255

/* What stands for every state. */
#define EVERY		"*"

static void
shape_error(const char *state, const JsonbValue *v)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, v));
	char	   *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 state == NULL ?
			 errmsg("\"transitions\" must be a JSON object") :
			 errmsg("transitions of state \"%s\" must be an array of states, or of objects that name one",
					state),
			 errdetail("It is %.*s.", pg_mbcliplen(text, strlen(text), 200), text),
			 errhint("Give each state the states that it leads to: {\"A\": [\"B\", {\"to\": \"C\", \"guard\": \"may_c\"}], \"B\": []}.")));
}

static void
check_name(const char *what, const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a %s must not be empty", what)));
	if (strlen(name) > MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a %s is too long", what),
				 errdetail("It has %zu bytes, at most %d are possible.",
						   strlen(name), MAX_NAME)));
}

/* A state that is led to, or begun with, is one. */
static void
check_state(const char *name)
{
	check_name("state", name);
	if (strcmp(name, EVERY) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"*\" is not the name of a state"),
				 errhint("It stands for every state, in \"transitions\", to say what all of them lead to.")));
}

/* A state while the description is read. */
typedef struct State
{
	char		name[MAX_NAME + 1]; /* must be first */
	List	   *edges;			/* of IdemEdge, those that leave it */
	const char *origin;			/* the last state seen to lead to it, or NULL */
	bool		ordered;		/* has it its place in the order? */
} State;

/* The state of a name that has been checked, made if it is not there yet. */
static State *
need_state(HTAB *states, const char *name)
{
	bool		found;
	State	   *state = hash_search(states, name, HASH_ENTER, &found);

	if (!found)
	{
		state->edges = NIL;
		state->origin = NULL;
		state->ordered = false;
	}
	return state;
}

static const char *
string_of(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/* Reads one element of the array of a state. */
static IdemEdge *
read_edge(const char *from, JsonbValue *v)
{
	IdemEdge   *edge = palloc0(sizeof(IdemEdge));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	field;
	const char *name = NULL;

	edge->from = from;
	if (v->type == jbvString)
	{
		edge->to = string_of(v);
		return edge;
	}
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		shape_error(from, v);

	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &field, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = string_of(&field);
		else if (token == WJB_VALUE && field.type == jbvString &&
				 strcmp(name, "to") == 0)
			edge->to = string_of(&field);
		else if (token == WJB_VALUE && field.type == jbvString &&
				 strcmp(name, "guard") == 0)
			edge->guard = string_of(&field);
		else if (token == WJB_VALUE)
			shape_error(from, v);
	}
	if (edge->to == NULL)
		shape_error(from, v);
	if (edge->guard != NULL)
		edge->guard = idem_guard_signature_resolve(edge->guard);
	return edge;
}

/*
 * Reads the array of a state, or of "*", and adds what it leads to to a list; to
 * the states, too, what there is of them.
 */
static List *
read_edges(List *edges, HTAB *states, const char *from, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		shape_error(from, v);

	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		IdemEdge   *edge;
		State	   *state;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_ELEM)
			continue;
		edge = read_edge(from, &element);
		check_state(edge->to);
		state = need_state(states, edge->to);
		/* the same string, since each state has one array */
		if (state->origin == from)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("state \"%s\" leads to \"%s\" twice",
							from, edge->to)));
		state->origin = from;
		edges = lappend(edges, edge);
	}
	return edges;
}

/* Reads the array of a state. */
static void
read_state(IdemMachineDefinition *definition, HTAB *states, const char *from,
		   JsonbValue *v)
{
	State	   *state = need_state(states, from);

	state->edges = read_edges(state->edges, states, from, v);
	/* the list itself, which may grow, is the state's */
	definition->edges = list_concat(definition->edges, state->edges);
}

/* Adds to the edges of a state those that every state has, unless it has them. */
static void
add_everywhere(IdemMachineDefinition *definition, HTAB *states, State *state,
			   List *everywhere)
{
	ListCell   *lc;

	foreach(lc, state->edges)
		need_state(states, ((IdemEdge *) lfirst(lc))->to)->origin = state->name;
	foreach(lc, everywhere)
	{
		State	   *to = need_state(states, ((IdemEdge *) lfirst(lc))->to);
		IdemEdge   *edge;

		CHECK_FOR_INTERRUPTS();
		if (to == state || to->origin == state->name)
			continue;
		edge = memcpy(palloc(sizeof(IdemEdge)), lfirst(lc), sizeof(IdemEdge));
		edge->from = state->name;
		state->edges = lappend(state->edges, edge);
		definition->edges = lappend(definition->edges, edge);
	}
}

/* Gives a state the next place in the order, unless it has one. */
static void
place_state(IdemMachineDefinition *definition, HTAB *states, const char *name)
{
	State	   *state = need_state(states, name);

	if (state->ordered)
		return;
	state->ordered = true;
	definition->states = lappend(definition->states, unconstify(char *, name));
}

/* Gives places to all states that have none: those listed, and those led to. */
static void
place_rest(IdemMachineDefinition *definition, HTAB *states, List *listed)
{
	ListCell   *lc;

	foreach(lc, listed)
		place_state(definition, states, lfirst(lc));
	foreach(lc, definition->edges)
		place_state(definition, states, ((IdemEdge *) lfirst(lc))->to);
}

/*
 * Puts the states in order: as they are reached from the initial one, step by
 * step and as listed, then those that are not.
 */
static void
order_states(IdemMachineDefinition *definition, HTAB *states, List *listed)
{
	ListCell   *lc;

	place_state(definition, states, definition->initial);
	for (int i = 0; i < list_length(definition->states); i++)
	{
		CHECK_FOR_INTERRUPTS();
		foreach(lc, need_state(states, list_nth(definition->states, i))->edges)
			place_state(definition, states, ((IdemEdge *) lfirst(lc))->to);
	}
	definition->nreached = list_length(definition->states);
	place_rest(definition, states, listed);
}

static void
initial_error(IdemMachineDefinition *definition, HTAB *states, List *listed)
{
	StringInfoData buf;
	ListCell   *lc;

	place_rest(definition, states, listed);
	initStringInfo(&buf);
	foreach(lc, definition->states)
		appendStringInfo(&buf, "%s\"%s\"", buf.len ? ", " : "",
						 (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("initial state \"%s\" is no state of state machine \"%s\"",
					definition->initial, definition->name),
			 buf.len == 0 ? errdetail("It has no states.") :
			 errdetail("Its states are %s.", buf.data)));
}

static HTAB *
make_states(void)
{
	HASHCTL		control = {
		.keysize = MAX_NAME + 1,
		.entrysize = sizeof(State),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("idem states", 64, &control,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Reads a description.  Raises 22023 for one that is none, and what
 * idem_guard_signature_resolve raises for guards.
 */
IdemMachineDefinition *
idem_machine_parse(const char *name, const char *initial, Jsonb *transitions)
{
	IdemMachineDefinition *definition = palloc0(sizeof(IdemMachineDefinition));
	HTAB	   *states = make_states();
	List	   *listed = NIL;
	List	   *everywhere = NIL;
	const char *state = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	definition->name = name;
	definition->initial = initial;
	check_name("state machine", name);
	if (!JB_ROOT_IS_OBJECT(transitions))
	{
		JsonbToJsonbValue(transitions, &v);
		shape_error(NULL, &v);
	}

	it = JsonbIteratorInit(&transitions->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		/* the object itself comes first */
		if (token == WJB_KEY)
		{
			state = string_of(&v);
			check_name("state", state);
			if (strcmp(state, EVERY) != 0)
				listed = lappend(listed, unconstify(char *, state));
		}
		else if (token == WJB_VALUE && strcmp(state, EVERY) == 0)
			everywhere = read_edges(NIL, states, state, &v);
		else if (token == WJB_VALUE)
			read_state(definition, states, state, &v);
	}
	if (strlen(initial) > MAX_NAME ||
		hash_search(states, initial, HASH_FIND, NULL) == NULL)
		initial_error(definition, states, listed);
	if (everywhere != NIL)
	{
		HASH_SEQ_STATUS scan;
		State	   *each;

		/* all states are known by now; their names last as long as the table */
		hash_seq_init(&scan, states);
		while ((each = hash_seq_search(&scan)) != NULL)
			add_everywhere(definition, states, each, everywhere);
	}
	order_states(definition, states, listed);
	return definition;
}

static bool
has_edge(const IdemMachine *machine, const IdemEdge *edge)
{
	IdemEdge   *guarded = idem_machine_guarded(machine, edge->from, edge->to);

	if (edge->guard == NULL || guarded == NULL)
		return edge->guard == NULL && guarded == NULL &&
			idem_machine_allows(machine, edge->from, edge->to);
	return strcmp(guarded->guard, edge->guard) == 0;
}

/* Does a machine have the same states, transitions and guards already? */
bool
idem_machine_parse_equals(const IdemMachineDefinition *definition,
						  const IdemMachine *machine)
{
	List	   *states = idem_machine_states(machine);
	List	   *edges = idem_machine_edges(machine);
	ListCell   *lc;

	if (strcmp(definition->initial, idem_machine_initial(machine)) != 0 ||
		list_length(definition->states) != list_length(states) ||
		list_length(definition->edges) != list_length(edges))
		return false;
	foreach(lc, definition->states)
	{
		if (!idem_machine_knows(machine, lfirst(lc)))
			return false;
	}
	foreach(lc, definition->edges)
	{
		if (!has_edge(machine, lfirst(lc)))
			return false;
	}
	return true;
}
