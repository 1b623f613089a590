/*
 * lease.h
 *	  Claims of keys: until when one is held, by which caller, and how it ends.
 */
#ifndef IDEM_LEASE_H
#define IDEM_LEASE_H

#include "utils/jsonb.h"

#include "key/key.h"

extern bool idem_lease_end(IdemKey *key, const int64 *fence,
						   IdemOutcome outcome, Datum response);
extern bool idem_lease_release(IdemKey *key, const int64 *fence, bool forget);
extern TimestampTz idem_lease_extend(IdemKey *key, int64 fence);
extern void idem_lease_checkpoint(IdemKey *key, int64 fence, text *name,
								  Jsonb *data);

#endif							/* IDEM_LEASE_H */
