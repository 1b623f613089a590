/*
 * row_text.c
 *	  The rows of a statement as text, column by column.
 *
 * They are kept as the types write them, under settings that lose nothing, and read
 * by the types again: exact for whatever the client asks for, text or binary.  Of a
 * domain the values count as those of its base type, since its constraints may have
 * changed since.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/xml.h"

#include "run/usercontext.h"
#include "session/record_size.h"
#include "session/row_text.h"

/*
 * Sets what types are written by, where the session has it otherwise, and returns
 * what idem_usercontext_reset() takes; 0: nothing was to be set.
 */
static int
pin(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"xmloption", "content"},
	};

	if (DateStyle == USE_ISO_DATES && IntervalStyle == INTSTYLE_POSTGRES &&
		extra_float_digits >= 1 && bytea_output == BYTEA_OUTPUT_HEX &&
		xmloption == XMLOPTION_CONTENT)
		return 0;
	return idem_usercontext_set(settings, lengthof(settings));
}

static void
unpin(int nestlevel)
{
	if (nestlevel > 0)
		idem_usercontext_reset(nestlevel);
}

/*
 * The type as whose values those of a type are written.  Money is an integer, which
 * lc_monetary would have read otherwise than it was written.
 */
static Oid
written_as(Oid type)
{
	Oid			base = getBaseType(type);

	return base == MONEYOID ? INT8OID : base;
}

/* Can values of a type be written, and read again? */
static bool
can_hold(Oid type)
{
	char		category;
	bool		preferred;
	Oid			base = getBaseType(type);

	if (base == VOIDOID || base == CSTRINGOID)
		return true;
	if (base == RECORDARRAYOID || get_typtype(base) == TYPTYPE_PSEUDO)
		return false;
	get_type_category_preferred(base, &category, &preferred);
	/* pg_node_tree and its like cannot be read */
	return category != 'Z' || base == CHAROID;
}

/* Can the values of all columns be written, and read again? */
bool
idem_row_text_can_hold(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
		if (!can_hold(TupleDescAttr(desc, i)->atttypid))
			return false;
	return true;
}

/* As pin(), for a value that may have moments within, which are written in a zone. */
static int
pin_zone(Oid type)
{
	static const char *const settings[][2] = {{"TimeZone", "UTC"}};
	char		category;
	bool		preferred;

	get_type_category_preferred(getBaseType(type), &category, &preferred);
	if (strchr("ACR", category) == NULL ||
		strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0)
		return 0;
	return idem_usercontext_set(settings, lengthof(settings));
}

/* A value as its type writes it, the same in every session. */
char *
idem_row_text_of(Oid type, Datum value)
{
	Oid			output;
	bool		varlena;
	int			nestlevel = pin();
	int			zone = pin_zone(type);
	char	   *text;

	getTypeOutputInfo(written_as(type), &output, &varlena);
	text = OidOutputFunctionCall(output, value);

	unpin(zone);
	unpin(nestlevel);
	return text;
}

/* Adds the value of the next column; NULL: a null. */
void
idem_row_text_add(IdemRows *rows, const char *value, int length)
{
	int32		size = value == NULL ? -1 : length;

	appendBinaryStringInfo(&rows->text, (char *) &size, sizeof(size));
	if (value != NULL)
		appendBinaryStringInfo(&rows->text, value, length);
}

/* Keeps no more rows, and none of those before. */
static void
drop(IdemTee *tee)
{
	idem_record_size_take_rows(tee->rows);
	pfree(tee->rows->text.data);
	tee->rows->text.data = NULL;
	tee->rows->count = 0;
	tee->dropped = true;
}

/* May so many bytes more be kept of a value?  They count as what the record takes. */
static bool
has_space(IdemTee *tee, Size length)
{
	if (tee->most > 0 && tee->rows->text.len + sizeof(int32) + length > tee->most)
	{
		if (!tee->must_keep(tee->state))
			return false;
		tee->most = 0;
	}
	idem_record_size_add_value(length);
	return true;
}

/* Keeps the values of a row; false: they are too much. */
static bool
keep_values(IdemTee *tee, TupleTableSlot *slot)
{
	for (int i = 0; i < tee->rows->columns; i++)
	{
		char	   *value = slot->tts_isnull[i] ? NULL :
			OutputFunctionCall(&tee->output[i], slot->tts_values[i]);
		Size		length = value == NULL ? 0 : strlen(value);

		if (!has_space(tee, length))
			return false;
		idem_row_text_add(tee->rows, value, length);
	}
	return true;
}

