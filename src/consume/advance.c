/*
 * advance.c
 *	  SQL: idem_advance() and idem_offset(), for messages that have a place in a
 *	  log.
 *
 * One row says how far a consumer has come in a partition.  It is written by
 * INSERT ... ON CONFLICT DO UPDATE, which locks the row before it decides, and
 * which reads nothing that a serializable transaction would be held to; where
 * it decides against, the row is looked at, as it is then locked.  So two sessions
 * that advance one partition take turns, and two at different ones never meet.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/error.h"
#include "consume/consumer.h"
#include "run/committed_row.h"
#include "run/spi_own.h"
#include "stats/stats_counter.h"
#include "store/store_run.h"

#define MAX_TOPIC_LENGTH	255 /* bytes */

PG_FUNCTION_INFO_V1(idem_advance);
PG_FUNCTION_INFO_V1(idem_offset);

/* Columns of idem_offset. */
enum
{
	COLUMN_NEXT_OFFSET = 1,
	COLUMN_PREVIOUS_OFFSET,
	COLUMN_FIRST_OFFSET,
	COLUMN_EPOCH,
	COLUMN_UPDATED_AT,
	COLUMN_PARTITION,
	COLUMN_CONSUMER,
	COLUMN_TOPIC
};

/* A partition as a consumer reads it. */
typedef struct Log
{
	IdemConsumer consumer;
	text	   *consumer_name;
	text	   *topic;
	int32		partition;
	const IdemStore *store;		/* where its row is; NULL: in idem_offset */
} Log;

/* A range of offsets, and how it is to be applied. */
typedef struct Range
{
	int64		first;
	int64		last;
	bool		allow_gaps;
	int64		epoch;
	bool		epoch_isnull;
} Range;

/* What the row of a partition says. */
typedef struct Position
{
	int64		next;			/* first offset that has not been applied */
	int64		first;			/* where the first range began */
	int64		epoch;
	bool		epoch_isnull;
} Position;

/*
 * $1 is where to go on after the range, $2 its first offset.  Of a row that was
 * there, previous_offset is what has been applied before; RETURNING knows no
 * other way to.
 */
#define ADVANCE \
	"INSERT INTO @.idem_offset AS o (next_offset, previous_offset, first_offset," \
	" epoch, updated_at, \"partition\", consumer, topic)" \
	" VALUES ($1, $2, $2, $3, $4, $5, $6, $7)" \
	" ON CONFLICT (consumer, topic, \"partition\") DO UPDATE SET" \
	" next_offset = GREATEST(o.next_offset, excluded.next_offset)," \
	" previous_offset = o.next_offset," \
	" epoch = COALESCE(excluded.epoch, o.epoch)," \
	" updated_at = excluded.updated_at" \
	" WHERE (excluded.epoch IS NULL OR o.epoch IS NULL" \
	"  OR excluded.epoch OPERATOR(pg_catalog.>=) o.epoch)" \
	" AND ($8 OR excluded.first_offset OPERATOR(pg_catalog.>=) o.first_offset" \
	"  AND excluded.first_offset OPERATOR(pg_catalog.<=) o.next_offset)" \
	" AND (excluded.next_offset OPERATOR(pg_catalog.>) o.next_offset" \
	"  OR excluded.epoch OPERATOR(pg_catalog.>) o.epoch" \
	"  OR excluded.epoch IS NOT NULL AND o.epoch IS NULL)" \
	" RETURNING o.previous_offset"

#define ADVANCE_ARGS		8
#define ADVANCE_ARGTYPES \
	INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, BOOLOID

static IdemStatement advance = {
	.text = ADVANCE,
	.nargs = ADVANCE_ARGS,
	.argtypes = {ADVANCE_ARGTYPES},
	.table = offsetof(IdemCatalog, offset_table),
	.bare = true
};

/* The same in a store, by statements that an engine may send to another node. */
static const IdemStoreStatement advance_in_store = {
	.number = IDEM_STORE_OFFSET_STATEMENTS,
	.table = IDEM_TABLE_OFFSET,
	.text = ADVANCE,
	.nargs = ADVANCE_ARGS,
	.argtypes = {ADVANCE_ARGTYPES}
};

static const IdemStoreStatement find_in_store = {
	.number = IDEM_STORE_OFFSET_STATEMENTS + 1,
	.table = IDEM_TABLE_OFFSET,
	.reads = true,
	.text = "SELECT o.next_offset, o.first_offset, o.epoch FROM @.idem_offset AS o"
	" WHERE o.consumer OPERATOR(pg_catalog.=) $1"
	" AND o.topic OPERATOR(pg_catalog.=) $2"
	" AND o.\"partition\" OPERATOR(pg_catalog.=) $3",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT4OID}
};

/*
 * Reads what the first three arguments of both functions say.  Raises 22004 and
 * 22023 for names that are none, 42501 when the consumer is another role's.
 */
