/*
 * stats_counter.c
 *	  Counting what idem does.
 *
 * What is counted has been counted: a transaction that rolls back takes nothing
 * back, since a call that was refused, or met another, did so whatever becomes of
 * it.  So it is counted when it happens, and before an error about it is raised.
 */
#include "postgres.h"

#include "stats/stats_counter.h"
#include "stats/stats_shared.h"

static const char *const names[] = {
	[IDEM_COUNT_KEY_NEW] = "key_new",
	[IDEM_COUNT_KEY_REPLAYED] = "key_replayed",
	[IDEM_COUNT_KEY_MISMATCH] = "key_mismatch",
	[IDEM_COUNT_KEY_WAITED] = "key_waited",
	[IDEM_COUNT_KEY_IN_PROGRESS] = "key_in_progress",
	[IDEM_COUNT_KEY_TAKEOVER] = "key_takeover",
	[IDEM_COUNT_KEY_STALE_FENCE] = "key_stale_fence",
	[IDEM_COUNT_KEY_RELEASED] = "key_released",
	[IDEM_COUNT_KEY_FAILED] = "key_failed",
	[IDEM_COUNT_TRANSITION_APPLIED] = "transition_applied",
	[IDEM_COUNT_TRANSITION_NOOP] = "transition_noop",
	[IDEM_COUNT_TRANSITION_REFUSED] = "transition_refused",
	[IDEM_COUNT_TRANSITION_GUARD] = "transition_guard",
	[IDEM_COUNT_VERSION_CONFLICT] = "version_conflict",
	[IDEM_COUNT_MESSAGE_NEW] = "message_new",
	[IDEM_COUNT_MESSAGE_DUPLICATE] = "message_duplicate",
	[IDEM_COUNT_MESSAGE_LATE] = "message_late",
	[IDEM_COUNT_MESSAGE_GAP] = "message_gap",
	[IDEM_COUNT_MESSAGE_STALE_EPOCH] = "message_stale_epoch",
	[IDEM_COUNT_SAGA_STARTED] = "saga_started",
	[IDEM_COUNT_SAGA_COMPLETED] = "saga_completed",
	[IDEM_COUNT_SAGA_COMPENSATED] = "saga_compensated",
	[IDEM_COUNT_SAGA_STUCK] = "saga_stuck",
	[IDEM_COUNT_PURGE_ROWS] = "purge_rows",
	[IDEM_COUNT_PURGE_BATCHES] = "purge_batches",
	[IDEM_COUNT_PURGE_ERRORS] = "purge_errors",
	[IDEM_COUNT_ACK_LOST] = "ack_lost",
	[IDEM_COUNT_REQUEST_LOST] = "request_lost",
};

StaticAssertDecl(lengthof(names) == IDEM_COUNTERS, "each counter needs a name");

#ifndef IDEM_WITHOUT_STATS
/*
 * Counts what has happened n times.  Raises nothing, whatever shared memory there
 * is.
 */
void
idem_stats_counter_add(IdemCounter counter, uint64 n)
{
	pg_atomic_uint64 *stripe = idem_stats_shared_stripe();

	if (stripe != NULL && n > 0)
		pg_atomic_fetch_add_u64(&stripe[counter], n);
}
#endif

const char *
idem_stats_counter_name(IdemCounter counter)
{
	Assert(counter >= 0 && counter < IDEM_COUNTERS);
	return names[counter];
}
