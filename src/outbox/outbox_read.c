/*
 * outbox_read.c
 *	  SQL: idem_outbox_read(), which gives a consumer the next messages of a topic,
 *	  and idem_outbox_leave(), after which none are kept for it.
 *
 * Ids are given before their transactions commit, in whatever order they do.  Who
 * reads on from the greatest id that was there passes over those that commit late.
 * So messages are read in the order of the transactions that emitted them, and only
 * below the oldest that is running: what is there has all been decided.
 *
 * The consumer's position is a row.  It is locked before anything is read, and written
 * with what the caller makes of the messages: readers of one consumer take turns,
 * and one that rolls back has read nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "base/rights.h"
#include "consume/consumer.h"
#include "outbox/emit.h"
#include "outbox/outbox_era.h"
#include "outbox/outbox_place.h"
#include "run/committed_row.h"
#include "run/spi_own.h"

PG_FUNCTION_INFO_V1(idem_outbox_read);
PG_FUNCTION_INFO_V1(idem_outbox_leave);

#define RESULT_COLUMNS	5

/* A consumer of a topic, and where it is. */
typedef struct Reader
{
	IdemConsumer consumer;
	text	   *consumer_name;
	text	   *topic;
	int32		era;			/* the present one */
	IdemOutboxPlace position;	/* of the last message that was read */
	bool		registered;		/* has it a position? */
} Reader;

/* Inserts a position, or does that to the one that is there. */
#define POSITION_STATEMENT(update) \
	{ \
		.text = "INSERT INTO @.idem_outbox_position AS p" \
		" (xid, id, read_at, era, consumer, topic)" \
		" VALUES ($1, $2, $3, $4, $5, $6)" \
		" ON CONFLICT (consumer, topic) DO UPDATE SET " update, \
		.nargs = 6, \
		.argtypes = {XID8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID}, \
		.table = offsetof(IdemCatalog, outbox_position_table), \
		.bare = true \
	}

/* Locks it: a condition comes after the lock. */
static IdemStatement lock_position = POSITION_STATEMENT("id = p.id WHERE false");

/* Of a row that is there; nothing is read, as in consume/advance.c. */
static IdemStatement move_position =
POSITION_STATEMENT("xid = excluded.xid, id = excluded.id, read_at = excluded.read_at,"
				   " era = excluded.era");

static IdemStatement delete_position = {
	.text = "DELETE FROM @.idem_outbox_position AS p"
	" WHERE pg_catalog.texteq(p.consumer, $1) AND pg_catalog.texteq(p.topic, $2)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, outbox_position_table)
};

/* Reads the first two arguments of both functions; raises what they say. */
static void
begin_call(FunctionCallInfo fcinfo, const char *function, Reader *reader)
{
	const char *call = psprintf("%s()", function);

	idem_rights_read(fcinfo, function, idem_catalog()->outbox_table);
	PreventCommandDuringRecovery(call);
	PreventCommandIfReadOnly(call);
	reader->consumer_name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	reader->topic = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	idem_consumer_find(&reader->consumer, reader->consumer_name);
	idem_argument_check_name("topic", reader->topic, IDEM_EMIT_TOPIC_LENGTH);
	idem_outbox_era_check_filled();
}

/*
 * Finds where the consumer is, as committed now or written by this transaction,
 * whatever the snapshot sees.  Returns the transaction that wrote it.
 */
static TransactionId
find_position(Reader *reader)
{
	Relation	rel = table_open(idem_catalog()->outbox_position_table,
								 AccessShareLock);
	TransactionId xmin = InvalidTransactionId;
	ScanKeyData keys[2];
	HeapTuple	row;

	ScanKeyInit(&keys[0], IDEM_POSITION_CONSUMER, BTEqualStrategyNumber,
				F_TEXTEQ, PointerGetDatum(reader->consumer_name));
	ScanKeyInit(&keys[1], IDEM_POSITION_TOPIC, BTEqualStrategyNumber,
				F_TEXTEQ, PointerGetDatum(reader->topic));
	row = idem_committed_row_find(rel, idem_catalog_key_of(rel), 2, keys);
	memset(&reader->position, 0, sizeof(reader->position));
	reader->registered = HeapTupleIsValid(row);
	if (reader->registered)
	{
		idem_outbox_place_of(&reader->position, row, RelationGetDescr(rel));
		xmin = HeapTupleHeaderGetXmin(row->t_data);
	}
	table_close(rel, AccessShareLock);
	return xmin;
}

