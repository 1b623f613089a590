/*
 * record.c
 *	  What the statements of a transaction answered, as its key remembers it.
 *
 * It is a jsonb object: the version of its form, and an array of the statements in
 * the order in which they were sent first.  Each has the digests of what it said, its
 * kind, and what its kind needs: the rows as one array of all their values.
 *
 * A role that may write to the table of keys can have left anything there.  Nothing of
 * that may bring the server down: what is not as idem wrote it raises XX001.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "session/record.h"

#define VERSION		1
#define OF			"a transaction"

static void
push_name(IdemJsonbState *state, const char *name)
{
	JsonbValue	v = {.type = jbvString};

	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	idem_jsonb_push(state, WJB_KEY, &v);
}

static void
push_string(IdemJsonbState *state, const char *name, const char *value)
{
	JsonbValue	v = {.type = jbvString};

	if (value == NULL)
		return;
	push_name(state, name);
	v.val.string.val = unconstify(char *, value);
	v.val.string.len = strlen(value);
	idem_jsonb_push(state, WJB_VALUE, &v);
}

static void
push_int8(IdemJsonbState *state, const char *name, int64 value)
{
	JsonbValue	v = {.type = jbvNumeric};

	push_name(state, name);
	v.val.numeric = int64_to_numeric(value);
	idem_jsonb_push(state, WJB_VALUE, &v);
}

static char *
uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

static void
push_rows(IdemJsonbState *state, const IdemRows *rows)
{
	int			at = 0;

	push_int8(state, "columns", rows->columns);
	push_int8(state, "count", rows->count);
	push_name(state, "values");
	idem_jsonb_push(state, WJB_BEGIN_ARRAY, NULL);
	while (rows->text.data != NULL && at < rows->text.len)
	{
		JsonbValue	v = {.type = jbvNull};
		int32		size;

		memcpy(&size, rows->text.data + at, sizeof(size));
		at += sizeof(size);
		if (size >= 0)
		{
			v.type = jbvString;
			v.val.string.val = rows->text.data + at;
			v.val.string.len = size;
			at += size;
		}
		idem_jsonb_push(state, WJB_ELEM, &v);
	}
	idem_jsonb_push(state, WJB_END_ARRAY, NULL);
}

static void
push_error(IdemJsonbState *state, const ErrorData *error)
{
	push_string(state, "sqlstate", pstrdup(unpack_sql_state(error->sqlerrcode)));
	push_string(state, "message", error->message);
	push_string(state, "detail", error->detail);
	push_string(state, "hint", error->hint);
	push_string(state, "schema", error->schema_name);
	push_string(state, "table", error->table_name);
	push_string(state, "column", error->column_name);
	push_string(state, "type", error->datatype_name);
	push_string(state, "constraint", error->constraint_name);
}

/* How many rows a statement has processed unless a record says so: most write one. */
static uint64
usually_processed(const IdemRows *rows)
{
	return rows->columns > 0 ? rows->count : 1;
}

static void
push_entry(IdemJsonbState *state, const IdemEntry *entry)
{
	char		kind[2] = {entry->kind, '\0'};

	idem_jsonb_push(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, "kind", pstrdup(kind));
	push_string(state, "exact", uuid_text(&entry->key.exact));
	if (memcmp(&entry->key.exact, &entry->key.clock, sizeof(pg_uuid_t)) != 0)
		push_string(state, "clock", uuid_text(&entry->key.clock));
	if (entry->undone)
		push_int8(state, "undone", 1);
	if (entry->partial)
		push_int8(state, "partial", 1);
	if (entry->error != NULL)
		push_error(state, entry->error);
	if (entry->kind != IDEM_ENTRY_AGAIN && entry->kind != IDEM_ENTRY_FAILED)
	{
		if (entry->processed != usually_processed(&entry->rows))
			push_int8(state, "processed", entry->processed);
		if (entry->rows.columns > 0 || entry->rows.count > 0)
			push_rows(state, &entry->rows);
		if (entry->rows.columns > 0)
			push_int8(state, "names", entry->names);
	}
	idem_jsonb_push(state, WJB_END_OBJECT, NULL);
}

