/*
 * message_batch.c
 *	  Inserting the rows of many messages by one statement.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/error.h"
#include "consume/message_batch.h"
#include "run/spi_own.h"

/* Rows come back in the order in which they are given. */
static IdemStatement insert_many = {
	.text = "INSERT INTO @.idem_message (expires_at, consumer, message_id)"
	" SELECT $1, $2, pg_catalog.unnest($3)"
	" ON CONFLICT (consumer, message_id) DO NOTHING RETURNING message_id",
	.nargs = 3,
	.argtypes = {TIMESTAMPTZOID, TEXTOID, TEXTARRAYOID},
	.table = offsetof(IdemCatalog, message_table),
	.bare = true
};

/* Receives the messages that a statement has written, and marks them. */
typedef struct Marker
{
	DestReceiver receiver;		/* must be first */
	int			count;
	const Datum *ids;			/* those that it was given */
	const int  *places;			/* where to mark each of them */
	int			next;			/* the first that may yet come back */
	bool	   *marks;
} Marker;

static void
begin_marks(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static bool
mark_row(TupleTableSlot *slot, DestReceiver *self)
{
	Marker	   *marker = (Marker *) self;
	bool		isnull;
	text	   *id = DatumGetTextPP(slot_getattr(slot, 1, &isnull));

	while (marker->next < marker->count)
	{
		int			i = marker->next++;

		if (same_text(id, DatumGetTextPP(marker->ids[i])))
		{
			Assert(!marker->marks[marker->places[i]]);
			marker->marks[marker->places[i]] = true;
			return true;
		}
	}
	/* a trigger has made it another one */
	idem_error_prevented("idem_message");
	return false;				/* keep compiler quiet */
}

static void
end_marks(DestReceiver *self)
{
}

/*
 * Inserts rows of those messages that have none, and marks these: at the place
 * that is given for each.  Waits as an insertion does.  Raises 27000 where a
 * trigger has made a message another one.
 */
void
idem_message_batch_insert(const IdemDelivery *delivery, int count, Datum *ids,
						  const int *places, bool *marks)
{
	Marker		marker = {
		.receiver = {
			.receiveSlot = mark_row,
			.rStartup = begin_marks,
			.rShutdown = end_marks,
			.rDestroy = end_marks,
			.mydest = DestTuplestore	/* the nearest there is */
		},
		.count = count,
		.ids = ids,
		.places = places,
		.marks = marks
	};
	ArrayType  *array = construct_array(ids, count, TEXTOID, -1, false,
										TYPALIGN_INT);
	Datum		args[3];

	args[0] = TimestampTzGetDatum(delivery->expires_at);
	args[1] = PointerGetDatum(delivery->consumer);
	args[2] = PointerGetDatum(array);
	(void) idem_spi_own_send(&insert_many, args, &marker.receiver);
	pfree(array);
}
