/*
 * executor_hooks.c
 *	  The statements of a transaction that has a key, as the executor runs them.
 *
 * Only what the client sends is looked at: a statement of the active portal, while
 * nothing else of the client's runs.  What functions and triggers do belongs to it.
 *
 * In a recording a statement runs as ever, and a receiver between it and the client
 * keeps the rows.  In a replay it is only started, as for EXPLAIN: rights are checked,
 * and its columns are known; no trigger fires, no foreign server hears of it, and no
 * transaction id is taken.  Instead of being run it is answered from the record.
 *
 * What a query has written is known when it is over: commands have been counted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "session/executor_hooks.h"
#include "session/session.h"
#include "session/volatile_calls.h"

/* A statement of the client's that has been started, and not ended. */
typedef struct Run
{
	QueryDesc  *query;
	IdemEntry  *entry;			/* NULL: in a replay it runs again */
	bool		answered;		/* from the entry? */
	bool		kept;			/* may its rows be kept, and sent again? */
	bool		is_write;		/* by what it says? */
	bool		acts;			/* does it call what may do something? */
	bool		locks;			/* does it lock rows? */
	bool		wrote;			/* has it written something? */
	bool		dropped;		/* were its rows more than are kept? */
	bool		ran;
	bool		exhausted;		/* have all rows been asked for? */
	IdemRowsPlace place;		/* as far as it has been answered */
	struct Run *next;
} Run;

/* Bytes of rows that a query may send before it begins to write. */
#define LEAST_KEPT	(64 * 1024)

static ExecutorStart_hook_type next_start = NULL;
static ExecutorRun_hook_type next_run = NULL;
static ExecutorFinish_hook_type next_finish = NULL;
static ExecutorEnd_hook_type next_end = NULL;

/* In idem_session.memory; what is not ended is forgotten with the transaction. */
static Run *runs = NULL;
static Run *current = NULL;		/* the one that is being run */

static Run **
place_of(const QueryDesc *query)
{
	Run		  **place = &runs;

	while (*place != NULL && (*place)->query != query)
		place = &(*place)->next;
	return place;
}

static Run *
find_run(const QueryDesc *query)
{
	return *place_of(query);
}

static void
forget_run(const QueryDesc *query)
{
	Run		  **place = place_of(query);

	if (*place != NULL)
		*place = (*place)->next;
}

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

static bool
is_write(const QueryDesc *query)
{
	return query->operation != CMD_SELECT || query->plannedstmt->hasModifyingCTE;
}

/*
 * Is it what the client has sent?  A trigger that runs as the transaction commits may
 * have a cursor, too.
 */
static bool
is_top(const QueryDesc *query)
{
	return ActivePortal != NULL && idem_session_is_top() &&
		DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) == 0 &&
		list_member_ptr(ActivePortal->stmts, query->plannedstmt);
}

/* Of several statements that a rule has made of one, which is it?  From 0. */
static int
ordinal(const QueryDesc *query)
{
	int			i = 0;
	ListCell   *lc;

	foreach(lc, ActivePortal->stmts)
	{
		if (lfirst(lc) == query->plannedstmt)
			return i;
		i++;
	}
	return 0;
}

/* How many columns its rows have, before it is started. */
static int
count_columns(const QueryDesc *query)
{
	return ExecCleanTargetListLength(query->plannedstmt->planTree->targetlist);
}

/*
 * What its columns are called, in their order: SELECT * may have others of the same types
 * by the time that a retry comes.
 */
static uint32
hash_names(const QueryDesc *query)
{
	uint32		hash = 0;
	ListCell   *lc;

	foreach(lc, query->plannedstmt->planTree->targetlist)
	{
		const		TargetEntry *column = lfirst(lc);

		if (!column->resjunk && column->resname != NULL)
			hash = hash_combine(hash, hash_bytes((const unsigned char *) column->resname,
												 strlen(column->resname)));
	}
	return hash;
}

