/*
 * plan_cache.h
 *	  The plans of the caller's statements that a session keeps.
 */
#ifndef IDEM_PLAN_CACHE_H
#define IDEM_PLAN_CACHE_H

#include "run/spi.h"

/* What tells a statement from every other. */
typedef struct IdemPlanSignature
{
	const void *data;
	int			length;
	int			which;			/* of the statements that have these data */
} IdemPlanSignature;

extern IdemPlan *idem_plan_cache_find(IdemPlanSignature signature);
extern void idem_plan_cache_keep(IdemPlanSignature signature, IdemPlan *plan);
extern void idem_plan_cache_evict(bool (*is_current) (const IdemPlan *plan));
extern void idem_plan_cache_heed_roles(void);

#endif							/* IDEM_PLAN_CACHE_H */
