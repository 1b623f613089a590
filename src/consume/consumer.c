/*
 * consumer.c
 *	  Consumers of messages: what is defined of them, and who may use them.
 *
 * A consumer is a name.  A role may define it, and from then on it is for that
 * role's members only; one that nobody has defined is for all.  Definitions are
 * rows of idem_consumer, which backends keep in memory, also that there is
 * none.  Whoever changes that table fires _idem_consumer_changed(), which sends
 * a relcache invalidation for it; on its arrival what is kept is only flagged,
 * and read again at the next use.
 *
 * Definitions are read from the table directly and as they are committed now, as
 * catalogs are: a transaction's own snapshot might be older than a change of which
 * the news has come and gone.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/interval.h"
#include "base/invalidation.h"
#include "base/rights.h"
#include "base/role.h"
#include "base/settings.h"
#include "consume/consumer.h"
#include "run/committed_row.h"
#include "run/spi_own.h"

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

/* So many are kept: a name that nobody has defined is the caller's invention. */
#define MAX_CONSUMERS	256

/* So often others may be in the way of a definition, or a trigger is. */
#define MAX_TRIES		10

static HTAB *consumers = NULL;
static MemoryContext consumers_context = NULL;
static bool consumers_valid = false;	/* reset by invalidations */
static uint64 consumers_generation; /* of the catalog they were read by */
static Oid	consumer_table = InvalidOid;	/* where they were read from */

/* Defines, or changes a definition that is still as $4 says whose it is. */
static IdemStatement define = {
	.text = "INSERT INTO @.idem_consumer AS c (consumer, ttl, late, owner)"
	" VALUES ($1, $2, $3, $4::@.idem_role)"
	" ON CONFLICT (consumer) DO UPDATE SET"
	" ttl = excluded.ttl, late = excluded.late"
	" WHERE c.owner::oid OPERATOR(pg_catalog.=) excluded.owner::oid",
	.nargs = 4,
	.argtypes = {TEXTOID, INTERVALOID, TEXTOID, OIDOID}
};

/* The row that was found: by its place, and its key lest it has been moved. */
static IdemStatement drop = {
	.text = "DELETE FROM @.idem_consumer"
	" WHERE ctid OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.texteq(consumer, $2)",
	.nargs = 2,
	.argtypes = {TIDOID, TEXTOID}
};

/*
 * Checks the name of a consumer, a message or a topic.  Raises 22004 if it is
 * NULL, 22023 unless it has 1 to so many bytes.
 */
void
idem_consumer_check_name(const char *argument, text *name, int most)
{
	int			length;

	if (name == NULL)
		idem_error_null(argument);
	length = VARSIZE_ANY_EXHDR(name);
	if (length < 1 || length > most)
		idem_error_length(argument, length, 1, most);
}

/*
 * Reads the definition of a consumer whose name is given, if it has one.  Returns
 * a copy of the row, or NULL.
 */
static HeapTuple
read_definition(IdemConsumer *consumer)
{
	Relation	rel = table_open(idem_catalog()->consumer_table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData key;
	HeapTuple	tuple;
	Datum		value;
	bool		isnull;

	ScanKeyInit(&key, COLUMN_CONSUMER, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(consumer->name));
	/* the index is asked for now that the table is locked: it may be replaced */
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 1, &key);
	consumer->defined = HeapTupleIsValid(tuple);
	if (consumer->defined)
	{
		value = heap_getattr(tuple, COLUMN_TTL, desc, &isnull);
		consumer->window_us = isnull ? 0 :
			idem_interval_us(DatumGetIntervalP(value), "ttl");
		value = heap_getattr(tuple, COLUMN_LATE, desc, &isnull);
		consumer->takes_late = !isnull &&
			strcmp(TextDatumGetCString(value), "apply") == 0;
		value = heap_getattr(tuple, COLUMN_OWNER, desc, &isnull);
		consumer->owner = isnull ? InvalidOid : DatumGetObjectId(value);
	}
	table_close(rel, AccessShareLock);
	return tuple;
}

