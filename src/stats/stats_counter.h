/*
 * stats_counter.h
 *	  Counting what idem does.
 */
#ifndef IDEM_STATS_COUNTER_H
#define IDEM_STATS_COUNTER_H

/*
 * What is counted, in the order in which idem_stats shows it.  Nothing depends on
 * the numbers: a new one gets its name in stats_counter.c, a line in
 * docs/reference.md, and stands where what it is about stands.
 */
typedef enum IdemCounter
{
	/* keys: of calls that work under one, and of claims */
	IDEM_COUNT_KEY_NEW,
	IDEM_COUNT_KEY_REPLAYED,
	IDEM_COUNT_KEY_MISMATCH,
	IDEM_COUNT_KEY_WAITED,
	IDEM_COUNT_KEY_IN_PROGRESS,
	IDEM_COUNT_KEY_TAKEOVER,
	IDEM_COUNT_KEY_STALE_FENCE,
	IDEM_COUNT_KEY_RELEASED,
	IDEM_COUNT_KEY_FAILED,
	/* transitions and versions */
	IDEM_COUNT_TRANSITION_APPLIED,
	IDEM_COUNT_TRANSITION_NOOP,
	IDEM_COUNT_TRANSITION_REFUSED,
	IDEM_COUNT_TRANSITION_GUARD,
	IDEM_COUNT_VERSION_CONFLICT,
	/* messages; of a log, each offset is one */
	IDEM_COUNT_MESSAGE_NEW,
	IDEM_COUNT_MESSAGE_DUPLICATE,
	IDEM_COUNT_MESSAGE_LATE,
	IDEM_COUNT_MESSAGE_GAP,
	IDEM_COUNT_MESSAGE_STALE_EPOCH,
	/* sagas: each time that one comes to be so */
	IDEM_COUNT_SAGA_STARTED,
	IDEM_COUNT_SAGA_COMPLETED,
	IDEM_COUNT_SAGA_COMPENSATED,
	IDEM_COUNT_SAGA_STUCK,
	/* purging */
	IDEM_COUNT_PURGE_ROWS,
	IDEM_COUNT_PURGE_BATCHES,
	IDEM_COUNT_PURGE_ERRORS,
	/* what tests lose on purpose */
	IDEM_COUNT_ACK_LOST,
	IDEM_COUNT_REQUEST_LOST
} IdemCounter;

#define IDEM_COUNTERS	(IDEM_COUNT_REQUEST_LOST + 1)

/* Compiled out, so that bench/stats can tell what counting costs. */
#ifdef IDEM_WITHOUT_STATS
#define idem_stats_counter_add(counter, n)	((void) (counter), (void) (n))
#else
extern void idem_stats_counter_add(IdemCounter counter, uint64 n);
#endif

#define idem_stats_counter_hit(counter)		idem_stats_counter_add(counter, 1)

extern const char *idem_stats_counter_name(IdemCounter counter);

#endif							/* IDEM_STATS_COUNTER_H */
