/*
 * planner_hook.c
 *	  What is looked at in a statement before it is planned.
 *
 * Not later, since planning may already run functions; and each time, since the
 * plan cache may look names up again whenever it plans.
 */
#include "postgres.h"

#include "optimizer/planner.h"

#include "base/compat.h"
#include "run/planner_hook.h"
#include "run/usercontext.h"

static planner_hook_type next_planner = NULL;

static PlannedStmt *
plan(IDEM_PLANNER_ARGS)
{
	idem_usercontext_check(parse);
	if (next_planner != NULL)
		return next_planner(IDEM_PLANNER_PASS);
	return standard_planner(IDEM_PLANNER_PASS);
}

/* Watches what is planned.  To be called once, from _PG_init. */
void
idem_planner_hook_init(void)
{
	next_planner = planner_hook;
	planner_hook = plan;
}
