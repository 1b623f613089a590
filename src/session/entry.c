/*
 * entry.c
 *	  A statement of a transaction that has a key, as an entry of the record.
 *
 * In a recording each statement is a new entry.  In a replay it is looked for in the
 * record, where each entry counts once, and in any order.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "session/entry.h"
#include "session/record_size.h"
#include "session/savepoint.h"
#include "session/session.h"

/* Finds a statement in the record: one that has not been sent, as often as it is there. */
static IdemEntry *
find(const IdemStatementKey *key)
{
	bool		clock = idem_key_match == IDEM_MATCH_CLOCK;

	for (int i = idem_session.sent; i < list_length(idem_session.entries); i++)
	{
		IdemEntry  *entry = list_nth(idem_session.entries, i);
		bool		is_sent = entry->sent || entry->spent;

		if (is_sent && i == idem_session.sent)
			idem_session.sent++;
		if (!is_sent && idem_statement_key_matches(&entry->key, key, clock))
			return entry;
	}
	return NULL;
}

/*
 * Begins a statement of the client's.  In a recording it is a new entry.  In a replay it
 * is the entry that answers it; NULL where it is to run again.  Raises ID001 for one
 * that writes and is not in the record, and the error of one that failed.
 */
IdemEntry *
idem_entry_open(const IdemStatementText *statement, bool writes, int columns)
{
	IdemStatementKey key;
	IdemEntry  *entry;

	idem_statement_key_make(statement, &key);
	if (idem_session.mode == IDEM_SESSION_RECORDS)
	{
		MemoryContext caller;

		idem_record_size_add_entry();
		caller = MemoryContextSwitchTo(idem_session.memory);
		entry = palloc0(sizeof(IdemEntry));
		entry->key = key;
		entry->kind = IDEM_ENTRY_AGAIN;
		entry->index = list_length(idem_session.entries);
		idem_session.entries = lappend(idem_session.entries, entry);
		idem_savepoint_sent(entry);
		MemoryContextSwitchTo(caller);
		return entry;
	}

	entry = find(&key);
	if (entry == NULL && writes)
		idem_session_error_unknown("The first transaction did not send a statement that this one sends.");
	if (entry == NULL)
		return NULL;
	if (writes && entry->kind != IDEM_ENTRY_WRITE && entry->kind != IDEM_ENTRY_FAILED)
		idem_answer_error("a transaction");
	entry->sent = true;
	idem_savepoint_sent(entry);
	if (entry->kind == IDEM_ENTRY_FAILED)
		ThrowErrorData(entry->error);
	if (entry->kind == IDEM_ENTRY_READ && columns != entry->rows.columns)
		return NULL;
	return entry->kind == IDEM_ENTRY_AGAIN ? NULL : entry;
}

/* Takes a statement out of a recording.  It keeps its place, which savepoints count. */
void
idem_entry_remove(IdemEntry *entry)
{
	entry->kind = IDEM_ENTRY_REMOVED;
}

/* Forgets the rows of a statement that are not to be sent again. */
void
idem_entry_forget_rows(IdemEntry *entry)
{
	if (entry->rows.text.data == NULL)
		return;
	idem_record_size_take_rows(&entry->rows);
	pfree(entry->rows.text.data);
	memset(&entry->rows, 0, sizeof(IdemRows));
}

/*
 * A statement that is being recorded has raised an error, which is being handled.  In a
 * savepoint that is how it answers, unless it is due to the moment.
 */
void
idem_entry_failed(IdemEntry *entry)
{
	MemoryContext caller = MemoryContextSwitchTo(idem_session.memory);

	idem_savepoint_note_error();
	idem_entry_forget_rows(entry);
	if (idem_session.moment || GetCurrentTransactionNestLevel() < 2)
		idem_entry_remove(entry);
	else
	{
		entry->kind = IDEM_ENTRY_FAILED;
		entry->error = CopyErrorData();
		entry->undone = true;
		idem_record_size_add_error(entry->error);
	}
	MemoryContextSwitchTo(caller);
}

/*
 * A cursor has raised an error, which is being handled, in a savepoint that is younger
 * than the cursor.  It keeps what it answered before that, and raises the same where a
 * retry asks for more.
 */
void
idem_entry_cut(IdemEntry *entry, const IdemRows *before)
{
	MemoryContext caller = MemoryContextSwitchTo(idem_session.memory);

	idem_savepoint_note_error();
	entry->partial = true;
	if (!idem_session.moment)
		entry->error = CopyErrorData();
	/* the rows that came before the error were not sent */
	if (entry->rows.text.data == NULL)
		entry->kind = IDEM_ENTRY_AGAIN;
	else
	{
		entry->rows.count = before->count;
		entry->rows.text.len = before->text.len;
	}
	MemoryContextSwitchTo(caller);
}
