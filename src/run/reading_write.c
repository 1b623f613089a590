/*
 * reading_write.c
 *	  Whether a call is part of a statement that writes by what it reads.
 *
 * At READ COMMITTED a statement sees what had committed when it began.  A call in it
 * that waits for another transaction may learn of that one's commit: the statement
 * still does not see what that has written, and finds no row of it to write.  In a
 * statement of its own the call is not in such danger, since the next one has a
 * snapshot of its own.
 *
 * This can be told of a statement that a client sends, or an EXECUTE runs.  Of one
 * that a function runs it is not known, and the answer is no.
 */
#include "postgres.h"

#include "nodes/plannodes.h"
#include "storage/lockdefs.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "run/reading_write.h"

/* Does a plan write to rows that it finds? */
static bool
is_update(const Plan *plan)
{
	return plan != NULL && IsA(plan, ModifyTable) &&
		((const ModifyTable *) plan)->operation != CMD_INSERT;
}

/* Does a statement write, and read a table? */
static bool
writes_by_reading(const PlannedStmt *stmt)
{
	ListCell   *lc;

	if (stmt->commandType == CMD_UTILITY ||
		(stmt->commandType == CMD_SELECT && !stmt->hasModifyingCTE))
		return false;
	if (is_update(stmt->planTree))
		return true;
	/* a sub-select or CTE */
	foreach(lc, stmt->subplans)
	{
		if (is_update(lfirst(lc)))
			return true;
	}
	/* what an INSERT writes to is locked otherwise than what it reads */
	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && rte->rellockmode < RowExclusiveLock)
			return true;
	}
	return false;
}

/*
 * Is a call part of such a statement?  Expressions live in the memory of the execution
 * that they are part of, and that of what a portal runs in the portal's.
 */
bool
idem_reading_write(FunctionCallInfo fcinfo)
{
	ListCell   *lc;

	if (ActivePortal == NULL ||
		MemoryContextGetParent(fcinfo->flinfo->fn_mcxt) != ActivePortal->portalContext)
		return false;
	foreach(lc, ActivePortal->stmts)
	{
		if (writes_by_reading(lfirst_node(PlannedStmt, lc)))
			return true;
	}
	return false;
}
