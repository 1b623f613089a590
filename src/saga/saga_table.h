/*
 * saga_table.h
 *	  The rows of idem_saga and idem_saga_step, found as they are committed now.
 */
#ifndef IDEM_SAGA_TABLE_H
#define IDEM_SAGA_TABLE_H

#include "access/htup.h"
#include "utils/relcache.h"

#include "saga/saga.h"

/* Columns of idem_saga. */
enum
{
	IDEM_SAGA_COLUMN_VERSION = 1,
	IDEM_SAGA_COLUMN_STARTED_AT,
	IDEM_SAGA_COLUMN_ENDED_AT,
	IDEM_SAGA_COLUMN_EXPIRES_AT,
	IDEM_SAGA_COLUMN_DEADLINE,
	IDEM_SAGA_COLUMN_TTL,
	IDEM_SAGA_COLUMN_FINGERPRINT,
	IDEM_SAGA_COLUMN_OWNER,
	IDEM_SAGA_COLUMN_COMPENSATES,
	IDEM_SAGA_COLUMN_SAGA,
	IDEM_SAGA_COLUMN_SCOPE,
	IDEM_SAGA_COLUMN_STATUS,
	IDEM_SAGA_COLUMN_INPUT,
	IDEM_SAGA_COLUMN_ERROR,
	IDEM_SAGA_COLUMNS = IDEM_SAGA_COLUMN_ERROR
};

/* Columns of idem_saga_step. */
enum
{
	IDEM_STEP_COLUMN_VERSION = 1,
	IDEM_STEP_COLUMN_NEXT_AT,
	IDEM_STEP_COLUMN_BACKOFF,
	IDEM_STEP_COLUMN_CAP,
	IDEM_STEP_COLUMN_STEP,
	IDEM_STEP_COLUMN_MAX_ATTEMPTS,
	IDEM_STEP_COLUMN_ATTEMPTS,
	IDEM_STEP_COLUMN_START_NO,
	IDEM_STEP_COLUMN_HELD_BY,
	IDEM_STEP_COLUMN_PIVOT,
	IDEM_STEP_COLUMN_SAGA,
	IDEM_STEP_COLUMN_SCOPE,
	IDEM_STEP_COLUMN_STATUS,
	IDEM_STEP_COLUMN_WORK,
	IDEM_STEP_COLUMN_UNDO,
	IDEM_STEP_COLUMN_DUE,
	IDEM_STEP_COLUMN_INPUT,
	IDEM_STEP_COLUMN_OUTPUT,
	IDEM_STEP_COLUMN_ERROR,
	IDEM_STEP_COLUMNS = IDEM_STEP_COLUMN_ERROR
};

/* What became of a saga that was to be opened. */
typedef enum IdemSagaFound
{
	IDEM_SAGA_ABSENT,
	IDEM_SAGA_BUSY,				/* another transaction has it */
	IDEM_SAGA_OPEN				/* its row is locked */
} IdemSagaFound;

/* How to open a saga. */
#define IDEM_SAGA_SKIP		1	/* what others have, what is not the caller's,
								 * and what the one snapshot does not see */

extern IdemSagaFound idem_saga_table_open(IdemSaga *saga, text *name, text *scope,
										  int options);
extern Oid	idem_saga_table_owner(Relation rel, text *name, text *scope);
extern bool idem_saga_table_find(IdemSaga *saga, text *name, text *scope);

#endif							/* IDEM_SAGA_TABLE_H */
