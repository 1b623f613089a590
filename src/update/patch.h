/*
 * patch.h
 *	  A change of some columns of a row, as idem_update() makes it.
 */
#ifndef IDEM_PATCH_H
#define IDEM_PATCH_H

#include "utils/jsonb.h"

#include "base/catalog.h"
#include "table/rowid.h"

/* What is wanted. */
typedef struct IdemPatch
{
	Oid			target;
	const IdemRowId *id;
	Jsonb	   *data;			/* an object: columns and their values */
	bool		versioned;		/* is a version expected? */
	int64		expected_version;
	bool		keyed;			/* will a key remember it? */
} IdemPatch;

/* What came of it. */
typedef struct IdemPatched
{
	IdemOutcome outcome;		/* IDEM_UPDATED or IDEM_UNCHANGED */
	Jsonb	   *row;			/* as it then is */
	bool		has_version;	/* has it one that the caller may read? */
	int64		version;
} IdemPatched;

extern void idem_patch_make(const IdemPatch *patch, IdemPatched *patched);

#endif							/* IDEM_PATCH_H */
