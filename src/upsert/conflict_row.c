/*
 * conflict_row.c
 *	  The row that an upsert finds in its place, and SQL: _idem_upsert_met(), by
 *	  which its statement reports that row.
 *
 * RETURNING cannot tell as much: it tells nothing of a row that is kept, before
 * PostgreSQL 18 it knows no old rows, and xmax, which gives an update away,
 * cannot be read of a row inserted into a partition, nor by a caller who may
 * read certain columns only.
 */
#include "postgres.h"

#include "fmgr.h"

#include "upsert/conflict_row.h"

PG_FUNCTION_INFO_V1(idem_upsert_met);

/* The function in the statement's condition, as SQL knows it. */
#define MET		"_idem_upsert_met"

/* No row has been found yet; it will be kept in the current memory context. */
void
idem_conflict_row_init(IdemConflictRow *conflict)
{
	memset(conflict, 0, sizeof(IdemConflictRow));
	conflict->memory = CurrentMemoryContext;
}

/* Begins a statement that reports the row; its ticket is the parameter $3. */
void
idem_conflict_row_begin(IdemConflictRow *conflict)
{
	(void) idem_ticket_take(&conflict->ticket, MET);
}

/* Ends it, also on an error: PG_FINALLY. */
void
idem_conflict_row_end(IdemConflictRow *conflict)
{
	idem_ticket_return(&conflict->ticket);
}

static Jsonb *
copy_row(const IdemConflictRow *conflict, Datum row)
{
	MemoryContext old = MemoryContextSwitchTo(conflict->memory);
	Jsonb	   *copy = (Jsonb *) PG_DETOAST_DATUM_COPY(row);

	MemoryContextSwitchTo(old);
	return copy;
}

/* Notes a row that was left as it was. */
void
idem_conflict_row_set(IdemConflictRow *conflict, Datum row,
					  IdemRowVersion version, bool differs)
{
	conflict->row = copy_row(conflict, row);
	conflict->version = version;
	conflict->differs = differs;
}

/*
 * _idem_upsert_met(ticket bigint, changes boolean, kept jsonb, version bigint,
 *					differs boolean) -> boolean
 *
 * Stands in the condition of ON CONFLICT DO UPDATE, which is evaluated for a
 * row that is there already, once it is locked.  Notes that, and the row if it is
 * given, and returns changes; if that is false, the row is kept as it is.
 * Raises 0A000 unless the upsert's own statement calls it.
 */
Datum
idem_upsert_met(PG_FUNCTION_ARGS)
{
	IdemConflictRow *conflict =
		(IdemConflictRow *) idem_ticket_check(fcinfo, 0, MET);
	bool		changes = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);

	Assert(conflict->memory != NULL);
	conflict->met = true;
	if (changes && !PG_ARGISNULL(2))
		conflict->before = copy_row(conflict, PG_GETARG_DATUM(2));
	else if (!PG_ARGISNULL(2))
		idem_conflict_row_set(conflict, PG_GETARG_DATUM(2),
							  idem_row_version_argument(fcinfo, 3),
							  !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
	PG_RETURN_BOOL(changes);
}
