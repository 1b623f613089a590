/*
 * attachment.c
 *	  Which state machines a table follows, and which column holds the version.
 *
 * The arguments of the table's own triggers say so, which the relation cache
 * holds: there is no registry, and what says it is dumped, dropped and
 * replicated with the table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "table/attachment.h"
#include "table/row_version.h"
#include "table/state_column.h"

/* Number of the column of that name, or InvalidAttrNumber. */
static AttrNumber
find_column(Relation rel, const char *name)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int c = 0; c < desc->natts; c++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, c);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return InvalidAttrNumber;
}

/*
 * Number of the column that argument i of a trigger names; remedy says what to
 * do where it was renamed.
 */
static AttrNumber
trigger_column(Relation rel, const Trigger *trigger, int i, const char *remedy)
{
	const char *name = trigger->tgargs[i];
	AttrNumber	column = find_column(rel, name);

	if (column == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(rel)),
				 errdetail("Trigger \"%s\" names it.", trigger->tgname),
				 errhint("If the column was renamed, %s.", remedy)));
	/* it is computed after our trigger, whatever that sets or finds in it */
	if (TupleDescAttr(RelationGetDescr(rel), column - 1)->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of relation \"%s\" is a generated column",
						name, RelationGetRelationName(rel)),
				 errdetail("Trigger \"%s\" names it; state and version are set, not computed.",
						   trigger->tgname)));
	return column;
}

/*
 * Reads what a trigger on idem_lifecycle() says of its table.
 *
 * Raises 22023 for arguments that are not machine, status and version, 42703
 * for columns that are not there, 42804 for a version that is no integer.
 */
void
idem_attachment_read(IdemAttachment *attachment, Relation rel,
					 const Trigger *trigger)
{
	const char *remedy = "call idem_detach() and idem_attach() again";

	if (trigger->tgnargs != 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" must give idem_lifecycle() three arguments",
						trigger->tgname),
				 errhint("Name the state machine, the column with the state, and the column with the version.")));

	attachment->machine = trigger->tgargs[0];
	attachment->column = trigger->tgargs[1];
	attachment->status = trigger_column(rel, trigger, 1, remedy);
	attachment->version = trigger_column(rel, trigger, 2, remedy);

	idem_row_version_check_column(rel, attachment->version);
}

/*
 * The same, but false for a trigger whose arguments will not do, or name a column
 * that can hold no state of any machine.
 */
bool
idem_attachment_try(IdemAttachment *attachment, Relation rel,
					const Trigger *trigger)
{
	if (trigger->tgnargs != 3)
		return false;
	attachment->machine = trigger->tgargs[0];
	attachment->column = trigger->tgargs[1];
	attachment->status = find_column(rel, trigger->tgargs[1]);
	attachment->version = find_column(rel, trigger->tgargs[2]);
	return attachment->status != InvalidAttrNumber &&
		attachment->version != InvalidAttrNumber &&
		idem_row_version_possible(TupleDescAttr(RelationGetDescr(rel),
												attachment->version - 1)) &&
		idem_state_column_possible(TupleDescAttr(RelationGetDescr(rel),
												 attachment->status - 1));
}

/*
 * Reads what a trigger on idem_version() says of its table: the column with the
 * version.  Raises 22023 for arguments that are not just that, 42703 and 42804
 * as idem_attachment_read does.
 */
AttrNumber
idem_attachment_read_version(Relation rel, const Trigger *trigger)
{
	AttrNumber	column;

	if (trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" must give idem_version() one argument",
						trigger->tgname),
				 errhint("Name the column with the version.")));

	column = trigger_column(rel, trigger, 0, "create the trigger anew");
	idem_row_version_check_column(rel, column);
	return column;
}

/* Will a trigger fire for every row updated now? */
static bool
watches_updates(const Trigger *trigger)
{
	char		asleep = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ?
		TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

	return trigger->tgnattr == 0 && trigger->tgqual == NULL &&
		trigger->tgenabled != TRIGGER_DISABLED &&
		trigger->tgenabled != asleep;
}

/*
 * The next trigger, from number i on, that calls a function before or after
 * updates, or NULL; only one that fires for every row now, if so wanted.
 */
