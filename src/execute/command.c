/*
 * command.c
 *	  A command of the caller's, given as text.
 *
 * It is one statement that can be planned, and its parameters have the types
 * that it takes them to have, as in a prepared statement.
 *
 * Its plan is kept for the session, but unlike with a prepared statement the
 * caller has not asked for that, so it must not show: the same text must do what
 * it would do if it was prepared now.  What its names lead to may be another thing
 * by now, a table that stands earlier in search_path, a function that fits better,
 * and a literal may mean another time.  The plan cache notices none of these.  So
 * the text is parsed once, but analysed at each call, and the plan is used only if
 * what comes of that is what it was made of.  Analysis takes about a fifth of what
 * parsing, analysing and planning take.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/error.h"
#include "execute/command.h"
#include "execute/jsonb_receiver.h"
#include "execute/params.h"
#include "run/spi.h"
#include "run/spi_caller.h"
#include "table/row_to_jsonb.h"

/* Longer ones are not kept: their trees may take a hundred times the memory. */
#define MAX_KEPT_LENGTH	(16 * 1024)

/* A command as it was read; kept with its plan, all zero if nothing is. */
typedef struct Reading
{
	RawStmt    *parsed;
	Query	   *analyzed;
	Oid		   *types;			/* of the parameters */
	int			count;			/* of them */
} Reading;

/*
 * The plan's signature: the text, and what it is parsed by.  Plans depend on who
 * they are for, and the plan cache would make anew one for another search_path.
 */
static void
write_signature(StringInfo buf, const char *text)
{
	Oid			user = GetUserId();
	List	   *path = fetch_search_path(true);
	int			schemas = list_length(path);
	ListCell   *lc;

	initStringInfo(buf);
	appendStringInfoChar(buf, IDEM_PLAN_EXECUTE);
	appendStringInfoChar(buf, IDEM_STANDARD_STRINGS ? 's' : 'e');
	appendBinaryStringInfo(buf, (char *) &user, sizeof(user));
	appendBinaryStringInfo(buf, (char *) &schemas, sizeof(schemas));
	foreach(lc, path)
		appendBinaryStringInfo(buf, (char *) &lfirst_oid(lc), sizeof(Oid));
	appendStringInfoString(buf, text);
	list_free(path);
}

/*
 * Makes the position of an error one in the command, as SPI does, lest it be
 * taken for one in the statement that called idem.
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

/* Parses a command; raises 42601 unless it is one statement. */
static RawStmt *
parse(const char *text)
{
	ErrorContextCallback context;
	List	   *statements;

	idem_error_push_context(&context, tell_command, text);
	statements = raw_parser(text, RAW_PARSE_DEFAULT);
	idem_error_pop_context(&context);

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
	return linitial_node(RawStmt, statements);
}

/*
 * Raises 0A000 where a query writes to a temporary table.  What functions write
 * to cannot be seen.
 */
static void
check_tables(const Query *query)
{
	ListCell   *lc;

	if (query->resultRelation > 0)
	{
		Oid			table = rt_fetch(query->resultRelation, query->rtable)->relid;

		if (get_rel_persistence(table) == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("\"command\" cannot write to temporary table \"%s\"",
							get_rel_name(table)),
					 errdetail("The key would outlive the rows, and no other session could retry.")));
	}
	foreach(lc, query->cteList)
	{
		Node	   *cte = lfirst_node(CommonTableExpr, lc)->ctequery;

		if (IsA(cte, Query))
			check_tables((Query *) cte);
	}
}

/*
 * Analyses a parsed command: finds what its names lead to, and locks its tables.
 * Raises 0A000 for what cannot be planned and, under a key, for what writes to
 * temporary tables, 42P18 where the type of a parameter cannot be determined.
 */
static void
analyze(Reading *reading, const char *text, bool keyed)
{
	ErrorContextCallback context;

	reading->types = NULL;
	reading->count = 0;
	idem_error_push_context(&context, tell_command, text);
	/* analysis scribbles on what it is given */
	reading->analyzed = parse_analyze_varparams(copyObject(reading->parsed),
												text, &reading->types,
												&reading->count, NULL);
	idem_error_pop_context(&context);

	if (reading->analyzed->commandType == CMD_UTILITY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"command\" cannot be %s",
						CreateCommandName(reading->analyzed->utilityStmt)),
				 errhint("Use SELECT, INSERT, UPDATE, DELETE or MERGE.")));
	if (keyed)
		check_tables(reading->analyzed);

	for (int i = 0; i < reading->count; i++)
	{
		if (reading->types[i] == InvalidOid || reading->types[i] == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine data type of parameter $%d",
							i + 1)));
	}
}

