/*
 * purge_told.h
 *	  Telling the log of tables of stores that cannot be purged.
 */
#ifndef IDEM_PURGE_TOLD_H
#define IDEM_PURGE_TOLD_H

#include "datatype/timestamp.h"

/* Which of them the log has been told of. */
typedef struct IdemPurgeTold
{
	TimestampTz since;			/* when the first of these was; 0: none yet */
	int			left;			/* so many more may be for now */
	Oid			relid;			/* of the last one */
	Oid			end;			/* of the last one of the round; invalid: not
								 * yet known */
} IdemPurgeTold;

extern void idem_purge_told_begin(IdemPurgeTold *told, TimestampTz now);
extern void idem_purge_told_bound(IdemPurgeTold *told, Oid last);
extern void idem_purge_told_report(IdemPurgeTold *told, Oid relid,
								   const ErrorData *error);

#endif							/* IDEM_PURGE_TOLD_H */