static const Trigger *
next_trigger(Relation rel, Oid function, int16 timing, bool watching, int *i)
{
	TriggerDesc *triggers = rel->trigdesc;

	while (triggers != NULL && *i < triggers->numtriggers)
	{
		const Trigger *trigger = &triggers->triggers[(*i)++];

		if (trigger->tgfoid == function &&
			TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW, timing,
								 TRIGGER_TYPE_UPDATE) &&
			(!watching || watches_updates(trigger)))
			return trigger;
	}
	return NULL;
}

/* Is a trigger about the state in that column?  NULL stands for any. */
bool
idem_attachment_is_about(const Trigger *trigger, const char *column)
{
	return column == NULL ||
		(trigger->tgnargs == 3 && strcmp(trigger->tgargs[1], column) == 0);
}

/* The trigger on idem_lifecycle() that is about a column, or NULL. */
static const Trigger *
find_lifecycle(Relation rel, int16 timing, bool watching, const char *column)
{
	Oid			function = idem_catalog()->lifecycle;
	const Trigger *trigger;
	int			i = 0;

	while ((trigger = next_trigger(rel, function, timing, watching, &i)) != NULL)
	{
		if (idem_attachment_is_about(trigger, column))
			break;
	}
	return trigger;
}

/*
 * A trigger to be kept, in one piece.  The relation cache may be rebuilt under an
 * open relation, at any look into a catalog.
 */
static Trigger *
copy_trigger(const Trigger *trigger)
{
	Size		array = sizeof(char *) * trigger->tgnargs;
	Size		name = strlen(trigger->tgname) + 1;
	Size		size = sizeof(Trigger) + array + name;
	Trigger    *copy;
	char	   *end;

	for (int i = 0; i < trigger->tgnargs; i++)
		size += strlen(trigger->tgargs[i]) + 1;
	copy = palloc(size);
	*copy = *trigger;
	copy->tgargs = (char **) (copy + 1);
	copy->tgname = memcpy((char *) copy->tgargs + array, trigger->tgname, name);
	end = copy->tgname + name;
	for (int i = 0; i < trigger->tgnargs; i++)
	{
		copy->tgargs[i] = strcpy(end, trigger->tgargs[i]);
		end += strlen(end) + 1;
	}
	return copy;
}

/* All machines of a table have one version: raises 55000 if a trigger says else. */
static void
check_version(Relation rel, const Trigger *first, const Trigger *other)
{
	if (first->tgnargs == 3 && other->tgnargs == 3 &&
		strcmp(first->tgargs[2], other->tgargs[2]) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggers of table \"%s\" name different columns for the version",
						RelationGetRelationName(rel)),
				 errdetail("Trigger \"%s\" names \"%s\", trigger \"%s\" names \"%s\".",
						   first->tgname, first->tgargs[2],
						   other->tgname, other->tgargs[2]),
				 errhint("All state machines of a table share one version: call idem_detach() and idem_attach() again.")));
}

/*
 * How a table follows machines, that is, what triggers it has that validate every
 * update and raise the version: IdemAttachment *, in the order of the triggers'
 * names; not those that are disabled now, if so wanted.  Where several are about
 * one column, the first counts.  Raises what idem_attachment_read raises, and 55000
 * where they do not share a version.
 */
List *
idem_attachment_all(Relation rel, bool watching)
{
	Oid			function = idem_catalog()->lifecycle;
	List	   *triggers = NIL;
	List	   *all = NIL;
	const Trigger *trigger;
	ListCell   *lc;
	int			i = 0;

	while ((trigger = next_trigger(rel, function, TRIGGER_TYPE_BEFORE, watching,
								   &i)) != NULL)
		triggers = lappend(triggers, copy_trigger(trigger));
	foreach(lc, triggers)
	{
		IdemAttachment *attachment = palloc(sizeof(IdemAttachment));

		check_version(rel, linitial(triggers), lfirst(lc));
		idem_attachment_read(attachment, rel, lfirst(lc));
		if (idem_attachment_by(all, attachment->column) == NULL)
			all = lappend(all, attachment);
	}
	return all;
}

