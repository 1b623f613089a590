/*
 * message_store.c
 *	  The rows of messages in a store, reached by statements.
 *
 * Each tells the row by consumer and message, so that an engine that keeps the rows
 * elsewhere can send it there.  The primary key decides there, too: a session that
 * comes second waits for the one that was first, by the same statement.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "consume/message_store.h"
#include "store/store_run.h"

static const IdemStoreStatement add_one = {
	.number = IDEM_STORE_MESSAGE_STATEMENTS,
	.table = IDEM_TABLE_MESSAGE,
	.text = "INSERT INTO @.idem_message AS m (expires_at, consumer, message_id)"
	" VALUES ($1, $2, $3) ON CONFLICT (consumer, message_id)"
	" DO UPDATE SET expires_at = excluded.expires_at"
	" WHERE m.expires_at OPERATOR(pg_catalog.<=) $4",
	.nargs = 4,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

static const IdemStoreStatement find_one = {
	.number = IDEM_STORE_MESSAGE_STATEMENTS + 1,
	.table = IDEM_TABLE_MESSAGE,
	.reads = true,
	.text = "SELECT 1 FROM @.idem_message AS m"
	" WHERE m.consumer OPERATOR(pg_catalog.=) $1"
	" AND m.message_id OPERATOR(pg_catalog.=) $2"
	" AND m.expires_at OPERATOR(pg_catalog.>) $3",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

/*
 * Consumes a message; false: it has been consumed.  Waits for other sessions that
 * consume it, on whichever node.
 */
bool
idem_message_store_add(const IdemDelivery *delivery, Datum id)
{
	Datum		args[4];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = id;
	args[3] = TimestampTzGetDatum(delivery->now);
	return idem_store_run(delivery->store, &add_one, args, NULL, 0, NULL, NULL) > 0;
}

/* Is a message remembered? */
bool
idem_message_store_seen(const IdemDelivery *delivery, Datum id)
{
	Datum		args[3];

	args[0] = PointerGetDatum(delivery->consumer);
	args[1] = id;
	args[2] = TimestampTzGetDatum(delivery->now);
	return idem_store_run(delivery->store, &find_one, args, NULL, 0, NULL, NULL) > 0;
}
