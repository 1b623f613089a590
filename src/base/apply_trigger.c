/*
 * apply_trigger.c
 *	  SQL: _idem_copied(), for definitions that are on both sides already.
 *
 * A role that sets up a logical subscriber runs the same scripts there as on the
 * publisher, so machines, consumers and scopes are defined when the subscription
 * brings their rows.  One that is there just as it comes is no conflict.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/error.h"

PG_FUNCTION_INFO_V1(idem_copied);

/* Is a row there with the same primary key?  Then it is in the slot. */
static bool
find_row(Relation rel, TupleTableSlot *copy, TupleTableSlot *row)
{
	Oid			index;

	(void) RelationGetIndexList(rel);	/* finds out which it is */
	index = rel->rd_pkindex;
	slot_getallattrs(copy);
	return OidIsValid(index) &&
		IDEM_FIND_BY_KEY(rel, index, LockTupleKeyShare, copy, row);
}

/* Are two rows the same, as people would read them? */
static bool
is_same(TupleDesc desc, TupleTableSlot *a, TupleTableSlot *b)
{
	slot_getallattrs(a);
	slot_getallattrs(b);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			output;
		bool		isvarlena;

		if (att->attisdropped || (a->tts_isnull[i] && b->tts_isnull[i]))
			continue;
		if (a->tts_isnull[i] || b->tts_isnull[i])
			return false;
		getTypeOutputInfo(att->atttypid, &output, &isvarlena);
		if (strcmp(OidOutputFunctionCall(output, a->tts_values[i]),
				   OidOutputFunctionCall(output, b->tts_values[i])) != 0)
			return false;
	}
	return true;
}

/*
 * Trigger before a row is inserted: leaves out what a subscription brings and is
 * there already.  What is inserted in any other way is not its business.
 */
Datum
idem_copied(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleTableSlot *row;
	bool		there;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event))
		idem_error_trigger("_idem_copied",
						   "was not called before a row was inserted", NULL);
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(data->tg_trigtuple);

	row = table_slot_create(data->tg_relation, NULL);
	there = find_row(data->tg_relation, data->tg_trigslot, row) &&
		is_same(RelationGetDescr(data->tg_relation), data->tg_trigslot, row);
	ExecDropSingleTupleTableSlot(row);
	return PointerGetDatum(there ? NULL : data->tg_trigtuple);
}
