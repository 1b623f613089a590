/*
 * consume.c
 *	  SQL: idem_consume() and idem_consume_batch(), which return whether messages
 *	  are new, and remember them; idem_seen(), which only asks.
 *
 * A message is remembered for its consumer's window, counted from the clock at
 * the call, or from when it was sent if that lies ahead; or for longer, if the
 * call says so.  So a message that was sent within the window is either remembered
 * or new.  One that was sent before may have been forgotten: what to make of it is
 * for the consumer to say.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/interval.h"
#include "consume/consumer.h"
#include "consume/message.h"
#include "consume/message_find.h"
#include "stats/stats_counter.h"

#define MAX_ID_LENGTH	1024	/* bytes */

PG_FUNCTION_INFO_V1(idem_consume);
PG_FUNCTION_INFO_V1(idem_consume_batch);
PG_FUNCTION_INFO_V1(idem_seen);

/* A call, for any number of messages. */
typedef struct Call
{
	IdemConsumer consumer;
	IdemWindow	window;
	IdemDelivery delivery;
} Call;

/* A message of a batch. */
typedef struct Message
{
	text	   *id;
	int			place;			/* in the batch, from 0 */
	TimestampTz sent_at;		/* DT_NOEND: not known */
} Message;

/* Takes from the arguments what those of one message and of many have in common. */
static void
begin_call(FunctionCallInfo fcinfo, const char *function, Call *call)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	idem_consumer_find(&call->consumer, name);
	idem_consumer_window(&call->consumer, PG_ARGISNULL(2) ?
						 NULL : PG_GETARG_INTERVAL_P(2), &call->window);
	call->delivery.consumer = name;
	call->delivery.store = idem_store_of(IDEM_TABLE_MESSAGE);
	call->delivery.now = GetCurrentTimestamp();
}

/* Must this message be remembered already, if it is to be consumed? */
static bool
is_late(const Call *call, TimestampTz sent_at)
{
	return !call->consumer.takes_late &&
		idem_interval_end(sent_at, call->window.late_us) <= call->delivery.now;
}

pg_noreturn static void
error_late(const Call *call, text *id, TimestampTz sent_at)
{
	char	   *sent = pstrdup(timestamptz_to_str(sent_at));

	idem_stats_counter_hit(IDEM_COUNT_MESSAGE_LATE);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_LATE_MESSAGE),
			 errmsg("message \"%s\" came too late for consumer \"%s\"",
					text_to_cstring(id), call->consumer.definition.name),
			 errdetail("It was sent at %s, and what was sent before %s may have been consumed and forgotten.",
					   sent,
					   timestamptz_to_str(call->delivery.now - call->window.late_us)),
			 errhint("Set the message aside, or have such messages treated as new: see idem_consumer_define().")));
}

/* Raises ID301 for a late message, unless it is remembered. */
static void
check_late(const Call *call, text *id, TimestampTz sent_at)
{
	if (!idem_message_find_consumed(&call->delivery, id))
		error_late(call, id, sent_at);
}

/*
 * Raises ID301 for a message that was added as new, but has become late since
 * the call began.  While that waited for others, the message may have been
 * forgotten: it expired, and was purged.
 */
static void
check_still(Call *call, text *id, TimestampTz sent_at)
{
	call->delivery.now = GetCurrentTimestamp();
	if (is_late(call, sent_at))
		error_late(call, id, sent_at);
}

/*
 * idem_consume(consumer text, message_id text, ttl interval,
 *				sent_at timestamptz) -> boolean
 *
 * True: the message is new, and consumed if this transaction commits.  False: it
 * has been consumed.  Waits, as any row lock does, for other sessions that consume
 * the same message.
 *
 * Raises ID301 for a message that may have been forgotten, 40001 for one that was
 * consumed after the transaction's snapshot was taken, 42501 when the consumer is
 * another role's, 22004 and 22023 for arguments that are none, 25006 in a
 * read-only transaction and on a standby, 27000 when a trigger keeps the row from
 * being written.
 */
Datum
idem_consume(PG_FUNCTION_ARGS)
{
	Call		call;
	text	   *id = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	TimestampTz sent_at;
	bool		added;

	begin_call(fcinfo, "idem_consume()", &call);
	idem_argument_check_name("message_id", id, MAX_ID_LENGTH);
	sent_at = PG_ARGISNULL(3) ? call.delivery.now : PG_GETARG_TIMESTAMPTZ(3);
	if (is_late(&call, sent_at))
	{
		check_late(&call, id, sent_at);
		idem_stats_counter_hit(IDEM_COUNT_MESSAGE_DUPLICATE);
		PG_RETURN_BOOL(false);
	}
	call.delivery.expires_at = idem_interval_end(Max(call.delivery.now, sent_at),
												 call.window.keep_us);
	added = idem_message_add(&call.delivery, id);
	if (added && !PG_ARGISNULL(3))
		check_still(&call, id, sent_at);
	idem_stats_counter_hit(added ? IDEM_COUNT_MESSAGE_NEW :
						   IDEM_COUNT_MESSAGE_DUPLICATE);
	PG_RETURN_BOOL(added);
}

/* By their ids, the first of equals first. */
static int
message_compare(const void *a, const void *b)
{
	const Message *ma = a;
	const Message *mb = b;
	int			order = idem_message_compare(ma->id, mb->id);

	return order != 0 ? order : ma->place - mb->place;
}

/*
 * Sorts the messages of a batch; one that is in it several times is kept where
 * it came first.  Returns how many are left.  Raises 22004 and 22023 for ids
 * that are none.
 */
