/*
 * executor_hooks.c
 *	  The statements of a transaction that has a key, as the executor runs them.
 *
 * In a recording a statement runs as ever, and a receiver between it and the client
 * keeps the rows.  In a replay it is only started, as for EXPLAIN: rights are checked,
 * and its columns are known; no trigger fires, no foreign server hears of it, and no
 * transaction id is taken.  Instead of being run it is answered from the record.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "tcop/pquery.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "session/executor_hooks.h"
#include "session/session.h"
#include "session/statement_answer.h"
#include "session/statement_run.h"
#include "session/volatile_calls.h"

/* Bytes of rows that a query may send before it begins to write. */
#define LEAST_KEPT	(64 * 1024)

static ExecutorStart_hook_type next_start = NULL;
static ExecutorRun_hook_type next_run = NULL;
static ExecutorFinish_hook_type next_finish = NULL;
static ExecutorEnd_hook_type next_end = NULL;

static void
call_start(QueryDesc *query, int eflags)
{
	if (next_start != NULL)
		next_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
call_run(IDEM_RUN_ARGS)
{
	if (next_run != NULL)
		next_run(IDEM_RUN_PASS);
	else
		standard_ExecutorRun(IDEM_RUN_PASS);
}

static void
call_finish(QueryDesc *query)
{
	if (next_finish != NULL)
		next_finish(query);
	else
		standard_ExecutorFinish(query);
}

static void
call_end(QueryDesc *query)
{
	if (next_end != NULL)
		next_end(query);
	else
		standard_ExecutorEnd(query);
}

/* One of the parts of running a statement. */
typedef struct Part
{
	void		(*call) (QueryDesc *query, void *args);
	void	   *args;
} Part;

/* Raises 0A000 for a query that says that it writes, where nothing records it. */
static void
check_outside(const QueryDesc *query)
{
	if (idem_statement_run_writes(query) ||
		idem_volatile_calls_of(query->plannedstmt).notifies)
		idem_session_error_unrecorded(idem_session.unrecorded);
}

/* Has a query that nothing records written?  That cannot be told where it locks rows. */
static void
look_outside(const QueryDesc *query, const IdemSeen *before)
{
	if (query->plannedstmt->rowMarks != NIL)
		return;
	CommandCounterIncrement();
	if (idem_statement_run_see().command != before->command)
		idem_session_error_unrecorded(idem_session.unrecorded);
}

/* Does a part of running a statement, as that which is being run. */
static void
do_part(IdemStatementRun *run, QueryDesc *query, const Part *part)
{
	bool		outside = run == NULL &&
		idem_session_is_outside(idem_statement_run_is_top(query));
	int			depth = idem_session.depth;
	const char *unrecorded = idem_session.unrecorded;
	int			level = GetCurrentTransactionNestLevel();
	IdemStatementRun *outer = idem_statement_run_current;
	IdemSeen	before = idem_statement_run_see();
	IdemRows	rows = {0};

	idem_session.depth++;
	if (run != NULL)
		idem_statement_run_current = run;
	if (run != NULL && run->entry != NULL)
		rows = run->entry->rows;
	if (outside)
		idem_session.unrecorded = idem_statement_run_command(query);
	PG_TRY();
	{
		if (outside)
			check_outside(query);
		part->call(query, part->args);
		if (run != NULL)
			idem_statement_run_look(run, &before);
		else if (outside)
			look_outside(query, &before);
	}
	PG_CATCH();
	{
		idem_session.depth = depth;
		idem_session.unrecorded = unrecorded;
		idem_statement_run_current = outer;
		idem_statement_run_fail(run, level, &rows);
		PG_RE_THROW();
	}
	PG_END_TRY();
	idem_session.depth = depth;
	idem_session.unrecorded = unrecorded;
	idem_statement_run_current = outer;
}

static void
part_start(QueryDesc *query, void *args)
{
	call_start(query, *(int *) args);
}

typedef struct RunArgs
{
	ScanDirection direction;
	uint64		count;
	bool		once;
	IdemStatementRun *run;		/* NULL: none of the client's */
	IdemSeen	before;
} RunArgs;

static void
part_run(QueryDesc *query, void *state)
{
	RunArgs    *args = state;
	ScanDirection direction = args->direction;
	uint64		count = args->count;
	bool		execute_once = args->once;

	(void) execute_once;
	call_run(IDEM_RUN_PASS);
}

/* Rows are more than a query may have: not so if it has written. */
static bool
has_written(void *state)
{
	RunArgs    *args = state;

	idem_statement_run_look(args->run, &args->before);
	return args->run->wrote;
}

/* Runs a statement with a receiver between it and the client that keeps the rows. */
static void
part_record(QueryDesc *query, void *state)
{
	RunArgs    *args = state;
	IdemStatementRun *run = args->run;
	DestReceiver *client = query->dest;
	IdemTee		tee;

	idem_row_text_tee(&tee, client, &run->entry->rows, idem_session.memory);
	if (!run->is_write && !run->wrote)
	{
		/* of functions it is not known yet whether they write */
		tee.most = run->acts ? Max(idem_key_reads, LEAST_KEPT) : idem_key_reads;
		tee.must_keep = has_written;
		tee.state = state;
		args->before = idem_statement_run_see();
	}
	query->dest = &tee.pub;
	PG_TRY();
	{
		part_run(query, state);
	}
	PG_FINALLY();
	{
		query->dest = client;
	}
	PG_END_TRY();
	run->dropped = tee.dropped;
	run->entry->processed = query->estate->es_processed;
}

static void
part_finish(QueryDesc *query, void *args)
{
	call_finish(query);
}

/* In a replay, does a function or trigger write?  What is answered runs none. */
static void
check_inner(const QueryDesc *query)
{
	/* a replay refuses what the first transaction would have been refused */
	if (idem_session.unrecorded != NULL && idem_statement_run_writes(query))
		idem_session_error_unrecorded(idem_session.unrecorded);
	if (idem_session.mode == IDEM_SESSION_REPLAYS && idem_statement_run_writes(query) &&
		!idem_session_is_outside(false))
		idem_session_error_unknown("A function writes that did not write in the first transaction.");
	if ((idem_statement_run_current != NULL || idem_session.unrecorded != NULL) &&
		!idem_statement_run_writes(query) &&
		idem_session.mode != IDEM_SESSION_OFF &&
		idem_volatile_calls_of(query->plannedstmt).notifies)
		idem_statement_run_wrote();
}

static void
start(QueryDesc *query, int eflags)
{
	Part		part = {part_start, &eflags};
	IdemStatementRun *run = NULL;

	if (!idem_session_watches())
	{
		call_start(query, eflags);
		return;
	}
	/* one that ended with an error may have been in the same place */
	idem_statement_run_forget(query);
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
	{
		call_start(query, eflags);
		return;
	}
	if (!idem_statement_run_is_top(query))
		check_inner(query);
	else if (idem_session_ready(idem_statement_run_writes(query)))
	{
		run = idem_statement_run_open(query);
		if (run->answered)
			eflags |= EXEC_FLAG_EXPLAIN_ONLY;
	}
	do_part(run, query, &part);
	if (run == NULL)
		return;
	if (run->answered)
		idem_statement_answer_check(run);
	else if (!run->is_write && run->kept && run->entry != NULL)
		run->kept = idem_row_text_can_hold(query->tupDesc);
}

/*
 * Runs a query of the client's that is all that its transaction does, although idem.key
 * is set: it may call functions that write.
 */
static void
run_outside(QueryDesc *query, const Part *part)
{
	CommandId	before = GetCurrentCommandId(false);

	do_part(NULL, query, part);
	/* a lock counts as a command, too */
	if (query->plannedstmt->rowMarks != NIL)
		return;
	CommandCounterIncrement();
	if (GetCurrentCommandId(false) != before)
		idem_session_error_outside();
}

/*
 * Has the query that named the key come to an end?  The library may have been loaded by
 * it, so that its run was not seen.
 */
static void
check_started(const QueryDesc *query)
{
	if (idem_session.starting && idem_session.starter == query)
		idem_session_started(true);
}

static void
run_hook(IDEM_RUN_ARGS)
{
	RunArgs		args = {direction, count, IDEM_RUN_ONCE};
	Part		part = {part_run, &args};
	IdemStatementRun *run;

	if (!idem_session_watches())
	{
		call_run(IDEM_RUN_PASS);

		/*
		 * named by what ran inside, which may be inside of more that has
		 * begun
		 */
		if (unlikely(idem_session.named))
			idem_session_started(ActivePortal == NULL ||
								 ActivePortal->queryDesc == query);
		return;
	}
	run = idem_statement_run_find(query);
	if (run != NULL && run->answered && ScanDirectionIsNoMovement(direction))
	{
		idem_statement_answer_send_nothing(query);
		return;
	}
	if (run != NULL && run->answered)
	{
		idem_statement_answer_send(run, count);
		return;
	}
	if (run != NULL && run->wrote && idem_session.mode == IDEM_SESSION_REPLAYS)
		idem_statement_run_error_unsent();
	args.run = run;
	if (run != NULL && run->entry != NULL && run->kept && !run->dropped &&
		(run->is_write || idem_key_reads > 0 || run->acts))
		part.call = part_record;
	else if (run != NULL)
		run->dropped = true;
	if (run != NULL && run->wrote && run->dropped)
		idem_statement_run_error_unkept();
	if (!idem_session.named && !IsTransactionBlock() && idem_statement_run_is_top(query))
	{
		run_outside(query, &part);
		return;
	}
	if (run != NULL)
		run->running = true;
	do_part(run, query, &part);
	if (run != NULL)
	{
		run->running = false;
		run->ran = true;
		if (!ScanDirectionIsNoMovement(direction))
			run->exhausted = count == 0 || query->estate->es_processed < count;
		idem_statement_run_settle(run);
	}
	check_started(query);
}

static void
finish(QueryDesc *query)
{
	Part		part = {part_finish, NULL};
	IdemStatementRun *run;

	if (!idem_session_watches())
	{
		call_finish(query);
		return;
	}
	run = idem_statement_run_find(query);
	if (run != NULL && run->answered)
		query->estate->es_finished = true;
	else
		do_part(run, query, &part);
	check_started(query);
}

static void
end(QueryDesc *query)
{
	IdemStatementRun *run = idem_session_watches() ? idem_statement_run_find(query) : NULL;

	if (run != NULL)
	{
		idem_statement_run_close(run);
		idem_statement_run_forget(query);
	}
	call_end(query);
}

/* Begins to look at statements.  To be called once, from _PG_init. */
void
idem_executor_hooks_init(void)
{
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
	next_run = ExecutorRun_hook;
	ExecutorRun_hook = run_hook;
	next_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish;
	next_end = ExecutorEnd_hook;
	ExecutorEnd_hook = end;
}
