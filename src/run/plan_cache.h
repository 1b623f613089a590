/*
 * plan_cache.h
 *	  The plans of the caller's statements that a session keeps.
 */
#ifndef IDEM_PLAN_CACHE_H
#define IDEM_PLAN_CACHE_H

#include "run/spi.h"

/* The kinds of statements, which signatures begin with. */
typedef enum IdemPlanKind
{
	IDEM_PLAN_ALLOWED = 'a',	/* idem_allowed() */
	IDEM_PLAN_AUDIT = 'd',		/* idem_audit(), all rows */
	IDEM_PLAN_AUDIT_ROW = 'e',	/* idem_audit(), one row */
	IDEM_PLAN_HISTORY = 'h',	/* idem_history() */
	IDEM_PLAN_TRANSITION = 't', /* idem_transition() and its kin */
	IDEM_PLAN_STORE = 's',		/* what is kept in a store */
	IDEM_PLAN_UPDATE = 'p',		/* idem_update() */
	IDEM_PLAN_UPSERT = 'u',		/* idem_upsert() */
	IDEM_PLAN_UPSERT_ROUTED = 'r',	/* the same, of a routed table */
	IDEM_PLAN_EXECUTE = 'x'		/* idem_execute() */
} IdemPlanKind;

/* What tells a statement from every other; the data begin with its kind. */
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
