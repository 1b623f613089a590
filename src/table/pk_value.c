/*
 * pk_value.c
 *	  A row as a caller names it: by the value of its primary key.
 *
 * Whatever type an id is given in, what counts is its text, read as a literal
 * would be by the type of the column.  So 5, '5' and the jsonb 5 name the same
 * row, and a retry may send any of them.  Only where the column is of type jsonb
 * does a JSON string name another row than its text.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "base/error.h"
#include "table/jsonb_to_datum.h"
#include "table/pk_value.h"

/* An id as messages show it: as far as people read it. */
const char *
idem_pk_value_clip(const char *text)
{
	int			length = strlen(text);

	if (length <= 80)
		return text;

	return psprintf("%.*s...", pg_mbcliplen(text, length, 77), text);
}

/* An id that is one value, which is kept as it is. */
IdemPkValue *
idem_pk_value_text(const char *value)
{
	IdemPkValue *id = palloc0(sizeof(IdemPkValue));

	id->text = idem_pk_value_clip(value);
	id->count = 1;
	id->values = palloc(sizeof(char *));
	id->values[0] = value;
	id->strings = palloc0(sizeof(bool));
	return id;
}

/* The text of a JSON value, the same for equal ones; NULL if it is no scalar. */
static const char *
scalar_text(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return numeric_normalize(v->val.numeric);
		case jbvBool:
			return v->val.boolean ? "true" : "false";
		case jbvNull:
			idem_error_null("id");
		default:
			return NULL;
	}
}

static void
json_error(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"id\" must be a JSON scalar, or an object of scalars"),
			 errdetail("It is %s.", text),
			 errhint("Name each column of the primary key with its value: {\"tenant\": 7, \"id\": 5}.")));
}

/*
 * An id given as jsonb: a scalar, or an object that names the columns of the
 * primary key.  Raises 22023 for anything else, 22004 for a null in it.
 */
IdemPkValue *
idem_pk_value_jsonb(Jsonb *json)
{
	const char *text = idem_pk_value_clip(JsonbToCString(NULL, &json->root,
														 VARSIZE(json)));
	int			most = JB_ROOT_COUNT(json) + 1;
	IdemPkValue *id;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	if (JB_ROOT_IS_SCALAR(json))
	{
		(void) JsonbExtractScalar(&json->root, &v);
		id = idem_pk_value_text(scalar_text(&v));
		id->strings[0] = (v.type == jbvString);
		return id;
	}
	if (!JB_ROOT_IS_OBJECT(json))
		json_error(text);

	id = palloc0(sizeof(IdemPkValue));
	id->text = text;

	id->names = palloc(sizeof(char *) * most);
	id->values = palloc(sizeof(char *) * most);
	id->strings = palloc(sizeof(bool) * most);

	it = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&it, &v, false);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			id->names[id->count] = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			id->values[id->count] = scalar_text(&v);
			if (id->values[id->count] == NULL)
				json_error(text);
			id->strings[id->count] = (v.type == jbvString);
			id->count++;
		}
	}
	return id;
}

/* The column of the primary key that a value of an id is for, if there is one. */
static AttrNumber
column_of(const IdemPkValue *id, int i, Oid relid)
{
	Bitmapset  *key;
	int			column;
	Oid			constraint;

	if (id->names != NULL)
		return get_attnum(relid, id->names[i]);
	key = get_primary_key_attnos(relid, true, &constraint);
	return bms_get_singleton_member(key, &column) ?
		column + FirstLowInvalidHeapAttributeNumber : InvalidAttrNumber;
}

/*
 * A value of an id as the literal that a column of this type reads.  Of jsonb, a
 * JSON string is a value as it is, and no other than the number that it spells.
 */
static const char *
literal(const IdemPkValue *id, int i, Oid type)
{
	StringInfoData buf;

	Assert(i < id->count && id->values[i] != NULL);
	if (!id->strings[i] || getBaseType(type) != JSONBOID)
		return id->values[i];
	initStringInfo(&buf);
	escape_json(&buf, id->values[i]);
	return buf.data;
}

/*
 * May a JSON string's text be the literal of another JSON value?  It is asked before
 * the column is looked for, which takes longer.
 */
static bool
may_be_json(const IdemPkValue *id, int i)
{
	return id->strings[i] && id->values[i][0] != '\0' &&
		strchr("-0123456789tfn\"[{ \t\r\n", id->values[i][0]) != NULL;
}

