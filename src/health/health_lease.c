/*
 * health_lease.c
 *	  Is there a claim whose holder has not come back?
 *
 * The purger has looked (purge_ranges.c).  Only the claim whose lease has been over
 * for longest is known; idem_claims has all.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "health/health.h"

#define LENGTHS_LATE	2		/* the age of a claim, in lengths of its
								 * lease, that is no more to be put down to
								 * chance */

void
idem_health_lease(const IdemHealth *health, IdemFinding *finding)
{
	IdemStatsLeases leases;
	int64		age;
	int64		length;

	if (!idem_stats_shared_get_leases(&leases) || leases.looked_at == 0)
	{
		finding->value = "not known, since nobody has purged yet";
		return;
	}
	if (leases.until == 0 || leases.until > health->now)
	{
		finding->value = "none";
		return;
	}
	age = health->now - leases.since;
	length = Max(leases.until - leases.since, 1);
	finding->value = psprintf("claimed %s ago, lease over for %s",
							  idem_health_span(age),
							  idem_health_span(health->now - leases.until));
	if (age / LENGTHS_LATE > length)
		idem_health_set(finding, age > health->ttl_us ?
						IDEM_HEALTH_CRITICAL : IDEM_HEALTH_WARNING,
						finding->value,
						_("Its holder has not come back, and nobody has claimed the key again. See idem_claims for which it is; have the work claimed again, which takes over with the next fence, or give it up: idem_release() with its fence."));
}
