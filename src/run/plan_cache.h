/*
 * plan_cache.h
 *	  The plans that a session keeps.
 */
#ifndef IDEM_PLAN_CACHE_H
#define IDEM_PLAN_CACHE_H

#include "lib/ilist.h"

#include "run/spi.h"

/* What tells a statement from every other. */
typedef struct IdemPlanSignature
{
	const char *data;
	int			length;
} IdemPlanSignature;

/*
 * A plan: that of a statement of idem's own, which the statement points to, or
 * one of the caller's, kept under its signature; as in spi.h.
 */
struct IdemPlan
{
	SPIPlanPtr	plan;			/* owned, kept by SPI_keepplan */
	int			running;		/* executions under way */
	bool		forgotten;		/* to be freed with the last of them? */
	bool		stale;			/* have roles changed since it was made? */
	uint8		insert_streak;	/* of whoever has it kept; 0 at first */
	MemoryContext memory;		/* of data, goes with the plan; NULL: none */
	const void *data;			/* what else it was made of */
};

extern IdemPlan *idem_plan_cache_make(SPIPlanPtr plan);
extern void idem_plan_cache_forget(IdemPlan *plan);
extern void idem_plan_cache_begin(IdemPlan *plan);
extern void idem_plan_cache_end(IdemPlan *plan);

extern IdemPlan *idem_plan_cache_find(IdemPlanSignature signature);
extern void idem_plan_cache_keep(IdemPlanSignature signature, IdemPlan *plan);
extern void idem_plan_cache_make_room(bool (*is_current) (const IdemPlan *plan));
extern void idem_plan_cache_heed_roles(void);
extern void idem_plan_cache_lock(List *sources);

#endif							/* IDEM_PLAN_CACHE_H */
