/*
 * invalidation.c
 *	  Telling all sessions of changes of a table, and whether they are told.
 *
 * A trigger of idem's on each table of definitions tells all sessions, which keep
 * definitions, that one has changed: ALWAYS, since changes that a subscription
 * brings count as well.  pg_restore --disable-triggers disables it, and enables it
 * as a trigger that is quiet then, and the table's owner may drop it.  Nothing may
 * be kept until it is as it was.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "common/string.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/invalidation.h"

/*
 * What such a trigger, whose function has that name, does: once the transaction
 * commits, every session drops its table from the relation cache.
 */
Datum
idem_invalidation_send(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						function)));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/* Is it a trigger that tells sessions of the rows that are written? */
static bool
tells(const Trigger *trigger)
{
	char	   *function;

	if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
		!TRIGGER_FOR_ROW(trigger->tgtype) ||
		!TRIGGER_FOR_INSERT(trigger->tgtype) ||
		!TRIGGER_FOR_UPDATE(trigger->tgtype) ||
		!TRIGGER_FOR_DELETE(trigger->tgtype) ||
		trigger->tgqual != NULL || trigger->tgnattr > 0)
		return false;
	function = get_func_name(trigger->tgfoid);
	return function != NULL && strncmp(function, "_idem_", 6) == 0 &&
		pg_str_endswith(function, "_changed");
}

/* Are sessions told of every change of a table, whoever makes it? */
bool
idem_invalidation_covers(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TriggerDesc *triggers = rel->trigdesc;
	bool		told = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers && !told; i++)
		told = tells(&triggers->triggers[i]);
	table_close(rel, AccessShareLock);
	return told;
}
