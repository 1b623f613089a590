/*
 * idem.c
 *	  Where the library begins.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/catalog.h"
#include "base/settings.h"
#include "consume/consumer.h"
#include "consume/twin.h"
#include "history/history.h"
#include "key/keyed.h"
#include "key/scope.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "purge/worker.h"
#include "run/helper.h"
#include "run/owner.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	idem_settings_init();
	idem_catalog_init();
	idem_owner_init();
	idem_helper_init();
	idem_guard_init();
	idem_machine_init();
	idem_history_init();
	idem_keyed_init();
	idem_consumer_init();
	idem_scope_init();
	idem_twin_init();
	idem_worker_init();
}