/* The one of them by that column, or NULL. */
const IdemAttachment *
idem_attachment_by(List *attachments, const char *column)
{
	ListCell   *lc;

	foreach(lc, attachments)
	{
		const IdemAttachment *attachment = lfirst(lc);

		if (strcmp(attachment->column, column) == 0)
			return attachment;
	}
	return NULL;
}

/* The columns of a table that triggers set or validate: those of its machines. */
Bitmapset *
idem_attachment_columns(Relation rel)
{
	Oid			function = idem_catalog()->lifecycle;
	Bitmapset  *columns = NULL;
	const Trigger *trigger;
	int			i = 0;

	while ((trigger = next_trigger(rel, function, TRIGGER_TYPE_BEFORE, false,
								   &i)) != NULL)
	{
		for (int argument = 1; trigger->tgnargs == 3 && argument < 3; argument++)
		{
			AttrNumber	column = find_column(rel, trigger->tgargs[argument]);

			if (column != InvalidAttrNumber)
				columns = bms_add_member(columns, column);
		}
	}
	return columns;
}

/* The trigger that one on a partition was made from; InvalidOid if from none. */
static Oid
parent_trigger(Oid trigger, Oid *table)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	Oid			parent = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*table = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		parent = ((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parent;
}

/*
 * The table that idem_attach() was called for with a column: the one given, or one
 * that it is a partition of.
 */
Oid
idem_attachment_origin(Relation rel, const char *column)
{
	const Trigger *trigger = find_lifecycle(rel, TRIGGER_TYPE_BEFORE, true,
											column);
	Oid			table = RelationGetRelid(rel);
	Oid			next = trigger != NULL && trigger->tgisclone ?
		trigger->tgoid : InvalidOid;

	while (OidIsValid(next))
		next = parent_trigger(next, &table);
	return table;
}

/*
 * A table that inherits from one that is open, and does not follow a machine itself
 * by the column of that name: that machine, where it is not NULL.  InvalidOid if
 * there is none.  The children are locked from then on.
 *
 * An update of a table changes its children's rows, too, and fires none of its own
 * triggers for them.  Partitions have the triggers of their parent.
 */
Oid
idem_attachment_find_stray(Relation rel, const char *machine,
						   const char *column)
{
	Oid			relid = RelationGetRelid(rel);
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_RELATION || !rel->rd_rel->relhassubclass)
		return InvalidOid;
	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		const IdemAttachment *attachment;
		Relation	child;

		if (lfirst_oid(lc) == relid)
			continue;
		child = relation_open(lfirst_oid(lc), NoLock);
		attachment = idem_attachment_by(idem_attachment_all(child, true), column);
		relation_close(child, NoLock);
		if (attachment == NULL ||
			(machine != NULL && strcmp(attachment->machine, machine) != 0))
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

/*
 * Does a table keep a history of a column, that is, has it a trigger that records
 * it?  NULL stands for any column.
 */
bool
idem_attachment_records(Relation rel, const char *column)
{
	return find_lifecycle(rel, TRIGGER_TYPE_AFTER, true, column) != NULL;
}

/*
 * The column with the version that a trigger raises on every update, or
 * InvalidAttrNumber.  Raises what reading the trigger raises, and 55000 where
 * several do not name the same.
 */
AttrNumber
idem_attachment_version(Relation rel)
{
	Oid			function = idem_catalog()->lifecycle;
	IdemAttachment attachment;
	const Trigger *first;
	const Trigger *trigger;
	int			i = 0;

	first = next_trigger(rel, function, TRIGGER_TYPE_BEFORE, true, &i);
	if (first == NULL)
	{
		i = 0;
		trigger = next_trigger(rel, idem_catalog()->version,
							   TRIGGER_TYPE_BEFORE, true, &i);
		return trigger != NULL ? idem_attachment_read_version(rel, trigger) :
			InvalidAttrNumber;
	}
	while ((trigger = next_trigger(rel, function, TRIGGER_TYPE_BEFORE, true,
								   &i)) != NULL)
		check_version(rel, first, trigger);
	/* last, as what it looks up may rebuild the triggers */
	idem_attachment_read(&attachment, rel, first);
	return attachment.version;
}
