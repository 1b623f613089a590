/*
 * update_exec.h
 *	  A change of some columns of a row, as idem_update() makes it.
 */
#ifndef IDEM_UPDATE_EXEC_H
#define IDEM_UPDATE_EXEC_H

#include "utils/jsonb.h"

#include "base/catalog.h"
#include "table/pk_value.h"
#include "table/row_version.h"

/* What is wanted. */
typedef struct IdemUpdateArgs
{
	Oid			target;
	const IdemPkValue *id;
	Jsonb	   *data;			/* an object: columns and their values */
	IdemRowVersion expected;
	bool		keyed;			/* will a key remember it? */
} IdemUpdateArgs;

/* What came of it. */
typedef struct IdemUpdateResult
{
	IdemOutcome outcome;		/* IDEM_UPDATED or IDEM_UNCHANGED */
	Jsonb	   *row;			/* as it then is */
	IdemRowVersion version;		/* if the caller may read it */
} IdemUpdateResult;

extern void idem_update_exec(const IdemUpdateArgs *patch, IdemUpdateResult *result);

#endif							/* IDEM_UPDATE_EXEC_H */
