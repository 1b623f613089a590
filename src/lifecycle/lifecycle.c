/*
 * lifecycle.c
 *	  SQL: idem_lifecycle(), the trigger of tables that follow a state machine.
 *
 * BEFORE UPDATE it validates the change of state, asks the guard of it, and
 * raises the version; AFTER INSERT it sees to it that the row begins in the
 * machine's initial state.  Not BEFORE INSERT, which also fires for an upsert
 * that ends as an update.  AFTER UPDATE, where a table keeps a history, it has
 * the transition recorded; since no trigger can change the row any more, it
 * validates it once again.
 *
 * It runs with the rights of whoever writes, and like any ordinary trigger not
 * under session_replication_role = replica: what a replica or a restore brings
 * has been validated where it came from.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "history/history.h"
#include "lifecycle/intent.h"
#include "lifecycle/movement.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "table/follow.h"
#include "table/revision.h"
#include "table/rowkey.h"

PG_FUNCTION_INFO_V1(idem_lifecycle);

static void
protocol_error(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg_internal("%s", message),
			 errhint("Let idem_attach() create the triggers.")));
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
	int64		version = idem_revision_get(tuple, rel, number, &isnull);

	if (isnull)
		null_error(rel, number);
	return version;
}

/* What a trigger keeps for the statement that fires it, as its flinfo lives. */
typedef struct Kept
{
	IdemPlacement *placement;	/* where rows of the partition belong */
	IdemGuards *guards;
	bool		asked;			/* was it found out whether it */
	bool		overruled;		/* is followed by a trigger that may move rows? */
	IdemSuspect suspect;		/* a row that may have been */
} Kept;

static Kept *
kept(FmgrInfo *flinfo)
{
	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Kept));
	return flinfo->fn_extra;
}

/* Where rows of a partition belong. */
static const IdemPlacement *
placement_of(Relation rel, FmgrInfo *flinfo)
{
	if (kept(flinfo)->placement == NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept(flinfo)->placement = idem_movement_placement(rel);
		MemoryContextSwitchTo(former);
	}
	return kept(flinfo)->placement;
}

/* May another trigger change the row after this one? */
static bool
is_overruled(const TriggerData *trigdata, FmgrInfo *flinfo)
{
	Kept	   *mine = kept(flinfo);
	const TriggerDesc *triggers = trigdata->tg_relation->trigdesc;

	for (int i = 0;
		 !mine->asked && triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE) &&
			strcmp(trigger->tgname, trigdata->tg_trigger->tgname) > 0)
			mine->overruled = true;
	}
	mine->asked = true;
	return mine->overruled;
}

static IdemGuards *
guards_of(Relation rel, FmgrInfo *flinfo)
{
	if (kept(flinfo)->guards == NULL)
	{
		MemoryContext former = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept(flinfo)->guards = idem_guard_make(rel);
		MemoryContextSwitchTo(former);
	}
	return kept(flinfo)->guards;
}

/*
 * Is an update a transition?  If it changes the state, it must be one of the
 * machine's.  If it does not, it is one where a call means the row to pass to
 * the very state it is in, and the machine allows that.  Sets guarded, unless it
 * is NULL, to the transition if its guard is to be asked.
 */
static bool
is_transition(Relation rel, const IdemLifecycle *lifecycle,
			  HeapTuple old, HeapTuple new, const IdemEdge **guarded)
{
	bool		changed = idem_movement_changed(rel, lifecycle->status, old, new);
	const IdemMachine *machine;
	char	   *from;
	char	   *to;

	if (!changed &&
		idem_intent_of(RelationGetRelid(rel), &old->t_self) == NULL)
		return false;

	from = state_of(old, rel, lifecycle->status);
	to = state_of(new, rel, lifecycle->status);
	if (to == NULL && changed)
		null_error(rel, lifecycle->status);
	/* last, as it is not to be kept while a type writes its values */
	machine = idem_machine_find(lifecycle->machine);
	if (to != NULL && idem_machine_allows(machine, from, to))
	{
		if (guarded != NULL)
			*guarded = idem_machine_guarded(machine, from, to);
		return true;
	}
	if (changed && (from == NULL || strcmp(from, to) != 0))
		idem_machine_refuse(machine, rel, from, to);
	return false;
}

/* What an update makes of a row that has a state. */
static IdemPassage
passage_of(Relation rel, const IdemLifecycle *lifecycle,
		   HeapTuple old, HeapTuple new, bool stored)
{
	const IdemIntent *intent = idem_intent_of(RelationGetRelid(rel),
											  &old->t_self);
	IdemPassage passage = {0};

	passage.row = idem_rowkey_read(rel, lifecycle, new, stored);
	passage.from = state_of(old, rel, lifecycle->status);
	passage.to = state_of(new, rel, lifecycle->status);
	passage.version = version_of(new, rel, lifecycle->version);
	if (intent != NULL)
	{
		passage.scope = intent->scope;
		passage.key = intent->key;
		passage.note = intent->note;
	}
	return passage;
}

