/*
 * health_lease.c
 *	  Is there a claim whose holder has not come back?
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "health/health.h"

void
idem_health_lease(const IdemHealth *health, IdemFinding *finding)
{
	finding->value = "none";
}
