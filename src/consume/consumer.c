/*
 * consumer.c
 *	  Consumers of messages: what is defined of them, and which roles may use them.
 *	  SQL: idem_consumer_define(), idem_consumer_drop().
 *
 * A consumer is a name that calls give.  A role may define it, and from then on it
 * is for that role's members only; one that no role has defined is for all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/error.h"
#include "base/interval.h"
#include "base/settings.h"
#include "consume/consumer.h"

PG_FUNCTION_INFO_V1(idem_consumer_define);
PG_FUNCTION_INFO_V1(idem_consumer_drop);

/* Columns of idem_consumer. */
enum
{
	COLUMN_TTL = 1,
	COLUMN_CONSUMER,
	COLUMN_LATE,
	COLUMN_OWNER
};

/* Arguments of the statement that defines a consumer. */
enum
{
	ARG_TTL = IDEM_DEFINITION_ARGS,
	ARG_LATE,
	DEFINE_ARGS
};

static void read_definition(HeapTuple row, TupleDesc desc,
							IdemDefinition *definition);
static bool same_definition(const IdemDefinition *a, const IdemDefinition *b);

static const IdemRoleError denied = {
	.message = "permission denied for consumer \"%s\"",
	.detail = "Role \"%s\" has defined it.",
	.hint = "Become a member of that role, or choose another name.",
	.detail_dropped = "The role that has defined it is gone.",
	.hint_dropped = "Have a superuser drop it, or choose another name."
};

static IdemDefinitionKind consumers = {
	.name = "consumer",
	.table_name = "idem_consumer",
	.table = offsetof(IdemCatalog, consumer_table),
	.name_column = COLUMN_CONSUMER,
	.owner_column = COLUMN_OWNER,
	.least = 1,
	.size = sizeof(IdemConsumer),
	.read = read_definition,
	.same = same_definition,
	.denied = &denied,
	.define = {
		.text = "INSERT INTO @.idem_consumer AS c (consumer, owner, ttl, late)"
		" VALUES ($1, $2::@.idem_role, $4, $5)"
		" ON CONFLICT (consumer) DO UPDATE SET"
		" ttl = excluded.ttl, late = excluded.late"
		" WHERE c.owner::oid OPERATOR(pg_catalog.=) $3",
		.nargs = DEFINE_ARGS,
		.argtypes = {TEXTOID, OIDOID, OIDOID, INTERVALOID, TEXTOID},
		.table = offsetof(IdemCatalog, consumer_table)
	},
	.drop = {
		.text = "DELETE FROM @.idem_consumer"
		" WHERE ctid OPERATOR(pg_catalog.=) $1"
		" AND pg_catalog.texteq(consumer, $2)",
		.nargs = 2,
		.argtypes = {TIDOID, TEXTOID},
		.table = offsetof(IdemCatalog, consumer_table)
	}
};

/* Takes from a row how long messages are remembered, and what of late ones. */
static void
read_definition(HeapTuple row, TupleDesc desc, IdemDefinition *definition)
{
	IdemConsumer *consumer = (IdemConsumer *) definition;
	Datum		value;
	bool		isnull;

	value = heap_getattr(row, COLUMN_TTL, desc, &isnull);
	consumer->window_us = isnull ? 0 :
		idem_interval_us(DatumGetIntervalP(value), "ttl");
	value = heap_getattr(row, COLUMN_LATE, desc, &isnull);
	consumer->takes_late = !isnull &&
		strcmp(TextDatumGetCString(value), "apply") == 0;
}

static bool
same_definition(const IdemDefinition *a, const IdemDefinition *b)
{
	const IdemConsumer *ca = (const IdemConsumer *) a;
	const IdemConsumer *cb = (const IdemConsumer *) b;

	return ca->window_us == cb->window_us && ca->takes_late == cb->takes_late;
}

/*
 * Finds out what is defined of a consumer.  Raises what
 * idem_argument_check_name raises, and 42501 when it is another role's.
 */
