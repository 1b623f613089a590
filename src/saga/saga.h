/*
 * saga.h
 *	  A saga and its steps, as a call works on them.
 */
#ifndef IDEM_SAGA_H
#define IDEM_SAGA_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define IDEM_SAGA_MAX_NAME	255 /* bytes, of a saga and of a work */

typedef enum IdemSagaStatus
{
	IDEM_SAGA_RUNNING,
	IDEM_SAGA_COMPENSATING,
	IDEM_SAGA_STUCK,
	IDEM_SAGA_COMPLETED,
	IDEM_SAGA_COMPENSATED
} IdemSagaStatus;

typedef enum IdemStepStatus
{
	IDEM_STEP_PENDING,
	IDEM_STEP_RUNNING,
	IDEM_STEP_DONE,
	IDEM_STEP_FAILED,
	IDEM_STEP_UNDOING,
	IDEM_STEP_UNDONE,
	IDEM_STEP_STUCK,
	IDEM_STEP_SKIPPED
} IdemStepStatus;

/* What of a step is to be done next. */
typedef enum IdemStepDue
{
	IDEM_STEP_DUE_NOTHING,
	IDEM_STEP_DUE_WORK,
	IDEM_STEP_DUE_UNDO
} IdemStepDue;

/* A version of a row, as long as its table is locked. */
typedef struct IdemSagaPlace
{
	ItemPointerData ctid;
	TransactionId xmin;
} IdemSagaPlace;

/* A value of a row, jsonb. */
typedef struct IdemSagaValue
{
	Datum		value;
	bool		isnull;
	bool		is_new;			/* is it to be written? */
} IdemSagaValue;

typedef struct IdemSagaStep
{
	int			number;
	text	   *work;
	text	   *undo;			/* NULL: there is nothing to undo */
	bool		pivot;
	int			max_attempts;
	int64		backoff_us;		/* after the first attempt */
	int64		cap_us;			/* at most */
	IdemStepStatus status;
	int			attempts;		/* to do, or to undo, so far */
	int			start_no;		/* it was started as the n-th; 0: not yet */
	IdemStepDue due;
	TimestampTz next_at;		/* when that is due; of what is held, the
								 * lease's end as far as known */
	Oid			held_by;		/* role that claimed it last; InvalidOid: none */
	IdemSagaValue input;
	IdemSagaValue output;
	IdemSagaValue error;
	IdemSagaPlace place;
	IdemStepStatus stored;		/* its status in the row */
	bool		changed;		/* is the row to be written? */
} IdemSagaStep;

typedef struct IdemSaga
{
	text	   *saga;
	text	   *scope;
	const char *name;			/* saga as a string, for messages */
	Oid			owner;			/* role */
	pg_uuid_t	fingerprint;	/* of what it was started with */
	IdemSagaStatus status;
	bool		compensates;	/* which is not said by "stuck" */
	TimestampTz started_at;
	TimestampTz ended_at;		/* 0: not yet */
	TimestampTz expires_at;		/* 0: not yet */
	TimestampTz deadline;		/* 0: none */
	int64		ttl_us;
	IdemSagaValue input;
	IdemSagaValue error;		/* why it compensates */
	IdemSagaPlace place;
	IdemSagaStatus stored;
	bool		changed;
	TimestampTz now;			/* the clock of the call */
	int			nsteps;
	IdemSagaStep *steps;		/* by number, from 1 */
} IdemSaga;

#endif							/* IDEM_SAGA_H */
