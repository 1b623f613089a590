/*
 * statement_key.c
 *	  What tells one statement of a transaction from another.
 *
 * A statement is its tokens and the values of its parameters, in the schemas in which
 * its names are looked for: blanks and comments, which tracing puts there, do not
 * count.  How the values came, as text or binary, does not count either.
 *
 * A clock of the client's own (updated_at) makes another statement of each retry.
 * So there is a second digest, which leaves out parameters and literals that are a
 * moment in time.
 *
 * The digests are the same on every version of the server, since keys outlive one.  So
 * what a newer one scans otherwise is hashed as PostgreSQL 15 scans it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/keywords.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/fingerprint.h"
#include "session/row_text.h"
#include "session/statement_key.h"

/*
 * Tokens as the scanner numbers them, in the order of gram.y, which every scanner
 * that shares its lexer relies on.  One of a single character has that as its number.
 */
enum
{
	TOKEN_IDENT = 258, TOKEN_UIDENT, TOKEN_FCONST, TOKEN_SCONST, TOKEN_USCONST,
	TOKEN_BCONST, TOKEN_XCONST, TOKEN_OP, TOKEN_ICONST, TOKEN_PARAM,
	TOKEN_TYPECAST, TOKEN_FIRST_KEYWORD = 275
};

/*
 * Words that are keywords of some versions only.  Where they are none they are names, as
 * columns called "path" or "source" are, and so they are hashed everywhere.
 */
static const char *const names[] = {
	"absent", "conditional", "destination", "edge", "empty", "enforced", "error",
	"format", "graph", "graph_table", "ignore", "indent", "json", "json_array",
	"json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query",
	"json_scalar", "json_serialize", "json_table", "json_value", "keep", "keys", "lsn",
	"merge_action", "nested", "node", "objects", "omit", "partitions", "path", "period",
	"plan", "portion", "properties", "property", "quotes", "recheck", "relationship",
	"repack", "respect", "scalar", "source", "split", "string", "system_user", "target",
	"unconditional", "vertex", "virtual", "wait",
};

/*
 * Tokens as they are hashed, a byte each.  A token of a single character is hashed as
 * that.  None is a letter: all else that is hashed begins with one.
 */
enum
{
	HASHED_KEYWORD = 1,
	HASHED_MOMENT,
	HASHED_OTHERS,				/* from here on in the order of the scanner */
};

typedef struct Digest
{
	IdemFingerprint fp;
	bool		skips;			/* are moments left out? */
	bool		met;			/* has there been one? */
} Digest;

/* Is a text so many digits? */
static const char *
digits(const char *text, int count)
{
	for (; count > 0; count--, text ++)
		if (*text < '0' || *text > '9')
			return NULL;
	return text;
}

/* Is a literal a date with a time of day, as drivers write them? */
static bool
is_moment(const char *text)
{
	const char *c = digits(text, 4);

	if (c == NULL || *c != '-' || (c = digits(c + 1, 2)) == NULL ||
		*c != '-' || (c = digits(c + 1, 2)) == NULL ||
		(*c != ' ' && *c != 'T') || (c = digits(c + 1, 2)) == NULL ||
		*c != ':' || (c = digits(c + 1, 2)) == NULL)
		return false;
	return c[strspn(c, "0123456789:.+- Zz")] == '\0';
}

/* Adds a moment, unless they are left out. */
static bool
passes(Digest *digest)
{
	digest->met = true;
	return !digest->skips;
}

/* A token as it is hashed. */
static unsigned char
hashed_token(int token)
{
	return token < TOKEN_IDENT ? token : HASHED_OTHERS + token - TOKEN_IDENT;
}

static void
add_literal(Digest *digest, int token, const char *text)
{
	if (is_moment(text) && !passes(digest))
		idem_fingerprint_token(&digest->fp, HASHED_MOMENT, NULL);
	else
		idem_fingerprint_token(&digest->fp, hashed_token(token), text);
}

static void
add_token(Digest *digest, int token, const core_YYSTYPE *value)
{
	/* from PostgreSQL 19 on that is a token of its own, with any number */
	if (token >= TOKEN_FIRST_KEYWORD)
	{
		idem_fingerprint_token(&digest->fp, hashed_token(TOKEN_OP), "->");
		return;
	}
	switch (token)
	{
		case TOKEN_SCONST:
		case TOKEN_USCONST:
			add_literal(digest, token, value->str);
			break;
		case TOKEN_IDENT:
		case TOKEN_UIDENT:
		case TOKEN_FCONST:
		case TOKEN_BCONST:
		case TOKEN_XCONST:
		case TOKEN_OP:
			idem_fingerprint_token(&digest->fp, hashed_token(token), value->str);
			break;
		case TOKEN_ICONST:
		case TOKEN_PARAM:
			idem_fingerprint_token(&digest->fp, hashed_token(token), NULL);
			idem_fingerprint_int8(&digest->fp, value->ival);
			break;
		default:
			idem_fingerprint_token(&digest->fp, hashed_token(token), NULL);
			break;
	}
}

/*
 * Is a token a keyword?  Then the lexer has said which, by a word of the list of
 * keywords; nothing else sets the value of a token beyond those.
 */
static const char *
keyword_of(int token, const core_YYSTYPE *value)
{
	return token >= TOKEN_FIRST_KEYWORD ? value->keyword : NULL;
}

