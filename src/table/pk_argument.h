/*
 * pk_argument.h
 *	  The primary key of a row as the arguments of functions give it.
 */
#ifndef IDEM_PK_ARGUMENT_H
#define IDEM_PK_ARGUMENT_H

#include "table/pk_value.h"

/* What ids are for. */
typedef struct IdemPkTable
{
	Oid			relid;
	bool		known;			/* has the primary key been looked at? */
	int			ncolumns;		/* of it; 0: there is none */
	Oid			type;			/* of its only column, without domains */
} IdemPkTable;

extern const IdemPkValue *idem_pk_argument_read(FunctionCallInfo fcinfo,
												int argument);
extern const IdemPkValue *idem_pk_argument_element(IdemPkTable *table,
												   Datum value, Oid type,
												   Jsonb **json);

#endif							/* IDEM_PK_ARGUMENT_H */