/* Has a statement write where the consumer is. */
static uint64
write_position(IdemStatement *statement, const Reader *reader)
{
	Datum		args[6];

	args[0] = UInt64GetDatum(reader->position.xid);
	args[1] = Int64GetDatum(reader->position.id);
	args[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[3] = Int32GetDatum(reader->position.era);
	args[4] = PointerGetDatum(reader->consumer_name);
	args[5] = PointerGetDatum(reader->topic);
	return idem_spi_own(statement, args, NULL, 0, NULL, NULL);
}

/* The oldest transaction that a snapshot takes for running, by its 64-bit number. */
static uint64
oldest_running(Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();

	return U64FromFullTransactionId(next) -
		(uint32) (XidFromFullTransactionId(next) - snapshot->xmin);
}

/*
 * Is all that precedes a message decided, which a snapshot sees or not?  Those of
 * the present era come in the order of transactions.  Of a former one nothing is
 * under way, unless a restore is.
 */
static bool
is_settled(Reader *reader, HeapTuple row, const IdemOutboxPlace *place, bool seen,
		   Snapshot snapshot)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(row->t_data);

	if (place->era == reader->era && place->xid < oldest_running(snapshot))
		return true;
	if (place->era >= reader->era && seen &&
		(place->era > reader->era ||
		 place->xid >= U64FromFullTransactionId(ReadNextFullTransactionId())))
		/* it has come from another cluster */
		reader->era = idem_outbox_era_begin(place->era);
	return place->era < reader->era &&
		(seen || !TransactionIdIsNormal(xmin) ||
		 !XidInMVCCSnapshot(xmin, snapshot));
}

/*
 * Up to where the log has to be on disk before a message may leave the database.  One
 * that was committed with synchronous_commit off is seen before; what another system
 * was told of it would outlive a crash that it does not.  As for a hint bit.
 */
static XLogRecPtr
commit_lsn(HeapTuple row)
{
	if (HeapTupleHeaderXminCommitted(row->t_data))
		return InvalidXLogRecPtr;
	return TransactionIdGetCommitLSN(HeapTupleHeaderGetRawXmin(row->t_data));
}

