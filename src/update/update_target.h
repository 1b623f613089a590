/*
 * update_target.h
 *	  A table of which idem_update() changes a row.
 */
#ifndef IDEM_UPDATE_TARGET_H
#define IDEM_UPDATE_TARGET_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "table/pk_value.h"
#include "table/routed_row.h"
#include "table/row_version.h"
#include "table/target.h"

/* What is wanted. */
typedef struct IdemUpdateArgs
{
	Oid			target;
	const IdemPkValue *id;
	Jsonb	   *patch;			/* an object: columns and their values */
	IdemRowVersion expected;
	bool		keyed;			/* will a key remember it? */
} IdemUpdateArgs;

/* The table, and what is wanted of a row of it; for one call. */
typedef struct IdemUpdateTarget
{
	IdemTarget	table;			/* its key is the primary key */
	const IdemUpdateArgs *args;
	bool		routed;			/* are the rows elsewhere? */
	IdemRoutedRow row;			/* then: as its columns come back */
	bool		altered;		/* may triggers make something else of a
								 * patch? */
	List	   *names;			/* of the fields (char *) to be set */
	int			nfields;
	AttrNumber *fields;			/* their columns */
	/* what the statements take: key, fields, the expected version */
	int			nparams;
	Oid		   *types;
	Datum	   *values;
	bool	   *isnull;
} IdemUpdateTarget;

/*
 * The statements.  All give the row and its version, IDEM_UPDATE_LOCK also
 * whether the row differs from the patch.
 */
typedef enum IdemUpdateStatement
{
	IDEM_UPDATE_ROW,			/* if it is as expected, and differs */
	IDEM_UPDATE_LOCK,
	IDEM_UPDATE_REPEAT			/* the update, whatever the row is */
} IdemUpdateStatement;

/* What a statement has found. */
typedef struct IdemUpdatedRow
{
	Jsonb	   *row;
	IdemRowVersion version;		/* if the caller may read it */
	bool		differs;
} IdemUpdatedRow;

extern void idem_update_target_open(IdemUpdateTarget *target,
									const IdemUpdateArgs *args);
extern bool idem_update_target_run(const IdemUpdateTarget *target,
								   IdemUpdateStatement which,
								   IdemUpdatedRow *found);

#endif							/* IDEM_UPDATE_TARGET_H */
