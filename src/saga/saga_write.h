/*
 * saga_write.h
 *	  The rows of idem_saga and idem_saga_step, written.
 */
#ifndef IDEM_SAGA_WRITE_H
#define IDEM_SAGA_WRITE_H

#include "saga/saga.h"

/* What the history tells of a change. */
typedef struct IdemSagaCall
{
	Oid			role;			/* whose call it is */
	const char *key;			/* of the claim that it is about, or NULL */
	Jsonb	   *note;			/* or NULL */
} IdemSagaCall;

extern bool idem_saga_write_insert(const IdemSaga *saga);
extern void idem_saga_write(IdemSaga *saga, const IdemSagaCall *call);

#endif							/* IDEM_SAGA_WRITE_H */