/* Makes a place to keep consumers in, if there is none that is up to date. */
static void
ready_consumers(void)
{
	const IdemCatalog *cat = idem_catalog();
	HASHCTL		info = {0};

	if (consumers_valid && consumers_generation == cat->generation &&
		hash_get_num_entries(consumers) < MAX_CONSUMERS)
		return;

	consumers_valid = false;
	if (consumers_context == NULL)
		consumers_context = AllocSetContextCreate(TopMemoryContext,
												  "idem consumers",
												  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(consumers_context);
	info.keysize = sizeof(((IdemConsumer *) NULL)->name);
	info.entrysize = sizeof(IdemConsumer);
	info.hcxt = consumers_context;
	consumers = hash_create("idem consumers", 32, &info,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	consumers_generation = cat->generation;
	consumer_table = cat->consumer_table;
	consumers_valid = true;
}

/*
 * Raises 42501 unless a consumer is for us to use.  A role that has been dropped
 * since leaves its consumers to superusers.
 */
static void
check_owner(const IdemConsumer *consumer)
{
	static const IdemRoleError error = {
		.message = "permission denied for consumer \"%s\"",
		.detail = "Role \"%s\" has defined it.",
		.hint = "Become a member of that role, or choose another name.",
		.detail_dropped = "The role that has defined it is gone.",
		.hint_dropped = "Have a superuser drop it, or choose another name."
	};

	if (consumer->defined)
		idem_role_check(consumer->owner, consumer->name, &error);
}

static void
init_consumer(IdemConsumer *consumer, text *name)
{
	idem_consumer_check_name("consumer", name, IDEM_CONSUMER_LENGTH);
	memset(consumer, 0, sizeof(IdemConsumer));
	memcpy(consumer->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/*
 * Finds out what is defined of a consumer.  Raises what
 * idem_consumer_check_name raises, and 42501 when it is another role's.
 */
void
idem_consumer_find(IdemConsumer *consumer, text *name)
{
	IdemConsumer *known;

	init_consumer(consumer, name);
	/* in a transaction under way, news of a change may not have come in yet */
	AcceptInvalidationMessages();
	ready_consumers();
	known = hash_search(consumers, consumer->name, HASH_FIND, NULL);
	if (known != NULL)
		*consumer = *known;
	else
	{
		(void) read_definition(consumer);

		/* not if news came in meanwhile, which may be of this very one */
		if (idem_invalidation_covers(consumer_table) && consumers_valid)
		{
			known = hash_search(consumers, consumer->name, HASH_ENTER, NULL);
			*known = *consumer;
		}
	}
	check_owner(consumer);
}

/*
 * For how long a message is to be remembered.  Where nobody has defined the
 * consumer, for as long as the call says, or else idem.ttl.  One that is defined
 * has a window that every call keeps to, its own or else idem.ttl: a call may make
 * it longer for its messages, but cannot have others rely on that.  Raises 22023
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
	if (consumer->defined)
		window->keep_us = Max(window->keep_us, window->late_us);
	else
		window->late_us = window->keep_us;
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
 * 22023 for arguments that are none, 25006 in a read-only transaction and on a
 * standby, 27000 when a trigger keeps the definition from being written.
 */
Datum
idem_consumer_define(PG_FUNCTION_ARGS)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Interval   *ttl = PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1);
	text	   *late = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	bool		takes_late;
	int64		window_us;
	IdemConsumer consumer;
	Datum		args[4];
	bool		isnull[4] = {false};

	idem_rights_define_consumer(fcinfo, "idem_consumer_define");
	PreventCommandDuringRecovery("idem_consumer_define()");
	PreventCommandIfReadOnly("idem_consumer_define()");

	takes_late = parse_late(late);
	window_us = ttl ? idem_interval_us(ttl, "ttl") : 0;
	args[0] = PointerGetDatum(name);
	args[1] = IntervalPGetDatum(ttl);
	isnull[1] = (ttl == NULL);
	args[2] = PointerGetDatum(late);
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		idem_consumer_find(&consumer, name);
		if (consumer.defined && consumer.window_us == window_us &&
			consumer.takes_late == takes_late)
			PG_RETURN_VOID();
		args[3] = ObjectIdGetDatum(consumer.defined ?
								   consumer.owner : GetUserId());
		if (idem_spi_own(&define, args, isnull, 0, NULL, NULL) > 0)
			PG_RETURN_VOID();

		/* another role has defined it meanwhile */
		CHECK_FOR_INTERRUPTS();
		consumers_valid = false;
	}
	idem_error_prevented("idem_consumer");
}

/*
 * idem_consumer_drop(consumer text) -> boolean
 *
 * Takes a definition back: the consumer is everybody's again, and its messages
 * stay.  False if it is not defined.  Raises 40001 when it was defined after our
 * snapshot was taken, and what idem_consumer_define raises.
 */
Datum
idem_consumer_drop(PG_FUNCTION_ARGS)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	IdemConsumer consumer;
	HeapTuple	row;
	Datum		args[2];

	idem_rights_define_consumer(fcinfo, "idem_consumer_drop");
	PreventCommandDuringRecovery("idem_consumer_drop()");
	PreventCommandIfReadOnly("idem_consumer_drop()");

	init_consumer(&consumer, name);
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		row = read_definition(&consumer);
		check_owner(&consumer);
		if (row == NULL)
			PG_RETURN_BOOL(false);
		args[0] = PointerGetDatum(&row->t_self);
		args[1] = PointerGetDatum(name);
		if (idem_spi_own(&drop, args, NULL, 0, NULL, NULL) > 0)
			PG_RETURN_BOOL(true);

		/* another role has dropped it meanwhile, or the row was moved */
		if (idem_committed_row_is_unseen(HeapTupleHeaderGetXmin(row->t_data)))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent definition of consumer \"%s\"",
							consumer.name),
					 errdetail("It was defined after this transaction's snapshot was taken."),
					 errhint("The transaction might succeed if retried.")));
	}
	idem_error_prevented("idem_consumer");
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_consumer_init(void)
{
	idem_invalidation_watch(&consumer_table, &consumers_valid);
}
