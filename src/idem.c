/*
 * idem.c
 *	  Where the library begins.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/catalog.h"
#include "base/fingerprint.h"
#include "base/invalidation.h"
#include "base/routed.h"
#include "base/settings.h"
#include "consume/consumer.h"
#include "consume/index_twin.h"
#include "history/history_write.h"
#include "key/current_key.h"
#include "key/scope.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "purge/bgworker.h"
#include "run/planner_hook.h"
#include "run/usercontext.h"
#include "session/executor_hooks.h"
#include "session/lose_ack.h"
#include "session/notify_hook.h"
#include "session/savepoint.h"
#include "session/session.h"
#include "session/statement_run.h"
#include "session/utility_hook.h"
#include "stats/stats_shared.h"
#include "store/store.h"
#include "upsert/insert_values.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	idem_settings_init();
	idem_stats_shared_init();
	idem_invalidation_init();
	idem_catalog_init();
	idem_fingerprint_register();
	idem_routed_init();
	idem_store_init();
	idem_own_names_init();
	idem_usercontext_init();
	idem_planner_hook_init();
	idem_guard_init();
	idem_machine_init();
	idem_history_write_init();
	idem_current_key_init();
	idem_consumer_init();
	idem_scope_init();
	idem_index_twin_init();
	idem_insert_values_init();
	idem_bgworker_init();
	idem_lose_ack_init();
	/* behind that, so that it is called before: what it writes may be lost */
	idem_session_init();
	idem_savepoint_init();
	idem_statement_run_init();
	idem_notify_hook_init();
	idem_executor_hooks_init();
	idem_utility_hook_init();
}
