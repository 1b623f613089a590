/*
 * upsert.c
 *	  SQL: idem_upsert(), a write into the caller's own table, once per key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "error.h"
#include "field.h"
#include "fingerprint.h"
#include "key.h"
#include "merge.h"
#include "query.h"
#include "result.h"
#include "shape.h"

PG_FUNCTION_INFO_V1(idem_upsert);
PG_FUNCTION_INFO_V1(idem_upsert_met);

/* One upsert, as it was asked for. */
typedef struct Upsert
{
	IdemShape	shape;
	Jsonb	   *data;
	Jsonb	   *merge;			/* NULL: none */
	int64		expected_version;	/* if shape.versioned */
} Upsert;

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

/* The names in an array of text. */
static List *
conflict_names(ArrayType *array)
{
	Datum	   *elements;
	bool	   *isnull;
	int			count;
	List	   *names = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &isnull, &count);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"conflict\" must name at least one column"),
				 errhint("Leave \"conflict\" out to upsert by the primary key.")));
	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			idem_error_null("conflict[]");
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

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
plan_for(const Upsert *upsert, IdemShapeStatement which)
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
run(const Upsert *upsert, IdemShapeStatement which, Jsonb *data,
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
row_name(const Upsert *upsert)
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
find_row(const Upsert *upsert, Meeting *seen)
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
keep_row(const Upsert *upsert, Meeting *seen, IdemAnswer *answer)
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
 * Runs the upsert's statement, which reports by way of idem_upsert_met()
 * whether it met a row.
 */
static void
write_row(const Upsert *upsert, IdemAnswer *answer)
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

static int64
fingerprint(const Upsert *upsert)
{
	const IdemShape *shape = &upsert->shape;
	IdemFingerprint fp;
	ListCell   *lc;

	idem_fingerprint_init(&fp, "upsert");
	idem_fingerprint_relation(&fp, shape->target);
	foreach(lc, shape->conflict)
		idem_fingerprint_string(&fp, lfirst(lc));
	if (shape->versioned)
		idem_fingerprint_int8(&fp, upsert->expected_version);
	else
		idem_fingerprint_null(&fp);
	idem_fingerprint_jsonb(&fp, upsert->data);
	if (upsert->merge != NULL)
		idem_fingerprint_jsonb(&fp, upsert->merge);
	return idem_fingerprint_value(&fp);
}

/*
 * Without a key a repeat is told by the row alone, and a null in its key is not
 * equal to itself.
 */
static void
check_conflict_values(const Upsert *upsert)
{
	ListCell   *lc;

	foreach(lc, upsert->shape.conflict)
	{
		const char *name = lfirst(lc);
		JsonbValue	v;

		if (getKeyJsonValueFromContainer(&upsert->data->root, name,
										 strlen(name), &v) != NULL &&
			v.type == jbvNull)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"key\" must not be null"),
					 errdetail("Conflict column \"%s\" is null, so nothing else would tell a repeat.",
							   name)));
	}
}

/* Does the work of a key, or tells what it remembers; false if it is new. */
static bool
upsert_once(const Upsert *upsert, IdemKey *key, IdemAnswer *answer)
{
	key->fingerprint = fingerprint(upsert);
	if (!idem_key_claim(key, answer))
		return true;
	write_row(upsert, answer);
	idem_key_finish(key, answer);
	return false;
}

/*
 * idem_upsert(key text, target regclass, data jsonb, conflict text[],
 *			   expected_version bigint, scope text, ttl interval, merge jsonb)
 *		-> outcome idem_outcome, replayed boolean, result jsonb
 *
 * Inserts data into target, or updates the row that is there, and remembers
 * the row under the key; or tells what the key remembers.  With merge rules,
 * which make the repeat harmless, the key may be null, and nothing is
 * remembered.  Errors: those of idem_key_claim, idem_merge_rules and
 * idem_shape_sql, ID203 and ID205 for a version expected in vain, and whatever
 * the statement raises.
 */
Datum
idem_upsert(PG_FUNCTION_ARGS)
{
	Upsert		upsert = {0};
	IdemKey		key;
	IdemAnswer	answer = {0};
	Datum		values[3];
	bool		nulls[3] = {false};
	bool		replayed = false;

	upsert.shape.keyed = !PG_ARGISNULL(0) || PG_ARGISNULL(7);
	if (!upsert.shape.keyed)
		PreventCommandIfReadOnly("idem_upsert()");
	else
		idem_key_init(&key, "idem_upsert()",
					  PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
					  PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5),
					  PG_ARGISNULL(6) ? NULL : PG_GETARG_INTERVAL_P(6));
	if (PG_ARGISNULL(1))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("data");
	upsert.shape.target = PG_GETARG_OID(1);
	upsert.data = PG_GETARG_JSONB_P(2);
	upsert.shape.fields = idem_field_names(upsert.data, "data");
	upsert.shape.by_primary_key = PG_ARGISNULL(3);
	if (!PG_ARGISNULL(3))
		upsert.shape.conflict = conflict_names(PG_GETARG_ARRAYTYPE_P(3));
	upsert.shape.versioned = !PG_ARGISNULL(4);
	if (upsert.shape.versioned)
		upsert.expected_version = PG_GETARG_INT64(4);
	if (!PG_ARGISNULL(7))
	{
		upsert.merge = PG_GETARG_JSONB_P(7);
		upsert.shape.rules = idem_merge_rules(upsert.merge, upsert.shape.fields);
	}

	if (upsert.shape.keyed)
		replayed = upsert_once(&upsert, &key, &answer);
	else
	{
		check_conflict_values(&upsert);
		write_row(&upsert, &answer);
	}

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[answer.outcome]);
	values[1] = BoolGetDatum(replayed);
	values[2] = answer.response;
	nulls[2] = answer.response_isnull;
	PG_RETURN_DATUM(idem_result_form(fcinfo, values, nulls));
}
