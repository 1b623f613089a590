/*
 * purge.h
 *	  Deleting what is past its time, a bounded batch at a time.
 */
#ifndef IDEM_PURGE_H
#define IDEM_PURGE_H

#include "datatype/timestamp.h"

#include "purge/purge_told.h"

#define IDEM_PURGE_TABLES	5	/* that are purged */

/* How far a table has been purged, from one pass to the next. */
typedef struct IdemPurgeTable
{
	TimestampTz begun;			/* when its cycle began; 0: not yet */
	TimestampTz watermark;		/* what ended before was looked at since then */
	bool		arrived;		/* has it come to the end since then? */
	int64		spent_us;		/* coming there took so long, beside deleting
								 * rows */
	bool		in_use;			/* had others locked it when it was last due? */
	int			failures;		/* since it was last purged */
	TimestampTz failed;			/* the last one of them */
} IdemPurgeTable;

/* How far the stores of a database have been purged, from one pass to the next. */
typedef struct IdemPurgeStores
{
	IdemPurgeTable cycle;		/* over all of them; its watermark is that of
								 * the table that has been reached */
	Oid			last;			/* table that it was done with last */
	Oid			reached;		/* table that it has reached, */
	TimestampTz since;			/* then, or has passed what stays of it */
	bool		rest;			/* has it left a table before the end? */
	Oid			end;			/* last table that there was when the cycle
								 * began; invalid: not yet known */
	Oid			alone;			/* table that a batch has failed at, but did
								 * not begin with */
	IdemPurgeTold told;
	int64		purged;			/* rows deleted so far */
} IdemPurgeStores;

/*
 * A pass over what has expired.  All zero at first; what it is in the end is
 * where the next one may go on.
 */
typedef struct IdemPurge
{
	TimestampTz now;			/* what has expired by then goes */
	int			table;			/* number of the one it has reached */
	int			left;			/* tables it has not done with, this one
								 * included */
	int64		purged;			/* rows deleted so far, */
	int64		batches;		/* by so many batches */
	IdemPurgeTable tables[IDEM_PURGE_TABLES];
	IdemPurgeStores stores;
	/* of this pass alone, in the process that makes it */
	MemoryContext context;		/* that lasts for the pass */
	struct IdemPurgeRanges *ranges; /* of the table of keys; NULL: not read
									 * yet */
} IdemPurge;

/* What a batch may do. */
typedef struct IdemPurgeBounds
{
	int64		rows;			/* so many are deleted at most, */
	int64		looks;			/* so many looked at, or a few more */
	bool		(*go_on) (void);	/* asked now and then; NULL: always yes */
} IdemPurgeBounds;

extern bool idem_purge_begin_cycle(IdemPurgeTable *table, TimestampTz now);
extern void idem_purge_note_cost(IdemPurgeTable *table, TimestampTz began,
								 int64 deleted);
extern void idem_purge_begin(IdemPurge *purge, TimestampTz now,
							 MemoryContext context);
extern void idem_purge_batch(IdemPurge *purge, const IdemPurgeBounds *bounds);
extern void idem_purge_pass_over(IdemPurge *purge);

#endif							/* IDEM_PURGE_H */
