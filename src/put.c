/*
 * put.c
 *	  A row put into a table of the caller's, as idem_upsert() does it.
 *
 * The statements are those of shape.c and run with the caller's rights.  What
 * they cannot return, whether there was a row and what it is if it is kept, the
 * upsert's statement reports by way of a function that stands in it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/rls.h"

#include "error.h"
#include "put.h"
#include "query.h"
#include "ticket.h"

PG_FUNCTION_INFO_V1(idem_upsert_met);

/* What an upsert learns of the row that it meets. */
typedef struct Meeting
{
	IdemTicket	ticket;			/* of the statement, must be first */
	MemoryContext memory;		/* of the upsert, for the row */
	bool		met;			/* was there a row already? */
	/* of the row, if it was found and left as it was */
	Jsonb	   *row;			/* NULL: it was not found */
	bool		versioned;		/* has it a version? */
	int64		version;
	bool		differs;		/* from the data */
} Meeting;

/* An upsert that is under way. */
typedef struct Put
{
	const IdemUpsert *upsert;
	StringInfoData signature;	/* of one of its statements */
	Meeting		seen;
} Put;

/* The function that tells of it. */
#define MET		"_idem_upsert_met"

/* Where the signature says which of the statements. */
#define STATEMENT_AT	1

/*
 * Where rows keep being new, an insert is tried first: after so many of them in
 * succession, since an attempt in vain costs more than twice what one that
 * succeeds saves.  How many there were is noted of the plan of the upsert's own
 * statement, or that there is no such insert.
 */
#define ALL_NEW			4
#define NO_INSERT		255

static void
append_names(StringInfo buf, const List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		appendStringInfoString(buf, lfirst(lc));
		appendStringInfoChar(buf, '\0');
	}
	appendStringInfoChar(buf, '\0');
}

/*
 * Makes ready to put the row.  Privileges shape the statements, hence the user
 * in their signatures.
 */
static void
init_put(Put *put, const IdemUpsert *upsert)
{
	const IdemShape *shape = &upsert->shape;
	StringInfo	signature = &put->signature;
	Oid			user = GetUserId();
	ListCell   *lc;

	memset(put, 0, sizeof(Put));
	put->upsert = upsert;
	put->seen.memory = CurrentMemoryContext;

	initStringInfo(signature);
	appendStringInfoChar(signature, 'u');
	appendStringInfoChar(signature, (char) IDEM_SHAPE_WRITE);
	appendStringInfoChar(signature, shape->versioned ? 'v' : '-');
	appendStringInfoChar(signature, shape->by_primary_key ? 'p' : '-');
	appendStringInfoChar(signature, shape->keyed ? 'k' : '-');
	appendBinaryStringInfo(signature, (char *) &user, sizeof(Oid));
	appendBinaryStringInfo(signature, (char *) &shape->target, sizeof(Oid));
	append_names(signature, shape->conflict);
	append_names(signature, shape->fields);
	foreach(lc, shape->rules)
		appendStringInfoChar(signature, (char) lfirst_int(lc));
}

/* The plan of one of the statements, or NULL if there is no such statement. */
static IdemPlan *
plan_for(Put *put, IdemShapeStatement which)
{
	static Oid	argtypes[] = {JSONBOID, INT8OID, INT8OID};
	StringInfo	signature = &put->signature;
	IdemPlan   *plan;
	char	   *sql;

	signature->data[STATEMENT_AT] = (char) which;
	plan = idem_query_find(signature->data, signature->len);
	if (plan != NULL)
		return plan;
	sql = idem_shape_sql(&put->upsert->shape, which);
	return sql == NULL ? NULL :
		idem_query_keep(signature->data, signature->len, sql, lengthof(argtypes),
						argtypes);
}

static uint64
run(const Put *put, IdemPlan *plan, Jsonb *data,
	int ncols, Datum *values, bool *isnull)
{
	Datum		args[3];

	args[0] = JsonbPGetDatum(data);
	args[1] = Int64GetDatum(put->upsert->expected_version);
	args[2] = Int64GetDatum(put->seen.ticket.number);
	return idem_query_caller(plan, args,
							 put->upsert->shape.versioned ? NULL : " n ",
							 ncols, values, isnull);
}

/* What is noted of the plan of the upsert's own statement. */
static uint8
read_note(Put *put)
{
	uint8	   *note;

	put->signature.data[STATEMENT_AT] = (char) IDEM_SHAPE_WRITE;
	note = idem_query_note(put->signature.data, put->signature.len);
	return note == NULL ? 0 : *note;
}

static void
write_note(Put *put, uint8 value)
{
	uint8	   *note;

	put->signature.data[STATEMENT_AT] = (char) IDEM_SHAPE_WRITE;
	note = idem_query_note(put->signature.data, put->signature.len);
	if (note != NULL)
		*note = value;
}

/* What the caller would call the row: the data, as far as people read it. */
static const char *
row_name(const IdemUpsert *upsert)
{
	char	   *text = JsonbToCString(NULL, &upsert->data->root,
									  VARSIZE(upsert->data));
	int			length = strlen(text);

	if (length > 80)
		strcpy(text + pg_mbcliplen(text, length, 77), "...");
	return text;
}

