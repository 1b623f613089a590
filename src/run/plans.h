/*
 * plans.h
 *	  The plans that a session keeps.
 */
#ifndef IDEM_PLANS_H
#define IDEM_PLANS_H

#include "lib/ilist.h"

#include "run/query.h"

/* What tells a statement from every other. */
typedef struct IdemSignature
{
	const char *data;
	int			length;
} IdemSignature;

/*
 * A plan: that of a statement of idem's own, which the statement points to, or
 * one of the caller's, kept under its signature; as in query.h.
 */
struct IdemPlan
{
	SPIPlanPtr	plan;			/* owned, kept by SPI_keepplan */
	int			running;		/* executions under way */
	bool		forgotten;		/* to be freed with the last of them? */
	bool		stale;			/* have roles changed since it was made? */
	uint8		note;			/* of whoever has it kept; 0 at first */
	MemoryContext memory;		/* of data, goes with the plan; NULL: none */
	const void *data;			/* what else it was made of */
};

extern IdemPlan *idem_plans_make(SPIPlanPtr plan);
extern void idem_plans_forget(IdemPlan *plan);
extern void idem_plans_begin(IdemPlan *plan);
extern void idem_plans_end(IdemPlan *plan);

extern IdemPlan *idem_plans_find(IdemSignature signature);
extern void idem_plans_keep(IdemSignature signature, IdemPlan *plan);
extern void idem_plans_make_room(bool (*is_current) (const IdemPlan *plan));
extern void idem_plans_heed_roles(void);
extern void idem_plans_lock(List *sources);

#endif							/* IDEM_PLANS_H */
