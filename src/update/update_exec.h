/*
 * update_exec.h
 *	  A change of some columns of a row, as idem_update() makes it.
 */
#ifndef IDEM_UPDATE_EXEC_H
#define IDEM_UPDATE_EXEC_H

#include "base/outcome.h"
#include "update/update_target.h"

/* The answer. */
typedef struct IdemUpdateResult
{
	IdemOutcome outcome;		/* IDEM_UPDATED or IDEM_UNCHANGED */
	Jsonb	   *row;			/* as it then is */
	IdemRowVersion version;		/* if the caller may read it */
} IdemUpdateResult;

extern void idem_update_exec(const IdemUpdateArgs *args,
							 IdemUpdateResult *result);

#endif							/* IDEM_UPDATE_EXEC_H */
