/*
 * refusal.c
 *	  Errors of a key's work that are remembered as its answer.
 *
 * An error rolls back the key with the work, so that a retry does the work again.
 * Where the caller says that an error is final, a limit exceeded or a name taken,
 * the retry should get that very answer instead.  So such work is done in a
 * subtransaction of its own: an error that the caller has named undoes the work
 * alone, and becomes the answer, which is kept as any other.  All other errors go
 * on as they would without.
 *
 * What is caught is what is raised while the work is done, constraints and
 * triggers included that are checked and fired at the end of a statement; those
 * that are deferred come at COMMIT, when the call is long over.
 *
 * The key's lock is taken before the subtransaction begins, so it outlives that.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/error.h"
#include "base/settings.h"
#include "key/refusal.h"
#include "run/subtransaction.h"

/* What SQLSTATEs are made of. */
#define LETTERS		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* How many of them name an error, and a class of errors. */
#define CODE_LENGTH		5
#define CLASS_LENGTH	2

pg_noreturn static void
error_passing(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"remember_errors\" cannot have \"%s\"", name),
			 errdetail("Such an error is about the moment: the same call may succeed at another."),
			 errhint("%s", hint)));
}

/*
 * What a name stands for.  Raises 22023 for what it may not: errors that are about
 * the circumstances are no answer, and there is one of those in class 55.
 */
static IdemRefusal
parse_name(const char *name)
{
	char		code[CODE_LENGTH + 1] = "00000";
	size_t		length = strlen(name);
	IdemRefusal refusal;

	if ((length != CODE_LENGTH && length != CLASS_LENGTH) ||
		strspn(name, LETTERS) != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"remember_errors\" has \"%s\", which is no SQLSTATE",
						name),
				 errhint("Name SQLSTATEs, such as 23505, or classes of them by their first two characters, such as 23.")));

	memcpy(code, name, length);
	refusal.is_class = (length == CLASS_LENGTH);
	refusal.sqlstate = MAKE_SQLSTATE(code[0], code[1], code[2], code[3],
									 code[4]);
	if (idem_error_is_circumstance(refusal.sqlstate))
		error_passing(name, _("Leave it out, and retry the call when it is raised."));
	if (refusal.is_class &&
		refusal.sqlstate == ERRCODE_TO_CATEGORY(ERRCODE_LOCK_NOT_AVAILABLE))
		error_passing(name, _("Name single codes of the class, but not 55P03."));
	return refusal;
}

/*
 * The errors that an array of text names; NULL for none.  Raises 22023 for what is no
 * SQLSTATE, and for errors that are not final, 22004 for a null, 2202E for an array
 * of several dimensions.
 */
const IdemRefusals *
idem_refusal_list(ArrayType *names)
{
	Datum	   *elements;
	bool	   *isnull;
	int			count;
	IdemRefusals *refusals;

	if (ARR_NDIM(names) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("\"%s\" must have one dimension", "remember_errors")));
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &isnull, &count);
	if (count == 0)
		return NULL;

	refusals = palloc(offsetof(IdemRefusals, list) +
					  count * sizeof(IdemRefusal));
	refusals->count = count;
	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			idem_error_null("remember_errors[]");
		refusals->list[i] = parse_name(TextDatumGetCString(elements[i]));
	}
	return refusals;
}

static bool
is_refusal(const IdemRefusals *refusals, int sqlstate)
{
	for (int i = 0; i < refusals->count; i++)
	{
		const IdemRefusal *refusal = &refusals->list[i];

		if (refusal->sqlstate == (refusal->is_class ?
								  ERRCODE_TO_CATEGORY(sqlstate) : sqlstate))
			return true;
	}
	return false;
}

/* As much of a message as is kept where all of the error would be too long. */
#define SHORT_MESSAGE	200

/*
 * Adds a field of an error, if it has that, up to so many bytes.  Code of others may
 * have written it, and what is not text could be neither sent nor dumped, so it ends
 * there.
 */
static void
add_field(IdemJsonbState *json, const char *name, const char *value, int most)
{
	JsonbValue	v;

	if (value == NULL)
		return;
	v.type = jbvString;
	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	idem_jsonb_push(json, WJB_KEY, &v);
	v.val.string.val = unconstify(char *, value);
	v.val.string.len = pg_encoding_verifymbstr(GetDatabaseEncoding(), value,
											   Min(strlen(value), most));
	idem_jsonb_push(json, WJB_VALUE, &v);
}

/*
 * What of an error a client that catches it is given to branch on and to show, but
 * not its context, which is about code and not about the request; in short, without
 * what only people read.
 */
static Jsonb *
describe(const ErrorData *error, bool in_short)
{
	IdemJsonbState json = {0};

	idem_jsonb_push(&json, WJB_BEGIN_OBJECT, NULL);
	add_field(&json, "sqlstate", unpack_sql_state(error->sqlerrcode), 5);
	add_field(&json, "message", error->message,
			  in_short ? SHORT_MESSAGE : MaxAllocSize);
	add_field(&json, "detail", in_short ? NULL : error->detail, MaxAllocSize);
	add_field(&json, "hint", in_short ? NULL : error->hint, MaxAllocSize);
	add_field(&json, "schema", error->schema_name, NAMEDATALEN);
	add_field(&json, "table", error->table_name, NAMEDATALEN);
	add_field(&json, "column", error->column_name, NAMEDATALEN);
	add_field(&json, "datatype", error->datatype_name, NAMEDATALEN);
	add_field(&json, "constraint", error->constraint_name, NAMEDATALEN);
	idem_jsonb_push(&json, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(json.result);
}

/*
 * Makes an error the answer.  Where it is too long to be remembered, it is so in
 * short: the caller is to learn of this error, and not of its length.
 */
static void
set_refused(IdemAnswer *answer, const ErrorData *error)
{
	Jsonb	   *whole = describe(error, false);
	bool		fits = idem_settings_response_fits(VARSIZE(whole));

	idem_answer_set(answer, IDEM_FAILED, fits ? whole : describe(error, true));
	answer->refused = pstrdup(unpack_sql_state(error->sqlerrcode));
}

/* The work of a key. */
typedef struct Work
{
	IdemKeyWork work;
	void	   *call;
	IdemAnswer *answer;
} Work;

static bool
do_work(void *arg)
{
	const Work *work = arg;

	work->work(work->call, work->answer);
	return true;
}

/*
 * Does the work of a key, and makes the answer of what came of it, be that an error
 * that is among the refusals: with what it has written go its role, settings, cursors
 * and connections to SPI.  Raises all others.
 */
void
idem_refusal_run(const IdemRefusals *refusals, IdemKeyWork work, void *call,
				 IdemAnswer *answer)
{
	Work		all = {work, call, answer};
	ErrorData  *error = idem_subtransaction_try(do_work, &all);

	if (error == NULL)
		return;
	if (!is_refusal(refusals, error->sqlerrcode))
		ReThrowError(error);
	set_refused(answer, error);
}