void
idem_consumer_find(IdemConsumer *consumer, text *name)
{
	idem_argument_check_name("consumer", name, IDEM_DEFINITION_LENGTH);
	idem_definition_name(&consumers, &consumer->definition, name);
	idem_definition_find(&consumers, &consumer->definition);
}

/*
 * For how long a message is to be remembered.  Where no role has defined the
 * consumer, for as long as the call says, or else idem.ttl.  One that is defined
 * has a window that every call keeps to, its own or else idem.ttl: a call may make
 * it longer for its messages, but other calls cannot rely on that.  Raises 22023
 * when the call says something that is not positive, or longer than idem.max_ttl.
 */
void
idem_consumer_window(const IdemConsumer *consumer, const Interval *ttl,
					 IdemWindow *window)
{
	window->late_us = consumer->window_us != 0 ? consumer->window_us :
		idem_settings_ttl_us();
	window->keep_us = ttl != NULL ? idem_interval_us(ttl, "ttl") : window->late_us;
	/* a definition is not the caller's */
	if (ttl != NULL || consumer->window_us == 0)
		idem_settings_check_ttl(window->keep_us, "ttl");
	if (consumer->definition.defined)
		window->keep_us = Max(window->keep_us, window->late_us);
	else
		window->late_us = window->keep_us;
	Assert(window->late_us > 0 && window->keep_us >= window->late_us);
}

static bool
parse_late(text *late)
{
	char	   *policy;

	if (late == NULL)
		idem_error_null("late");
	policy = text_to_cstring(late);
	if (strcmp(policy, "apply") != 0 && strcmp(policy, "reject") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"late\" must be \"reject\" or \"apply\""),
				 errdetail("It is \"%s\".", policy)));
	return strcmp(policy, "apply") == 0;
}

/*
 * idem_consumer_define(consumer text, ttl interval, late text) -> void
 *
 * Defines a consumer, which becomes the caller's, or changes its definition.
 * Raises 42501 when it is another role's or the caller may define none, 22004 and
 * 22023 for arguments that are none or a ttl beyond idem.max_ttl, 25006 in a read-only transaction and on a
 * standby, 27000 when a trigger keeps the definition from being written.
 */
Datum
idem_consumer_define(PG_FUNCTION_ARGS)
{
	IdemConsumer consumer;
	Datum		args[DEFINE_ARGS];
	bool		isnull[DEFINE_ARGS] = {false};

	idem_definition_begin(&consumers, fcinfo, "idem_consumer_define",
						  &consumer.definition);
	isnull[ARG_TTL] = PG_ARGISNULL(1);
	if (!isnull[ARG_TTL])
	{
		args[ARG_TTL] = PG_GETARG_DATUM(1);
		consumer.window_us = idem_interval_us(PG_GETARG_INTERVAL_P(1), "ttl");
		idem_settings_check_ttl(consumer.window_us, "ttl");
	}
	consumer.takes_late = parse_late(PG_ARGISNULL(2) ? NULL :
									 PG_GETARG_TEXT_PP(2));
	args[ARG_LATE] = PG_GETARG_DATUM(2);
	idem_definition_define(&consumers, &consumer.definition, args, isnull);
	PG_RETURN_VOID();
}

/*
 * idem_consumer_drop(consumer text) -> boolean
 *
 * Takes a definition back: the consumer is for all again, and its messages stay.
 * False if it is not defined.  Raises 40001 when it was defined after the
 * transaction's snapshot was taken, and what idem_consumer_define raises.
 */
Datum
idem_consumer_drop(PG_FUNCTION_ARGS)
{
	IdemConsumer consumer;

	idem_definition_begin(&consumers, fcinfo, "idem_consumer_drop",
						  &consumer.definition);
	PG_RETURN_BOOL(idem_definition_drop(&consumers, &consumer.definition));
}

/* Registers for changes of definitions.  To be called once, from _PG_init. */
void
idem_consumer_init(void)
{
	idem_definition_init(&consumers);
}