/* Does a plan that was made of one reading, if any was kept, do for another? */
static bool
same_reading(const Reading *a, const Reading *b)
{
	/* without parameters there need not be an array */
	return a->analyzed != NULL && a->count == b->count &&
		(a->count == 0 ||
		 memcmp(a->types, b->types, sizeof(Oid) * a->count) == 0) &&
		equal(a->analyzed, b->analyzed);
}

/* Lets a plan have the reading that it was made of, as long as it lives. */
static void
keep_reading(IdemPlan *plan, const Reading *reading)
{
	MemoryContext former = MemoryContextSwitchTo(idem_spi_memory(plan));
	Reading		copy;

	copy.parsed = copyObject(reading->parsed);
	copy.analyzed = copyObject(reading->analyzed);
	copy.count = reading->count;
	copy.types = palloc(sizeof(Oid) * (reading->count + 1));
	if (reading->count > 0)
		memcpy(copy.types, reading->types, sizeof(Oid) * reading->count);
	MemoryContextSwitchTo(former);
	*(Reading *) plan->data = copy;
}

/*
 * The plan of a command, good until the next call of spi_caller.c; NULL if it has
 * to be run without keeping one.
 */
static IdemPlan *
find_plan(const char *text, bool keyed, Reading *reading)
{
	StringInfoData signature;
	IdemCallerStatement statement = {.data_size = sizeof(Reading)};
	const Reading *kept;
	IdemPlan   *plan;
	Reading		again;

	write_signature(&signature, text);
	statement.signature.data = signature.data;
	statement.signature.length = signature.len;
	kept = idem_spi_caller_data(&statement);
	reading->parsed = kept != NULL && kept->parsed != NULL ?
		copyObject(kept->parsed) : parse(text);
	/* this may run code of the caller's types, so what is kept may go */
	analyze(reading, text, keyed);

	plan = idem_spi_caller_find(&statement);
	if (plan != NULL && same_reading(plan->data, reading))
		return plan;

	/* this parses and analyses it once more, by what is true then */
	statement.nargs = reading->count;
	statement.argtypes = reading->types;
	(void) idem_spi_caller_keep(&statement, text);
	again.parsed = reading->parsed;
	analyze(&again, text, keyed);
	plan = idem_spi_caller_find(&statement);
	if (plan != NULL && same_reading(reading, &again))
		keep_reading(plan, reading);
	return plan;
}

/* Runs a command, and sends its rows to dest. */
static uint64
run(const char *text, Jsonb *params, bool keyed, DestReceiver *dest)
{
	Reading		reading;

	if (strlen(text) <= MAX_KEPT_LENGTH)
	{
		IdemPlan   *plan = find_plan(text, keyed, &reading);

		if (plan != NULL)
			return idem_spi_caller_send(plan, idem_params_bind, params, dest);
	}
	else
	{
		reading.parsed = parse(text);
		analyze(&reading, text, keyed);
	}
	return idem_spi_once_send(text, reading.count, reading.types,
							  idem_params_bind, params, dest);
}

/*
 * Runs a command with the caller's rights and returns what came of it, as
 * jsonb: {"rows": [...], "processed": n}, without rows if it returns no set of
 * them.
 *
 * Raises 42601 unless the text is one statement, what analyze() raises, and
 * whatever parsing, idem_params_bind and the command raise.
 */
Datum
idem_command_run(const char *text, Jsonb *params, bool keyed)
{
	IdemJsonbState answer = {0};
	IdemJsonbReceiver rows;
	uint64		processed;
	JsonbValue	number;

	idem_jsonb_push(&answer, WJB_BEGIN_OBJECT, NULL);
	idem_jsonb_receiver_init(&rows, &answer);
	processed = run(text, params, keyed, &rows.receiver);

	idem_row_to_jsonb_name(&answer, "processed");
	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric((int64) processed);
	idem_jsonb_push(&answer, WJB_VALUE, &number);
	idem_jsonb_push(&answer, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(answer.result));
}
