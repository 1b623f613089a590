/*
 * volatile_calls.h
 *	  What a query calls that is not the same when it is called again.
 */
#ifndef IDEM_VOLATILE_CALLS_H
#define IDEM_VOLATILE_CALLS_H

#include "nodes/plannodes.h"

typedef struct IdemVolatileCalls
{
	bool		notifies;		/* does it send a notification? */
	bool		acts;			/* does it call what may do something in the
								 * session? */
} IdemVolatileCalls;

extern IdemVolatileCalls idem_volatile_calls_of(const PlannedStmt *statement);

#endif							/* IDEM_VOLATILE_CALLS_H */