static void
keep(IdemTee *tee, TupleTableSlot *slot)
{
	MemoryContext caller = MemoryContextSwitchTo(tee->scratch);
	int			nestlevel = pin();
	bool		kept;

	slot_getallattrs(slot);
	kept = keep_values(tee, slot);
	unpin(nestlevel);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(tee->scratch);
	if (kept)
		tee->rows->count++;
	else
		drop(tee);
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	IdemTee    *tee = (IdemTee *) self;

	if (!tee->dropped)
		keep(tee, slot);
	return tee->client->receiveSlot(slot, tee->client);
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
	IdemTee    *tee = (IdemTee *) self;

	tee->client->rStartup(tee->client, operation, desc);
	if (tee->dropped)
		return;
	if (!idem_row_text_can_hold(desc))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot record the rows of a statement in a transaction that has a key"),
				 errdetail("They have a column of a type that cannot be read from text, such as record."),
				 errhint("Select from the function, SELECT * FROM f(), so that it has columns.")));
	tee->rows->columns = desc->natts;
	tee->scratch = AllocSetContextCreate(CurrentMemoryContext, "idem row",
										 ALLOCSET_DEFAULT_SIZES);
	tee->output = palloc0(Max(desc->natts, 1) * sizeof(FmgrInfo));
	for (int i = 0; i < desc->natts; i++)
	{
		Oid			output;
		bool		varlena;

		getTypeOutputInfo(written_as(TupleDescAttr(desc, i)->atttypid), &output,
						  &varlena);
		fmgr_info(output, &tee->output[i]);
	}
	if (tee->rows->text.data == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(tee->memory);

		initStringInfo(&tee->rows->text);
		MemoryContextSwitchTo(caller);
	}
}

static void
shut(DestReceiver *self)
{
	IdemTee    *tee = (IdemTee *) self;

	tee->client->rShutdown(tee->client);
	if (tee->scratch == NULL)
		return;
	/* a cursor has one each time that it is asked for rows */
	MemoryContextDelete(tee->scratch);
	pfree(tee->output);
}

static void
destroy(DestReceiver *self)
{
}

/*
 * Makes a receiver, for one execution, that keeps the rows it passes on; a limit may be
 * set in it.  What was kept before stays.
 */
void
idem_row_text_tee(IdemTee *tee, DestReceiver *client, IdemRows *rows,
				  MemoryContext memory)
{
	memset(tee, 0, sizeof(IdemTee));
	tee->pub.receiveSlot = receive;
	tee->pub.rStartup = startup;
	tee->pub.rShutdown = shut;
	tee->pub.rDestroy = destroy;
	tee->pub.mydest = client->mydest;
	tee->client = client;
	tee->rows = rows;
	tee->memory = memory;
}

/* Reads a row into a slot. */
static void
read_row(const IdemRows *rows, IdemRowsPlace *place, FmgrInfo *input,
		 const Oid *ioparam, TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	for (int i = 0; i < rows->columns; i++)
	{
		int32		size;
		char	   *text = NULL;

		memcpy(&size, rows->text.data + place->byte, sizeof(size));
		place->byte += sizeof(size);
		if (size >= 0)
		{
			text = pnstrdup(rows->text.data + place->byte, size);

			place->byte += size;
		}
		slot->tts_isnull[i] = (text == NULL);
		slot->tts_values[i] = text == NULL ? (Datum) 0 :
			InputFunctionCall(&input[i], text, ioparam[i], -1);
	}
	ExecStoreVirtualTuple(slot);
}

/* Says of an error what was read: a constraint of a domain may be newer than the value. */
static void
read_context(void *arg)
{
	errcontext("reading what the statement answered the first time");
}

/*
 * Sends so many rows, or, for 0, all that are left, and returns how many there were.
 * The receiver is started and shut, as an executor would.
 */
uint64
idem_row_text_send(const IdemRows *rows, IdemRowsPlace *place, uint64 count,
				   TupleDesc desc, DestReceiver *dest)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	FmgrInfo   *input = palloc0(Max(rows->columns, 1) * sizeof(FmgrInfo));
	Oid		   *ioparam = palloc0(Max(rows->columns, 1) * sizeof(Oid));
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "idem row",
												  ALLOCSET_DEFAULT_SIZES);
	uint64		sent = 0;

	Assert(rows->columns == desc->natts);
	for (int i = 0; i < rows->columns; i++)
	{
		Oid			function;

		getTypeInputInfo(written_as(TupleDescAttr(desc, i)->atttypid), &function,
						 &ioparam[i]);
		fmgr_info(function, &input[i]);
	}
	dest->rStartup(dest, CMD_SELECT, desc);
	while (place->row < rows->count && (count == 0 || sent < count))
	{
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		int			nestlevel = pin();
		ErrorContextCallback context = {
			.previous = error_context_stack, .callback = read_context
		};
		bool		more;

		CHECK_FOR_INTERRUPTS();
		error_context_stack = &context;
		read_row(rows, place, input, ioparam, slot);
		error_context_stack = context.previous;
		unpin(nestlevel);
		MemoryContextSwitchTo(caller);
		place->row++;
		sent++;
		more = dest->receiveSlot(slot, dest);
		ExecClearTuple(slot);
		MemoryContextReset(scratch);
		if (!more)
			break;
	}
	dest->rShutdown(dest);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(scratch);
	return sent;
}
