/*
 * attachment.c
 *	  Which state machine a table follows, and which column holds the version.
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
 * The trigger that calls a function before or after updates, or NULL; only one
 * that fires for every row now, if so wanted.
 */
static const Trigger *
find_trigger(Relation rel, Oid function, int16 timing, bool watching)
{
	TriggerDesc *triggers = rel->trigdesc;

	if (triggers == NULL)
		return NULL;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgfoid == function &&
			TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW, timing,
								 TRIGGER_TYPE_UPDATE) &&
			(!watching || watches_updates(trigger)))
			return trigger;
	}
	return NULL;
}

static bool
read_lifecycle(IdemAttachment *attachment, Relation rel, bool watching)
{
	const Trigger *trigger = find_trigger(rel, idem_catalog()->lifecycle,
										  TRIGGER_TYPE_BEFORE, watching);
	const char *machine;

	if (trigger == NULL)
		return false;

	/*
	 * The relation cache may be rebuilt under an open relation, at any look
	 * into a catalog.
	 */
	machine = trigger->tgnargs > 0 ? pstrdup(trigger->tgargs[0]) : NULL;
	idem_attachment_read(attachment, rel, trigger);
	Assert(machine != NULL && strcmp(attachment->machine, machine) == 0);
	attachment->machine = machine;
	return true;
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
 * The table that idem_attach() was called for: the one given, or one that it is
 * a partition of.
 */
Oid
idem_attachment_origin(Relation rel)
{
	const Trigger *trigger = find_trigger(rel, idem_catalog()->lifecycle,
										  TRIGGER_TYPE_BEFORE, true);
	Oid			table = RelationGetRelid(rel);
	Oid			next = trigger != NULL && trigger->tgisclone ?
		trigger->tgoid : InvalidOid;

	while (OidIsValid(next))
		next = parent_trigger(next, &table);
	return table;
}

/*
 * Does a table follow a machine, that is, has it a trigger that validates every
 * update and raises the version?  If so, says how.  Raises what
 * idem_attachment_read raises.
 */
bool
idem_attachment_find(IdemAttachment *attachment, Relation rel)
{
	return read_lifecycle(attachment, rel, true);
}

/* The same, even if the trigger is disabled now. */
bool
idem_attachment_find_any(IdemAttachment *attachment, Relation rel)
{
	return read_lifecycle(attachment, rel, false);
}

/*
 * How a table follows that machine, NULL standing for any, now and with its
 * triggers on; raises 55000 if it does not.
 */
void
idem_attachment_need(IdemAttachment *attachment, Relation rel,
					 const char *machine)
{
	const char *name = RelationGetRelationName(rel);
	const char *hint = "Call idem_attach(), or enable the triggers it made.";
	bool		attached = idem_attachment_find(attachment, rel);

	if (!attached && machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow a state machine", name),
				 errhint("%s", hint)));
	if (machine != NULL &&
		(!attached || strcmp(attachment->machine, machine) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow state machine \"%s\"",
						name, machine),
				 attached ?
				 errdetail("It follows state machine \"%s\".",
						   attachment->machine) :
				 errhint("%s", hint)));
}

/*
 * A table that inherits from one that is open, and does not follow a machine itself:
 * that machine, by a column of that name, where they are not NULL.  InvalidOid if
 * there is none.  The children are locked from then on.
 *
 * An update of a table changes its children's rows, too, and fires none of its own
 * triggers for them.  Partitions have the triggers of their parent.
 */
Oid
idem_attachment_find_stray(Relation rel, const char *machine,
						   const char *status)
{
	Oid			relid = RelationGetRelid(rel);
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_RELATION || !rel->rd_rel->relhassubclass)
		return InvalidOid;
	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		IdemAttachment attachment;
		Relation	child;
		bool		follows;

		if (lfirst_oid(lc) == relid)
			continue;
		child = relation_open(lfirst_oid(lc), NoLock);
		follows = idem_attachment_find(&attachment, child) &&
			(machine == NULL || strcmp(attachment.machine, machine) == 0) &&
			(status == NULL || attachment.status == find_column(child, status));
		relation_close(child, NoLock);
		if (!follows)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

/* Does a table keep a history, that is, has it a trigger that records it? */
bool
idem_attachment_records(Relation rel)
{
	return find_trigger(rel, idem_catalog()->lifecycle,
						TRIGGER_TYPE_AFTER, true) != NULL;
}

/*
 * The column with the version that a trigger raises on every update, or
 * InvalidAttrNumber.  Raises what reading the trigger raises.
 */
AttrNumber
idem_attachment_version(Relation rel)
{
	IdemAttachment attachment;
	const Trigger *trigger;

	if (idem_attachment_find(&attachment, rel))
		return attachment.version;
	trigger = find_trigger(rel, idem_catalog()->version,
						   TRIGGER_TYPE_BEFORE, true);
	return trigger ? idem_attachment_read_version(rel, trigger) :
		InvalidAttrNumber;
}
