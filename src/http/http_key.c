/*
 * http_key.c
 *	  SQL: idem_http_key(), the key in the value of an Idempotency-Key header.
 *
 * By draft-ietf-httpapi-idempotency-key-header the value is a structured field
 * (RFC 8941): an Item, which is a String.  Two things go beyond that or have to be
 * decided:
 *
 * A key without quotes is taken, too, since clients have been sending such ones for
 * longer than there is a draft.  It may have the characters of a Token, in
 * any order: most are UUIDs, half of which begin with a digit, as no Token does.
 *
 * An Item may have parameters.  The draft defines none, so after a String they
 * are read, as the grammar wants it, and do not count: a key stays the same where
 * a later draft adds one.  After a key without quotes they are refused: somebody
 * who sends order;a and order;b without having read RFC 8941 means two keys.
 *
 * Bytes that are not ASCII are refused wherever they stand.  All encodings that
 * a server may have agree on those that are.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "base/error.h"

PG_FUNCTION_INFO_V1(idem_http_key);

#define DIGITS		"0123456789"
#define LOWER		"abcdefghijklmnopqrstuvwxyz"
#define UPPER		"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
/* tchar of RFC 9110, and what else a Token of RFC 8941 may have */
#define TOKEN_CHARS	DIGITS LOWER UPPER "!#$%&'*+-.^_`|~:/"

/* Digits of a number: 15, or 12 and 3 after the point. */
#define INTEGER_DIGITS	15
#define DECIMAL_DIGITS	12
#define FRACTION_DIGITS	3

/* A header's value that is being read. */
typedef struct HttpField
{
	const char *value;			/* all of it, ended by a zero byte */
	const char *at;				/* what is to be read next */
} HttpField;

/* Raises that the value is none.  The detail is a sentence about a byte. */
pg_noreturn static void
error_malformed(const HttpField *field, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed Idempotency-Key header"),
			 errdetail("Byte %d: %s.", (int) (field->at - field->value) + 1, detail),
			 errhint("Send one key, of printable ASCII characters and in double quotes, as in: Idempotency-Key: \"8e03978e-40d5-43dd-bc93-6894a57f9324\".")));
}

/* Reads a character if it is that one.  No zero byte stands inside the value. */
static bool
accept_char(HttpField *field, char c)
{
	if (*field->at != c)
		return false;
	field->at++;
	return true;
}

/* Reads as many of these characters as there are, and gives their number. */
static int
accept_chars(HttpField *field, const char *chars)
{
	int			length = strspn(field->at, chars);

	field->at += length;
	return length;
}

/* Reads a String, whose first quote has been read; adds it to buf if there is one. */
static void
read_string(HttpField *field, StringInfo buf)
{
	for (; !accept_char(field, '"'); field->at++)
	{
		if (accept_char(field, '\\') && *field->at != '"' && *field->at != '\\')
			error_malformed(field, "a backslash may stand before a double quote or a backslash only");
		if (*field->at == '\0')
			error_malformed(field, "the closing double quote is missing");
		if (*field->at < ' ' || *field->at > '~')
			error_malformed(field, "this is not a printable ASCII character");
		if (buf != NULL)
			appendStringInfoChar(buf, *field->at);
	}
}

/* Reads an Integer or a Decimal. */
static void
read_number(HttpField *field)
{
	int			digits;
	int			fraction;

	accept_char(field, '-');
	digits = accept_chars(field, DIGITS);
	if (digits == 0 || digits > INTEGER_DIGITS)
		error_malformed(field, "the number of a parameter has no digits or too many");
	if (!accept_char(field, '.'))
		return;
	fraction = accept_chars(field, DIGITS);
	if (digits > DECIMAL_DIGITS || fraction == 0 || fraction > FRACTION_DIGITS)
		error_malformed(field, "the number of a parameter has no digits or too many");
}

/* Reads a Byte Sequence, whose first colon has been read. */
static void
read_bytes(HttpField *field)
{
	accept_chars(field, DIGITS LOWER UPPER "+/");
	accept_chars(field, "=");
	if (!accept_char(field, ':'))
		error_malformed(field, "the bytes of a parameter must be Base64 between colons");
}

/* Reads the value of a parameter, a Bare Item of any type. */
static void
read_bare_item(HttpField *field)
{
	if (accept_char(field, '"'))
		read_string(field, NULL);
	else if (accept_char(field, ':'))
		read_bytes(field);
	else if (accept_char(field, '?'))
	{
		if (!accept_char(field, '0') && !accept_char(field, '1'))
			error_malformed(field, "the truth value of a parameter must be 0 or 1");
	}
	else if (*field->at != '\0' && strchr("-" DIGITS, *field->at) != NULL)
		read_number(field);
	else if (*field->at != '\0' && strchr("*" LOWER UPPER, *field->at) != NULL)
		accept_chars(field, TOKEN_CHARS);
	else
		error_malformed(field, "the value of a parameter is missing or malformed");
}

/* Reads the parameters of an Item. */
static void
read_parameters(HttpField *field)
{
	while (accept_char(field, ';'))
	{
		accept_chars(field, " ");
		if (*field->at == '\0' || strchr("*" LOWER, *field->at) == NULL)
			error_malformed(field, "the name of a parameter must begin with a small letter");
		accept_chars(field, DIGITS LOWER "_-.*");
		if (accept_char(field, '='))
			read_bare_item(field);
	}
}

/*
 * idem_http_key(header text) -> text
 *
 * The value may have blanks around it, as in a message of HTTP.  A key longer than
 * an idempotency key may be is returned as it is, for idem_derive_key().
 *
 * Raises 22004 for a null, which stands for no header, 22023 for a value that is
 * none; both are status 400, as the draft wants it.
 */
Datum
idem_http_key(PG_FUNCTION_ARGS)
{
	HttpField	field;
	StringInfoData key;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"header\" must not be null"),
				 errdetail("The request has no Idempotency-Key header."),
				 errhint("Send a key that is new for each request, and the same again with each retry of it.")));

	field.value = field.at = text_to_cstring(PG_GETARG_TEXT_PP(0));
	initStringInfo(&key);
	accept_chars(&field, " \t");
	if (accept_char(&field, '"'))
	{
		read_string(&field, &key);
		read_parameters(&field);
	}
	else
	{
		const char *start = field.at;

		appendBinaryStringInfo(&key, start, accept_chars(&field, TOKEN_CHARS));
	}
	accept_chars(&field, " \t");
	if (*field.at != '\0')
		error_malformed(&field, key.len == 0 ?
						"a key begins with a double quote, or has the characters of a token only" :
						"there must be nothing after the key");
	if (key.len == 0)
		error_malformed(&field, "the key is empty");

	PG_RETURN_TEXT_P(cstring_to_text_with_len(key.data, key.len));
}
