/*
 * purge.h
 *	  Deleting what is past its time, a bounded batch at a time.
 */
#ifndef IDEM_PURGE_H
#define IDEM_PURGE_H

#include "datatype/timestamp.h"

/* One pass over what has expired, oldest first. */
typedef struct IdemPurge
{
	TimestampTz now;			/* what has expired by then goes */
	int			store;			/* number of the table it has reached */
	TimestampTz watermark;		/* expiry of the last row looked at there */
	int64		purged;			/* rows deleted so far */
} IdemPurge;

extern void idem_purge_begin(IdemPurge *purge);
extern bool idem_purge_batch(IdemPurge *purge, int64 limit);

#endif							/* IDEM_PURGE_H */
