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
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "change.h"
#include "error.h"
#include "intent.h"
#include "machine.h"

PG_FUNCTION_INFO_V1(idem_change_met);

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
	IdemIntent	intent;
	const IdemStage *stage;
	const IdemWish *wish;
	MemoryContext memory;		/* of the call */
	int			depth;			/* of triggers that it runs under */
	const char *from;			/* state of the row version met last */
} Attempt;

/* That of the innermost change being made, or NULL. */
static Attempt *attempt = NULL;

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

static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

/* Updates the row if that is good; false if nothing was touched. */
static bool
update(IdemStage *stage, const IdemWish *wish, IdemChange *change)
{
	Attempt		ours = {0};
	Attempt    *outer = attempt;
	volatile bool updated;

	ours.intent.scope = wish->scope;
	ours.intent.key = wish->key;
	ours.intent.note = wish->note;
	ours.stage = stage;
	ours.wish = wish;
	ours.memory = CurrentMemoryContext;
	ours.depth = trigger_depth();

	idem_intent_begin(&ours.intent);
	attempt = &ours;
	PG_TRY();
	{
		updated = idem_stage_run(stage, IDEM_STAGE_UPDATE,
								 &change->to, &change->version);
	}
	PG_FINALLY();
	{
		attempt = outer;
		idem_intent_end(&ours.intent);
	}
	PG_END_TRY();

	if (!updated)
		return false;
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
 * suppressed or undone by a trigger, and whatever it raises itself.
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
 * _idem_change_met(state any, version bigint, relid oid, place tid) -> boolean
 *
 * Stands in the condition of the UPDATE.  Tells whether the row that was found
 * may be brought into the state that the innermost change wants, and notes it.
 * The last two arguments are for _idem_place() to fill in.  Raises 55000 where it
 * cannot be the change's own statement that asks, as in the row's triggers.
 */
Datum
idem_change_met(PG_FUNCTION_ARGS)
{
	MemoryContext former;

	if (attempt == NULL || attempt->depth != trigger_depth() ||
		get_fn_expr_argtype(fcinfo->flinfo, 0) !=
		idem_stage_state_type(attempt->stage))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" was not called by a transition",
						"_idem_change_met"),
				 errhint("It is for the statements of idem's transitions only.")));

	former = MemoryContextSwitchTo(attempt->memory);
	attempt->from = PG_ARGISNULL(0) ? NULL :
		idem_stage_state_text(attempt->stage, PG_GETARG_DATUM(0));
	MemoryContextSwitchTo(former);
	if (!PG_ARGISNULL(2) && !PG_ARGISNULL(3))
		idem_intent_meet(PG_GETARG_OID(2), (ItemPointer) PG_GETARG_POINTER(3));

	PG_RETURN_BOOL(judge(attempt->stage, attempt->wish, attempt->from,
						 PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1)) == GOOD);
}
