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

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/error.h"
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

/*
 * Would a write leave these columns (char *) of the row as they are?  If it fails,
 * it would not: the same write cannot have succeeded before.
 */
bool
idem_trial_write_keeps(Jsonb *row, const List *names,
					   IdemTrialWriteCallback write, void *state)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	volatile bool keeps = false;
	int			level PG_USED_FOR_ASSERTS_ONLY = GetCurrentTransactionNestLevel();

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		Jsonb	   *written = write(state);

		keeps = written != NULL && are_same(row, written, names);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();

	/*
	 * Before an error goes on: code that catches it, or the end of the
	 * statement, rolls back what it has begun itself.
	 */
	RollbackAndReleaseCurrentSubTransaction();
	Assert(GetCurrentTransactionNestLevel() == level);
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	if (error != NULL && idem_error_is_circumstance(error->sqlerrcode))
		ReThrowError(error);
	return keeps;
}
