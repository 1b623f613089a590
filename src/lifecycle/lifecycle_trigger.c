/*
 * lifecycle_trigger.c
 *	  SQL: idem_lifecycle(), the trigger of tables that follow a state machine.
 *
 * BEFORE UPDATE it validates the change of state, asks the guard of it, and
 * raises the version; AFTER INSERT it sees to it that the row begins in the
 * machine's initial state, and has that recorded where a table keeps a history.
 * Not BEFORE INSERT, which also fires for an upsert that ends as an update.  AFTER
 * UPDATE, where a table keeps a history, it has the transition recorded; since no
 * trigger can change the row any more, it validates it once again.
 *
 * Where a table follows several machines, it has these triggers for each, and each
 * is about the column with that machine's state alone.  All raise the one version
 * to the same number.
 *
 * It runs with the rights of the role that writes, and like any ordinary
 * trigger not under session_replication_role = replica: what a replica or a
 * restore brings has been validated where it came from.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "history/history_write.h"
#include "lifecycle/row_movement.h"
#include "lifecycle/transition_context.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "table/attachment.h"
#include "table/pk_json.h"
#include "table/row_version.h"

PG_FUNCTION_INFO_V1(idem_lifecycle);

pg_noreturn static void
protocol_error(const char *what)
{
	idem_error_trigger("idem_lifecycle", what,
					   "Let idem_attach() create the triggers.");
}

static void
null_error(Relation rel, AttrNumber number)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("column \"%s\" of relation \"%s\" must not be null",
					NameStr(TupleDescAttr(RelationGetDescr(rel), number - 1)->attname),
					RelationGetRelationName(rel)),
			 errdetail("A row that follows a state machine has a state and a version.")));
}

/* The state of a row by name; NULL where it has none. */
static char *
state_of(HeapTuple tuple, Relation rel, AttrNumber number)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, number, RelationGetDescr(rel), &isnull);
	Oid			function;
	bool		isvarlena;

	if (isnull)
		return NULL;
	getTypeOutputInfo(TupleDescAttr(RelationGetDescr(rel), number - 1)->atttypid,
					  &function, &isvarlena);
	return OidOutputFunctionCall(function, value);
}

static int64
version_of(HeapTuple tuple, Relation rel, AttrNumber number)
{
	bool		isnull;
	int64		version = idem_row_version_get(tuple, rel, number, &isnull);

	if (isnull)
		null_error(rel, number);
	return version;
}

/* The row with its version set, which another trigger of ours may have done. */
static HeapTuple
set_version(HeapTuple row, Relation rel, AttrNumber number, int64 version)
{
	bool		isnull;

	if (idem_row_version_get(row, rel, number, &isnull) == version && !isnull)
		return row;
	return idem_row_version_set(row, rel, number, version);
}

/* What a trigger keeps for the statement that fires it, as its flinfo lives. */
typedef struct TriggerCache
{
	IdemPartitionCheck *check;	/* where rows of the partition belong */
	IdemGuards *guards;
	Bitmapset  *columns;		/* of all states, and the version; NULL: not
								 * known yet */
	bool		asked;			/* was it found out whether it */
	bool		overruled;		/* is followed by a trigger that may move
								 * rows? */
	IdemSuspect suspect;		/* a row that may have been */
} TriggerCache;

static TriggerCache *
kept(FmgrInfo *flinfo)
{
	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt,
												  sizeof(TriggerCache));
	return flinfo->fn_extra;
}

/* Where rows of a partition belong. */
static const IdemPartitionCheck *
check_of(Relation rel, FmgrInfo *flinfo)
{
	if (kept(flinfo)->check == NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept(flinfo)->check = idem_row_movement_check(rel);
		MemoryContextSwitchTo(former);
	}
	return kept(flinfo)->check;
}

/*
 * The primary key of a row as it is known by through its changes: without what
 * triggers of machines set or validate.
 */
static Jsonb *
key_of(Relation rel, const IdemAttachment *attachment, HeapTuple row, bool stored,
	   FmgrInfo *flinfo)
{
	TriggerCache *mine = kept(flinfo);

	if (mine->columns == NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(flinfo->fn_mcxt);

		mine->columns = bms_add_member(idem_attachment_columns(rel),
									   attachment->status);
		mine->columns = bms_add_member(mine->columns, attachment->version);
		MemoryContextSwitchTo(former);
	}
	return idem_pk_json_read(rel, mine->columns, row, stored);
}

