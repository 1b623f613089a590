/*
 * saga_begin.h
 *	  Claiming what is due of a saga.
 */
#ifndef IDEM_SAGA_BEGIN_H
#define IDEM_SAGA_BEGIN_H

#include "saga/saga_key.h"
#include "saga/saga_write.h"

/* A claim that the caller has got. */
typedef struct IdemSagaClaim
{
	IdemSagaStep *step;
	bool		undo;
	IdemKey		key;
	IdemKeyRow	row;
} IdemSagaClaim;

extern bool idem_saga_begin(IdemSaga *saga, text *const *works, int nworks,
							Interval *lease, IdemSagaClaim *claim);

#endif							/* IDEM_SAGA_BEGIN_H */
