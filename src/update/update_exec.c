/*
 * update_exec.c
 *	  A change of some columns of a row, as idem_update() makes it.
 *
 * Most often the row is as expected, so one UPDATE is tried first, whose
 * condition says what has to hold: the version, and that there is something to
 * change.  Where it finds no such row, or the table has triggers that might make
 * something else of it, the row is locked and judged by what it is then.  Where
 * another session has changed it in between, so that the update can be made after
 * all, it is made under that lock.
 */
#include "postgres.h"

#include "base/error.h"
#include "table/row_to_jsonb.h"
#include "table/trial_write.h"
#include "update/update_exec.h"

/* Updates the row once more, for idem_trial_write_keeps(). */
static Jsonb *
repeat_update(void *state)
{
	IdemUpdatedRow found;

	return idem_update_target_run(state, IDEM_UPDATE_REPEAT, &found) ?
		found.row : NULL;
}

/* Is the row what the table's triggers make of the patch? */
static bool
is_as_patched(IdemUpdateTarget *target, const IdemUpdatedRow *found)
{
	return target->altered &&
		idem_trial_write_keeps(found->row, target->names, repeat_update,
							   target);
}

/*
 * Raises ID203 unless the row has the version expected.  False if there is nothing
 * left to do.
 */
static bool
check_version(IdemUpdateTarget *target, const IdemUpdatedRow *found)
{
	const IdemUpdateArgs *args = target->args;
	IdemVersionMatch match = idem_row_version_match(&found->version,
													&args->expected);

	if (match == IDEM_VERSION_EXPECTED)
		return found->differs;
	/* one past it, and as patched: after a lost acknowledgement */
	if (match == IDEM_VERSION_NEXT &&
		(!found->differs || is_as_patched(target, found)))
		return false;
	idem_row_version_error(args->target, args->id->text, &found->version,
						   &args->expected);
}

pg_noreturn static void
kept_error(const IdemUpdateTarget *target)
{
	idem_target_error_kept(&target->table, target->args->id->text,
						   "A trigger of the table suppresses the update, or makes of it what the row is already. In that case give \"key\" or \"expected_version\", by which a retry is known.");
}

/* Updates the row; false if it is not as expected, or as wanted already. */
static bool
update_row(const IdemUpdateTarget *target, IdemUpdatedRow *found)
{
	const IdemUpdateArgs *args = target->args;

	if (!idem_update_target_run(target, IDEM_UPDATE_ROW, found))
		return false;
	/* a disabled trigger has not raised it, or another has put the row back */
	if (args->expected.exists &&
		idem_row_version_match(&found->version, &args->expected) ==
		IDEM_VERSION_EXPECTED)
		kept_error(target);
	return true;
}

/*
 * Updates the row, which is locked and differs from the patch.  A trigger that
 * returns the old row lets the update be made, but changes nothing by it.
 */
static void
update_locked(const IdemUpdateTarget *target, IdemUpdatedRow *found)
{
	Jsonb	   *before = found->row;

	Assert(found->differs);
	if (!update_row(target, found) ||
		idem_row_to_jsonb_same(before, found->row))
		kept_error(target);
}

/*
 * Gives a row the values that a patch names, unless it has them.
 *
 * Raises what idem_update_target_open raises; then, in this order, ID205 and ID203;
 * then 27000 where the update was suppressed, and whatever it raises itself.
 */
void
idem_update_exec(const IdemUpdateArgs *args, IdemUpdateResult *result)
{
	IdemUpdateTarget target;
	IdemUpdatedRow found;
	bool		updated;

	idem_update_target_open(&target, args);
	/* what triggers may alter is compared with what it was before */
	updated = target.nfields > 0 && !target.altered &&
		update_row(&target, &found);
	if (!updated)
	{
		if (!idem_update_target_run(&target, IDEM_UPDATE_LOCK, &found))
			idem_error_no_row(args->target, args->id->text, NULL);
		updated = check_version(&target, &found);
		if (updated)
			update_locked(&target, &found);
	}
	idem_target_close(&target.table);

	result->outcome = updated ? IDEM_UPDATED : IDEM_UNCHANGED;
	result->row = found.row;
	result->version = found.version;
}
