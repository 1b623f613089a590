/*
 * merge.h
 *	  What becomes of a column of which both the row and the data have a value.
 */
#ifndef IDEM_MERGE_H
#define IDEM_MERGE_H

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/* How the two values are merged.  Each does nothing when done again. */
typedef enum IdemMergeRule
{
	IDEM_MERGE_NONE,			/* no rule was given: as "set" */
	IDEM_MERGE_SET,				/* the data's */
	IDEM_MERGE_MAX,				/* the greater one, by the type's order */
	IDEM_MERGE_MIN,				/* the lesser one */
	IDEM_MERGE_UNION,			/* the elements, or the fields, of both */
	IDEM_MERGE_KEEP				/* the row's, unless it is null */
} IdemMergeRule;

extern List *idem_merge_rules(Jsonb *merge, const List *fields);
extern void idem_merge_check(IdemMergeRule rule, Relation rel,
							 Form_pg_attribute att);
extern void idem_merge_values(StringInfo buf, IdemMergeRule rule,
							  Form_pg_attribute att,
							  const char *old, const char *new);

#endif							/* IDEM_MERGE_H */
