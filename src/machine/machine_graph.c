/*
 * machine_graph.c
 *	  SQL: idem_machine_graph(), a picture of a machine in Mermaid's language.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "machine/guard_signature.h"
#include "machine/machine.h"

PG_FUNCTION_INFO_V1(idem_machine_graph);

/* Words that mean something to Mermaid where a state may stand. */
static const char *const keywords[] = {
	"accDescr", "accTitle", "as", "choice", "class", "classDef", "click",
	"default", "direction", "end", "fork", "hide", "href", "join", "note",
	"scale", "start", "state", "stateDiagram", "style", "title", "width"
};

/* Can a name stand for itself? */
static bool
is_plain(const char *name)
{
	for (int i = 0; i < lengthof(keywords); i++)
	{
		if (pg_strcasecmp(name, keywords[i]) == 0)
			return false;
	}
	/* where Mermaid keeps [*] */
	if (pg_strncasecmp(name, "root_", 5) == 0)
		return false;
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
		strlen(name) && pg_ascii_tolower(name[0]) >= 'a';
}

/* Appends text for people, with what Mermaid or HTML would take for its own. */
static void
append_text(StringInfo buf, const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || strchr("\"#%&:;<>[]\\`{|}~", *c) != NULL)
			appendStringInfo(buf, "#%d;", (unsigned char) *c);
		else
			appendStringInfoChar(buf, *c);
	}
}

/* What a state is called: its name, or its number where that would not do. */
static const char *
alias(const char *state, int position)
{
	return is_plain(state) ? state : psprintf("_%d", position + 1);
}

/* Where a state stands among all. */
static int
position_of(List *states, const char *state)
{
	ListCell   *lc;

	foreach(lc, states)
	{
		if (strcmp(lfirst(lc), state) == 0)
			return foreach_current_index(lc);
	}
	return -1;
}

/*
 * idem_machine_graph(name text) -> text
 *
 * Raises 42704 if there is no such machine.
 */
Datum
idem_machine_graph(PG_FUNCTION_ARGS)
{
	const IdemMachine *machine;
	const char *initial;
	StringInfoData buf;
	List	   *states;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		idem_error_null("name");
	machine = idem_machine_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	states = idem_machine_states(machine);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "stateDiagram-v2\n");
	foreach(lc, states)
	{
		const char *state = lfirst(lc);

		if (is_plain(state))
			continue;
		appendStringInfoString(&buf, "    state \"");
		append_text(&buf, state);
		appendStringInfo(&buf, "\" as %s\n", alias(state, foreach_current_index(lc)));
	}
	initial = idem_machine_initial(machine);
	appendStringInfo(&buf, "    [*] --> %s\n",
					 alias(initial, position_of(states, initial)));
	foreach(lc, states)
	{
		const char *state = lfirst(lc);
		const char *name = alias(state, foreach_current_index(lc));
		List	   *edges = idem_machine_exits(machine, state);
		ListCell   *lce;

		CHECK_FOR_INTERRUPTS();

		foreach(lce, edges)
		{
			const IdemEdge *edge = lfirst(lce);

			appendStringInfo(&buf, "    %s --> %s", name,
							 alias(edge->to, edge->position));
			if (edge->guard != NULL)
			{
				appendStringInfoString(&buf, " : ");
				append_text(&buf, idem_guard_signature_name(edge->guard));
			}
			appendStringInfoChar(&buf, '\n');
		}
		if (edges == NIL)
			appendStringInfo(&buf, "    %s --> [*]\n", name);
	}
	/* without the last line feed */
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len - 1));
}
