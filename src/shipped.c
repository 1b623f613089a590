/*
 * shipped.c
 *	  SQL: idem_machine_restored(), which lets a machine that is restored take
 *	  the place of the one that came with idem.
 *
 * A dump has all machines but those that every installation comes with.  Where
 * such a one was changed, it is in the dump, too, and meets the original of the
 * new installation.  So a row that comes in removes the one that it would meet,
 * if that is one that came with idem and was not changed since.  It does so for
 * replicas as well: whatever copies the tables is served.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "catalog.h"
#include "query.h"

PG_FUNCTION_INFO_V1(idem_machine_restored);

static IdemStatement remove_machine = {
	.text = "DELETE FROM @.idem_machine"
	" WHERE name OPERATOR(pg_catalog.=) $1 AND shipped",
	.nargs = 1,
	.argtypes = {TEXTOID}
};

/* By itself: under session_replication_role = replica nothing cascades. */
static IdemStatement remove_edges = {
	.text = "DELETE FROM @.idem_machine_edge"
	" WHERE machine OPERATOR(pg_catalog.=) $1 AND shipped",
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static IdemStatement remove_edge = {
	.text = "DELETE FROM @.idem_machine_edge"
	" WHERE machine OPERATOR(pg_catalog.=) $1"
	" AND from_state OPERATOR(pg_catalog.=) $2"
	" AND to_state OPERATOR(pg_catalog.=) $3 AND shipped",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID}
};

/*
 * Trigger before each row that is inserted into idem_machine and
 * idem_machine_edge.
 */
Datum
idem_machine_restored(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Datum		args[5];
	bool		isnull[5];

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired before insert, for each row",
						"idem_machine_restored")));

	/* What is null is refused by the table itself. */
	desc = RelationGetDescr(trigdata->tg_relation);
	for (int i = 0; i < lengthof(args); i++)
		args[i] = heap_getattr(trigdata->tg_trigtuple, i + 1, desc, &isnull[i]);

	if (RelationGetRelid(trigdata->tg_relation) == idem_catalog()->edge_table)
	{
		if (!isnull[0] && !isnull[1] && !isnull[2])
			(void) idem_query_own(&remove_edge, args, NULL, 0, NULL, NULL);
	}
	else if (!isnull[0])
	{
		if (!isnull[4] && !DatumGetBool(args[4]))
			(void) idem_query_own(&remove_edges, args, NULL, 0, NULL, NULL);
		(void) idem_query_own(&remove_machine, args, NULL, 0, NULL, NULL);
	}
	return PointerGetDatum(trigdata->tg_trigtuple);
}
