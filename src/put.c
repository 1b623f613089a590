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

PG_FUNCTION_INFO_V1(idem_upsert_met);

/* What an upsert learns of the row that it meets. */
typedef struct Meeting
{
	MemoryContext memory;		/* of the upsert, for the row */
	bool		met;			/* was there a row already? */
	/* of the row, if it was found and left as it was */
	Jsonb	   *row;			/* NULL: it was not found */
	bool		versioned;		/* has it a version? */
	int64		version;
	bool		differs;		/* from the data */
} Meeting;

/* That of the innermost upsert being run, or NULL. */
static Meeting *meeting = NULL;

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
 * The plan of one of the upsert's statements.  Privileges shape the statement,
 * hence the user in the signature.
 */
static IdemPlan *
plan_for(const IdemUpsert *upsert, IdemShapeStatement which)
{
	static Oid	argtypes[] = {JSONBOID, INT8OID};
	const IdemShape *shape = &upsert->shape;
	StringInfoData signature;
	ListCell   *lc;
	IdemPlan   *plan;
	Oid			user = GetUserId();

	initStringInfo(&signature);
	appendStringInfoChar(&signature, 'u');
	appendStringInfoChar(&signature, (char) which);
	appendStringInfoChar(&signature, shape->versioned ? 'v' : '-');
	appendStringInfoChar(&signature, shape->by_primary_key ? 'p' : '-');
	appendStringInfoChar(&signature, shape->keyed ? 'k' : '-');
	appendBinaryStringInfo(&signature, (char *) &user, sizeof(Oid));
	appendBinaryStringInfo(&signature, (char *) &shape->target, sizeof(Oid));
	append_names(&signature, shape->conflict);
	append_names(&signature, shape->fields);
	foreach(lc, shape->rules)
		appendStringInfoChar(&signature, (char) lfirst_int(lc));

	plan = idem_query_find(signature.data, signature.len);
	if (plan == NULL)
		plan = idem_query_keep(signature.data, signature.len,
							   idem_shape_sql(shape, which), 2, argtypes);
	return plan;
}

static uint64
run(const IdemUpsert *upsert, IdemShapeStatement which, Jsonb *data,
	int ncols, Datum *values, bool *isnull)
{
	Datum		args[2];

	args[0] = JsonbPGetDatum(data);
	args[1] = Int64GetDatum(upsert->expected_version);
	return idem_query_caller(plan_for(upsert, which), args,
							 upsert->shape.versioned ? NULL : " n",
							 ncols, values, isnull);
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
find_row(const IdemUpsert *upsert, Meeting *seen)
{
	Jsonb	   *handed = seen->row;
	Datum		values[3];
	bool		isnull[3];

	if (handed != NULL &&
		check_enable_rls(upsert->shape.target, InvalidOid, true) != RLS_ENABLED)
		return;

	if (run(upsert, IDEM_SHAPE_READ, handed ? handed : upsert->data,
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
keep_row(const IdemUpsert *upsert, Meeting *seen, IdemAnswer *answer)
{
	find_row(upsert, seen);

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

/*
 * Inserts the row, or updates the one that is there, and tells what came of it.
 * Raises ID203 and ID205 for a version expected in vain, what idem_shape_sql
 * raises, and whatever the statement raises itself.
 */
void
idem_put_row(const IdemUpsert *upsert, IdemAnswer *answer)
{
	Meeting    *outer = meeting;
	Meeting		ours = {.memory = CurrentMemoryContext};
	uint64		rows;

	meeting = &ours;
	PG_TRY();
	{
		rows = run(upsert, IDEM_SHAPE_WRITE, upsert->data, 1,
				   &answer->response, &answer->response_isnull);
	}
	PG_FINALLY();
	{
		meeting = outer;
	}
	PG_END_TRY();

	if (rows == 0)
		keep_row(upsert, &ours, answer);
	else
	{
		answer->outcome = ours.met ? IDEM_UPDATED : IDEM_INSERTED;
		if (upsert->shape.versioned && !ours.met)
			idem_error_no_row(upsert->shape.target, row_name(upsert),
							  "Leave \"expected_version\" out to insert the row.");
	}
}

/*
 * idem_upsert_met(changes boolean, kept jsonb, version bigint,
 *				   differs boolean) -> boolean
 *
 * Stands in the condition of ON CONFLICT DO UPDATE, which is evaluated for a
 * row that is there already, once it is locked.  Notes that, for the innermost
 * upsert being run, and returns its first argument; if that is false, notes the
 * row as well, which is kept as it is.
 *
 * RETURNING cannot tell as much: it tells nothing of a row that is kept, before
 * PostgreSQL 18 it knows no old rows, and xmax, which gives an update away,
 * cannot be read of a row inserted into a partition, nor by a caller who may
 * read certain columns only.
 */
Datum
idem_upsert_met(PG_FUNCTION_ARGS)
{
	bool		changes = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);

	if (meeting != NULL)
	{
		meeting->met = true;
		if (!changes && !PG_ARGISNULL(1))
			note_row(meeting, PG_GETARG_DATUM(1),
					 PG_ARGISNULL(2) ? NULL : &fcinfo->args[2].value,
					 !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
	}
	PG_RETURN_BOOL(changes);
}