/* May a cursor's rows be asked for in another order than they come in, or later? */
static bool
is_straight(void)
{
	return (ActivePortal->cursorOptions & (CURSOR_OPT_SCROLL | CURSOR_OPT_HOLD)) == 0;
}

static Run *
open_run(QueryDesc *query)
{
	const PlannedStmt *plan = query->plannedstmt;
	IdemStatementText text = {
		query->sourceText, plan->stmt_location, plan->stmt_len, ordinal(query),
		query->params
	};
	Run		   *run;

	run = MemoryContextAllocZero(idem_session.memory, sizeof(Run));
	run->query = query;
	run->is_write = is_write(query);
	run->kept = run->is_write || is_straight();
	run->locks = plan->rowMarks != NIL;
	if (!run->is_write)
	{
		IdemVolatileCalls calls = idem_volatile_calls_of(plan);

		run->acts = calls.acts;
		run->wrote = calls.notifies;
	}
	run->entry = idem_session_open(&text, run->is_write,
								   run->is_write ? 0 : count_columns(query));
	if (run->entry != NULL && idem_session.mode == IDEM_SESSION_RECORDS)
		run->entry->names = hash_names(query);
	else if (run->entry != NULL && run->entry->kind == IDEM_ENTRY_READ &&
			 run->entry->names != hash_names(query))
		run->entry = NULL;
	run->answered = run->entry != NULL &&
		idem_session.mode == IDEM_SESSION_REPLAYS;
	run->next = runs;
	runs = run;
	return run;
}

/* Part of a statement has been run that is recorded: what is known of it now? */
static void
settle(const Run *run)
{
	IdemEntry  *entry = run->entry;

	if (entry == NULL)
		return;
	entry->kind = IDEM_ENTRY_AGAIN;
	entry->partial = !run->is_write && !run->exhausted;
	if (run->is_write || run->wrote)
		entry->kind = IDEM_ENTRY_WRITE;
	else if (run->kept && !run->dropped && !run->acts)
		entry->kind = IDEM_ENTRY_READ;
}

/*
 * The statement that is being recorded and run has raised an error, in the subtransaction
 * of that level.  What a cursor of around that has answered and written before stays.
 */
static void
fail(Run *run, int level, const IdemRows *before)
{
	if (run == NULL || run->entry == NULL || run->answered)
		return;
	if (run->entry->level < level)
	{
		settle(run);
		idem_session_cut(run->entry, before);
	}
	else
		idem_session_failed(run->entry);
	run->entry = NULL;
	forget_run(run->query);
}

/* Refuses what would be done again by a retry. */
pg_noreturn static void
error_not_recorded(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a query writes that cannot be recorded with the key of its transaction"),
			 errdetail("It is a scrollable or holdable cursor, or had sent more than idem.key_reads allows before it wrote."),
			 errhint("Call functions that write in statements of their own.")));
}

/* Refuses what a replay has no answer for. */
pg_noreturn static void
error_unsent_write(void)
{
	idem_session_error_unknown("A query writes that did not write in the first transaction, or was not sent.");
}

/* What has been seen of the transaction before a part of a statement ran. */
typedef struct Seen
{
	CommandId	command;
	TransactionId xid;
} Seen;

static Seen
see(void)
{
	Seen		seen = {GetCurrentCommandId(false), GetTopTransactionIdIfAny()};

	return seen;
}

/* Has a query written, since that was seen?  One that locks rows is as one that has. */
static void
look_for_writes(Run *run, const Seen *before)
{
	Seen		now;

	/* a function's last command is counted when the next begins */
	if (run->acts && !IsInParallelMode())
		CommandCounterIncrement();
	now = see();

	/* a lock takes a transaction id, too */
	if (run->is_write ||
		(now.command == before->command &&
		 (now.xid == before->xid || run->locks)))
		return;
	if (idem_session.mode == IDEM_SESSION_REPLAYS && run->locks)
		return;
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		error_unsent_write();
	run->wrote = true;
	if (!run->kept || run->dropped)
		error_not_recorded();
}

