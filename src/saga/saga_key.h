/*
 * saga_key.h
 *	  The keys of a saga's steps: who holds one, and how that ends.
 */
#ifndef IDEM_SAGA_KEY_H
#define IDEM_SAGA_KEY_H

#include "key/key.h"
#include "saga/saga.h"
#include "saga/saga_json.h"

extern void idem_saga_key_init(IdemKey *key, const IdemSaga *saga, int step,
							   bool undo);
extern bool idem_saga_key_find(text *name, IdemKeyRow *row);
extern bool idem_saga_key_held(const IdemSaga *saga, int step, bool undo,
							   TimestampTz *lease_until);
extern bool idem_saga_key_claim(IdemKey *key, Interval *lease, IdemKeyRow *row);
extern bool idem_saga_key_take_over(const IdemSaga *saga, int step, bool undo);
extern void idem_saga_key_end(text *name, const IdemSaga *saga, int64 fence,
							  IdemOutcome outcome, Jsonb *response);
extern void idem_saga_key_release(text *name, const IdemSaga *saga, int64 fence);

#endif							/* IDEM_SAGA_KEY_H */
