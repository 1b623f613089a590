/*
 * version_trigger.c
 *	  SQL: idem_version(), the trigger of tables whose rows have a version but
 *	  follow no state machine.
 *
 * It raises the version on every update, so that a session that writes to a row
 * is noticed by those who expect the version that they have read.  Like
 * idem_lifecycle() it runs with the rights of the role that writes, and not
 * under session_replication_role = replica.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"

#include "base/error.h"
#include "table/attachment.h"
#include "table/row_version.h"

PG_FUNCTION_INFO_V1(idem_version);

pg_noreturn static void
protocol_error(const char *what)
{
	idem_error_trigger("idem_version", what,
					   "Use CREATE TRIGGER ... BEFORE UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION idem_version('version').");
}

/*
 * idem_version('version') -> trigger
 *
 * Sets the version of an updated row to one more than it was, whatever the
 * update says; to 1 where the row had none.  Errors: 22003 when the version
 * overflows, 39P01 for a trigger of another kind, and those of
 * idem_attachment_read_version.
 */
Datum
idem_version(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Relation	rel;
	AttrNumber	column;
	int64		version;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo))
		protocol_error("was not called by trigger manager");
	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		protocol_error("must be fired for each row before update");
	if (trigdata->tg_trigger->tgnattr > 0 ||
		trigdata->tg_trigger->tgqual != NULL)
		protocol_error("must be fired by every update");

	rel = trigdata->tg_relation;
	column = idem_attachment_read_version(rel, trigdata->tg_trigger);
	version = idem_row_version_get(trigdata->tg_trigtuple, rel, column, &isnull);
	version = isnull ? 1 : idem_row_version_next(rel, column, version);
	return PointerGetDatum(idem_row_version_set(trigdata->tg_newtuple, rel,
												column, version));
}