static HeapTuple
before_update(const TriggerData *trigdata, const IdemLifecycle *lifecycle,
			  FmgrInfo *flinfo)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	old = trigdata->tg_trigtuple;
	HeapTuple	new = trigdata->tg_newtuple;
	IdemIntent *intent = idem_intent_of(RelationGetRelid(rel), &old->t_self);
	const IdemEdge *guarded = NULL;
	int64		version;
	bool		transition;

	if (intent != NULL)
		intent->watched = true;

	version = idem_revision_next(rel, lifecycle->version,
								 version_of(old, rel, lifecycle->version));
	transition = is_transition(rel, lifecycle, old, new, &guarded);
	new = idem_revision_set(new, rel, lifecycle->version, version);
	if (guarded != NULL)
		idem_guard_require(guards_of(rel, flinfo), lifecycle->machine, guarded,
						   new, intent != NULL ? intent->note : NULL);

	if (rel->rd_rel->relispartition)
	{
		const IdemPlacement *placement = placement_of(rel, flinfo);
		bool		leaves = idem_movement_leaves(placement, rel, old, new);

		if (leaves || is_overruled(trigdata, flinfo))
		{
			IdemPassage passage = passage_of(rel, lifecycle, old, new, false);

			passage.recorded = transition && idem_follow_records(rel);
			if (leaves)
				idem_movement_depart(placement, rel, &old->t_self, &passage);
			else
				idem_movement_suspect(placement, rel, &old->t_self, &passage,
									  &kept(flinfo)->suspect);
		}
	}
	return new;
}

static void
after_update(const TriggerData *trigdata, const IdemLifecycle *lifecycle)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	old = trigdata->tg_trigtuple;
	HeapTuple	new = trigdata->tg_newtuple;

	if (is_transition(rel, lifecycle, old, new, NULL))
	{
		IdemPassage passage = passage_of(rel, lifecycle, old, new, true);

		idem_history_write(rel, &passage);
	}
}

/*
 * If an inserted row has moved here from another partition, receives it.  Raises
 * 27000 where it has not arrived as it left.
 */
static bool
receive(Relation rel, const IdemLifecycle *lifecycle, HeapTuple row,
		const char *state, int64 version, FmgrInfo *flinfo)
{
	IdemPassage arrived = {0};
	IdemPassage *passage;

	if (!rel->rd_rel->relispartition || !idem_movement_underway())
		return false;
	arrived.row = idem_rowkey_read(rel, lifecycle, row, false);
	arrived.to = state;
	arrived.version = version;
	passage = idem_movement_arrive(placement_of(rel, flinfo), rel, row,
								   &arrived);
	if (passage != NULL && passage->recorded)
	{
		passage->row = idem_rowkey_read(rel, lifecycle, row, true);
		idem_history_write(rel, passage);
	}
	return passage != NULL;
}

static void
after_insert(const TriggerData *trigdata, const IdemLifecycle *lifecycle,
			 FmgrInfo *flinfo)
{
	Relation	rel = trigdata->tg_relation;
	HeapTuple	row = trigdata->tg_trigtuple;
	char	   *state = state_of(row, rel, lifecycle->status);
	int64		version = version_of(row, rel, lifecycle->version);
	const IdemMachine *machine;

	if (state == NULL)
		null_error(rel, lifecycle->status);
	if (receive(rel, lifecycle, row, state, version, flinfo))
		return;

	machine = idem_machine_find(lifecycle->machine);
	if (!idem_machine_allows(machine, NULL, state))
		idem_machine_refuse(machine, rel, NULL, state);
}

/*
 * idem_lifecycle('machine', 'status', 'version') -> trigger
 *
 * Errors: ID201 for a change of state that the machine does not allow, ID204 for
 * one that its guard refuses, and what the guard raises itself, 27000 for a row
 * that arrives in another partition with another state or version than it left
 * with, 23502 where state or version is null, 22003 when the version overflows,
 * 39P01 for a trigger of another kind, and those of idem_follow_read.
 */
Datum
idem_lifecycle(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	IdemLifecycle lifecycle;

	if (!CALLED_AS_TRIGGER(fcinfo))
		protocol_error("function \"idem_lifecycle\" was not called by trigger manager");
	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		protocol_error("function \"idem_lifecycle\" must be fired for each row");

	/* what a call means by a row, and where a row has gone, is known until then */
	if (trigdata->tg_trigger->tgdeferrable)
		protocol_error("function \"idem_lifecycle\" must be fired by the statement, not deferred");
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) &&
		(trigdata->tg_trigger->tgnattr > 0 ||
		 trigdata->tg_trigger->tgqual != NULL))
		protocol_error("function \"idem_lifecycle\" must be fired by every update");

	idem_follow_read(&lifecycle, trigdata->tg_relation, trigdata->tg_trigger);
	if (TRIGGER_FIRED_BEFORE(trigdata->tg_event) &&
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return PointerGetDatum(before_update(trigdata, &lifecycle,
											 fcinfo->flinfo));
	if (TRIGGER_FIRED_AFTER(trigdata->tg_event) &&
		TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		after_insert(trigdata, &lifecycle, fcinfo->flinfo);
	else if (TRIGGER_FIRED_AFTER(trigdata->tg_event) &&
			 TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		after_update(trigdata, &lifecycle);
	else
		protocol_error("function \"idem_lifecycle\" must be fired before or after update, or after insert");
	return PointerGetDatum(NULL);
}