static void
init_log(FunctionCallInfo fcinfo, Log *log)
{
	log->consumer_name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	log->topic = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	if (PG_ARGISNULL(2))
		idem_error_null("partition");
	log->partition = PG_GETARG_INT32(2);
	idem_consumer_find(&log->consumer, log->consumer_name);
	idem_argument_check_name("topic", log->topic, MAX_TOPIC_LENGTH);
	log->store = idem_store_of(IDEM_TABLE_OFFSET);
}

static int64
required(FunctionCallInfo fcinfo, int number, const char *argument)
{
	if (PG_ARGISNULL(number))
		idem_error_null(argument);
	return PG_GETARG_INT64(number);
}

/* Reads the other arguments of idem_advance(). */
static void
init_range(FunctionCallInfo fcinfo, Range *range)
{
	range->first = required(fcinfo, 3, "first_offset");
	range->last = required(fcinfo, 4, "last_offset");
	if (PG_ARGISNULL(5))
		idem_error_null("allow_gaps");
	range->allow_gaps = PG_GETARG_BOOL(5);
	range->epoch_isnull = PG_ARGISNULL(6);
	range->epoch = range->epoch_isnull ? 0 : PG_GETARG_INT64(6);

	if (range->first < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"first_offset\" must not be negative"),
				 errdetail("It is %lld.", (long long) range->first)));
	if (range->last < range->first)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"last_offset\" must not be less than \"first_offset\""),
				 errdetail("It is %lld, \"first_offset\" is %lld.",
						   (long long) range->last, (long long) range->first)));
	if (range->last == PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"last_offset\" is too large"),
				 errdetail("It is %lld, which no offset can follow.",
						   (long long) range->last)));
	Assert(0 <= range->first && range->first <= range->last &&
		   range->last < PG_INT64_MAX);
}

static bool
find_position_in_store(const Log *log, Position *position)
{
	Datum		args[3];
	Datum		values[3];
	bool		isnull[3];

	args[0] = PointerGetDatum(log->consumer_name);
	args[1] = PointerGetDatum(log->topic);
	args[2] = Int32GetDatum(log->partition);
	if (idem_store_run(log->store, &find_in_store, args, NULL, 3, values, isnull) == 0)
		return false;
	position->next = DatumGetInt64(values[0]);
	position->first = DatumGetInt64(values[1]);
	position->epoch_isnull = isnull[2];
	position->epoch = isnull[2] ? 0 : DatumGetInt64(values[2]);
	return true;
}

/*
 * Finds the row of a partition as it is committed now, or written by this
 * transaction, whatever the snapshot sees.
 */
static bool
find_position(const Log *log, Position *position)
{
	Relation	rel;
	TupleDesc	desc;
	ScanKeyData keys[3];
	HeapTuple	tuple;
	bool		isnull;

	if (log->store != NULL)
		return find_position_in_store(log, position);
	rel = table_open(idem_catalog()->offset_table, AccessShareLock);
	desc = RelationGetDescr(rel);
	ScanKeyInit(&keys[0], COLUMN_CONSUMER, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(log->consumer_name));
	ScanKeyInit(&keys[1], COLUMN_TOPIC, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(log->topic));
	ScanKeyInit(&keys[2], COLUMN_PARTITION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(log->partition));
	/* the index is asked for now that the table is locked: it may be replaced */
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 3, keys);
	if (HeapTupleIsValid(tuple))
	{
		position->next =
			DatumGetInt64(heap_getattr(tuple, COLUMN_NEXT_OFFSET, desc, &isnull));
		position->first =
			DatumGetInt64(heap_getattr(tuple, COLUMN_FIRST_OFFSET, desc, &isnull));
		position->epoch =
			DatumGetInt64(heap_getattr(tuple, COLUMN_EPOCH, desc,
									   &position->epoch_isnull));
	}
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

pg_noreturn static void
error_stale(const Log *log, const Range *range, const Position *position)
{
	idem_stats_counter_hit(IDEM_COUNT_MESSAGE_STALE_EPOCH);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_LEASE_LOST),
			 errmsg("epoch %lld of consumer \"%s\" is stale",
					(long long) range->epoch, log->consumer.definition.name),
			 errdetail("Partition %d of \"%s\" is in epoch %lld.",
					   log->partition, text_to_cstring(log->topic),
					   (long long) position->epoch),
			 errhint("Roll back and leave the partition to the one that it is assigned to now.")));
}

pg_noreturn static void
error_gap(const Log *log, const Range *range, const Position *position)
{
	idem_stats_counter_hit(IDEM_COUNT_MESSAGE_GAP);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_OFFSET_GAP),
			 errmsg("offsets %lld to %lld have not been applied by consumer \"%s\"",
					(long long) position->next, (long long) range->first - 1,
					log->consumer.definition.name),
			 errdetail("They precede offset %lld of partition %d of \"%s\".",
					   (long long) range->first, log->partition,
					   text_to_cstring(log->topic)),
			 errhint("Read on from where idem_offset() says. Allow gaps if the log has some, as it has when it is compacted or transactional.")));
}