/* Adds a message to what the function returns. */
static void
put_message(ReturnSetInfo *result, HeapTuple row, TupleDesc desc)
{
	static const AttrNumber columns[RESULT_COLUMNS] = {
		IDEM_OUTBOX_ID, IDEM_OUTBOX_EMITTED_AT, IDEM_OUTBOX_KEY,
		IDEM_OUTBOX_PAYLOAD, IDEM_OUTBOX_HEADERS
	};
	Datum		values[RESULT_COLUMNS];
	bool		isnull[RESULT_COLUMNS];

	for (int i = 0; i < RESULT_COLUMNS; i++)
		values[i] = heap_getattr(row, columns[i], desc, &isnull[i]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/*
 * Reads at most so many messages after the position, into result if it is given, and
 * moves the position to the last one.  Returns how many.
 *
 * At each isolation level as the statement sees them: one that is newer would be read
 * by a statement that does not see what was written with it, and may join it away.
 */
static int
read_messages(Reader *reader, int max, ReturnSetInfo *result)
{
	Relation	rel = table_open(idem_catalog()->outbox_table, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	IdemOutboxScan scan;
	HeapTuple	row;
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	int			count = 0;

	idem_outbox_place_begin_scan(&scan, rel, reader->topic, &reader->position,
								 SnapshotAny);
	while (count < max && (row = idem_outbox_place_next(&scan)) != NULL)
	{
		bool		seen = idem_outbox_place_is_seen(&scan, snapshot);
		IdemOutboxPlace place;

		idem_outbox_place_of(&place, row, RelationGetDescr(rel));
		if (!is_settled(reader, row, &place, seen, snapshot))
			break;
		if (!seen)
			continue;			/* rolled back, or purged */
		Assert(idem_outbox_place_compare(&reader->position, &place) < 0);
		count++;
		if (result != NULL)
		{
			lsn = Max(lsn, commit_lsn(row));
			put_message(result, row, RelationGetDescr(rel));
			reader->position = place;
		}
	}
	idem_outbox_place_end_scan(&scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	if (lsn != InvalidXLogRecPtr)
		XLogFlush(lsn);
	return count;
}

static int
max_messages(FunctionCallInfo fcinfo)
{
	int			max;

	if (PG_ARGISNULL(2))
		idem_error_null("max");
	max = PG_GETARG_INT32(2);
	if (max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must not be negative"),
				 errdetail("It is %d.", max)));
	return max;
}

/*
 * idem_outbox_read(consumer text, topic text, max integer)
 *		-> SETOF message_id, emitted_at, key, payload, headers
 *
 * The messages of a topic that follow those that the consumer has read, at most so
 * many; it has read them if this transaction commits.  Waits for other sessions
 * that read the topic for the same consumer, unless there is nothing to read.  A
 * consumer that is new to a topic begins with the oldest message there is, and
 * from then on none is purged before it has read it.
 *
 * Raises 42501 unless the caller may read and the consumer is no other role's, 40001
 * when another session has read after the transaction's snapshot was taken, 22004
 * and 22023 for arguments that are none, 25006 in a read-only transaction and on a
 * standby, 27000 when a trigger keeps the position from being written, 55000 where
 * a subscription fills the outbox.
 */
Datum
idem_outbox_read(PG_FUNCTION_ARGS)
{
	Reader		reader;
	int			max;

	begin_call(fcinfo, "idem_outbox_read", &reader);
	max = max_messages(fcinfo);
	idem_result_tuple_begin_set(fcinfo, RESULT_COLUMNS);
	reader.era = idem_outbox_era(true);

	/* who only asks again and again writes nothing, and waits for nobody */
	(void) find_position(&reader);
	if (reader.registered && (max == 0 || read_messages(&reader, 1, NULL) == 0))
		return (Datum) 0;

	(void) write_position(&lock_position, &reader);
	(void) find_position(&reader);
	if (!reader.registered)
		idem_error_prevented("idem_outbox_position");
	if (read_messages(&reader, max, (ReturnSetInfo *) fcinfo->resultinfo) > 0 &&
		write_position(&move_position, &reader) == 0)
		idem_error_prevented("idem_outbox_position");
	return (Datum) 0;
}

/*
 * idem_outbox_leave(consumer text, topic text) -> boolean
 *
 * Forgets where a consumer of a topic is, so that no messages are kept for it.  False
 * if it is not there.  Waits for sessions that read for it.  Raises what
 * idem_outbox_read raises, 40001 included.
 */
Datum
idem_outbox_leave(PG_FUNCTION_ARGS)
{
	Reader		reader;
	Datum		args[2];
	TransactionId xmin;

	begin_call(fcinfo, "idem_outbox_leave", &reader);
	xmin = find_position(&reader);
	if (!reader.registered)
		PG_RETURN_BOOL(false);
	if (idem_committed_row_is_unseen(xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent reading by consumer \"%s\"",
						reader.consumer.definition.name),
				 errdetail("It has read after this transaction's snapshot was taken."),
				 errhint("The transaction might succeed if retried.")));
	args[0] = PointerGetDatum(reader.consumer_name);
	args[1] = PointerGetDatum(reader.topic);
	PG_RETURN_BOOL(idem_spi_own(&delete_position, args, NULL, 0, NULL, NULL) > 0);
}
