/*
 * command.c
 *	  A command of the caller's, given as text.
 *
 * It is one statement that can be planned, and its parameters have the types
 * that it takes them to have, as in a prepared statement.
 *
 * Its plan is kept for the session, but unlike a prepared statement nobody
 * asked for that, so it must not show.  Whatever the text is read by is part of
 * the plan's signature: who reads it, the schemas that names are looked for in,
 * the settings that literals are read by, and the time, where a literal means
 * now.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "pgtime.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/numeric.h"
#include "utils/xml.h"

#include "command.h"
#include "compat.h"
#include "params.h"
#include "query.h"
#include "rowjson.h"
#include "rows.h"

/* The settings that make a difference to what the same text means. */
typedef struct Reading
{
	int			date_style;
	int			date_order;
	int			interval_style;
	int			xml_option;
	bool		array_nulls;
	bool		null_equals;
	bool		standard_strings;
} Reading;

/* What literals of the date and time types mean the current time by. */
static const char *const clock_words[] = {
	"now", "today", "tomorrow", "yesterday"
};

static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

/*
 * May a literal in the text mean the time at which it is read?  To say so where
 * none does costs a plan.  The call now() is by far the most common of those.
 */
static bool
may_read_clock(const char *text)
{
	for (const char *c = text; *c; c++)
	{
		if (c > text && is_word(c[-1]))
			continue;
		/* most letters begin none of them */
		if (strchr("ntyNTY", *c) == NULL)
			continue;
		for (int i = 0; i < lengthof(clock_words); i++)
		{
			int			length = strlen(clock_words[i]);

			if (pg_strncasecmp(c, clock_words[i], length) == 0 &&
				!is_word(c[length]) && c[length] != '(')
				return true;
		}
	}
	return false;
}

/* Most are read where they are in force, since to look them up by name costs. */
static void
write_reading(StringInfo buf)
{
	Reading		reading;

	memset(&reading, 0, sizeof(reading));	/* the padding, too */
	reading.date_style = DateStyle;
	reading.date_order = DateOrder;
	reading.interval_style = IntervalStyle;
	reading.xml_option = xmloption;
	reading.array_nulls = Array_nulls;
	reading.null_equals = Transform_null_equals;
	reading.standard_strings = IDEM_STANDARD_STRINGS;
	appendBinaryStringInfo(buf, (char *) &reading, sizeof(reading));

	appendStringInfo(buf, "%s%c%s%c%s%c",
					 pg_get_timezone_name(session_timezone), '\0',
					 GetConfigOption("lc_monetary", false, false), '\0',
					 GetConfigOption("timezone_abbreviations", false, false),
					 '\0');
}

static void
write_signature(StringInfo buf, const char *text)
{
	Oid			user = GetUserId();
	List	   *path = fetch_search_path(true);
	int			schemas = list_length(path);
	TimestampTz now = may_read_clock(text) ?
		GetCurrentTransactionStartTimestamp() : 0;
	ListCell   *lc;

	initStringInfo(buf);
	appendStringInfoChar(buf, 'x');
	appendBinaryStringInfo(buf, (char *) &user, sizeof(user));
	appendBinaryStringInfo(buf, (char *) &now, sizeof(now));
	appendBinaryStringInfo(buf, (char *) &schemas, sizeof(schemas));
	foreach(lc, path)
		appendBinaryStringInfo(buf, (char *) &lfirst_oid(lc), sizeof(Oid));
	write_reading(buf);
	appendStringInfoString(buf, text);
	list_free(path);
}

/*
 * Makes the position of an error one in the command, as SPI does, lest it be
 * taken for one in the statement that called us.
 */
static void
tell_command(void *text)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(text);
	}
	else
		errcontext("SQL statement \"%s\"", (char *) text);
}

/*
 * Reads a command: the number and the types of the parameters that it takes.
 */
static int
read_command(const char *text, Oid **types)
{
	ErrorContextCallback context = {.callback = tell_command};
	List	   *statements;
	Query	   *query;
	int			count = 0;

	context.arg = unconstify(char *, text);
	context.previous = error_context_stack;
	error_context_stack = &context;
	statements = raw_parser(text, RAW_PARSE_DEFAULT);
	error_context_stack = context.previous;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"command\" must be one statement"),
				 errdetail_plural("It has %d statement.",
								  "It has %d statements.",
								  list_length(statements),
								  list_length(statements)),
				 statements == NIL ? 0 :
				 errhint("Combine them by WITH, or put them into a function and select that.")));

	error_context_stack = &context;
	*types = NULL;
	query = parse_analyze_varparams(linitial_node(RawStmt, statements), text,
									types, &count, NULL);
	error_context_stack = context.previous;

	if (query->commandType == CMD_UTILITY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"command\" cannot be %s",
						CreateCommandName(query->utilityStmt)),
				 errhint("Use SELECT, INSERT, UPDATE, DELETE or MERGE.")));

	for (int i = 0; i < count; i++)
	{
		if ((*types)[i] == InvalidOid || (*types)[i] == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine data type of parameter $%d",
							i + 1)));
	}
	return count;
}

/* The plan of a command. */
static IdemPlan *
make_plan(const char *text)
{
	StringInfoData signature;
	IdemPlan   *plan;

	write_signature(&signature, text);
	plan = idem_query_find(signature.data, signature.len);
	if (plan == NULL)
	{
		Oid		   *types;
		int			count = read_command(text, &types);

		plan = idem_query_keep(signature.data, signature.len, text,
							   count, types);
	}
	return plan;
}

/*
 * Runs a command with the caller's rights and returns what came of it, as
 * jsonb: {"rows": [...], "processed": n}, without rows if it returns no set of
 * them.
 *
 * Raises 42601 unless the text is one statement, 0A000 for one that cannot be
 * planned, 42P18 where the type of a parameter is not to be told, and whatever
 * parsing, idem_params_bind and the command raise.
 */
Datum
idem_command_run(const char *text, Jsonb *params)
{
	IdemJsonbState answer = {0};
	IdemRows	rows;
	uint64		processed;
	JsonbValue	number;

	idem_jsonb_push(&answer, WJB_BEGIN_OBJECT, NULL);
	idem_rows_init(&rows, &answer);
	processed = idem_query_caller_send(make_plan(text), idem_params_bind,
									   params, &rows.receiver);

	idem_rowjson_name(&answer, "processed");
	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric((int64) processed);
	idem_jsonb_push(&answer, WJB_VALUE, &number);
	idem_jsonb_push(&answer, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(answer.result));
}
