/*
 * invalidation.c
 *	  What a session keeps of tables, and when that is no longer good.
 *	  SQL: _idem_scope_changed(), _idem_machine_changed() and
 *	  _idem_consumer_changed(), the triggers of the tables of definitions.
 *
 * What a session keeps of a table is flagged as invalid by the relation cache, if
 * the table is altered.  A change of the rows of a table of definitions is to be
 * no different, so a trigger on it invalidates the table in all sessions: ALWAYS,
 * since changes that a subscription brings count as well.
 *
 * pg_restore --disable-triggers disables such a trigger, and enables it as one that
 * a subscription does not fire then, and the table's owner may drop it.  Nothing
 * may be kept until it is as it was, which idem_invalidation_covers() finds out.
 *
 * A session has few places for relcache callbacks, for all extensions together.
 * So the library has one, here.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "common/string.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "base/invalidation.h"

PG_FUNCTION_INFO_V1(idem_invalidation_trigger);

#define MAX_WATCHES		32

/* Something that is kept of a table. */
typedef struct Watch
{
	const Oid  *relid;			/* the table, which may become another */
	bool	   *valid;			/* is what is kept good? */
} Watch;

static Watch watches[MAX_WATCHES];
static int	nwatches = 0;

/* Those that keep something of any number of tables. */
#define MAX_LISTENERS	4

static IdemInvalidationListener listeners[MAX_LISTENERS];
static int	nlisteners = 0;

/*
 * Trigger on a table of definitions: once the transaction commits, every session
 * drops the table from its relation cache.
 */
Datum
idem_invalidation_trigger(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		idem_error_trigger(get_func_name(fcinfo->flinfo->fn_oid),
						   "was not called by trigger manager", NULL);
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/* Is it such a trigger, and is it fired by every change of a row? */
static bool
is_complete(const Trigger *trigger)
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

/*
 * Does every change of the rows of a table invalidate it, whichever role makes it
 * and however?
 */
bool
idem_invalidation_covers(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);

	/* a copy, since a change that comes in meanwhile would free the triggers */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	bool		covered = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers && !covered; i++)
		covered = is_complete(&triggers->triggers[i]);
	FreeTriggerDesc(triggers);
	table_close(rel, AccessShareLock);
	return covered;
}

/*
 * Has a flag reset whenever a table may have changed: the one whose OID is there
 * then.  Set the flag before the table is looked at, so that a change that comes in
 * meanwhile is not lost.  To be called from _PG_init, for each.
 */
void
idem_invalidation_watch(const Oid *relid, bool *valid)
{
	if (nwatches == MAX_WATCHES)
		elog(ERROR, "too many watches of tables");
	watches[nwatches].relid = relid;
	watches[nwatches++].valid = valid;
}

/*
 * Has a function called with the OID of each table that may have changed, or with
 * InvalidOid for all.  It may only flag, as it is called where nothing may be looked
 * up.  To be called from _PG_init.
 */
void
idem_invalidation_listen(IdemInvalidationListener listener)
{
	if (nlisteners == MAX_LISTENERS)
		elog(ERROR, "too many listeners for changes of tables");
	listeners[nlisteners++] = listener;
}

/* Only flags, since it is called where nothing may be looked up. */
static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < nwatches; i++)
	{
		/* InvalidOid stands for all relations */
		if (relid == InvalidOid || relid == *watches[i].relid)
			*watches[i].valid = false;
	}
	for (int i = 0; i < nlisteners; i++)
		listeners[i] (relid);
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_invalidation_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}