/* One of the parts of running a statement. */
typedef struct Part
{
	void		(*call) (QueryDesc *query, void *args);
	void	   *args;
} Part;

/* Does a part of running a statement, as that which is being run. */
static void
do_part(Run *run, QueryDesc *query, const Part *part)
{
	int			depth = idem_session.depth;
	int			level = GetCurrentTransactionNestLevel();
	Run		   *outer = current;
	Seen		before = see();
	IdemRows	rows = {0};

	idem_session.depth++;
	if (run != NULL)
		current = run;
	if (run != NULL && run->entry != NULL)
		rows = run->entry->rows;
	PG_TRY();
	{
		part->call(query, part->args);
		if (run != NULL)
			look_for_writes(run, &before);
	}
	PG_CATCH();
	{
		idem_session.depth = depth;
		current = outer;
		fail(run, level, &rows);
		PG_RE_THROW();
	}
	PG_END_TRY();
	idem_session.depth = depth;
	current = outer;
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
	Run		   *run;			/* NULL: none of the client's */
	Seen		before;
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

	look_for_writes(args->run, &args->before);
	return args->run->wrote;
}

/* Runs a statement with a receiver between it and the client that keeps the rows. */
static void
part_record(QueryDesc *query, void *state)
{
	RunArgs    *args = state;
	Run		   *run = args->run;
	DestReceiver *client = query->dest;
	IdemTee		tee;

	idem_row_text_tee(&tee, client, &run->entry->rows, idem_session.memory);
	if (!run->is_write && !run->wrote)
	{
		/* of functions it is not known yet whether they write */
		tee.most = run->acts ? Max(idem_key_reads, LEAST_KEPT) : idem_key_reads;
		tee.must_keep = has_written;
		tee.state = state;
		args->before = see();
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

/* The columns that a statement answers have to be those of then. */
static void
check_columns(const Run *run)
{
	const QueryDesc *query = run->query;
	int			columns = run->is_write && query->operation != CMD_SELECT &&
		!query->plannedstmt->hasReturning ? 0 : query->tupDesc->natts;

	if (run->entry->rows.columns != columns)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot answer a statement as the first time, since its columns have changed"),
				 errdetail("It had %d columns, and has %d.",
						   run->entry->rows.columns, columns)));
	if (columns > 0 && run->entry->names != hash_names(query))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot answer a statement as the first time, since its columns have changed"),
				 errdetail("They have other names, or another order.")));
}

/* In a replay, does a function or trigger write?  What is answered runs none. */
static void
check_inner(const QueryDesc *query)
{
	if (idem_session.mode == IDEM_SESSION_REPLAYS && is_write(query))
		idem_session_error_unknown("A function writes that did not write in the first transaction.");
	if (current != NULL && !is_write(query) &&
		idem_session.mode == IDEM_SESSION_RECORDS &&
		idem_volatile_calls_of(query->plannedstmt).notifies)
		idem_executor_hooks_wrote();
}

/* Something that leaves no trace in the transaction, such as a notification, wrote. */
void
idem_executor_hooks_wrote(void)
{
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		error_unsent_write();
	if (current == NULL)
		return;
	current->wrote = true;
	if (!current->kept || current->dropped)
		error_not_recorded();
}

static void
start(QueryDesc *query, int eflags)
{
	Part		part = {part_start, &eflags};
	Run		   *run = NULL;

	if (!idem_session_watches())
	{
		call_start(query, eflags);
		return;
	}
	/* one that ended with an error may have been in the same place */
	forget_run(query);
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
	{
		call_start(query, eflags);
		return;
	}
	if (!is_top(query))
		check_inner(query);
	else if (idem_session_ready(is_write(query)))
	{
		run = open_run(query);
		if (run->answered)
			eflags |= EXEC_FLAG_EXPLAIN_ONLY;
	}
	do_part(run, query, &part);
	if (run == NULL)
		return;
	if (run->answered)
		check_columns(run);
	else if (!run->is_write && run->kept && run->entry != NULL)
		run->kept = idem_row_text_can_hold(query->tupDesc);
}

