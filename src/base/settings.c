/*
 * settings.c
 *	  Every configuration parameter of idem, in one place.
 *
 * What concerns one call (idem.ttl, idem.scope, idem.store, idem.wait_timeout) may be set by
 * anyone, anywhere; what bounds all calls, by superusers; what concerns the
 * background worker is read from the configuration file, since the worker has no
 * session of the user's to read it from.  How long a history is kept is the
 * worker's, too, but may differ between databases, and is not for those who may
 * purge to decide.
 */
#include "postgres.h"

#include <limits.h>

#include "access/parallel.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/interval.h"
#include "base/settings.h"

char	   *idem_scope;
char	   *idem_key_setting;
bool		idem_key_is_given = false;
int			idem_key_reads = 64 * 1024;
int			idem_key_match = IDEM_MATCH_EXACT;
char	   *idem_store_name;
int			idem_wait_timeout_ms = 0;
int			idem_history_retention_s = -1;
int			idem_fence_retention_s = 24 * 60 * 60;
int			idem_barrier_retention_s = 30 * 24 * 60 * 60;
int			idem_purge_naptime_ms = 10 * 1000;
int			idem_purge_batch_size = 1000;
int			idem_purge_delay_ms = 10;
int			idem_log_purge_min_duration_ms = -1;
bool		idem_worker_enabled = true;
double		idem_lose_ack = 0;
double		idem_lose_request = 0;
int			idem_lose_every = 0;
int			idem_lose_seed = 0;

static char *ttl;				/* idem.ttl, as it was set */
static int64 ttl_us;			/* what that says; 0: nothing */
static int	max_ttl_s = 0;		/* idem.max_ttl: seconds, or 0 */
static int	max_response = 0;	/* idem.max_response: bytes, or 0 */
static bool defining = false;	/* are the parameters being defined? */

/*
 * May a value be refused, so that the user who gave it learns of it?  Those
 * that were set before the library was loaded, or for a database or a role,
 * would be dropped with a warning that nobody reads, and the default take their
 * place: the first call that needs such a value raises an error instead.
 */
static bool
may_refuse(GucSource source)
{
	return !defining && !InitializingParallelWorker &&
		!(source >= PGC_S_GLOBAL && source <= PGC_S_DATABASE_USER);
}

static bool
check_ttl(char **value, void **extra, GucSource source)
{
	int64		us;

	if (idem_interval_parse(*value, &us) || !may_refuse(source))
		return true;
	GUC_check_errdetail("It is not a positive interval.");
	GUC_check_errhint("Write an interval, such as \"24 hours\", \"7 days\" or \"24h\".");
	return false;
}

static void
assign_ttl(const char *value, void *extra)
{
	if (!idem_interval_parse(value, &ttl_us))
		ttl_us = 0;
}

static bool
check_scope(char **value, void **extra, GucSource source)
{
	if (strlen(*value) <= IDEM_MAX_KEY_LENGTH || !may_refuse(source))
		return true;
	GUC_check_errdetail("A scope has at most %d bytes.", IDEM_MAX_KEY_LENGTH);
	return false;
}

/*
 * A key names one transaction.  So it is refused where it would name every one of a
 * role, a database or a connection.
 */
static bool
check_key(char **value, void **extra, GucSource source)
{
	if (InitializingParallelWorker || **value == '\0')
		return true;
	if (source < PGC_S_INTERACTIVE || source == PGC_S_TEST)
	{
		GUC_check_errdetail("A key names one transaction.");
		GUC_check_errhint("Use SET LOCAL or idem_begin() in the transaction.");
		return false;
	}
	if (strlen(*value) <= IDEM_MAX_KEY_LENGTH)
		return true;
	GUC_check_errdetail("A key has at most %d bytes.", IDEM_MAX_KEY_LENGTH);
	return false;
}

static void
assign_key(const char *value, void *extra)
{
	idem_key_is_given = value[0] != '\0' && !InitializingParallelWorker;
}

/*
 * How long a result is kept where the call does not say.  Raises 22023 where
 * idem.ttl was set to what is no time.
 */
int64
idem_settings_ttl_us(void)
{
	if (ttl_us == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\": \"%s\"",
						"idem.ttl", ttl),
				 errdetail("It is not a positive interval, and was set before idem could tell."),
				 errhint("Write an interval, such as \"24 hours\", \"7 days\" or \"24h\".")));
	return ttl_us;
}

/* The same, but 0 where idem.ttl was set to what is no time; text is what it says. */
int64
idem_settings_ttl_or_zero(const char **text)
{
	*text = ttl;
	return ttl_us;
}

/* A time, or idem.max_ttl where that is shorter. */
int64
idem_settings_cap_ttl(int64 us)
{
	return max_ttl_s == 0 ? us : Min(us, max_ttl_s * USECS_PER_SEC);
}

/* Raises 22023 for a time, called name, that is longer than idem.max_ttl. */
void
idem_settings_check_ttl(int64 us, const char *name)
{
	if (us == idem_settings_cap_ttl(us))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must not be longer than idem.max_ttl", name),
			 errdetail("idem.max_ttl is %d seconds.", max_ttl_s),
			 errhint("Ask for less, or have a superuser raise idem.max_ttl.")));
}

/* May a key remember so many bytes, by idem.max_response? */
bool
idem_settings_response_fits(Size size)
{
	return max_response == 0 || size <= (Size) max_response;
}

/*
 * Raises 54000 for what a key is to remember, called name, if it takes more bytes
 * than idem.max_response.
 */
void
idem_settings_check_response(Size size, const char *name)
{
	if (idem_settings_response_fits(size))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("\"%s\" must not be longer than idem.max_response", name),
			 errdetail("It has %zu bytes as jsonb, idem.max_response is %d.",
					   size, max_response),
			 errhint("Have less remembered, or have a superuser raise idem.max_response.")));
}