/* Notes a row that was left as it was. */
static void
note_row(Meeting *seen, Datum row, const Datum *version, bool differs)
{
	MemoryContext old = MemoryContextSwitchTo(seen->memory);

	seen->row = (Jsonb *) PG_DETOAST_DATUM_COPY(row);
	seen->versioned = (version != NULL);
	seen->version = version ? DatumGetInt64(*version) : 0;
	seen->differs = differs;
	MemoryContextSwitchTo(old);
}

/*
 * Finds the row that the write left as it was, where it was not handed over:
 * the statement says DO NOTHING, or a trigger declined the write.
 *
 * A row that was handed over is looked for all the same where row security
 * applies, since ON CONFLICT may have compared with a row that the caller must
 * not see.  That row is as good as absent.
 */
static void
find_row(Put *put)
{
	Meeting    *seen = &put->seen;
	const IdemUpsert *upsert = put->upsert;
	Jsonb	   *handed = seen->row;
	Datum		values[3];
	bool		isnull[3];

	if (handed != NULL &&
		check_enable_rls(upsert->shape.target, InvalidOid, true) != RLS_ENABLED)
		return;

	if (run(put, plan_for(put, IDEM_SHAPE_READ), handed ? handed : upsert->data,
			3, values, isnull) == 0)
		seen->row = NULL;
	else
		note_row(seen, values[0], isnull[1] ? NULL : &values[1],
				 handed ? seen->differs : DatumGetBool(values[2]));
}

/*
 * What to say of a row that the write left as it was: it is as it should be,
 * or has another version than expected.
 */
static void
keep_row(Put *put, IdemAnswer *answer)
{
	const IdemUpsert *upsert = put->upsert;
	Meeting    *seen = &put->seen;

	find_row(put);

	if (upsert->shape.versioned)
	{
		int64		expected = upsert->expected_version;

		if (seen->row == NULL)
			idem_error_no_row(upsert->shape.target, row_name(upsert), NULL);

		/* one past it, with the same data: our own lost acknowledgement */
		if (!seen->versioned ||
			(seen->version != expected &&
			 (seen->differs || seen->version != expected + 1)))
			idem_error_version(upsert->shape.target, row_name(upsert),
							   seen->versioned ? &seen->version : NULL,
							   expected);
	}

	answer->outcome = IDEM_UNCHANGED;
	answer->response_isnull = (seen->row == NULL);
	answer->response = answer->response_isnull ? (Datum) 0 :
		JsonbPGetDatum(seen->row);
}

/* Runs a statement that writes the row; false if it wrote none. */
static bool
write_row(Put *put, IdemPlan *plan, IdemAnswer *answer)
{
	volatile uint64 rows;

	(void) idem_ticket_take(&put->seen.ticket, MET);
	PG_TRY();
	{
		rows = run(put, plan, put->upsert->data, 1,
				   &answer->response, &answer->response_isnull);
	}
	PG_FINALLY();
	{
		idem_ticket_return(&put->seen.ticket);
	}
	PG_END_TRY();

	answer->outcome = put->seen.met ? IDEM_UPDATED : IDEM_INSERTED;
	return rows > 0;
}

/*
 * Inserts the row, or updates the one that is there, and tells what came of it.
 * Raises ID203 and ID205 for a version expected in vain, what idem_shape_sql
 * raises, and whatever the statement raises itself.
 */
void
idem_put_row(const IdemUpsert *upsert, IdemAnswer *answer)
{
	Put			put;
	uint8		noted;
	uint8		note;

	init_put(&put, upsert);
	note = noted = read_note(&put);
	if (note == ALL_NEW)
	{
		IdemPlan   *plan = plan_for(&put, IDEM_SHAPE_INSERT);

		if (plan != NULL && write_row(&put, plan, answer))
			return;
		note = plan == NULL ? NO_INSERT : 0;
	}

	if (!write_row(&put, plan_for(&put, IDEM_SHAPE_WRITE), answer))
		keep_row(&put, answer);
	else if (upsert->shape.versioned && !put.seen.met)
		idem_error_no_row(upsert->shape.target, row_name(upsert),
						  "Leave \"expected_version\" out to insert the row.");

	if (note != NO_INSERT)
		note = answer->outcome == IDEM_INSERTED ? Min(note + 1, ALL_NEW) : 0;
	if (note != noted)
		write_note(&put, note);
}

/*
 * _idem_upsert_met(ticket bigint, changes boolean, kept jsonb, version bigint,
 *					differs boolean) -> boolean
 *
 * Stands in the condition of ON CONFLICT DO UPDATE, which is evaluated for a
 * row that is there already, once it is locked.  Notes that, and returns
 * changes; if that is false, notes the row as well, which is kept as it is.
 * Raises 0A000 where it is not the upsert's own statement that asks.
 *
 * RETURNING cannot tell as much: it tells nothing of a row that is kept, before
 * PostgreSQL 18 it knows no old rows, and xmax, which gives an update away,
 * cannot be read of a row inserted into a partition, nor by a caller who may
 * read certain columns only.
 */
Datum
idem_upsert_met(PG_FUNCTION_ARGS)
{
	Meeting    *seen = (Meeting *) idem_ticket_check(fcinfo, 0, MET);
	bool		changes = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);

	seen->met = true;
	if (!changes && !PG_ARGISNULL(2))
		note_row(seen, PG_GETARG_DATUM(2),
				 PG_ARGISNULL(3) ? NULL : &fcinfo->args[3].value,
				 !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
	PG_RETURN_BOOL(changes);
}