/* Sends so many of the rows that the record has. */
static void
answer(Run *run, uint64 count)
{
	QueryDesc  *query = run->query;
	const IdemEntry *entry = run->entry;
	EState	   *estate = query->estate;
	MemoryContext caller;

	if (entry->rows.columns == 0 && entry->rows.count == 0 && run->is_write)
	{
		estate->es_processed = entry->processed;
		return;
	}
	caller = MemoryContextSwitchTo(estate->es_query_cxt);
	estate->es_processed = idem_row_text_send(&entry->rows, &run->place, count,
											  query->tupDesc, query->dest);
	MemoryContextSwitchTo(caller);
	if (!entry->partial || (count > 0 && estate->es_processed == count))
		return;
	if (entry->error != NULL)
		ThrowErrorData(entry->error);
	idem_session_error_unknown("More rows are asked for than the first time.");
}

/* Sends none of the rows, as for FETCH 0. */
static void
answer_nothing(QueryDesc *query)
{
	query->estate->es_processed = 0;
	query->dest->rStartup(query->dest, query->operation, query->tupDesc);
	query->dest->rShutdown(query->dest);
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
	Run		   *run;

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
	run = find_run(query);
	if (run != NULL && run->answered && ScanDirectionIsNoMovement(direction))
	{
		answer_nothing(query);
		return;
	}
	if (run != NULL && run->answered)
	{
		answer(run, count);
		return;
	}
	if (run != NULL && run->wrote && idem_session.mode == IDEM_SESSION_REPLAYS)
		error_unsent_write();
	args.run = run;
	if (run != NULL && run->entry != NULL && run->kept && !run->dropped &&
		(run->is_write || idem_key_reads > 0 || run->acts))
		part.call = part_record;
	else if (run != NULL)
		run->dropped = true;
	if (run != NULL && run->wrote && run->dropped)
		error_not_recorded();
	if (!idem_session.named && !IsTransactionBlock() && is_top(query))
	{
		run_outside(query, &part);
		return;
	}
	do_part(run, query, &part);
	if (run != NULL)
	{
		run->ran = true;
		if (!ScanDirectionIsNoMovement(direction))
			run->exhausted = count == 0 || query->estate->es_processed < count;
		settle(run);
	}
	check_started(query);
}

static void
finish(QueryDesc *query)
{
	Part		part = {part_finish, NULL};
	Run		   *run;

	if (!idem_session_watches())
	{
		call_finish(query);
		return;
	}
	run = find_run(query);
	if (run != NULL && run->answered)
		query->estate->es_finished = true;
	else
		do_part(run, query, &part);
	check_started(query);
}

/* A statement is over that has been recorded: what is to be known of it? */
static void
close_run(Run *run)
{
	IdemEntry  *entry = run->entry;

	if (entry == NULL || run->answered)
		return;
	if (!run->ran)
		idem_session_remove(entry);
	else if (entry->kind == IDEM_ENTRY_AGAIN && entry->rows.text.data != NULL)
	{
		pfree(entry->rows.text.data);
		memset(&entry->rows, 0, sizeof(IdemRows));
	}
}

static void
end(QueryDesc *query)
{
	Run		   *run = idem_session_watches() ? find_run(query) : NULL;

	if (run != NULL)
	{
		close_run(run);
		forget_run(query);
	}
	call_end(query);
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_ABORT)
	{
		runs = NULL;
		current = NULL;
	}
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
	RegisterXactCallback(transaction_ends, NULL);
}
