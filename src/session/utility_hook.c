/*
 * utility_hook.c
 *	  The commands of a transaction that has a key: what the executor does not run.
 *
 * CALL, DO, TRUNCATE and NOTIFY are recorded, and answered in a replay, as statements
 * are.  Commands that read, or concern the session, run each time.  All others are
 * refused: a retry would do again what they do.  What a function or procedure runs is
 * part of the statement that calls it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "session/entry.h"
#include "session/savepoint.h"
#include "session/session.h"
#include "session/statement_run.h"
#include "session/utility_hook.h"

static ProcessUtility_hook_type next_utility = NULL;

/* What becomes of a command. */
typedef enum Treatment
{
	RUNS_OTHERS,				/* statements of the client's */
	RUNS_AGAIN,
	IS_RECORDED,
	IS_REFUSED
} Treatment;

/* A command, as the hook is given it. */
typedef struct Command
{
	PlannedStmt *pstmt;
	const char *source;
	bool		read_only;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *env;
	DestReceiver *dest;
	QueryCompletion *qc;
} Command;

/* Does an EXPLAIN run what it explains? */
static bool
is_analyze(const ExplainStmt *explain)
{
	ListCell   *lc;

	foreach(lc, explain->options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "analyze") == 0)
			return defGetBoolean(option);
	}
	return false;
}

/* Does EXPLAIN or COPY have a statement that writes?  One in it may, all the same. */
static bool
is_dml(Node *node)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		case T_MergeStmt:
			return true;
		case T_Query:
			return ((Query *) node)->commandType != CMD_SELECT;
		default:
			return false;
	}
}

static Treatment
treat(Node *command)
{
	switch (nodeTag(command))
	{
		case T_ExecuteStmt:
		case T_DeclareCursorStmt:
		case T_FetchStmt:
		case T_ClosePortalStmt:
		case T_TransactionStmt:
			return RUNS_OTHERS;
		case T_CallStmt:
		case T_DoStmt:
		case T_TruncateStmt:
		case T_NotifyStmt:
			return IS_RECORDED;
		case T_CheckPointStmt:
		case T_ConstraintsSetStmt:
		case T_DeallocateStmt:
		case T_DiscardStmt:
		case T_ListenStmt:
		case T_LoadStmt:
		case T_LockStmt:
		case T_PrepareStmt:
		case T_UnlistenStmt:
		case T_VacuumStmt:
		case T_VariableSetStmt:
		case T_VariableShowStmt:
			return RUNS_AGAIN;
		case T_CopyStmt:
			return ((CopyStmt *) command)->is_from ||
				is_dml(((CopyStmt *) command)->query) ? IS_REFUSED : RUNS_AGAIN;
		case T_ExplainStmt:
			return is_analyze((ExplainStmt *) command) &&
				is_dml(((ExplainStmt *) command)->query) ? IS_REFUSED : RUNS_AGAIN;
		default:
			return IS_REFUSED;
	}
}

static void
call_next(const Command *command)
{
	if (next_utility != NULL)
		next_utility(command->pstmt, command->source, command->read_only,
					 command->context, command->params, command->env,
					 command->dest, command->qc);
	else
		standard_ProcessUtility(command->pstmt, command->source,
								command->read_only, command->context,
								command->params, command->env, command->dest,
								command->qc);
}

/* Runs a command, and what that runs as part of it. */
static void
run_inside(const Command *command)
{
	int			depth = idem_session.depth;

	idem_session.depth++;
	PG_TRY();
	{
		call_next(command);
	}
	PG_CATCH();
	{
		idem_session.depth = depth;
		idem_session.unrecorded = NULL;
		idem_savepoint_note_error();
		PG_RE_THROW();
	}
	PG_END_TRY();
	idem_session.depth = depth;
	idem_session.unrecorded = NULL;
}

/* Says a command that counts as one more that it may have written? */
static bool
may_have_written(const Command *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;

	/* deferred triggers are part of the statements that queued them */
	if (IsA(stmt, ConstraintsSetStmt))
		return false;
	/* EXPLAIN evaluates the arguments of EXECUTE, as EXECUTE does */
	return !IsA(stmt, ExplainStmt) || is_analyze((ExplainStmt *) stmt) ||
		castNode(Query, ((ExplainStmt *) stmt)->query)->commandType == CMD_UTILITY;
}

/*
 * Runs a command whose writes are not recorded, since it should have none.  A cursor's
 * query, an EXPLAIN or a COPY may call any function.
 */
static void
run_unrecorded(const Command *command)
{
	CommandId	before = GetCurrentCommandId(false);
	const char *name = !may_have_written(command) ? NULL :
		GetCommandTagName(CreateCommandTag(command->pstmt->utilityStmt));

	idem_session.unrecorded = name;
	run_inside(command);
	CommandCounterIncrement();
	if (name != NULL && GetCurrentCommandId(false) != before)
		idem_session_error_unrecorded(name);
}

/* Runs a command, and has entry keep what it answers. */
static void
run_recorded(Command *command, IdemEntry *entry)
{
	DestReceiver *client = command->dest;
	IdemTee		tee;

	idem_row_text_tee(&tee, client, &entry->rows, idem_session.memory);
	command->dest = &tee.pub;
	PG_TRY();
	{
		run_inside(command);
	}
	PG_CATCH();
	{
		idem_entry_failed(entry);
		PG_RE_THROW();
	}
	PG_END_TRY();
	entry->kind = IDEM_ENTRY_WRITE;
}