static int
sort_messages(Message *messages, int count, const Datum *ids,
			  const bool *isnull)
{
	int			kept = 0;

	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"message_ids\" must not contain nulls"),
					 errdetail("Message %d is null.", i + 1)));
		messages[i].id = DatumGetTextPP(ids[i]);
		messages[i].place = i;
		messages[i].sent_at = DT_NOEND;
		idem_argument_check_name("message_ids", messages[i].id, MAX_ID_LENGTH);
	}
	qsort(messages, count, sizeof(Message), message_compare);
	for (int i = 0; i < count; i++)
	{
		if (kept == 0 || idem_message_compare(messages[kept - 1].id, messages[i].id) != 0)
			messages[kept++] = messages[i];
	}
	return kept;
}

/*
 * Takes the late ones out of the messages, and sets until when to remember the
 * others: all of them by the one that is sent last.  Returns how many are left.
 * Before any message is added, so that waiting for others cannot hinder them.
 *
 * Raises ID301 for a late one that is not remembered, 22023 where there are
 * not as many times as messages in the batch.
 */
static int
heed_times(Call *call, Message *messages, int count, ArrayType *sent_at,
		   int batch)
{
	TimestampTz start = call->delivery.now;
	Datum	   *times;
	bool	   *isnull;
	int			ntimes;
	int			kept = 0;

	deconstruct_array(sent_at, TIMESTAMPTZOID, sizeof(TimestampTz),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &times, &isnull, &ntimes);
	if (ntimes != batch)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"sent_at\" must have an element for each message"),
				 errdetail("It has %d, \"message_ids\" has %d.", ntimes, batch),
				 errhint("Where it is not known when a message was sent, give null.")));
	for (int i = 0; i < count; i++)
	{
		int			place = messages[i].place;
		TimestampTz sent = isnull[place] ? call->delivery.now :
			DatumGetTimestampTz(times[place]);

		if (is_late(call, sent))
		{
			check_late(call, messages[i].id, sent);
			continue;
		}
		start = Max(start, sent);
		messages[kept] = messages[i];
		if (!isnull[place])
			messages[kept].sent_at = sent;
		kept++;
	}
	call->delivery.expires_at = idem_interval_end(start, call->window.keep_us);
	return kept;
}

/*
 * Consumes the messages of a batch, so many of the given ids, and marks those
 * that are new.
 */
static void
consume_batch(Call *call, int batch, const Datum *batch_ids, const bool *isnull,
			  ArrayType *sent_at, bool *is_new)
{
	Message    *messages = palloc(sizeof(Message) * batch);
	Datum	   *ids;
	bool	   *added;
	int			count;

	count = sort_messages(messages, batch, batch_ids, isnull);
	if (sent_at != NULL)
		count = heed_times(call, messages, count, sent_at, batch);
	else
		call->delivery.expires_at = idem_interval_end(call->delivery.now,
													  call->window.keep_us);
	if (count == 0)
		return;

	ids = palloc(sizeof(Datum) * count);
	added = palloc(sizeof(bool) * count);
	for (int i = 0; i < count; i++)
		ids[i] = PointerGetDatum(messages[i].id);
	Assert(count <= batch);
	idem_message_add_all(&call->delivery, count, ids, added);
	for (int i = 0; i < count; i++)
	{
		is_new[messages[i].place] = added[i];
		if (added[i] && messages[i].sent_at != DT_NOEND)
			check_still(call, messages[i].id, messages[i].sent_at);
	}

	pfree(added);
	pfree(ids);
	pfree(messages);
}

/*
 * idem_consume_batch(consumer text, message_ids text[], ttl interval,
 *					  sent_at timestamptz[]) -> SETOF text
 *
 * The same for a batch: returns the ids of those messages that are new, in the
 * order in which they are given, each once.  All of them are consumed, and put
 * into the answer, before the first is returned.  Raises 22023 also where sent_at
 * does not have one time, or null, for each message.
 */
Datum
idem_consume_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *answer = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	Datum	   *ids;
	bool	   *isnull;
	bool	   *is_new;
	int			count;
	int			count_new = 0;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	begin_call(fcinfo, "idem_consume_batch()", &call);
	if (PG_ARGISNULL(1))
		idem_error_null("message_ids");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false,
					  TYPALIGN_INT, &ids, &isnull, &count);
	is_new = palloc0(sizeof(bool) * count);
	consume_batch(&call, count, ids, isnull,
				  PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3), is_new);
	for (int i = 0; i < count; i++)
	{
		if (!is_new[i])
			continue;
		count_new++;
		tuplestore_putvalues(answer->setResult, answer->setDesc, &ids[i],
							 &isnull[i]);
	}
	idem_stats_counter_add(IDEM_COUNT_MESSAGE_NEW, count_new);
	idem_stats_counter_add(IDEM_COUNT_MESSAGE_DUPLICATE, count - count_new);
	return (Datum) 0;
}

/*
 * idem_seen(consumer text, message_id text) -> boolean
 *
 * Has the message been consumed, and is that still known, as is committed now or
 * in this transaction?  Does not write, does not wait, works on a standby.
 * Raises 42501 when the consumer is another role's, 22004 and 22023 for arguments
 * that are none.
 */
Datum
idem_seen(PG_FUNCTION_ARGS)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	text	   *id = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	IdemConsumer consumer;
	IdemDelivery delivery = {0};

	idem_consumer_find(&consumer, name);
	idem_argument_check_name("message_id", id, MAX_ID_LENGTH);
	delivery.consumer = name;
	delivery.store = idem_store_of(IDEM_TABLE_MESSAGE);
	delivery.now = GetCurrentTimestamp();
	PG_RETURN_BOOL(idem_message_find_seen(&delivery, id));
}
