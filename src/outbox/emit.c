/*
 * emit.c
 *	  SQL: idem_emit(), which puts a message into the outbox.
 *
 * The message is a row that commits with the caller's transaction.  It keeps the
 * number of that transaction, by which readers know which messages are complete.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/error.h"
#include "base/routed.h"
#include "base/rights.h"
#include "outbox/emit.h"
#include "outbox/outbox_era.h"
#include "outbox/outbox_place.h"
#include "run/simple_dml.h"
#include "run/spi_own.h"

#define MAX_KEY_LENGTH	1024	/* bytes */
#define SEQUENCE		"idem_outbox_id_seq"

PG_FUNCTION_INFO_V1(idem_emit);

static IdemStatement insert_message = {
	.text = "INSERT INTO @.idem_outbox"
	" (xid, id, emitted_at, era, topic, key, payload, headers)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
	.nargs = IDEM_OUTBOX_COLUMNS,
	.argtypes = {XID8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID,
	JSONBOID, JSONBOID},
	.table = offsetof(IdemCatalog, outbox_table)
};

/*
 * An id that no message has had: the sequence counts within an era, so that it does
 * not matter whether it has come along with the tables.
 */
static int64
new_id(int32 era)
{
	Oid			sequence = get_relname_relid(SEQUENCE, idem_catalog()->schema_oid);

	if (!OidIsValid(sequence))
		idem_catalog_error_altered("sequence", SEQUENCE);
	return ((int64) (era - 1) << IDEM_OUTBOX_ERA_BITS) + nextval_internal(sequence, false);
}

static void
check_headers(Jsonb *headers)
{
	if (!JB_ROOT_IS_OBJECT(headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"headers\" must be an object"),
				 errdetail("It is %s.", JsonbToCString(NULL, &headers->root,
													   VARSIZE(headers)))));
}

/* Writes the row, directly if nothing is attached to the table. */
static void
write_message(Datum *values, bool *isnull)
{
	idem_routed_check_local("idem_outbox", false);
	if (idem_simple_dml_insert(idem_catalog()->outbox_table,
							   IDEM_OUTBOX_COLUMNS, values, isnull))
		return;
	if (idem_spi_own(&insert_message, values, isnull, 0, NULL, NULL) == 0)
		idem_error_prevented("idem_outbox");
}

/*
 * idem_emit(topic text, payload jsonb, key text, headers jsonb) -> bigint
 *
 * Puts a message into the outbox, if this transaction commits, and returns its id.
 * Waits for nobody.
 *
 * Raises 42501 unless the caller may emit, 22004 and 22023 for arguments that are
 * none, 25006 in a read-only transaction and on a standby, 27000 when a trigger
 * keeps the row from being written, 55000 where a subscription fills the outbox.
 */
Datum
idem_emit(PG_FUNCTION_ARGS)
{
	text	   *topic = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	text	   *key = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	Datum		values[IDEM_OUTBOX_COLUMNS];
	bool		isnull[IDEM_OUTBOX_COLUMNS] = {false};
	int32		era;
	int64		id;

	idem_rights_define(fcinfo, "idem_emit", idem_catalog()->outbox_table,
					   IDEM_OUTBOX_TOPIC);
	PreventCommandDuringRecovery("idem_emit()");
	PreventCommandIfReadOnly("idem_emit()");
	idem_argument_check_name("topic", topic, IDEM_EMIT_TOPIC_LENGTH);
	if (PG_ARGISNULL(1))
		idem_error_null("payload");
	if (key != NULL)
		idem_argument_check_name("key", key, MAX_KEY_LENGTH);
	if (!PG_ARGISNULL(3))
		check_headers(PG_GETARG_JSONB_P(3));

	era = idem_outbox_era(false);
	id = new_id(era);
	values[IDEM_OUTBOX_XID - 1] =
		UInt64GetDatum(U64FromFullTransactionId(GetTopFullTransactionId()));
	values[IDEM_OUTBOX_ID - 1] = Int64GetDatum(id);
	values[IDEM_OUTBOX_EMITTED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[IDEM_OUTBOX_ERA - 1] = Int32GetDatum(era);
	values[IDEM_OUTBOX_TOPIC - 1] = PointerGetDatum(topic);
	values[IDEM_OUTBOX_KEY - 1] = PointerGetDatum(key);
	isnull[IDEM_OUTBOX_KEY - 1] = key == NULL;
	values[IDEM_OUTBOX_PAYLOAD - 1] = PG_GETARG_DATUM(1);
	values[IDEM_OUTBOX_HEADERS - 1] = PG_GETARG_DATUM(3);
	isnull[IDEM_OUTBOX_HEADERS - 1] = PG_ARGISNULL(3);
	write_message(values, isnull);
	PG_RETURN_INT64(id);
}