/* What a key is to remember of a transaction. */
Jsonb *
idem_record_encode(List *entries)
{
	IdemJsonbState state = {0};
	ListCell   *lc;

	idem_jsonb_push(&state, WJB_BEGIN_OBJECT, NULL);
	push_int8(&state, "version", VERSION);
	push_name(&state, "statements");
	idem_jsonb_push(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, entries)
	{
		const IdemEntry *entry = lfirst(lc);

		if (entry->kind != IDEM_ENTRY_REMOVED)
			push_entry(&state, entry);
	}
	idem_jsonb_push(&state, WJB_END_ARRAY, NULL);
	idem_jsonb_push(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

static bool
has(const IdemAnswerPart *object, const char *name)
{
	JsonbValue	v;

	return getKeyJsonValueFromContainer(object->json, name, strlen(name),
										&v) != NULL;
}

/* A field; raises XX001 unless it is a string. */
static char *
read_string(const IdemAnswerPart *object, const char *name)
{
	char	   *value = idem_answer_string(object, name);

	if (value == NULL)
		idem_answer_error(object->of);
	return value;
}

/* A field that may be missing. */
static char *
read_option(const IdemAnswerPart *object, const char *name)
{
	return has(object, name) ? read_string(object, name) : NULL;
}

/* A number that is none of a kind that a record has is as wrong as any. */
static int64
read_int8(const IdemAnswerPart *object, const char *name, int64 least, int64 most)
{
	int64		value = idem_answer_int8(object, name, NULL);

	if (value < least || value > most)
		idem_answer_error(object->of);
	return value;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A digest, exactly as idem writes it: quicker than uuid_in(), which takes any form. */
static void
read_digest(const IdemAnswerPart *object, const char *name, pg_uuid_t *digest)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	char	   *text = read_string(object, name);
	int			at = 0;

	if (strlen(text) != sizeof(form) - 1)
		idem_answer_error(object->of);
	for (int i = 0; form[i] != '\0'; i++)
	{
		int			digit = hex_digit(text[i]);

		if (form[i] == '-' ? text[i] != '-' : digit < 0)
			idem_answer_error(object->of);
		if (form[i] == '-')
			continue;
		if (at % 2 == 0)
			digest->data[at / 2] = digit << 4;
		else
			digest->data[at / 2] |= digit;
		at++;
	}
}

static void
read_values(const IdemAnswerPart *object, IdemRows *rows)
{
	JsonbValue	v;
	JsonbIterator *it;
	JsonbIteratorToken token;
	uint64		values = 0;

	if (getKeyJsonValueFromContainer(object->json, "values", 6, &v) == NULL ||
		v.type != jbvBinary || !JsonContainerIsArray(v.val.binary.data))
		idem_answer_error(object->of);
	it = JsonbIteratorInit(v.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (v.type != jbvString && v.type != jbvNull)
			idem_answer_error(object->of);
		idem_row_text_add(rows, v.type == jbvNull ? NULL : v.val.string.val,
						  v.type == jbvNull ? 0 : v.val.string.len);
		values++;
	}
	if (values != rows->count * rows->columns)
		idem_answer_error(object->of);
}

static void
read_rows(const IdemAnswerPart *object, IdemRows *rows)
{
	initStringInfo(&rows->text);
	if (!has(object, "columns"))
		return;
	rows->columns = read_int8(object, "columns", 0, MaxTupleAttributeNumber);
	rows->count = read_int8(object, "count", 0, PG_INT32_MAX);
	read_values(object, rows);
}

static ErrorData *
read_error(const IdemAnswerPart *object)
{
	ErrorData  *error = palloc0(sizeof(ErrorData));
	const char *code = read_string(object, "sqlstate");

	if (strlen(code) != 5 ||
		strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
		strncmp(code, "00", 2) == 0)
		idem_answer_error(object->of);
	error->elevel = ERROR;
	error->assoc_context = CurrentMemoryContext;
	error->sqlerrcode = MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]);
	error->message = read_string(object, "message");
	error->detail = read_option(object, "detail");
	error->hint = read_option(object, "hint");
	error->schema_name = read_option(object, "schema");
	error->table_name = read_option(object, "table");
	error->column_name = read_option(object, "column");
	error->datatype_name = read_option(object, "type");
	error->constraint_name = read_option(object, "constraint");
	return error;
}

static IdemEntry *
read_entry(const IdemAnswerPart *object)
{
	IdemEntry  *entry = palloc0(sizeof(IdemEntry));
	const char *kind = read_string(object, "kind");

	if (strlen(kind) != 1 || strchr("wraf", kind[0]) == NULL)
		idem_answer_error(object->of);
	entry->kind = (IdemEntryKind) kind[0];
	read_digest(object, "exact", &entry->key.exact);
	entry->key.clock = entry->key.exact;
	if (has(object, "clock"))
		read_digest(object, "clock", &entry->key.clock);
	entry->undone = has(object, "undone");
	entry->partial = has(object, "partial");
	if (entry->kind == IDEM_ENTRY_FAILED || has(object, "sqlstate"))
		entry->error = read_error(object);
	if (entry->kind != IDEM_ENTRY_AGAIN && entry->kind != IDEM_ENTRY_FAILED)
	{
		read_rows(object, &entry->rows);
		entry->processed = usually_processed(&entry->rows);
		if (has(object, "processed"))
			entry->processed = read_int8(object, "processed", 0, PG_INT64_MAX);
		if (has(object, "names"))
			entry->names = read_int8(object, "names", 0, PG_UINT32_MAX);
	}
	return entry;
}

/*
 * What a key remembers of a transaction, in the current memory.  Raises XX001 for what
 * no transaction has left, 0A000 for what one of another version of idem has.
 */
List *
idem_record_decode(const IdemAnswer *answer)
{
	IdemAnswerPart record;
	IdemAnswerPart statements = {.of = OF};
	JsonbValue	v;
	List	   *entries = NIL;
	int64		version;

	idem_answer_object(answer, OF, &record);
	if (!has(&record, "version"))
		idem_answer_error(OF);
	version = read_int8(&record, "version", 1, PG_INT64_MAX);
	if (version != VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the key holds a transaction that another version of idem has recorded"),
				 errdetail("The record has version " INT64_FORMAT ", this idem reads %d.",
						   version, VERSION)));
	if (getKeyJsonValueFromContainer(record.json, "statements", 10, &v) == NULL ||
		v.type != jbvBinary || !JsonContainerIsArray(v.val.binary.data))
		idem_answer_error(OF);
	statements.json = v.val.binary.data;
	for (uint32 i = 0; i < JsonContainerSize(statements.json); i++)
	{
		IdemAnswerPart object;
		IdemEntry  *entry;

		idem_answer_element(&statements, i, &object);
		entry = read_entry(&object);
		entry->index = i;
		entries = lappend(entries, entry);
	}
	return entries;
}