/* Is it one of ours, of another machine, which raises the same version? */
static bool
is_fellow(const Trigger *trigger, const Trigger *mine)
{
	return trigger->tgfoid == mine->tgfoid && trigger->tgnargs == 3 &&
		strcmp(trigger->tgargs[2], mine->tgargs[2]) == 0;
}

/* May another trigger change the row after this one? */
static bool
is_overruled(const TriggerData *trigdata, FmgrInfo *flinfo)
{
	TriggerCache *mine = kept(flinfo);
	const TriggerDesc *triggers = trigdata->tg_relation->trigdesc;

	for (int i = 0;
		 !mine->asked && triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE) &&
			strcmp(trigger->tgname, trigdata->tg_trigger->tgname) > 0 &&
			!is_fellow(trigger, trigdata->tg_trigger))
			mine->overruled = true;
	}
	mine->asked = true;
	return mine->overruled;
}

static IdemGuards *
guards_of(Relation rel, const IdemAttachment *attachment, FmgrInfo *flinfo)
{
	if (kept(flinfo)->guards == NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept(flinfo)->guards = idem_guard_make(rel, attachment->column);
		MemoryContextSwitchTo(former);
	}
	return kept(flinfo)->guards;
}

/* The change that a call makes by the update of a row version, or NULL. */
static IdemTransitionContext *
context_of(Relation rel, HeapTuple old)
{
	return idem_transition_context_find(RelationGetRelid(rel), &old->t_self);
}

/*
 * Is an update a transition?  If it changes the state, it must be one of the
 * machine's.  If it does not, it is one where a call means the row to pass to
 * the very state it is in, and the machine allows that.  Sets guarded, unless it
 * is NULL, to the transition if its guard is to be asked.
 */
static bool
is_transition(Relation rel, const IdemAttachment *attachment,
			  HeapTuple old, HeapTuple new, const IdemEdge **guarded)
{
	bool		changed = idem_row_movement_changed(rel, attachment->status,
													old, new);
	const IdemMachine *machine;
	char	   *from;
	char	   *to;

	if (!changed && !idem_transition_context_means(context_of(rel, old),
												   attachment->column))
		return false;

	from = state_of(old, rel, attachment->status);
	to = state_of(new, rel, attachment->status);
	if (to == NULL && changed)
		null_error(rel, attachment->status);
	/* last, as it is not to be kept while a type writes its values */
	machine = idem_machine_find(attachment->machine);
	if (to != NULL && idem_machine_allows(machine, from, to))
	{
		if (guarded != NULL)
			*guarded = idem_machine_guarded(machine, from, to);
		return true;
	}
	if (changed && (from == NULL || strcmp(from, to) != 0))
		idem_machine_error_transition(machine, rel, from, to);
	return false;
}

/* What an update makes of a row that has a state. */
static IdemHistoryEntry
entry_of(Relation rel, const IdemAttachment *attachment,
		 HeapTuple old, HeapTuple new, bool stored, FmgrInfo *flinfo)
{
	const IdemTransitionContext *context = context_of(rel, old);
	IdemHistoryEntry entry = {0};

	entry.row = key_of(rel, attachment, new, stored, flinfo);
	entry.column = attachment->column;
	entry.from = state_of(old, rel, attachment->status);
	entry.to = state_of(new, rel, attachment->status);
	entry.version = version_of(new, rel, attachment->version);
	if (context != NULL)
	{
		entry.scope = context->scope;
		entry.key = context->key;
		entry.note = context->note;
		entry.role = context->role;
	}
	return entry;
}

static HeapTuple
before_update(const TriggerData *trigdata, const IdemAttachment *attachment,
			  FmgrInfo *flinfo)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	old = trigdata->tg_trigtuple;
	HeapTuple	new = trigdata->tg_newtuple;
	IdemTransitionContext *context = context_of(rel, old);
	const IdemEdge *guarded = NULL;
	int64		version;
	bool		transition;

	if (idem_transition_context_means(context, attachment->column))
		context->watched = true;

	version = idem_row_version_next(rel, attachment->version,
									version_of(old, rel, attachment->version));
	transition = is_transition(rel, attachment, old, new, &guarded);
	Assert(version > version_of(old, rel, attachment->version));
	new = set_version(new, rel, attachment->version, version);
	if (guarded != NULL)
		idem_guard_require(guards_of(rel, attachment, flinfo), attachment->machine, guarded,
						   new, context != NULL ? context->note : NULL);

	if (rel->rd_rel->relispartition)
	{
		const IdemPartitionCheck *check = check_of(rel, flinfo);
		bool		leaves = idem_row_movement_leaves(check, rel, old, new);

		if (leaves || is_overruled(trigdata, flinfo))
		{
			IdemHistoryEntry entry = entry_of(rel, attachment, old, new, false,
											  flinfo);

			entry.recorded = transition &&
				idem_attachment_records(rel, attachment->column);
			if (leaves)
				idem_row_movement_add(check, rel, &old->t_self, &entry);
			else
				idem_row_movement_suspect(check, rel, &old->t_self, &entry,
										  &kept(flinfo)->suspect);
		}
	}
	return new;
}

