/*
 * message.c
 *	  The rows of idem_message: remembering which messages have been consumed.
 *
 * The primary key decides which session consumes a message.  A row is inserted
 * first, and only if that meets another is the other looked at: whether it has
 * expired, in which case it is deleted, and inserted again.  It is not updated: a
 * subscriber of logical replication that has purged it would not find the row to
 * update, and would have no memory of the message.
 *
 * Rows are deleted without regard to the transaction's snapshot, as they are found
 * (message_find.c).
 *
 * A session that consumes several messages takes them in the order of their bytes,
 * so that of two that do, one waits for the other, and not each for the other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/locktag.h"
#include "consume/index_twin.h"
#include "consume/message.h"
#include "consume/message_batch.h"
#include "consume/message_find.h"
#include "consume/message_store.h"
#include "run/simple_dml.h"
#include "run/spi_own.h"

/*
 * So often it is tried to add a message.  Each time that this fails although the
 * message has not been consumed, another transaction has added or renewed it and
 * it has expired or been purged again, or a trigger keeps it out.
 */
#define MAX_TRIES	10

static IdemStatement insert_one = {
	.text = "INSERT INTO @.idem_message (expires_at, consumer, message_id)"
	" VALUES ($1, $2, $3) ON CONFLICT (consumer, message_id) DO NOTHING",
	.nargs = 3,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, message_table),
	.bare = true
};

/* Where the table is not as it was installed: then triggers are to be fired. */
static IdemStatement delete_one = {
	.text = "DELETE FROM @.idem_message"
	" WHERE ctid OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.texteq(consumer, $2)"
	" AND pg_catalog.texteq(message_id, $3)"
	" AND expires_at OPERATOR(pg_catalog.<=) $4",
	.nargs = 4,
	.argtypes = {TIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	.table = offsetof(IdemCatalog, message_table)
};

/*
 * Deletes the row that kept a message from being inserted, if it has expired.
 * False: the message has been consumed.  True: the row is no longer there.
 *
 * Since that insertion this transaction has had the lock on the table that writing
 * takes, so no session has moved the row; and none has put another in its place,
 * which the snapshot forbids as long as the row may be seen by it.
 */
static bool
delete_expired(const IdemDelivery *delivery, Datum id)
{
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		ItemPointerData place;
		IdemDeletion deletion = IDEM_DELETED;
		IdemMessageState found;
		Datum		args[4];

		PushActiveSnapshot(GetTransactionSnapshot());
		found = idem_message_find(delivery, id, &place);
		if (found == IDEM_MESSAGE_EXPIRED)
			deletion = idem_simple_dml_delete_row(idem_catalog()->message_table,
												  &place);
		PopActiveSnapshot();
		if (deletion == IDEM_DELETED)
			return found != IDEM_MESSAGE_LIVE;
		if (deletion == IDEM_NOT_DELETED)
			continue;

		args[0] = PointerGetDatum(&place);
		args[1] = PointerGetDatum(delivery->consumer);
		args[2] = id;
		args[3] = TimestampTzGetDatum(delivery->now);
		if (idem_spi_own(&delete_one, args, NULL, 0, NULL, NULL) > 0)
			return true;
	}
	idem_error_prevented("idem_message");
}

/*
 * Adds those messages that are not marked as added yet, since there were rows
 * of them, if these have expired.
 */
static void
renew(const IdemDelivery *delivery, int count, Datum *ids, bool *added)
{
	int		   *places = palloc(sizeof(int) * count);
	Datum	   *expired = palloc(sizeof(Datum) * count);
	int			left = 0;

	for (int i = 0; i < count; i++)
	{
		if (!added[i])
			places[left++] = i;
	}
	for (int tries = 0; left > 0; tries++)
	{
		int			n = 0;

		for (int i = 0; i < left; i++)
		{
			int			place = places[i];

			/* one that was added at last, or that has been consumed, is done */
			if (added[place] || !delete_expired(delivery, ids[place]))
				continue;
			places[n] = place;
			expired[n++] = ids[place];
		}
		left = n;
		if (left > 0 && tries == MAX_TRIES)
			idem_error_prevented("idem_message");
		if (left > 0)
			idem_message_batch_insert(delivery, left, expired, places, added);
	}
	pfree(places);
	pfree(expired);
}

static bool
insert_row(const IdemDelivery *delivery, Datum id)
{
	Datum		args[3];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = id;
	return idem_spi_own(&insert_one, args, NULL, 0, NULL, NULL) > 0;
}

static uint64
hash_text(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value),
							   VARSIZE_ANY_EXHDR(value), seed);
}

/*
 * Consumes a message as idem_message_add does, but sees to it that no other session
 * inserts it at the same time.  The lock is held from when there is no row of the
 * message until there is one, which other sessions then meet and wait for.
 */
static bool
add_alone(const IdemDelivery *delivery, Datum id)
{
	uint64		hash = hash_text(DatumGetTextPP(id),
								 hash_text(delivery->consumer, 0));
	LOCKTAG		tag;

	IDEM_SET_LOCKTAG(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
					 IDEM_LOCK_MESSAGE);
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		bool		added;

		/* waits for other sessions, so without the lock */
		if (!delete_expired(delivery, id))
			return false;
		(void) idem_locktag_acquire(&tag, ExclusiveLock, true);
		added = idem_message_find_absent(delivery, id) &&
			insert_row(delivery, id);
		idem_locktag_release(&tag, ExclusiveLock);
		if (added)
			return true;
	}
	idem_error_prevented("idem_message");
}

/*
 * Consumes a message.  False: it has been consumed.  Waits, as any row lock does,
 * for other sessions that consume it.  Raises 40001 if it was consumed after the
 * transaction's snapshot was taken, 27000 if a trigger keeps it from being written.
 */
bool
idem_message_add(const IdemDelivery *delivery, text *id)
{
	Datum		ids[1];
	bool		added = false;

	ids[0] = PointerGetDatum(id);
	if (delivery->store != NULL)
		return idem_message_store_add(delivery, ids[0]);
	if (idem_index_twin_is_built())
		return add_alone(delivery, ids[0]);
	if (insert_row(delivery, ids[0]))
		return true;
	renew(delivery, 1, ids, &added);
	return added;
}

/* By their bytes, as the primary key has them. */
int
idem_message_compare(const text *a, const text *b)
{
	int			la = VARSIZE_ANY_EXHDR(a);
	int			lb = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(la, lb));

	return order != 0 ? order : la - lb;
}

/*
 * Consumes messages, whose ids must be distinct and in the order of their
 * bytes.  added says of each whether it had not been consumed before.
 * Waits, and raises, as idem_message_add does.
 */
void
idem_message_add_all(const IdemDelivery *delivery, int count, Datum *ids,
					 bool *added)
{
	bool		alone = delivery->store == NULL && idem_index_twin_is_built();
	int		   *places = palloc(sizeof(int) * count);

	for (int i = 0; i < count; i++)
	{
		/* or two sessions could wait for each other */
		Assert(i == 0 || idem_message_compare(DatumGetTextPP(ids[i - 1]),
											  DatumGetTextPP(ids[i])) < 0);
		places[i] = i;
		added[i] = delivery->store != NULL ?
			idem_message_store_add(delivery, ids[i]) :
			alone && add_alone(delivery, ids[i]);
	}
	if (!alone && delivery->store == NULL)
	{
		idem_message_batch_insert(delivery, count, ids, places, added);
		renew(delivery, count, ids, added);
	}
	pfree(places);
}
