/*
 * shape.h
 *	  The statements that an upsert into a table comes to.
 */
#ifndef IDEM_SHAPE_H
#define IDEM_SHAPE_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* What an upsert says of its table; its values come later, as parameters. */
typedef struct IdemShape
{
	Oid			target;			/* the table */
	List	   *fields;			/* names (char *) of the fields of data */
	bool		by_primary_key; /* else by the columns of conflict */
	List	   *conflict;		/* names (char *) of unique columns */
	bool		versioned;		/* is a version expected? */
} IdemShape;

/*
 * The statements.  All take the data as $1 (jsonb) and the expected version,
 * if any, as $2 (bigint).
 */
typedef enum IdemShapeStatement
{
	IDEM_SHAPE_WRITE,			/* the upsert: the row, if any was written */
	IDEM_SHAPE_READ				/* the row there is: row, version, is it other
								 * than data? */
} IdemShapeStatement;

extern char *idem_shape_sql(const IdemShape *shape, IdemShapeStatement which);

#endif							/* IDEM_SHAPE_H */
