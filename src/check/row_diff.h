/*
 * row_diff.h
 *	  How rows differ between two states, told as JSON.
 */
#ifndef IDEM_ROW_DIFF_H
#define IDEM_ROW_DIFF_H

#include "lib/stringinfo.h"

#include "check/row_images.h"

/* What is reported of all tables. */
typedef struct IdemRowDiff
{
	StringInfoData json;		/* what differs: an array without its brackets */
	int			listed;			/* rows in it */
	uint64		differing;		/* rows that differ, listed or not */
	uint64		rewritten;		/* rows written again as they were */
	bool		unseen;			/* is there a table that was not looked at? */
} IdemRowDiff;

extern void idem_row_diff_init(IdemRowDiff *all);
extern void idem_row_diff_unseen(IdemRowDiff *all, const char *table,
								 const char *why);
extern void idem_row_diff_report(IdemRowDiff *all,
								 IdemRowImages *images);

#endif							/* IDEM_ROW_DIFF_H */
