/*
 * audit_keys.c
 *	  Keys whose row is gone: they replay an answer about a row that is no more.
 *
 * Which row a key was about, only the history of a table tells.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tstoreReceiver.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/role.h"
#include "health/audit.h"
#include "key/key_table.h"
#include "run/spi_caller.h"
#include "run/spi_own.h"
#include "run/usercontext.h"
#include "table/pk_value.h"
#include "table/sql_name.h"

/* The rows of a table that calls under a key have written a history of. */
static IdemStatement select_keys = {
	.text = "SELECT DISTINCT h.row_key::pg_catalog.jsonb AS row_key,"
	" COALESCE(h.scope::pg_catalog.text, '') AS scope,"
	" h.key::pg_catalog.text AS key FROM @.idem_history AS h"
	" WHERE @._idem_table_oid(h.target) OPERATOR(pg_catalog.=) $1"
	" AND h.key IS NOT NULL",
	.nargs = 1,
	.argtypes = {OIDOID},
	.table = offsetof(IdemCatalog, history_table),
	.reads = true
};

static const char *
write_sql(const void *state, int which)
{
	const IdemAudit *audit = state;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT 1 FROM %s AS idem_row WHERE ",
					 idem_sql_name_only(audit->rel));
	idem_pk_value_condition(&sql, audit->rel, &audit->key);
	return sql.data;
}

static const IdemOperation operation = {gettext_noop("look at a row of")};

/* Is the row there? */
static bool
is_there(const IdemAudit *audit, Jsonb *id)
{
	IdemTableSignature signature = {
		IDEM_PLAN_AUDIT_ROW, GetUserId(), RelationGetRelid(audit->rel)
	};
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature)},
		.write_sql = write_sql, .state = audit,
		.nargs = audit->key.ncolumns, .argtypes = types,
		.table = RelationGetRelid(audit->rel), .looks = true,
		.operation = &operation
	};
	IdemUserContext caller;
	Datum		one;
	bool		isnull;

	/* what the key's types check is the owner's code */
	idem_usercontext_enter(&caller, audit->rel->rd_rel->relowner);
	idem_pk_value_bind(idem_pk_value_jsonb(id), audit->rel, &audit->key, types,
					   values);
	idem_usercontext_leave(&caller);
	return idem_spi_caller(idem_spi_caller_plan(&statement), values, NULL, 1,
						   &one, &isnull) > 0;
}

/* Is a key alive, and the caller's to know of? */
static bool
is_known(text *scope, text *key)
{
	IdemKeyRow	row;

	if (idem_key_table_find(scope, key, GetCurrentTimestamp(), IDEM_COMMITTED,
							&row) != IDEM_KEY_LIVE)
		return false;
	return idem_role_has_rights_of(GetUserId(), row.claimed_by) ||
		pg_class_aclcheck(idem_catalog()->key_table, GetUserId(),
						  ACL_SELECT) == ACLCHECK_OK;
}

/* Can a row be told by what the history knows it by? */
static bool
is_told(const IdemAudit *audit)
{
	for (int i = 0; i < audit->key.ncolumns; i++)
	{
		if (bms_is_member(audit->key.columns[i], audit->managed))
			return false;
	}
	/* a row that row security hides is not gone */
	return check_enable_rls(RelationGetRelid(audit->rel), InvalidOid,
							true) != RLS_ENABLED;
}

/* Looks for keys of a table that keeps a history whose row is no more. */
void
idem_audit_keys(const IdemAudit *audit)
{
	Tuplestorestate *found;
	DestReceiver *dest;
	Datum		args[1] = {ObjectIdGetDatum(RelationGetRelid(audit->rel))};
	TupleDesc	desc = CreateTemplateTupleDesc(3);
	TupleTableSlot *slot;
	MemoryContext memory;		/* for one key */
	MemoryContext former;

	if (!is_told(audit))
		return;
	found = tuplestore_begin_heap(false, false, work_mem);
	dest = CreateDestReceiver(DestTuplestore);
	TupleDescInitEntry(desc, 1, "row_key", JSONBOID, -1, 0);
	TupleDescInitEntry(desc, 2, "scope", TEXTOID, -1, 0);
	TupleDescInitEntry(desc, 3, "key", TEXTOID, -1, 0);
	IDEM_FINISH_DESC(desc);
	SetTuplestoreDestReceiverParams(dest, found, CurrentMemoryContext, false,
									NULL, NULL);
	idem_spi_own_send(&select_keys, args, dest);
	dest->rDestroy(dest);

	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	memory = AllocSetContextCreate(CurrentMemoryContext, "idem audit of a key",
								   ALLOCSET_DEFAULT_SIZES);
	former = MemoryContextSwitchTo(memory);
	while (tuplestore_gettupleslot(found, true, false, slot))
	{
		Jsonb	   *id;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		id = DatumGetJsonbP(slot->tts_values[0]);
		if (is_known(DatumGetTextPP(slot->tts_values[1]),
					 DatumGetTextPP(slot->tts_values[2])) &&
			!is_there(audit, id))
			idem_audit_found(audit, "row_gone", id,
							 TextDatumGetCString(slot->tts_values[2]),
							 "The key replays an answer about a row that is no more.");
		ExecClearTuple(slot);
		MemoryContextReset(memory);
	}
	MemoryContextSwitchTo(former);
	MemoryContextDelete(memory);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(found);
}