static void
after_update(const TriggerData *trigdata, const IdemAttachment *attachment,
			 FmgrInfo *flinfo)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	old = trigdata->tg_trigtuple;
	HeapTuple	new = trigdata->tg_newtuple;

	if (is_transition(rel, attachment, old, new, NULL))
	{
		IdemHistoryEntry entry = entry_of(rel, attachment, old, new, true,
										  flinfo);

		idem_history_write(rel, &entry);
	}
}

/*
 * If an inserted row has moved here from another partition, receives it.  Raises
 * 27000 where it has not arrived as it left.
 */
static bool
receive(Relation rel, const IdemAttachment *attachment, HeapTuple row,
		IdemHistoryEntry *arrived, FmgrInfo *flinfo)
{
	IdemHistoryEntry *entry;

	if (!rel->rd_rel->relispartition || !idem_row_movement_underway())
		return false;
	arrived->row = key_of(rel, attachment, row, false, flinfo);
	entry = idem_row_movement_take(check_of(rel, flinfo), rel, row, arrived);
	if (entry != NULL && entry->recorded)
	{
		entry->row = key_of(rel, attachment, row, true, flinfo);
		idem_history_write(rel, entry);
	}
	return entry != NULL;
}

static void
after_insert(const TriggerData *trigdata, const IdemAttachment *attachment,
			 FmgrInfo *flinfo)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	row = trigdata->tg_trigtuple;
	IdemHistoryEntry entry = {.column = attachment->column};
	const IdemMachine *machine;

	entry.to = state_of(row, rel, attachment->status);
	entry.version = version_of(row, rel, attachment->version);
	if (entry.to == NULL)
		null_error(rel, attachment->status);
	if (receive(rel, attachment, row, &entry, flinfo))
		return;

	machine = idem_machine_find(attachment->machine);
	if (!idem_machine_allows(machine, NULL, entry.to))
		idem_machine_error_transition(machine, rel, NULL, entry.to);
	if (idem_attachment_records(rel, attachment->column))
	{
		entry.row = key_of(rel, attachment, row, true, flinfo);
		idem_history_write(rel, &entry);
	}
}

/*
 * idem_lifecycle('machine', 'status', 'version') -> trigger
 *
 * Errors: ID201 for a change of state that the machine does not allow, ID204 for
 * one that its guard refuses, and what the guard raises itself, 27000 for a row
 * that arrives in another partition with another state or version than it left
 * with, 23502 where state or version is null, 22003 when the version overflows,
 * 39P01 for a trigger of another kind, and those of idem_attachment_read.
 */
Datum
idem_lifecycle(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	IdemAttachment attachment;

	if (!CALLED_AS_TRIGGER(fcinfo))
		protocol_error("was not called by trigger manager");
	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		protocol_error("must be fired for each row");

	/*
	 * what a call means by a row, and where a row has gone, is known until
	 * then
	 */
	if (trigdata->tg_trigger->tgdeferrable)
		protocol_error("must be fired by the statement, not deferred");
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) &&
		(trigdata->tg_trigger->tgnattr > 0 ||
		 trigdata->tg_trigger->tgqual != NULL))
		protocol_error("must be fired by every update");

	idem_attachment_read(&attachment, trigdata->tg_relation, trigdata->tg_trigger);
	if (TRIGGER_FIRED_BEFORE(trigdata->tg_event) &&
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return PointerGetDatum(before_update(trigdata, &attachment,
											 fcinfo->flinfo));
	if (TRIGGER_FIRED_AFTER(trigdata->tg_event) &&
		TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		after_insert(trigdata, &attachment, fcinfo->flinfo);
	else if (TRIGGER_FIRED_AFTER(trigdata->tg_event) &&
			 TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		after_update(trigdata, &attachment, fcinfo->flinfo);
	else
		protocol_error("must be fired before or after update, or after insert");
	return PointerGetDatum(NULL);
}
