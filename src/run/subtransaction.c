/*
 * subtransaction.c
 *	  Work whose error is caught.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "run/subtransaction.h"

/*
 * Does work in a subtransaction, as PL/pgSQL does a block with an EXCEPTION clause
 * (exec_stmt_block).  What it writes stays where it returns true, and is undone
 * otherwise.  What it allocates in the memory that is current outlives it.
 *
 * Returns NULL, or the error that it raised: then everything of it has been undone, and
 * the caller says what becomes of the error.
 */
ErrorData *
idem_subtransaction_try(bool (*work) (void *arg), void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			level = GetCurrentTransactionNestLevel();
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		if (work(arg))
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		Assert(GetCurrentTransactionNestLevel() == level);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();

		/*
		 * Even where the caller raises it again: code that catches it, or the
		 * end of the statement, rolls back what it has begun itself.
		 */
		while (GetCurrentTransactionNestLevel() > level)
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	return error;
}
