/*
 * change.c
 *	  A change of a row's state, as a transition makes it.
 *
 * Most transitions are good, and one UPDATE makes them: in its condition stands
 * _idem_change_met(), which judges the row version that was found.  The server
 * evaluates that anew when it has had to wait for somebody else's change, so
 * the version that was judged last is the one that is replaced.  Where the
 * UPDATE touches nothing, the row is locked by a statement of its own and judged
 * by what it is then: nobody can change it between that and what is said of it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "lifecycle/intent.h"
#include "machine/machine.h"
#include "run/ticket.h"
#include "transition/change.h"

PG_FUNCTION_INFO_V1(idem_change_met);

/* The function in the condition, as SQL knows it. */
#define MET		"_idem_change_met"

/* What there is to say of a change. */
typedef enum Verdict
{
	GOOD,
	THERE_ALREADY,
	WRONG_VERSION,
	NO_EDGE
} Verdict;

/* An UPDATE under way. */
typedef struct Attempt
{
	IdemTicket	ticket;			/* of the UPDATE, must be first */
	IdemIntent	intent;
	const IdemStage *stage;
	const IdemWish *wish;
	MemoryContext memory;		/* of the call */
	const char *from;			/* state of the row version met last */
} Attempt;

static Verdict
judge(const IdemStage *stage, const IdemWish *wish,
	  const char *from, int64 version)
{
	const IdemMachine *machine = idem_machine_find(stage->lifecycle.machine);
	bool		allowed = idem_machine_allows(machine, from, stage->to);
	bool		there = !allowed && from != NULL && strcmp(from, stage->to) == 0;

	/* one past it, in the wanted state: our own lost acknowledgement */
	if (wish->versioned && version != wish->expected_version &&
		!(there && version - 1 == wish->expected_version))
		return WRONG_VERSION;
	if (there)
		return THERE_ALREADY;
	return allowed ? GOOD : NO_EDGE;
}

/*
 * The row has been updated, but by nobody's leave: its partition has no trigger
 * of the machine's, or a disabled one.  The table as such has been seen to.
 */
static void
unwatched_error(const Attempt *ours)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("partition \"%s\" of table \"%s\" does not follow state machine \"%s\"",
					get_rel_name(ours->intent.relid),
					idem_stage_name(ours->stage),
					ours->stage->lifecycle.machine),
			 errhint("Enable the triggers that idem_attach() made, in all partitions.")));
}

/* Updates the row if that is good; false if nothing was touched. */
static bool
update(IdemStage *stage, const IdemWish *wish, IdemChange *change)
{
	Attempt		ours = {0};
	volatile bool updated;

	ours.intent.scope = wish->scope;
	ours.intent.key = wish->key;
	ours.intent.note = wish->note;
	ours.stage = stage;
	ours.wish = wish;
	ours.memory = CurrentMemoryContext;

	/* the first may raise an error, the others not */
	idem_stage_show(stage, idem_ticket_take(&ours.ticket, MET));
	idem_intent_begin(&ours.intent);
	PG_TRY();
	{
		updated = idem_stage_run(stage, IDEM_STAGE_UPDATE,
								 &change->to, &change->version);
	}
	PG_FINALLY();
	{
		idem_intent_end(&ours.intent);
		idem_ticket_return(&ours.ticket);
	}
	PG_END_TRY();

	if (!updated)
		return false;
	if (!ours.intent.watched)
		unwatched_error(&ours);
	change->outcome = IDEM_APPLIED;
	change->from = ours.from;
	return true;
}

/*
 * Locks the row, and raises what there is to be said against a change.  True if
 * the row is there already, false if it may be updated after all.
 */
static bool
is_there(IdemStage *stage, const IdemWish *wish, IdemChange *change)
{
	Oid			target = RelationGetRelid(stage->rel);

	if (!idem_stage_run(stage, IDEM_STAGE_LOCK, &change->from, &change->version))
		idem_error_no_row(target, wish->id->text, NULL);

	switch (judge(stage, wish, change->from, change->version))
	{
		case GOOD:
			return false;
		case WRONG_VERSION:
			idem_error_version(target, wish->id->text, &change->version,
							   wish->expected_version);
			break;
		case NO_EDGE:
			idem_machine_refuse(idem_machine_find(stage->lifecycle.machine),
								stage->rel, change->from, stage->to);
			break;
		case THERE_ALREADY:
			break;
	}
	change->outcome = IDEM_NOOP;
	change->to = change->from;
	return true;
}

/*
 * Has a trigger put the row back into the state that it was to leave?  One that
 * sends it elsewhere instead makes a transition, too, which the answer tells.
 */
static bool
was_reverted(const IdemStage *stage, const IdemChange *change)
{
	return change->to != NULL && strcmp(change->to, stage->to) != 0 &&
		change->from != NULL && strcmp(change->to, change->from) == 0;
}

static void
kept_error(const IdemStage *stage, const IdemWish *wish)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s of \"%s\" was kept from being updated",
					wish->id->text, idem_stage_name(stage)),
			 errhint("A trigger or rule of the table suppresses the update.")));
}

/*
 * Brings the row that the stage is aimed at into the state that it was opened
 * for.
 *
 * Raises, in this order, ID205, ID203 and ID201; then 27000 where the update was
 * suppressed or undone by a trigger, 55000 where a partition does not follow the
 * machine, and whatever the statements raise.
 */
void
idem_change_make(IdemStage *stage, const IdemWish *wish, IdemChange *change)
{
	if (!update(stage, wish, change) &&
		!is_there(stage, wish, change) &&
		!update(stage, wish, change))
		kept_error(stage, wish);
	if (change->outcome == IDEM_APPLIED && was_reverted(stage, change))
		kept_error(stage, wish);
}

/*
 * _idem_change_met(ticket bigint, state any, version bigint, relid oid,
 *					place tid) -> boolean
 *
 * Stands in the condition of the UPDATE.  Tells whether the row that was found
 * may be brought into the state that the change wants, and notes it.  The last
 * two arguments are for _idem_place() to fill in.  Raises 0A000 where it is not
 * the change's own statement that asks.
 */
Datum
idem_change_met(PG_FUNCTION_ARGS)
{
	Attempt    *attempt = (Attempt *) idem_ticket_check(fcinfo, 0, MET);
	MemoryContext former;

	if (get_fn_expr_argtype(fcinfo->flinfo, 1) !=
		idem_stage_state_type(attempt->stage))
		elog(ERROR, "state is of type %u, not %u",
			 get_fn_expr_argtype(fcinfo->flinfo, 1),
			 idem_stage_state_type(attempt->stage));

	former = MemoryContextSwitchTo(attempt->memory);
	attempt->from = PG_ARGISNULL(1) ? NULL :
		idem_stage_state_text(attempt->stage, PG_GETARG_DATUM(1));
	MemoryContextSwitchTo(former);
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4))
		idem_intent_meet(PG_GETARG_OID(3), (ItemPointer) PG_GETARG_POINTER(4));

	PG_RETURN_BOOL(judge(attempt->stage, attempt->wish, attempt->from,
						 PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2)) == GOOD);
}