/* Defines what concerns calls. */
static void
define_for_calls(void)
{
	defining = true;
	DefineCustomStringVariable("idem.ttl",
							   "How long an idempotency key and its result are kept.",
							   "An interval in any spelling, such as \"24 hours\", \"7 days\" or \"24h\"; "
							   "a day is 24 hours and a month 30 days. "
							   "Counted from the call that claimed the key. "
							   "A call's own ttl argument takes precedence.",
							   &ttl,
							   "24h",
							   PGC_USERSET, 0,
							   check_ttl, assign_ttl, NULL);

	DefineCustomStringVariable("idem.scope",
							   "Scope of the keys whose calls name none.",
							   "What keeps the keys of tenants apart where one role serves them all. "
							   "It is no wall: who may set it may name that of another.",
							   &idem_scope,
							   "",
							   PGC_USERSET, 0,
							   check_scope, NULL, NULL);

	DefineCustomStringVariable("idem.store",
							   "Schema of the store that remembers keys, messages and offsets.",
							   "One that idem_store_create() has made, which is used with the caller's rights. "
							   "Empty: the tables of the extension.",
							   &idem_store_name,
							   "",
							   PGC_USERSET, 0,
							   NULL, NULL, NULL);
	defining = false;

	DefineCustomIntVariable("idem.max_ttl",
							"Longest time for which a key or a message may be kept, or a lease be held.",
							"A call that asks for more is refused, be it by idem.ttl. "
							"Zero sets no limit.",
							&max_ttl_s,
							0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.max_response",
							"Size of the longest answer that a key may remember.",
							"Also of a claim's request and checkpoints, each as jsonb before it is compressed. "
							"A call that would store more raises an error. Zero sets no limit.",
							&max_response,
							0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.wait_timeout",
							"How long a call waits for another that has its key.",
							"Besides lock_timeout and statement_timeout. Zero sets no limit.",
							&idem_wait_timeout_ms,
							0, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/* Defines what concerns transactions that have a key. */
static void
define_for_transactions(void)
{
	static const struct config_enum_entry matches[] = {
		{"exact", IDEM_MATCH_EXACT, false},
		{"clock", IDEM_MATCH_CLOCK, false},
		{NULL, 0, false}
	};

	DefineCustomStringVariable("idem.key",
							   "Key of the transaction: sent again under it, its writes do not run again.",
							   "Use SET LOCAL in the transaction before it writes, or idem_begin(). "
							   "Empty: the transaction has no key.",
							   &idem_key_setting,
							   "",
							   PGC_USERSET, 0,
							   check_key, assign_key, NULL);

	DefineCustomIntVariable("idem.key_reads",
							"Size of the longest query whose rows are kept with the key of a transaction.",
							"Sent again, it is answered as the first time. Longer ones run again; "
							"zero has all of them run again.",
							&idem_key_reads,
							64 * 1024, 0, 16 * 1024 * 1024,
							PGC_USERSET, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	DefineCustomEnumVariable("idem.key_match",
							 "What tells the statements of a transaction that has a key from one another.",
							 "exact: all that they say; clock: all but moments in time.",
							 &idem_key_match,
							 IDEM_MATCH_EXACT,
							 matches,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
}

/* Defines what concerns the worker, and idem_purge(). */
static void
define_for_purging(void)
{
	DefineCustomIntVariable("idem.history_retention",
							"How long the history of transitions is kept.",
							"What is older is purged with the expired keys. "
							"-1 keeps it forever.",
							&idem_history_retention_s,
							-1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.fence_retention",
							"How long the key of a claim under a lease is kept after it has expired.",
							"A claim that is made meanwhile has the next fence, so that "
							"a former holder is told from its own. -1 keeps it forever.",
							&idem_fence_retention_s,
							24 * 60 * 60, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.barrier_retention",
							"How long a barrier of a saga's step is remembered.",
							"Longer than any saga takes: an undo that comes later than that "
							"would find nothing to undo. -1 keeps it forever.",
							&idem_barrier_retention_s,
							30 * 24 * 60 * 60, -1, INT_MAX,
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

	DefineCustomIntVariable("idem.log_purge_min_duration",
							"Time that a pass of purging takes at least to be logged.",
							"Zero logs every one that has purged a row, -1 none.",
							&idem_log_purge_min_duration_ms,
							-1, -1, INT_MAX,
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
}

/* Defines what makes a test lose what it should be able to lose. */
static void
define_for_tests(void)
{
	DefineCustomRealVariable("idem.lose_ack",
							 "Chance that the client's connection is cut after a commit, before the acknowledgement.",
							 "For tests: of transactions that have written something.",
							 &idem_lose_ack,
							 0.0, 0.0, 1.0,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);

	DefineCustomRealVariable("idem.lose_request",
							 "Chance that the client's connection is cut instead of a commit.",
							 "For tests: of transactions that have written something.",
							 &idem_lose_request,
							 0.0, 0.0, 1.0,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("idem.lose_every",
							"Cuts the client's connection after every so-manieth commit of a session.",
							"For tests, besides idem.lose_ack. Zero cuts none.",
							&idem_lose_every,
							0, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("idem.lose_seed",
							"Makes idem.lose_ack and idem.lose_request repeatable.",
							"Then the number of a transaction decides. Zero draws at random.",
							&idem_lose_seed,
							0, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
}

/*
 * Defines the parameters and reserves the prefix, so that a misspelt one is an
 * error.  To be called once, from _PG_init.
 */
void
idem_settings_init(void)
{
	define_for_calls();
	define_for_transactions();
	define_for_purging();
	define_for_tests();
	MarkGUCPrefixReserved("idem");
}
