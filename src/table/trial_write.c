/*
 * trial_write.c
 *	  What would come of a write, without its being done.
 *
 * A table's triggers may make something else of the values that are written to it:
 * an address in lower case, say.  Whether a row is already what they make of them,
 * only the triggers know.  So the write is made in a subtransaction, which is
 * rolled back in any case, together with whatever the triggers do in it.
 */
#include "postgres.h"

#include "base/error.h"
#include "run/subtransaction.h"
#include "table/row_to_jsonb.h"
#include "table/trial_write.h"

/* Is a field the same in both, be it in neither? */
static bool
is_same(Jsonb *a, Jsonb *b, const char *name)
{
	JsonbValue	va;
	JsonbValue	vb;

	if (getKeyJsonValueFromContainer(&a->root, name, strlen(name), &va) == NULL ||
		getKeyJsonValueFromContainer(&b->root, name, strlen(name), &vb) == NULL)
		return false;
	return idem_row_to_jsonb_same(JsonbValueToJsonb(&va), JsonbValueToJsonb(&vb));
}

/* Are all these fields (char *) the same in both? */
static bool
are_same(Jsonb *a, Jsonb *b, const List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (!is_same(a, b, lfirst(lc)))
			return false;
	}
	return true;
}

/* A write that is tried, and what is asked of it. */
typedef struct Trial
{
	Jsonb	   *row;
	const List *names;			/* char * */
	IdemTrialWriteCallback write;
	void	   *state;
	bool		keeps;
} Trial;

static bool
try_write(void *arg)
{
	Trial	   *trial = arg;
	Jsonb	   *written = trial->write(trial->state);

	trial->keeps = written != NULL && are_same(trial->row, written, trial->names);
	return false;
}

/*
 * Would a write leave these columns (char *) of the row as they are?  If it fails,
 * it would not: the same write cannot have succeeded before.
 */
bool
idem_trial_write_keeps(Jsonb *row, const List *names,
					   IdemTrialWriteCallback write, void *state)
{
	Trial		trial = {row, names, write, state};
	ErrorData  *error = idem_subtransaction_try(try_write, &trial);

	if (error != NULL && idem_error_is_circumstance(error->sqlerrcode))
		ReThrowError(error);
	return error == NULL && trial.keeps;
}
