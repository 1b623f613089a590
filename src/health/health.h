/*
 * health.h
 *	  What is to be looked at, and what to do about it.
 */
#ifndef IDEM_HEALTH_H
#define IDEM_HEALTH_H

#include "datatype/timestamp.h"

#include "stats/stats_shared.h"

typedef enum IdemSeverity
{
	IDEM_HEALTH_OK,
	IDEM_HEALTH_WARNING,
	IDEM_HEALTH_CRITICAL
} IdemSeverity;

/* What checks are about, and what the view tells of the server. */
typedef struct IdemHealth
{
	TimestampTz now;
	int64		ttl_us;			/* idem.ttl; the default where that is bad */
	bool		may_read_all;	/* may the caller know of other sessions? */
	IdemStatsPass pass;			/* all zero: none is known of */
	TimestampTz prepared_at;	/* the oldest prepared transaction; 0: none */
	const char *prepared;		/* its name */
	const char *slot;			/* a replication slot that nobody uses and
								 * that holds rows back; or NULL */
} IdemHealth;

/* What a check has found; ok, without a value, to begin with. */
typedef struct IdemFinding
{
	IdemSeverity severity;
	const char *value;
	const char *hint;			/* NULL: there is nothing to do */
} IdemFinding;

extern void idem_health_set(IdemFinding *finding, IdemSeverity severity,
							const char *value, const char *hint);
extern const char *idem_health_span(int64 us);
extern uint64 idem_health_count(int counter);

extern void idem_health_purge_worker(const IdemHealth *health,
									 IdemFinding *finding);
extern void idem_health_purge_lag(const IdemHealth *health,
								  IdemFinding *finding);
extern void idem_health_purge_blocked(const IdemHealth *health,
									  IdemFinding *finding);
extern void idem_health_purge_bloat(const IdemHealth *health,
									IdemFinding *finding);
extern void idem_health_purge_errors(const IdemHealth *health,
									 IdemFinding *finding);
extern void idem_health_lease(const IdemHealth *health, IdemFinding *finding);

#endif							/* IDEM_HEALTH_H */
