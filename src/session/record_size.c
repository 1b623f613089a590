/*
 * record_size.c
 *	  How much memory the record of a transaction may take before it is written.
 *
 * It is kept in memory until the commit, and made jsonb then, which can be no longer
 * than 256 MB and takes several times the memory while it is made.  So its size is
 * counted before anything is kept, and a statement that is too much for it is an error
 * at once: else the server would run out of memory, or the commit would fail.
 *
 * What idem.max_response allows is asked of what is counted without what stands around
 * it, since that is less than the jsonb will have; the rest is asked when that is there.
 */
#include "postgres.h"

#include "session/record_size.h"
#include "session/session.h"

/* As much as it may be. */
#define MAX_CHARGED		((Size) 128 * 1024 * 1024)

/* What takes memory besides texts: a statement, and a value. */
#define ENTRY_CHARGE	256
#define VALUE_CHARGE	16

/* A value has its length in front of it, as jsonb keeps it, too. */
#define VALUE_PREFIX	sizeof(int32)

/* Counts what is to be kept.  Raises 54000 if that is too much; then it is not counted. */
static void
add(Size charge, Size text)
{
	bool		is_much = idem_session.charged + charge > MAX_CHARGED;

	if (unlikely(is_much || !idem_settings_response_fits(idem_session.text + text)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("what the transaction returns is too long to be kept with its key"),
				 is_much ?
				 errdetail("A key can keep %zu MB of a transaction.",
						   MAX_CHARGED / (1024 * 1024)) :
				 errdetail("It is longer than idem.max_response."),
				 errhint("Return and read less in one transaction, or lower idem.key_reads, so that queries run again in a retry.")));
	idem_session.charged += charge;
	idem_session.text += text;
}

/* Counts a statement.  Raises 54000 if it is one too many. */
void
idem_record_size_add_entry(void)
{
	add(ENTRY_CHARGE, 0);
}

/* Counts a value of so many bytes.  Raises 54000 if it is one too many. */
void
idem_record_size_add_value(Size length)
{
	add(VALUE_CHARGE + length, VALUE_PREFIX + length);
}

/* Counts an error.  It is being handled: what comes next may be one too many. */
void
idem_record_size_add_error(const ErrorData *error)
{
	idem_session.charged += strlen(error->message) +
		(error->detail == NULL ? 0 : strlen(error->detail)) +
		(error->hint == NULL ? 0 : strlen(error->hint));
}

/* Rows are not kept after all. */
void
idem_record_size_take_rows(const IdemRows *rows)
{
	idem_session.text -= rows->text.len;
	idem_session.charged -= rows->text.len +
		(VALUE_CHARGE - VALUE_PREFIX) * rows->count * rows->columns;
}
