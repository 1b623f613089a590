/*
 * attached_tables.c
 *	  The tables that follow a machine, and what a change of it means for them.
 *
 * Tables are found by their triggers.  They may be anybody's: rows are counted,
 * and types asked what they can hold, as the owner of the table, and nothing is
 * told of rows that the caller could not read.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/catalog.h"
#include "machine/attached_tables.h"
#include "machine/guard.h"
#include "machine/state_counts.h"
#include "table/attachment.h"
#include "table/sql_name.h"
#include "table/state_column.h"

/* What is to be found out about the tables, and what has been. */
typedef struct Survey
{
	const IdemMachineDefinition *definition;
	List	   *removed;		/* states that would be gone */
	List	   *added;			/* states that there would be */
	List	   *edges;			/* whose guard would be another */
	StringInfoData stranded;	/* tables with rows in states removed */
	StringInfoData unfit;		/* tables that cannot hold states added */
} Survey;

/* Does a trigger name the machine (NULL: any) in its arguments? */
static bool
names_machine(HeapTuple trigger, TupleDesc desc, const char *machine)
{
	bool		isnull;
	Datum		args = heap_getattr(trigger, Anum_pg_trigger_tgargs, desc, &isnull);
	bytea	   *bytes = DatumGetByteaPP(args);
	int			length = machine == NULL ? 0 : strlen(machine) + 1;

	/* each argument ends in a zero byte */
	return machine == NULL || (VARSIZE_ANY_EXHDR(bytes) >= length &&
							   memcmp(VARDATA_ANY(bytes), machine, length) == 0);
}

/*
 * The OIDs of the tables that follow a machine (NULL: any), partitions left out, in
 * order.
 * They are read under a snapshot of the moment, as catalogs are.
 */
static List *
find_followers(const char *machine)
{
	Oid			function = idem_catalog()->lifecycle;
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *followers = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid == function && !OidIsValid(trigger->tgparentid) &&
			names_machine(tuple, RelationGetDescr(rel), machine))
			followers = list_append_unique_oid(followers, trigger->tgrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(followers, list_oid_cmp);
	return followers;
}

/* The OIDs of the tables that follow any machine, partitions left out, in order. */
List *
idem_attached_tables_all(void)
{
	return find_followers(NULL);
}

/* Their names, for people. */
const char *
idem_attached_tables_names(List *followers)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, followers)
		appendStringInfo(&buf, "%s%s", buf.len ? ", " : "",
						 idem_sql_name_find(lfirst_oid(lc)));
	return buf.data;
}

static int
state_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The states (char *) of one list that are not in another. */
static List *
states_less(List *states, List *others)
{
	int			count = 0;
	char	  **known = palloc(sizeof(char *) * (list_length(others) + 1));
	List	   *rest = NIL;
	ListCell   *lc;

	foreach(lc, others)
		known[count++] = lfirst(lc);
	qsort(known, count, sizeof(char *), state_compare);
	foreach(lc, states)
	{
		char	   *state = lfirst(lc);

		if (bsearch(&state, known, count, sizeof(char *), state_compare) == NULL)
			rest = lappend(rest, state);
	}
	return rest;
}

/* The edges of a definition with a guard that a machine does not have there. */
static List *
edges_changed(const IdemMachineDefinition *definition, const IdemMachine *machine)
{
	List	   *edges = NIL;
	ListCell   *lc;

	foreach(lc, definition->edges)
	{
		IdemEdge   *edge = lfirst(lc);
		IdemEdge   *former = NULL;

		CHECK_FOR_INTERRUPTS();
		if (edge->guard == NULL)
			continue;
		if (machine != NULL)
			former = idem_machine_guarded(machine, edge->from, edge->to);
		if (former == NULL || strcmp(former->guard, edge->guard) != 0)
			edges = lappend(edges, edge);
	}
	return edges;
}

/* May the caller read the states of all rows of a table? */
static bool
may_read(Relation rel, AttrNumber status)
{
	Oid			relid = RelationGetRelid(rel);

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(relid, status, GetUserId(),
							  ACL_SELECT) == ACLCHECK_OK;
}

/* Looks at a column that holds states of the machine. */
static void
survey_column(Survey *survey, Relation rel, AttrNumber status)
{
	const char *name = idem_sql_name_find(RelationGetRelid(rel));
	const char *found;

	if (survey->removed != NIL)
	{
		found = idem_state_counts_within(rel, status, survey->removed);
		if (found != NULL && may_read(rel, status))
			appendStringInfo(&survey->stranded, "%sTable %s has rows in states %s.",
							 survey->stranded.len ? "\n" : "", name, found);
		else if (found != NULL)
			appendStringInfo(&survey->stranded, "%sTable %s has rows in states that would be gone.",
							 survey->stranded.len ? "\n" : "", name);
	}
	found = idem_state_column_complaint(rel, status, survey->added);
	if (found != NULL)
		appendStringInfo(&survey->unfit, "%sTable %s: %s",
						 survey->unfit.len ? "\n" : "", name, found);
}

