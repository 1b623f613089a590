/*
 * transition_exec.c
 *	  A change of a row's state, as a transition makes it.
 *
 * Most transitions are good, and one UPDATE makes them: in its condition stands
 * _idem_change_met(), which judges the row version that was found.  The server
 * evaluates that anew when it has had to wait for another session's change, so
 * the version that was judged last is the one that is replaced.  Where the
 * UPDATE touches nothing, the row is locked by a statement of its own and judged
 * by what it is then: no other session can change it before the call answers.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "base/routed.h"
#include "lifecycle/transition_context.h"
#include "machine/machine.h"
#include "run/ticket.h"
#include "stats/stats_counter.h"
#include "transition/transition_exec.h"

PG_FUNCTION_INFO_V1(idem_change_met);

/* The function in the condition, as SQL knows it. */
#define MET		"_idem_change_met"

/* What a change would be. */
typedef enum Verdict
{
	GOOD,
	THERE_ALREADY,
	WRONG_VERSION,
	WRONG_STATE,
	NO_EDGE
} Verdict;

/* An UPDATE under way. */
typedef struct Attempt
{
	IdemTicket	ticket;			/* of the UPDATE, must be first */
	IdemTransitionContext context;
	const IdemTransitionTarget *target;
	const IdemTransitionArgs *args;
	MemoryContext memory;		/* of the call */
	const char *from;			/* state of the row version met last */
} Attempt;

/* Is the row in the state that is expected, if one is? */
static bool
is_expected(const IdemTransitionArgs *args, const char *state)
{
	return args->expected_state == NULL ||
		(state != NULL && strcmp(state, args->expected_state) == 0);
}

/*
 * What a change would be of a row in that state, with that version.
 *
 * A row in the wanted state is there already where the machine does not lead from
 * the state to itself, or where the call, which expects another state, cannot mean
 * that.  It may have come there by an earlier try of this very call, whose answer
 * was lost: so the state that is expected does not matter then, and the version may
 * be the next one.  If it still has the version that is expected, though, it was
 * not this call.
 */
static Verdict
check_transition(const IdemTransitionTarget *target,
				 const IdemTransitionArgs *args, const char *from,
				 int64 version)
{
	const IdemMachine *machine = idem_machine_find(target->attachment.machine);
	bool		allowed = idem_machine_allows(machine, from, target->to);
	bool		expected = is_expected(args, from);
	bool		there = from != NULL && strcmp(from, target->to) == 0 &&
		!(allowed && expected);
	IdemRowVersion actual = {true, version};
	IdemVersionMatch match = idem_row_version_match(&actual, &args->expected);

	if (match == IDEM_VERSION_OTHER || (match == IDEM_VERSION_NEXT && !there))
		return WRONG_VERSION;
	if (!expected && !(there && (match == IDEM_VERSION_NEXT ||
								 !args->expected.exists)))
		return WRONG_STATE;
	if (there)
		return THERE_ALREADY;
	return allowed ? GOOD : NO_EDGE;
}

/* Raises ID202: the row is in another state than expected. */
pg_noreturn static void
state_error(const IdemTransitionTarget *target, const IdemTransitionArgs *args,
			const char *state)
{
	const char *column = target->attachment.column;

	idem_stats_counter_hit(IDEM_COUNT_TRANSITION_REFUSED);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_STATE_CONFLICT),
			 errmsg("state conflict on row %s of \"%s\"",
					args->id->text, idem_transition_target_name(target)),
			 state != NULL ?
			 errdetail("Column \"%s\" has state \"%s\", state \"%s\" was expected.",
					   column, state, args->expected_state) :
			 errdetail("Column \"%s\" is null, state \"%s\" was expected.",
					   column, args->expected_state),
			 errhint("Read the row again and decide anew.")));
}

/*
 * The row has been updated, but no trigger has validated that: its partition has
 * none of the machine's, or a disabled one.  The table as such has been checked.
 */
static void
unwatched_error(const Attempt *attempt)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("partition \"%s\" of table \"%s\" does not follow state machine \"%s\"",
					get_rel_name(attempt->context.relid),
					idem_transition_target_name(attempt->target),
					attempt->target->attachment.machine),
			 errhint("Enable the triggers that idem_attach() made, in all partitions.")));
}

/* Updates the row if that is good; false if nothing was touched. */
static bool
update(IdemTransitionTarget *target, const IdemTransitionArgs *args,
	   IdemTransitionResult *result)
{
	Attempt		attempt = {0};
	volatile bool updated;

	attempt.context.column = target->attachment.column;
	attempt.context.scope = args->scope;
	attempt.context.key = args->key;
	attempt.context.note = args->note;
	attempt.target = target;
	attempt.args = args;
	attempt.memory = CurrentMemoryContext;

	/* the first may raise an error, the others not */
	idem_transition_target_show(target, idem_ticket_take(&attempt.ticket, MET));
	idem_transition_context_push(&attempt.context);
	PG_TRY();
	{
		updated = idem_transition_target_run(target, IDEM_TRANSITION_UPDATE,
											 &result->to, &result->version);
	}
	PG_FINALLY();
	{
		idem_transition_context_pop(&attempt.context);
		idem_ticket_return(&attempt.ticket);
	}
	PG_END_TRY();

	if (!updated)
		return false;
	if (!attempt.context.watched)
		unwatched_error(&attempt);
	Assert(ItemPointerIsValid(&attempt.context.tid));
	result->outcome = IDEM_APPLIED;
	result->from = attempt.from;
	return true;
}

