/*
 * attach_ddl.c
 *	  The triggers by which a table follows state machines, as DDL.
 *
 * Triggers fire by name, byte for byte.  Before an update ours come late, to
 * have the last word on the row.  Afterwards they come before any letter or
 * digit, since a trigger of the user's may bring the row into its next state,
 * and history tells in order.  Those of a table's first machine are called the same
 * everywhere; those of further ones have the name of their column in theirs.
 */
#include "postgres.h"

#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "lifecycle/attach_ddl.h"
#include "table/attachment.h"
#include "table/sql_name.h"

#define UPDATE_TRIGGER	"zz_idem_lifecycle_update"
#define INSERT_TRIGGER	"!idem_lifecycle_insert"
#define HISTORY_TRIGGER	"!idem_lifecycle_history"

/*
 * The names (char *) of the triggers by which a table follows a machine, that by
 * the state in the column given, or NULL for any.
 */
List *
idem_attach_ddl_triggers(Relation rel, const char *column)
{
	/* first: the look-up may rebuild the triggers of an open relation */
	Oid			function = idem_catalog()->lifecycle;
	TriggerDesc *triggers = rel->trigdesc;
	List	   *names = NIL;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgfoid == function &&
			idem_attachment_is_about(trigger, column))
			names = lappend(names, pstrdup(trigger->tgname));
	}
	return names;
}

static bool
has_trigger(Relation rel, const char *name)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (strcmp(triggers->triggers[i].tgname, name) == 0)
			return true;
	}
	return false;
}

/*
 * A name for a trigger: of the first machine of a table as it is, of a further one
 * with the column.
 */
static const char *
trigger_name(Relation rel, const char *name, const char *column, bool further)
{
	char		number[12] = "";

	for (int i = 1; further || has_trigger(rel, name); i++)
	{
		char	   *longer = makeObjectName(name, column,
											i > 1 ? number : NULL);

		if (!has_trigger(rel, longer))
			return longer;
		snprintf(number, sizeof(number), "%d", i);
		further = true;
	}
	return name;
}

/* Does a machine bear the names of the first one, or is it to? */
static bool
is_first(Relation rel, const char *column, bool attached)
{
	ListCell   *lc;

	if (!attached)
		return !has_trigger(rel, UPDATE_TRIGGER);
	foreach(lc, idem_attach_ddl_triggers(rel, column))
	{
		if (strcmp(lfirst(lc), UPDATE_TRIGGER) == 0)
			return true;
	}
	return false;
}

/*
 * The commands (char *) by which a table is to follow a machine, and to keep a
 * history; attached says that it follows the machine already.
 */
List *
idem_attach_ddl_create(Relation rel, const IdemAttachWish *wanted, bool attached)
{
	const char *call = psprintf("ON %s FOR EACH ROW"
								" EXECUTE FUNCTION %s.idem_lifecycle(%s, %s, %s)",
								idem_sql_name(rel), idem_catalog()->schema,
								quote_literal_cstr(wanted->machine),
								quote_literal_cstr(wanted->status),
								quote_literal_cstr(wanted->version));
	bool		further = !is_first(rel, wanted->status, attached);
	static const char *const triggers[][2] = {
		{UPDATE_TRIGGER, "BEFORE UPDATE"},
		{INSERT_TRIGGER, "AFTER INSERT"},
		{HISTORY_TRIGGER, "AFTER UPDATE"},
	};
	List	   *commands = NIL;

	for (int i = attached ? 2 : 0; i < (wanted->history ? 3 : 2); i++)
	{
		const char *name = trigger_name(rel, triggers[i][0], wanted->status,
										further);

		commands = lappend(commands,
						   psprintf("CREATE TRIGGER %s %s %s", quote_identifier(name),
									triggers[i][1], call));
	}
	return commands;
}

/*
 * The commands (char *) by which a table is no longer to follow a machine by that
 * column, or any where it is NULL; NIL if it does not anyway.
 */
List *
idem_attach_ddl_drop(Relation rel, const char *column)
{
	List	   *commands = NIL;
	ListCell   *lc;

	foreach(lc, idem_attach_ddl_triggers(rel, column))
		commands = lappend(commands,
						   psprintf("DROP TRIGGER %s ON %s",
									quote_identifier(lfirst(lc)),
									idem_sql_name(rel)));
	return commands;
}