/*
 * Reads a trigger of a table if it names the machine.  Anybody may make a
 * trigger. One that cannot work refuses every write to its table, but has no
 * say in what becomes of the machine: false, with a warning.
 */
static bool
read_trigger(IdemAttachment *attachment, Relation rel, int i, const char *machine)
{
	/* first: the look-up may rebuild the triggers of an open relation */
	Oid			function = idem_catalog()->lifecycle;
	const Trigger *trigger = &rel->trigdesc->triggers[i];
	char	   *name;

	if (trigger->tgfoid != function || trigger->tgnargs == 0 ||
		strcmp(trigger->tgargs[0], machine) != 0)
		return false;

	/* so may those below */
	name = pstrdup(trigger->tgname);
	if (idem_attachment_try(attachment, rel, trigger))
		return true;
	ereport(WARNING,
			(errmsg("trigger \"%s\" of table %s is passed over",
					name, idem_sql_name_find(RelationGetRelid(rel))),
			 errdetail("It names state machine \"%s\", but no column for its states and no integer column for a version.",
					   machine)));
	return false;
}

/* How many triggers a table has; those of other sessions' tables do not count. */
static int
count_triggers(Relation rel)
{
	/* rows that only another session can see end with it */
	return rel->trigdesc == NULL || RELATION_IS_OTHER_TEMP(rel) ? 0 :
		rel->trigdesc->numtriggers;
}

static void
survey_table(Survey *survey, Oid relid)
{
	Bitmapset  *seen = NULL;
	Relation	rel;

	/*
	 * Where states are removed, nobody is to write to the table until the
	 * change is committed, and a row might slip into one of them.
	 */
	rel = try_relation_open(relid, survey->removed != NIL ?
							ShareRowExclusiveLock : AccessShareLock);
	if (rel == NULL)
		return;
	for (int i = 0; i < count_triggers(rel); i++)
	{
		IdemAttachment attachment;

		if (!read_trigger(&attachment, rel, i, survey->definition->name) ||
			bms_is_member(attachment.status, seen))
			continue;
		seen = bms_add_member(seen, attachment.status);
		survey_column(survey, rel, attachment.status);
	}
	if (seen != NULL)
		idem_guard_accept(rel, survey->edges);
	relation_close(rel, NoLock);
}

/*
 * Those of the tables that follow a machine whose triggers could work, with it,
 * or could not be looked at; and those of other sessions.  Raises a warning for
 * each of the other triggers.
 */
List *
idem_attached_tables_working(const char *machine)
{
	List	   *working = NIL;
	ListCell   *lc;

	foreach(lc, find_followers(machine))
	{
		Oid			relid = lfirst_oid(lc);
		Relation	rel = try_relation_open(relid, AccessShareLock);
		bool		works = false;

		if (rel == NULL)
			continue;
		if (RELATION_IS_OTHER_TEMP(rel))
			works = true;
		for (int i = 0; i < count_triggers(rel) && !works; i++)
		{
			IdemAttachment attachment;

			works = read_trigger(&attachment, rel, i, machine);
		}
		relation_close(rel, NoLock);
		if (works)
			working = lappend_oid(working, relid);
	}
	return working;
}

/*
 * Raises 23514 if a new definition would leave rows in states that it does not
 * have, 42804 if it has states that a table cannot hold, or a new guard that does
 * not take rows of a table.  machine is what there is so far, not to be used
 * afterwards; NULL: nothing.
 */
void
idem_attached_tables_check(const IdemMachineDefinition *definition,
						   const IdemMachine *machine)
{
	List	   *states = machine != NULL ? idem_machine_states(machine) : NIL;
	Survey		survey = {0};
	ListCell   *lc;

	survey.definition = definition;
	survey.removed = states_less(states, definition->states);
	survey.added = states_less(definition->states, states);
	survey.edges = edges_changed(definition, machine);
	initStringInfo(&survey.stranded);
	initStringInfo(&survey.unfit);
	foreach(lc, find_followers(definition->name))
		survey_table(&survey, lfirst_oid(lc));

	if (survey.stranded.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("rows would be left in states that state machine \"%s\" no longer has",
						definition->name),
				 errdetail_internal("%s", survey.stranded.data),
				 errhint("Bring these rows into other states first, or say \"force => true\".")));
	if (survey.unfit.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("tables that follow state machine \"%s\" cannot hold all its states",
						definition->name),
				 errdetail_internal("%s", survey.unfit.data),
				 errhint("Change the type first, as by ALTER TYPE ... ADD VALUE, or say \"force => true\".")));
}
