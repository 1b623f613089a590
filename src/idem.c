/*
 * idem.c
 *	  Where the library begins.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "catalog.h"
#include "consumer.h"
#include "guard.h"
#include "helper.h"
#include "history.h"
#include "keyed.h"
#include "machine.h"
#include "owner.h"
#include "scope.h"
#include "settings.h"
#include "twin.h"
#include "worker.h"

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
