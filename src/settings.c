/*
 * settings.c
 *	  Every configuration parameter of idem, in one place.
 *
 * What concerns one call (idem.ttl) may be set by anyone, anywhere; what
 * concerns the background worker is read from the configuration file, since
 * the worker has no session of the user's to read it from.  How long a history
 * is kept is the worker's, too, but may differ between databases, and is not for
 * whoever may purge to decide.
 */
#include "postgres.h"

#include <limits.h>

#include "settings.h"
#include "utils/guc.h"

int			idem_ttl_s = 24 * 60 * 60;
int			idem_history_retention_s = -1;
int			idem_purge_naptime_ms = 10 * 1000;
int			idem_purge_batch_size = 1000;
int			idem_purge_delay_ms = 10;
bool		idem_worker_enabled = true;

/*
 * Defines the parameters and reserves the prefix, so that a misspelt one is an
 * error.  To be called once, from _PG_init.
 */
void
idem_settings_init(void)
{
	DefineCustomIntVariable("idem.ttl",
							"How long an idempotency key and its result are kept.",
							"Counted from the call that claimed the key. "
							"A call's own ttl argument takes precedence.",
							&idem_ttl_s,
							24 * 60 * 60, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.history_retention",
							"How long the history of transitions is kept.",
							"What is older is purged with the expired keys. "
							"-1 keeps it forever.",
							&idem_history_retention_s,
							-1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.purge_naptime",
							"Time between two rounds of purging.",
							"Skipped while a database still has rows that have expired.",
							&idem_purge_naptime_ms,
							10 * 1000, 10, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.purge_batch_size",
							"Rows that one purge transaction deletes at most.",
							"Larger batches purge faster and disturb others more.",
							&idem_purge_batch_size,
							1000, 1, 1000 * 1000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.purge_delay",
							"Pause between two purge transactions.",
							"Spent outside any transaction; zero purges at full speed.",
							&idem_purge_delay_ms,
							10, 0, 60 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("idem.worker",
							 "Lets the background worker purge what has expired.",
							 "While off, keys and messages expire all the same, but their rows stay "
							 "until idem_purge() is called.",
							 &idem_worker_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	MarkGUCPrefixReserved("idem");
}
