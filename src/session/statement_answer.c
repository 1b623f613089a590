/*
 * statement_answer.c
 *	  What a statement of a replay is answered instead of being run.
 */
#include "postgres.h"

#include "executor/executor.h"

#include "session/session.h"
#include "session/statement_answer.h"

/* The columns that a statement answers have to be those of then. */
void
idem_statement_answer_check(const IdemStatementRun *run)
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
	if (columns > 0 && run->entry->names != idem_statement_run_names(query))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot answer a statement as the first time, since its columns have changed"),
				 errdetail("They have other names, or another order.")));
}

/* Sends so many of the rows that the record has. */
void
idem_statement_answer_send(IdemStatementRun *run, uint64 count)
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
void
idem_statement_answer_send_nothing(QueryDesc *query)
{
	query->estate->es_processed = 0;
	query->dest->rStartup(query->dest, query->operation, query->tupDesc);
	query->dest->rShutdown(query->dest);
}
