/*
 * difference.h
 *	  How rows differ between two states, told as JSON.
 */
#ifndef IDEM_DIFFERENCE_H
#define IDEM_DIFFERENCE_H

#include "lib/stringinfo.h"

#include "check/images.h"

/* What is told of all tables. */
typedef struct IdemDifferences
{
	StringInfoData json;		/* what differs: an array without its brackets */
	int			listed;			/* rows in it */
	uint64		differing;		/* rows that differ, listed or not */
	uint64		rewritten;		/* rows written again as they were */
	bool		unseen;			/* is there a table that was not looked at? */
} IdemDifferences;

extern void idem_difference_init(IdemDifferences *all);
extern void idem_difference_unseen(IdemDifferences *all, const char *table,
								   const char *why);
extern void idem_difference_report(IdemDifferences *all,
								   IdemImages *images);

#endif							/* IDEM_DIFFERENCE_H */
