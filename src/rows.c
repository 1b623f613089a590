/*
 * rows.c
 *	  The rows of a statement as a JSON array of objects.
 *
 * Each row is written down when it comes, by row_to_json(), and forgotten, so
 * that a large result is in memory once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "rows.h"

static void
begin_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	IdemRows   *rows = (IdemRows *) self;

	/* a record says of which type it is */
	rows->desc = BlessTupleDesc(desc);
	rows->any_set = true;
	appendStringInfoChar(rows->json, '[');
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	IdemRows   *rows = (IdemRows *) self;
	MemoryContext old = MemoryContextSwitchTo(rows->scratch);
	HeapTuple	tuple;
	text	   *row;

	/* The slot's own descriptor may be a table's, without the aliases. */
	slot_getallattrs(slot);
	tuple = heap_form_tuple(rows->desc, slot->tts_values, slot->tts_isnull);
	row = DatumGetTextPP(DirectFunctionCall1(row_to_json,
											 HeapTupleGetDatum(tuple)));
	if (rows->json->data[rows->json->len - 1] != '[')
		appendStringInfoChar(rows->json, ',');
	appendBinaryStringInfo(rows->json, VARDATA_ANY(row),
						   VARSIZE_ANY_EXHDR(row));

	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->scratch);
	return true;
}

static void
end_rows(DestReceiver *self)
{
	IdemRows   *rows = (IdemRows *) self;

	appendStringInfoChar(rows->json, ']');
}

static void
destroy(DestReceiver *self)
{
}

/*
 * Makes ready to receive the rows of one statement.  If it returns a set of
 * them, the array is appended to json.
 */
void
idem_rows_init(IdemRows *rows, StringInfo json)
{
	memset(rows, 0, sizeof(IdemRows));
	rows->receiver.rStartup = begin_rows;
	rows->receiver.receiveSlot = receive_row;
	rows->receiver.rShutdown = end_rows;
	rows->receiver.rDestroy = destroy;
	rows->receiver.mydest = DestTuplestore; /* the nearest there is */
	rows->json = json;
	rows->scratch = AllocSetContextCreate(CurrentMemoryContext, "idem row",
										  ALLOCSET_DEFAULT_SIZES);
}