/*
 * Locks the row, and raises an error if it must not be changed.  True if
 * the row is there already, false if it may be updated after all.
 */
static bool
is_there(IdemTransitionTarget *target, const IdemTransitionArgs *args,
		 IdemTransitionResult *result)
{
	Oid			relid = RelationGetRelid(target->table.rel);
	IdemRowVersion actual = {true};
	const IdemMachine *machine;

	if (!idem_transition_target_run(target, IDEM_TRANSITION_LOCK,
									&result->from, &result->version))
		idem_error_no_row(relid, args->id->text, NULL);

	actual.number = result->version;
	switch (check_transition(target, args, result->from, result->version))
	{
		case GOOD:
			return false;
		case WRONG_VERSION:
			idem_row_version_error(relid, args->id->text, &actual,
								   &args->expected);
			break;
		case WRONG_STATE:
			state_error(target, args, result->from);
			break;
		case NO_EDGE:
			machine = idem_machine_find(target->attachment.machine);
			idem_machine_error_transition(machine, target->table.rel,
										  result->from, target->to);
			break;
		case THERE_ALREADY:
			break;
	}
	result->outcome = IDEM_NOOP;
	result->to = result->from;
	return true;
}

/*
 * Has a trigger put the row back into the state that it was to leave?  One that
 * sends it elsewhere instead makes a transition, too, which is the answer.
 */
static bool
was_reverted(const IdemTransitionTarget *target,
			 const IdemTransitionResult *result)
{
	return result->to != NULL && strcmp(result->to, target->to) != 0 &&
		result->from != NULL && strcmp(result->to, result->from) == 0;
}

pg_noreturn static void
kept_error(const IdemTransitionTarget *target, const IdemTransitionArgs *args)
{
	idem_target_error_kept(&target->table, args->id->text,
						   "A trigger or rule of the table suppresses the update.");
}

/*
 * The same where the row is elsewhere: it is locked and judged, then updated.  A note,
 * and that a change from a state to itself is meant, would stay on this node, while
 * the triggers are on the row's: raises 0A000 for these.
 */
static void
change_routed(IdemTransitionTarget *target, const IdemTransitionArgs *args,
			  IdemTransitionResult *result)
{
	Oid			relid = RelationGetRelid(target->table.rel);
	const char *from;

	if (args->note != NULL)
		idem_routed_refuse(relid, "a note");
	if (is_there(target, args, result))
		return;
	from = result->from;
	if (from != NULL && strcmp(from, target->to) == 0)
		idem_routed_refuse(relid, "a transition from a state to itself");
	if (!idem_transition_target_run(target, IDEM_TRANSITION_UPDATE, &result->to,
									&result->version))
		kept_error(target, args);
	result->outcome = IDEM_APPLIED;
	result->from = from;
}

/*
 * Brings the row that the target is bound to into the state that it was opened
 * for.
 *
 * Raises, in this order, ID205, ID203, ID202 and ID201; then 27000 where the update was
 * suppressed or undone by a trigger, 55000 where a partition does not follow the
 * machine, and whatever the statements raise.
 */
void
idem_transition_exec(IdemTransitionTarget *target,
					 const IdemTransitionArgs *args,
					 IdemTransitionResult *result)
{
	if (target->routed)
		change_routed(target, args, result);
	else if (!update(target, args, result) &&
			 !is_there(target, args, result) &&
			 !update(target, args, result))
		kept_error(target, args);
	if (result->outcome == IDEM_APPLIED && was_reverted(target, result))
		kept_error(target, args);
	idem_stats_counter_hit(result->outcome == IDEM_APPLIED ?
						   IDEM_COUNT_TRANSITION_APPLIED :
						   IDEM_COUNT_TRANSITION_NOOP);
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
	Verdict		verdict;

	if (get_fn_expr_argtype(fcinfo->flinfo, 1) !=
		idem_transition_target_state_type(attempt->target))
		elog(ERROR, "state is of type %u, not %u",
			 get_fn_expr_argtype(fcinfo->flinfo, 1),
			 idem_transition_target_state_type(attempt->target));

	former = MemoryContextSwitchTo(attempt->memory);
	attempt->from = PG_ARGISNULL(1) ? NULL :
		idem_transition_target_state_text(attempt->target, PG_GETARG_DATUM(1));
	MemoryContextSwitchTo(former);
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4))
		idem_transition_context_set_tuple(PG_GETARG_OID(3),
										  (ItemPointer) PG_GETARG_POINTER(4));

	verdict = check_transition(attempt->target, attempt->args, attempt->from,
							   PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2));
	PG_RETURN_BOOL(verdict == GOOD);
}
