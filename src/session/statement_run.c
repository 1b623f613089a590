/*
 * statement_run.c
 *	  The statements of the client's that are under way in a transaction with a key.
 *
 * Only what the client sends is looked at: a statement of the active portal, while
 * nothing else of the client's runs.  What functions and triggers do belongs to it.
 *
 * What a query has written is known when it is over: commands have been counted.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "session/entry.h"
#include "session/savepoint.h"
#include "session/session.h"
#include "session/statement_run.h"
#include "session/volatile_calls.h"

/* In idem_session.memory; what is not ended is forgotten with the transaction. */
static IdemStatementRun *runs = NULL;
IdemStatementRun *idem_statement_run_current = NULL;

static IdemStatementRun **
place_of(const QueryDesc *query)
{
	IdemStatementRun **place = &runs;

	while (*place != NULL && (*place)->query != query)
		place = &(*place)->next;
	return place;
}

IdemStatementRun *
idem_statement_run_find(const QueryDesc *query)
{
	return *place_of(query);
}

void
idem_statement_run_forget(const QueryDesc *query)
{
	IdemStatementRun **place = place_of(query);

	if (*place != NULL)
		*place = (*place)->next;
}

bool
idem_statement_run_writes(const QueryDesc *query)
{
	return query->operation != CMD_SELECT || query->plannedstmt->hasModifyingCTE;
}

/* Is it what the client has sent? */
bool
idem_statement_run_is_top(const QueryDesc *query)
{
	return ActivePortal != NULL && idem_session_is_top() &&
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
uint32
idem_statement_run_names(const QueryDesc *query)
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

IdemStatementRun *
idem_statement_run_open(QueryDesc *query)
{
	const PlannedStmt *plan = query->plannedstmt;
	IdemStatementText text = {
		query->sourceText, plan->stmt_location, plan->stmt_len, ordinal(query),
		query->params
	};
	IdemStatementRun *run;

	run = MemoryContextAllocZero(idem_session.memory, sizeof(IdemStatementRun));
	run->query = query;
	run->is_write = idem_statement_run_writes(query);
	run->kept = run->is_write || is_straight();
	run->locks = plan->rowMarks != NIL;
	if (!run->is_write)
	{
		IdemVolatileCalls calls = idem_volatile_calls_of(plan);

		run->acts = calls.acts;
		run->wrote = calls.notifies;
	}
	run->entry = idem_entry_open(&text, run->is_write,
								 run->is_write ? 0 : count_columns(query));
	if (run->entry != NULL && idem_session.mode == IDEM_SESSION_RECORDS)
		run->entry->names = idem_statement_run_names(query);
	else if (run->entry != NULL && run->entry->kind == IDEM_ENTRY_READ &&
			 run->entry->names != idem_statement_run_names(query))
		run->entry = NULL;
	run->answered = run->entry != NULL &&
		idem_session.mode == IDEM_SESSION_REPLAYS;
	run->next = runs;
	runs = run;
	return run;
}

/* Part of a statement has been run that is recorded: what is known of it now? */
void
idem_statement_run_settle(const IdemStatementRun *run)
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
void
idem_statement_run_fail(IdemStatementRun *run, int level, const IdemRows *before)
{
	if (run == NULL || run->entry == NULL || run->answered)
		return;
	if (idem_savepoint_is_older(run->entry, level))
	{
		idem_statement_run_settle(run);
		idem_entry_cut(run->entry, before);
	}
	else
		idem_entry_failed(run->entry);
	run->entry = NULL;
	idem_statement_run_forget(run->query);
}

/* Refuses what would be done again by a retry. */
void
idem_statement_run_error_unkept(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a query writes that cannot be recorded with the key of its transaction"),
			 errdetail("It is a scrollable or holdable cursor, or had sent more than idem.key_reads allows before it wrote."),
			 errhint("Call functions that write in statements of their own.")));
}

/* Refuses what a replay has no answer for. */
void
idem_statement_run_error_unsent(void)
{
	idem_session_error_unknown("A query writes that did not write in the first transaction, or was not sent.");
}

IdemSeen
idem_statement_run_see(void)
{
	IdemSeen	seen = {GetCurrentCommandId(false), GetTopTransactionIdIfAny()};

	return seen;
}

/* Has a query written, since that was seen?  One that locks rows is as one that has. */
void
idem_statement_run_look(IdemStatementRun *run, const IdemSeen *before)
{
	IdemSeen	now;

	/* a function's last command is counted when the next begins */
	if (run->acts && !IsInParallelMode())
		CommandCounterIncrement();
	now = idem_statement_run_see();

	/* a lock takes a transaction id, too */
	if (run->is_write ||
		(now.command == before->command &&
		 (now.xid == before->xid || run->locks)))
		return;
	if (idem_session.mode == IDEM_SESSION_REPLAYS && run->locks)
		return;
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		idem_statement_run_error_unsent();
	run->wrote = true;
	if (!run->kept || run->dropped)
		idem_statement_run_error_unkept();
}

/* Something that leaves no trace in the transaction, such as a notification, wrote. */
void
idem_statement_run_wrote(void)
{
	if (idem_session.unrecorded != NULL)
		idem_session_error_unrecorded(idem_session.unrecorded);
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		idem_statement_run_error_unsent();
	if (idem_statement_run_current == NULL)
		return;
	idem_statement_run_current->wrote = true;
	if (!idem_statement_run_current->kept || idem_statement_run_current->dropped)
		idem_statement_run_error_unkept();
}

/* What the client has sent that runs something which is none of its statements. */
const char *
idem_statement_run_command(const QueryDesc *query)
{
	if (ActivePortal == NULL)
		return "a function call";
	return query != NULL && ActivePortal->queryDesc == query ? "FETCH" :
		GetCommandTagName(ActivePortal->commandTag);
}

/*
 * pg_notify() is about to be called, unless what has it is only started.  An argument of
 * EXECUTE may have it.
 */
void
idem_statement_run_notifies(void)
{
	if (idem_session_is_outside(false))
		idem_session_error_unrecorded(idem_statement_run_command(NULL));
	if (idem_session.unrecorded != NULL ||
		(idem_statement_run_current != NULL && idem_statement_run_current->running))
		idem_statement_run_wrote();
}

/* A statement is over that has been recorded: what is to be known of it? */
void
idem_statement_run_close(IdemStatementRun *run)
{
	IdemEntry  *entry = run->entry;

	if (entry == NULL || run->answered)
		return;
	if (!run->ran)
		idem_entry_remove(entry);
	else if (entry->kind == IDEM_ENTRY_AGAIN)
		idem_entry_forget_rows(entry);
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_ABORT)
	{
		runs = NULL;
		idem_statement_run_current = NULL;
	}
}

/* Listens for the ends of transactions.  To be called once, from _PG_init. */
void
idem_statement_run_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
