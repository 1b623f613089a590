/*
 * plans.h
 *	  The plans that a session keeps for the caller's statements.
 */
#ifndef IDEM_PLANS_H
#define IDEM_PLANS_H

#include "lib/ilist.h"

#include "query.h"

/* What tells a statement from every other. */
typedef struct IdemSignature
{
	const char *data;
	int			length;
} IdemSignature;

/* A statement of the caller's, kept under its signature; as in query.h. */
struct IdemPlan
{
	IdemSignature signature;	/* hash key, must be first; data is owned */
	dlist_node	node;			/* in the order of use */
	SPIPlanPtr	plan;			/* owned, kept by SPI_keepplan */
	bool		stale;			/* have roles changed since it was made? */
	int			running;		/* executions under way; not freed meanwhile */
	uint8		note;			/* of whoever has it kept; 0 at first */
};

extern IdemPlan *idem_plans_find(IdemSignature signature);
extern void idem_plans_heed_roles(void);
extern IdemPlan *idem_plans_add(IdemSignature signature, SPIPlanPtr plan);
extern void idem_plans_remove(IdemPlan *entry);
extern bool idem_plans_full(void);
extern IdemPlan *idem_plans_next(IdemPlan *entry);
extern void idem_plans_lock(List *sources);

#endif							/* IDEM_PLANS_H */