pg_noreturn static void
error_before(const Log *log, const Range *range, const Position *position)
{
	idem_stats_counter_hit(IDEM_COUNT_MESSAGE_GAP);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_OFFSET_GAP),
			 errmsg("offsets %lld to %lld have not been applied by consumer \"%s\"",
					(long long) range->first,
					(long long) Min(range->last, position->first - 1),
					log->consumer.definition.name),
			 errdetail("It began at offset %lld of partition %d of \"%s\".",
					   (long long) position->first, log->partition,
					   text_to_cstring(log->topic)),
			 errhint("The first range that is committed tells where a log begins. Allow gaps to leave out what precedes it.")));
}

/*
 * Raises what keeps a range from being applied, unless it has been.  The row is
 * there, and locked by this transaction, so it cannot change meanwhile: that
 * nothing was written although the row says nothing against it is a trigger's
 * doing.
 */
static void
check_applied(const Log *log, const Range *range)
{
	Position	position;

	if (!find_position(log, &position))
		idem_error_prevented("idem_offset");
	if (!range->epoch_isnull && !position.epoch_isnull &&
		range->epoch < position.epoch)
		error_stale(log, range, &position);
	if (!range->allow_gaps && range->first > position.next)
		error_gap(log, range, &position);
	if (!range->allow_gaps && range->first < position.first)
		error_before(log, range, &position);
	if (range->last >= position.next ||
		(!range->epoch_isnull &&
		 (position.epoch_isnull || range->epoch > position.epoch)))
		idem_error_prevented("idem_offset");
}

/* Counts the offsets of a range, of which those from start on are new. */
static void
count_offsets(const Range *range, int64 start)
{
	idem_stats_counter_add(IDEM_COUNT_MESSAGE_NEW, range->last + 1 - start);
	idem_stats_counter_add(IDEM_COUNT_MESSAGE_DUPLICATE, start - range->first);
}

/*
 * idem_advance(consumer text, topic text, partition integer,
 *				first_offset bigint, last_offset bigint, allow_gaps boolean,
 *				epoch bigint) -> bigint
 *
 * The first offset of the range that has not been applied yet; from there on it
 * is, if this transaction commits.  NULL: all of it has been.  Waits for
 * other sessions that advance the same partition.
 *
 * Raises ID302 where offsets before the range have not been applied, or offsets of
 * the range precede all that have, ID002 for an epoch older than the latest, 40001
 * when the partition was advanced after the transaction's snapshot was taken,
 * 42501 when the consumer is another role's, 22004 and 22023 for arguments that
 * are none, 25006 in a read-only transaction and on a standby, 27000 when a
 * trigger keeps the row from being written.
 */
Datum
idem_advance(PG_FUNCTION_ARGS)
{
	Log			log;
	Range		range;
	Datum		args[ADVANCE_ARGS];
	bool		arg_isnull[ADVANCE_ARGS] = {false};
	Datum		previous;
	bool		isnull;
	int64		start;

	PreventCommandDuringRecovery("idem_advance()");
	PreventCommandIfReadOnly("idem_advance()");
	init_log(fcinfo, &log);
	init_range(fcinfo, &range);

	args[0] = Int64GetDatum(range.last + 1);
	args[1] = Int64GetDatum(range.first);
	args[2] = Int64GetDatum(range.epoch);
	arg_isnull[2] = range.epoch_isnull;
	args[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[4] = Int32GetDatum(log.partition);
	args[5] = PointerGetDatum(log.consumer_name);
	args[6] = PointerGetDatum(log.topic);
	args[7] = BoolGetDatum(range.allow_gaps);
	if ((log.store != NULL ?
		 idem_store_run(log.store, &advance_in_store, args, arg_isnull, 1, &previous,
						&isnull) :
		 idem_spi_own(&advance, args, arg_isnull, 1, &previous, &isnull)) == 0)
	{
		check_applied(&log, &range);
		count_offsets(&range, range.last + 1);
		PG_RETURN_NULL();
	}

	start = Max(range.first, DatumGetInt64(previous));
	count_offsets(&range, Min(start, range.last + 1));
	if (start > range.last)
		PG_RETURN_NULL();		/* only the epoch was new */
	Assert(range.first <= start);
	PG_RETURN_INT64(start);
}

/*
 * idem_offset(consumer text, topic text, partition integer) -> bigint
 *
 * The offset from which to read on, as committed now, or NULL if none has been
 * applied.  Does not write, does not wait, works on a standby.  Errors: those
 * of init_log.
 */
Datum
idem_offset(PG_FUNCTION_ARGS)
{
	Log			log;
	Position	position;

	init_log(fcinfo, &log);
	if (!find_position(&log, &position))
		PG_RETURN_NULL();
	PG_RETURN_INT64(position.next);
}
