/*
 * attachment_choice.c
 *	  Which of the machines that a table follows a call means.
 *
 * A call may name the machine, or the column with the state.  Where it does not,
 * and the table follows several, transition/ goes by the state that is wanted.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "table/attachment_choice.h"

/* Which machines they are, for people. */
const char *
idem_attachment_choice_list(List *attachments)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, attachments)
	{
		const IdemAttachment *attachment = lfirst(lc);

		appendStringInfo(&buf, "%s\"%s\" in column \"%s\"",
						 buf.len > 0 ? ", " : "", attachment->machine,
						 attachment->column);
	}
	return buf.data;
}

/*
 * How a table follows that machine, NULL standing for any, now and with its
 * triggers on, as idem_attachment_all() tells it; raises 55000 if it does not.
 */
List *
idem_attachment_choice_need(Relation rel, const char *machine)
{
	const char *name = RelationGetRelationName(rel);
	const char *hint = "Call idem_attach(), or enable the triggers it made.";
	List	   *all = idem_attachment_all(rel, true);
	List	   *wanted = machine == NULL ? all : NIL;
	ListCell   *lc;

	foreach(lc, machine == NULL ? NIL : all)
	{
		const IdemAttachment *attachment = lfirst(lc);

		if (strcmp(attachment->machine, machine) == 0)
			wanted = lappend(wanted, lfirst(lc));
	}
	if (wanted == NIL && machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow a state machine", name),
				 errhint("%s", hint)));
	if (wanted == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow state machine \"%s\"",
						name, machine),
				 all != NIL ?
				 errdetail("It follows %s.", idem_attachment_choice_list(all)) :
				 errhint("%s", hint)));
	return wanted;
}

/*
 * The one by that column; raises 42703 if there is none.  machine is what they were
 * narrowed down to, or NULL.
 */
const IdemAttachment *
idem_attachment_choice_named(List *attachments, Relation rel,
							 const char *machine, const char *column)
{
	const IdemAttachment *named = idem_attachment_by(attachments, column);
	const char *name = RelationGetRelationName(rel);

	if (named == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 machine == NULL ?
				 errmsg("column \"%s\" of table \"%s\" does not follow a state machine",
						column, name) :
				 errmsg("column \"%s\" of table \"%s\" does not follow state machine \"%s\"",
						column, name, machine),
				 errdetail("The table follows %s.",
						   idem_attachment_choice_list(attachments))));
	return named;
}