static void
check_truncate(const TruncateStmt *truncate)
{
	ListCell   *lc;

	foreach(lc, truncate->relations)
	{
		Oid			relid = RangeVarGetRelid(lfirst(lc), AccessShareLock, false);
		AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_TRUNCATE);

		if (result != ACLCHECK_OK)
			aclcheck_error(result, get_relkind_objtype(get_rel_relkind(relid)),
						   get_rel_name(relid));
	}
}

/* A replay needs the rights that the command would. */
static void
check_rights(Node *command)
{
	if (IsA(command, TruncateStmt))
		check_truncate((TruncateStmt *) command);
	else if (IsA(command, CallStmt))
	{
		Oid			procedure = ((CallStmt *) command)->funcexpr->funcid;

		if (!IDEM_MAY_EXECUTE(procedure, GetUserId()))
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_PROCEDURE,
						   get_func_name(procedure));
	}
}

/* Answers a command from the record. */
static void
answer(const Command *command, const IdemEntry *entry)
{
	Node	   *stmt = command->pstmt->utilityStmt;
	IdemRowsPlace place = {0};
	TupleDesc	desc;

	check_rights(stmt);
	desc = UtilityTupleDescriptor(stmt);
	if ((desc == NULL ? 0 : desc->natts) != entry->rows.columns)
		idem_answer_error("a transaction");
	if (desc != NULL)
		(void) idem_row_text_send(&entry->rows, &place, 0, desc, command->dest);
}

static void
record_or_answer(Command *command)
{
	IdemStatementText text = {
		command->source, command->pstmt->stmt_location, command->pstmt->stmt_len, 0,
		command->params
	};
	IdemEntry  *entry = idem_entry_open(&text, true, 0);

	/* atomic, as in any transaction block: a commit would end the record */
	if (command->context == PROCESS_UTILITY_TOPLEVEL)
		command->context = PROCESS_UTILITY_QUERY;
	if (idem_session.mode == IDEM_SESSION_REPLAYS)
		answer(command, entry);
	else
		run_recorded(command, entry);
}

/*
 * Runs SET CONSTRAINTS.  In a retry no constraint is checked, so that the error that it
 * raised in a savepoint is all that is kept.
 */
static void
run_check(const Command *command)
{
	IdemStatementText text = {
		command->source, command->pstmt->stmt_location, command->pstmt->stmt_len, 0,
		command->params
	};
	IdemEntry  *entry = idem_entry_open(&text, false, 0);

	PG_TRY();
	{
		run_unrecorded(command);
	}
	PG_CATCH();
	{
		if (idem_session.mode == IDEM_SESSION_RECORDS)
			idem_entry_failed(entry);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

pg_noreturn static void
error_refused(Node *command)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot execute %s in a transaction that has a key",
					GetCommandTagName(CreateCommandTag(command))),
			 errdetail("It cannot be recorded, and a retry would do it again."),
			 errhint("Use a transaction without a key for it.")));
}

/* A command inside of another statement: part of that. */
static void
run_inner(const Command *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;

	if (IsA(stmt, NotifyStmt))
		idem_statement_run_wrote();
	if (idem_session.unrecorded != NULL && IsA(stmt, TruncateStmt))
		idem_session_error_unrecorded(idem_session.unrecorded);
	if (idem_session.mode == IDEM_SESSION_REPLAYS &&
		(IsA(stmt, TruncateStmt) || treat(stmt) == IS_REFUSED))
		idem_session_error_unknown("A function writes that did not write in the first transaction.");
	call_next(command);
}

/*
 * Has a cursor that does not say whether it scrolls go forward only, as the standard has
 * it: so its rows can be kept.
 */
static void
straighten(Command *command)
{
	DeclareCursorStmt *stmt = (DeclareCursorStmt *) command->pstmt->utilityStmt;

	if ((stmt->options & (CURSOR_OPT_SCROLL | CURSOR_OPT_NO_SCROLL | CURSOR_OPT_HOLD)) != 0)
		return;
	/* it may be a plan that is used again, without a key */
	command->pstmt = copyObject(command->pstmt);
	stmt = (DeclareCursorStmt *) command->pstmt->utilityStmt;
	stmt->options |= CURSOR_OPT_NO_SCROLL;
}

static void
run_watched(Command *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;
	Treatment	treatment;

	if (!idem_session_is_top())
	{
		run_inner(command);
		return;
	}
	treatment = treat(stmt);
	if (IsA(stmt, DeclareCursorStmt))
		straighten(command);
	if (treatment == RUNS_OTHERS)
		call_next(command);
	else if (IsA(stmt, ConstraintsSetStmt) && idem_session_ready(false))
		run_check(command);
	else if (treatment == RUNS_AGAIN)
		run_unrecorded(command);
	else if (!idem_session_ready(true) || treatment == IS_REFUSED)
		error_refused(stmt);
	else
		record_or_answer(command);
}

static void
utility(PlannedStmt *pstmt, const char *source, bool read_only,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	Command		command = {pstmt, source, read_only, context, params, env, dest, qc};

	if (idem_session_watches())
		run_watched(&command);
	else
	{
		call_next(&command);
		/* named by what ran inside, which may be all that has begun */
		if (unlikely(idem_session.named))
			idem_session_started(ActivePortal != NULL &&
								 list_member_ptr(ActivePortal->stmts, pstmt));
	}
}

/* Begins to look at commands.  To be called once, from _PG_init. */
void
idem_utility_hook_init(void)
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
