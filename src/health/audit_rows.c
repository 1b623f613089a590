/*
 * audit_rows.c
 *	  The rows of a table, held to their machines and to their history.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "health/audit.h"
#include "history/history_select.h"
#include "machine/machine.h"
#include "run/spi_caller.h"
#include "table/attachment.h"
#include "table/pk_json.h"
#include "table/sql_name.h"

#define HISTORY_VERSION		0	/* columns of what history_select sends */
#define HISTORY_COLUMN		8

/* What is recorded of a row, in the column of one attachment. */
typedef struct Recorded
{
	DestReceiver receiver;		/* of what is recorded; must be first */
	const char *column;
	int64		entries;
	int64		version;		/* the highest */
} Recorded;

/* The rows of a table, as they are read. */
typedef struct Rows
{
	DestReceiver receiver;		/* must be first */
	const IdemAudit *audit;
	MemoryContext memory;		/* for one row */
} Rows;

static void
begin_nothing(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_nothing(DestReceiver *self)
{
}

static void
init_receiver(DestReceiver *receiver,
			  bool (*receive) (TupleTableSlot *slot, DestReceiver *self))
{
	receiver->rStartup = begin_nothing;
	receiver->receiveSlot = receive;
	receiver->rShutdown = end_nothing;
	receiver->rDestroy = end_nothing;
	receiver->mydest = DestTuplestore;	/* the nearest there is */
}

static bool
receive_entry(TupleTableSlot *slot, DestReceiver *self)
{
	Recorded   *recorded = (Recorded *) self;

	slot_getallattrs(slot);
	if (strcmp(TextDatumGetCString(slot->tts_values[HISTORY_COLUMN]),
			   recorded->column) != 0)
		return true;
	recorded->entries++;
	recorded->version = Max(recorded->version,
							DatumGetInt64(slot->tts_values[HISTORY_VERSION]));
	return true;
}

/* What is recorded of a row in a column. */
static void
find_recorded(const IdemAudit *audit, const Datum *key, const char *column,
			  Recorded *recorded)
{
	IdemHistoryTables tables;

	memset(recorded, 0, sizeof(Recorded));
	recorded->column = column;
	init_receiver(&recorded->receiver, receive_entry);
	idem_history_select_tables(audit->rel, RelationGetRelid(audit->rel),
							   audit->managed, &audit->key, key, &tables);
	idem_history_select_columns(&tables, list_make1(unconstify(char *, column)));
	idem_history_select_rows(&tables, &recorded->receiver);
}

/* The state in a column; NULL: none. */
static const char *
state_text(Oid type, Datum value, bool isnull)
{
	Oid			output;
	bool		isvarlena;

	if (isnull)
		return NULL;
	getTypeOutputInfo(type, &output, &isvarlena);
	return OidOutputFunctionCall(output, value);
}

/* Looks at a row: at its state in one column, and at its version. */
static void
check_state(const IdemAudit *audit, const IdemAttachment *attachment,
			const Datum *key, const char *state, int64 version, bool no_version)
{
	const IdemMachine *machine = idem_machine_seek(attachment->machine);
	Jsonb	   *id = idem_pk_json_form(audit->rel, NULL, &audit->key, key);
	Recorded	recorded;

	if (machine != NULL && state != NULL && !idem_machine_knows(machine, state))
		idem_audit_found(audit, "unknown_state", id, NULL,
						 psprintf("Column \"%s\" has state \"%s\", which state machine \"%s\" does not have.",
								  attachment->column, state, attachment->machine));
	if (!idem_attachment_records(audit->rel, attachment->column))
		return;
	find_recorded(audit, key, attachment->column, &recorded);
	if (recorded.entries == 0)
		idem_audit_found(audit, "never_validated", id, NULL,
						 psprintf("No trigger has met the row in column \"%s\": it was loaded past them, or before the history was kept.",
								  attachment->column));
	else if (no_version || version < recorded.version)
		idem_audit_found(audit, "version_behind", id, NULL,
						 psprintf("The history has version %lld, the row %s.",
								  (long long) recorded.version,
								  no_version ? "none" : psprintf("%lld", (long long) version)));
}

/* Columns: those of the key, the version, the states. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Rows	   *rows = (Rows *) self;
	const IdemAudit *audit = rows->audit;
	MemoryContext former = MemoryContextSwitchTo(rows->memory);
	int			number = audit->key.ncolumns;
	ListCell   *lc;

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	foreach(lc, audit->attachments)
	{
		const IdemAttachment *attachment = lfirst(lc);
		int			state = number + 1 + foreach_current_index(lc);

		check_state(audit, attachment, slot->tts_values,
					state_text(TupleDescAttr(slot->tts_tupleDescriptor, state)->atttypid,
							   slot->tts_values[state], slot->tts_isnull[state]),
					DatumGetInt64(slot->tts_values[number]),
					slot->tts_isnull[number]);
	}
	MemoryContextSwitchTo(former);
	MemoryContextReset(rows->memory);
	return true;
}

static const char *
write_sql(const void *state, int which)
{
	const IdemAudit *audit = state;
	const IdemAttachment *first = linitial(audit->attachments);
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < audit->key.ncolumns; i++)
		appendStringInfo(&sql, "idem_row.%s, ",
						 idem_sql_name_column(audit->rel, audit->key.columns[i]));
	appendStringInfo(&sql, "idem_row.%s::pg_catalog.int8",
					 idem_sql_name_column(audit->rel, first->version));
	foreach(lc, audit->attachments)
		appendStringInfo(&sql, ", idem_row.%s",
						 idem_sql_name_column(audit->rel,
											  ((const IdemAttachment *) lfirst(lc))->status));
	appendStringInfo(&sql, " FROM %s AS idem_row", idem_sql_name_only(audit->rel));
	return sql.data;
}

static ParamListInfo
bind_nothing(int nargs, const Oid *types, void *state)
{
	Assert(nargs == 0);
	return makeParamList(0);
}

static const IdemOperation operation = {gettext_noop("look at the rows of")};

/* Looks at all rows of a table that the caller sees. */
void
idem_audit_rows(const IdemAudit *audit)
{
	IdemTableSignature signature = {
		IDEM_PLAN_AUDIT, GetUserId(), RelationGetRelid(audit->rel)
	};
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature)},
		.write_sql = write_sql, .state = audit,
		.table = RelationGetRelid(audit->rel), .looks = true,
		.operation = &operation
	};
	Rows		rows = {.audit = audit};

	init_receiver(&rows.receiver, receive_row);
	rows.memory = AllocSetContextCreate(CurrentMemoryContext, "idem audit of a row",
										ALLOCSET_DEFAULT_SIZES);
	(void) idem_spi_caller_send(idem_spi_caller_plan(&statement), bind_nothing,
								NULL, &rows.receiver);
	MemoryContextDelete(rows.memory);
}
