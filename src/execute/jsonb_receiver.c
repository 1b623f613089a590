/*
 * jsonb_receiver.c
 *	  The rows of a statement as a JSON array of objects.
 *
 * The array grows with each row that comes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"

#include "execute/jsonb_receiver.h"
#include "table/row_to_jsonb.h"

static void
begin_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	IdemJsonbReceiver *rows = (IdemJsonbReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(rows->memory);

	/* the array refers to the names in it */
	rows->desc = CreateTupleDescCopy(desc);
	idem_row_to_jsonb_name(rows->object, "rows");
	idem_jsonb_push(rows->object, WJB_BEGIN_ARRAY, NULL);
	MemoryContextSwitchTo(old);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	IdemJsonbReceiver *rows = (IdemJsonbReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(rows->memory);
	HeapTuple	tuple;

	Assert(rows->desc != NULL);
	/* The slot's own descriptor may be a table's, without the aliases. */
	slot_getallattrs(slot);
	tuple = heap_form_tuple(rows->desc, slot->tts_values, slot->tts_isnull);
	idem_row_to_jsonb_push(rows->object, rows->desc, tuple);
	MemoryContextSwitchTo(old);
	return true;
}

static void
end_rows(DestReceiver *self)
{
	IdemJsonbReceiver *rows = (IdemJsonbReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(rows->memory);

	idem_jsonb_push(rows->object, WJB_END_ARRAY, NULL);
	MemoryContextSwitchTo(old);
}

static void
destroy(DestReceiver *self)
{
}

/*
 * Makes ready to receive the rows of one statement.  If it returns a set of
 * them, be it an empty one, the object gets the array as a field "rows".
 */
void
idem_jsonb_receiver_init(IdemJsonbReceiver *rows, IdemJsonbState *object)
{
	memset(rows, 0, sizeof(IdemJsonbReceiver));
	rows->receiver.rStartup = begin_rows;
	rows->receiver.receiveSlot = receive_row;
	rows->receiver.rShutdown = end_rows;
	rows->receiver.rDestroy = destroy;
	rows->receiver.mydest = DestTuplestore; /* the nearest there is */
	rows->object = object;
	rows->memory = CurrentMemoryContext;
}
