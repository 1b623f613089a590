/*
 * purge_ranges.h
 *	  What is known of the ranges of blocks of the table of keys.
 */
#ifndef IDEM_PURGE_RANGES_H
#define IDEM_PURGE_RANGES_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#define IDEM_PURGE_RANGE_BLOCKS	128

/* So many rows past their time are worth a visit. */
#define IDEM_PURGE_WORTH		100

/* What a visit has seen of a range. */
typedef struct IdemPurgeVisit
{
	TimestampTz began;			/* before anything was read */
	TimestampTz next[IDEM_PURGE_WORTH]; /* when the rows will go that go
										 * first: a heap, the last of them on
										 * top */
	int			count;			/* of those, in next */
	TimestampTz lease_since;	/* of the open claim whose lease ends first */
	TimestampTz lease_until;	/* 0: there is none */
} IdemPurgeVisit;

/* A range, as the last visit has left it. */
typedef struct IdemPurgeRange
{
	TimestampTz visited_at;		/* DT_NOBEGIN: not yet */
	TimestampTz purge_at;		/* when another one pays */
	TimestampTz lease_since;	/* as of a visit */
	TimestampTz lease_until;
	int			blocks;			/* that it had */
	ItemPointerData place;		/* of the row that says so; while it is read */
} IdemPurgeRange;

/*
 * All ranges, and those that a pass is to visit: those that are due, and then, if it
 * is to look at others, those.
 */
typedef struct IdemPurgeRanges
{
	Oid			file;			/* of the table that they are of */
	BlockNumber pages;			/* that it had when they were read */
	int			count;
	IdemPurgeRange *ranges;
	int		   *visits;			/* numbers of ranges */
	int			due;			/* so many of them are of such as are due */
	int			at;				/* the one that has been reached */
	ItemPointerData from;		/* where to go on in it */
	IdemPurgeVisit visit;		/* what was seen of it so far */
} IdemPurgeRanges;

extern bool idem_purge_ranges_lock(bool wait);
extern IdemPurgeRanges *idem_purge_ranges_load(Relation keys, TimestampTz now,
											   MemoryContext context);
extern bool idem_purge_ranges_fit(const IdemPurgeRanges *ranges, Relation keys);
extern void idem_purge_ranges_see(IdemPurgeVisit *visit, TimestampTz at);
extern BlockNumber idem_purge_ranges_first(const IdemPurgeRanges *ranges);
extern void idem_purge_ranges_note(IdemPurgeRanges *ranges);
extern TimestampTz idem_purge_ranges_oldest(const IdemPurgeRanges *ranges);
extern void idem_purge_ranges_note_leases(const IdemPurgeRanges *ranges);

#endif							/* IDEM_PURGE_RANGES_H */