/* Is a keyword one of the words that count as names? */
static bool
counts_as_name(const char *keyword)
{
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], keyword) == 0)
			return true;
	return false;
}

static void
add_keyword(Digest *digest, int token, const char *keyword)
{
	/* by token, what was found out about it */
	static enum
	{
		UNKNOWN, KEYWORD, NAME
	}			known[1024];
	int			number = token - TOKEN_FIRST_KEYWORD;
	bool		is_name;

	if (number >= lengthof(known))
		is_name = counts_as_name(keyword);
	else
	{
		if (known[number] == UNKNOWN)
			known[number] = counts_as_name(keyword) ? NAME : KEYWORD;
		is_name = known[number] == NAME;
	}
	idem_fingerprint_token(&digest->fp,
						   is_name ? hashed_token(TOKEN_IDENT) : HASHED_KEYWORD,
						   keyword);
}

/*
 * Adds the tokens of a text.  What an SQL PREPARE or DECLARE names a statement does not
 * count: drivers number the names, and a retry has another one.
 */
static void
add_tokens(Digest *digest, const char *text)
{
	core_yyscan_t scanner;
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE		place;
	int			token;
	bool		first = true;
	const char *until = NULL;	/* the keyword that ends what is left out */

	scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	IDEM_HAVE_SCANNER_QUIET(&extra);
	value.keyword = NULL;
	while ((token = core_yylex(&value, &place, scanner)) != 0)
	{
		const char *keyword = keyword_of(token, &value);

		if (first && keyword != NULL && strcmp(keyword, "prepare") == 0)
			until = "as";
		else if (first && keyword != NULL && strcmp(keyword, "declare") == 0)
			until = "for";
		else if (until != NULL)
			until = keyword != NULL && strcmp(keyword, until) == 0 ? NULL : until;
		else if (keyword != NULL)
			add_keyword(digest, token, keyword);
		else if (token != ';')
			add_token(digest, token, &value);
		first = false;
		value.keyword = NULL;
	}
	scanner_finish(scanner);
}

/* Adds a value of a type whose values are the same number everywhere; else false. */
static bool
add_plain(Digest *digest, Oid type, Datum value)
{
	switch (type)
	{
		case BOOLOID:
			idem_fingerprint_string(&digest->fp, DatumGetBool(value) ? "true" : "false");
			return true;
		case INT2OID:
			idem_fingerprint_int8(&digest->fp, DatumGetInt16(value));
			return true;
		case INT4OID:
			idem_fingerprint_int8(&digest->fp, DatumGetInt32(value));
			return true;
		case INT8OID:
			idem_fingerprint_int8(&digest->fp, DatumGetInt64(value));
			return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (passes(digest))
				idem_fingerprint_int8(&digest->fp, DatumGetInt64(value));
			else
				idem_fingerprint_token(&digest->fp, HASHED_MOMENT, NULL);
			return true;
		case TEXTOID:
		case VARCHAROID:
			{
				char	   *string = TextDatumGetCString(value);

				idem_fingerprint_string(&digest->fp, string);
				pfree(string);
				return true;
			}
		default:
			return false;
	}
}

static void
add_params(Digest *digest, ParamListInfo params)
{
	for (int i = 0; params != NULL && i < params->numParams; i++)
	{
		ParamExternData space;
		ParamExternData *param = params->paramFetch == NULL ? &params->params[i] :
			params->paramFetch(params, i + 1, false, &space);

		if (param->isnull || !OidIsValid(param->ptype))
			idem_fingerprint_null(&digest->fp);
		else if (!add_plain(digest, param->ptype, param->value))
			idem_fingerprint_string(&digest->fp,
									idem_row_text_of(param->ptype, param->value));
	}
}

static pg_uuid_t
digest_of(const IdemStatementText *statement, const char *text, bool skips,
		  bool *met)
{
	Digest		digest = {.skips = skips};
	pg_uuid_t	value;

	idem_fingerprint_init(&digest.fp, "statement");
	idem_fingerprint_search_path(&digest.fp);
	add_tokens(&digest, text);
	add_params(&digest, statement->params);
	if (statement->ordinal > 0)
	{
		idem_fingerprint_string(&digest.fp, "rule");
		idem_fingerprint_int8(&digest.fp, statement->ordinal);
	}
	value = idem_fingerprint_value(&digest.fp);
	*met = digest.met;
	return value;
}

/* Makes the digests of a statement. */
void
idem_statement_key_make(const IdemStatementText *statement, IdemStatementKey *key)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext,
												 "idem statement",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(memory);
	const char *text = statement->source;
	bool		met;

	if (statement->location > 0)
		text	  +=statement->location;

	if (statement->location >= 0 && statement->length > 0)
		text = pnstrdup(text, statement->length);

	key->exact = digest_of(statement, text, false, &met);
	key->clock = met ? digest_of(statement, text, true, &met) : key->exact;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(memory);
}

/* Are two statements the same, as idem.key_match says? */
bool
idem_statement_key_matches(const IdemStatementKey *a, const IdemStatementKey *b,
						   bool clock)
{
	return memcmp(clock ? &a->clock : &a->exact, clock ? &b->clock : &b->exact,
				  sizeof(pg_uuid_t)) == 0;
}