/*
 * A value of an id as it counts: a UUID may be written in many ways, but is one
 * only where the column says so.
 */
static const char *
settled_value(const IdemPkValue *id, int i, Oid relid)
{
	const char *value = id->values[i];
	const char *uuid = idem_jsonb_to_datum_uuid(value, strlen(value));
	AttrNumber	column;
	Oid			type;

	if (uuid == NULL && !may_be_json(id, i))
		return value;
	column = column_of(id, i, relid);
	if (column <= 0)
		return value;
	type = get_atttype(relid, column);
	return uuid != NULL && getBaseType(type) == UUIDOID ? uuid :
		literal(id, i, type);
}

/* Adds an id of a row of a table to a fingerprint: however it was given. */
void
idem_pk_value_fingerprint(const IdemPkValue *id, Oid relid, IdemFingerprint *fp)
{
	Assert(id->count == 1 || id->names != NULL);
	for (int i = 0; i < id->count; i++)
	{
		/* with one value there is nothing to tell it from */
		if (id->count > 1)
			idem_fingerprint_string(fp, id->names[i]);
		idem_fingerprint_string(fp, settled_value(id, i, relid));
	}
}

static const char *
key_columns(Relation rel, const IdemUniqueIndex *key)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(&buf, "%s\"%s\"", i ? ", " : "",
						 NameStr(TupleDescAttr(RelationGetDescr(rel),
											   key->columns[i] - 1)->attname));
	return buf.data;
}

pg_noreturn static void
mismatch_error(const IdemPkValue *id, Relation rel, const IdemUniqueIndex *key)
{
	/* A name of no column at all is a slip of another kind. */
	for (int i = 0; id->names != NULL && i < id->count; i++)
	{
		if (get_attnum(RelationGetRelid(rel), id->names[i]) <= 0)
			idem_error_no_column(RelationGetRelid(rel), id->names[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"id\" is not a value of the primary key of \"%s\"",
					RelationGetRelationName(rel)),
			 errdetail("The id is %s, the primary key consists of %s.",
					   id->text, key_columns(rel, key)),
			 key->ncolumns > 1 ?
			 errhint("Give the id as a JSON object with a value for each of these columns.") : 0));
}

/* The value that an id gives for a column of the key, or NULL. */
static const char *
value_for(const IdemPkValue *id, Form_pg_attribute att)
{
	for (int i = 0; i < id->count; i++)
	{
		if (id->names == NULL ||
			strcmp(id->names[i], NameStr(att->attname)) == 0)
			return literal(id, i, att->atttypid);
	}
	return NULL;
}

/*
 * The types and the values of the columns of a key, as an id gives them.
 * Raises 42703 and 22023 for an id that does not fit the key, and what the
 * types' input functions raise.
 */
void
idem_pk_value_bind(const IdemPkValue *id, Relation rel,
				   const IdemUniqueIndex *key, Oid *types, Datum *values)
{
	Assert(key->ncolumns > 0 && key->ncolumns <= INDEX_MAX_KEYS);
	if (id->count != key->ncolumns)
		mismatch_error(id, rel, key);
	for (int i = 0; i < key->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
											  key->columns[i] - 1);
		const char *value = value_for(id, att);
		Oid			function;
		Oid			ioparam;

		if (value == NULL)
			mismatch_error(id, rel, key);
		types[i] = getBaseType(att->atttypid);
		getTypeInputInfo(att->atttypid, &function, &ioparam);
		values[i] = OidInputFunctionCall(function, unconstify(char *, value),
										 ioparam, -1);
	}
}

/* Appends the condition that a row, called idem_row, has the key $1, $2, ... */
void
idem_pk_value_condition(StringInfo buf, Relation rel,
						const IdemUniqueIndex *key)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
											  key->columns[i] - 1);
		Oid			type = getBaseType(att->atttypid);

		appendStringInfo(buf, "%sidem_row.%s", i ? " AND " : "",
						 quote_identifier(NameStr(att->attname)));
		/* no operator is found for a domain over an enum */
		if (type != att->atttypid)
			appendStringInfo(buf, "::%s", format_type_be_qualified(type));
		appendStringInfo(buf, " %s $%d", idem_unique_index_operator(key, i),
						 i + 1);
	}
}
