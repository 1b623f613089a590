/*
 * update_exec.h
 *	  A change of some columns of a row, as idem_update() makes it.
 */
#ifndef IDEM_UPDATE_EXEC_H
#define IDEM_UPDATE_EXEC_H

#include "utils/jsonb.h"

#include "base/catalog.h"
#include "table/pk_value.h"

/* What is wanted. */
typedef struct IdemUpdateArgs
{
	Oid			target;
	const IdemPkValue *id;
	Jsonb	   *data;			/* an object: columns and their values */
	bool		versioned;		/* is a version expected? */
	int64		expected_version;
	bool		keyed;			/* will a key remember it? */
} IdemUpdateArgs;

/* What came of it. */
typedef struct IdemUpdateResult
{
	IdemOutcome outcome;		/* IDEM_UPDATED or IDEM_UNCHANGED */
	Jsonb	   *row;			/* as it then is */
	bool		has_version;	/* has it one that the caller may read? */
	int64		version;
} IdemUpdateResult;

extern void idem_update_exec(const IdemUpdateArgs *patch, IdemUpdateResult *result);

#endif							/* IDEM_UPDATE_EXEC_H */
