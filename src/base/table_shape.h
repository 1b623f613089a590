/*
 * table_shape.h
 *	  idem's own tables, as they were made.
 */
#ifndef IDEM_TABLE_SHAPE_H
#define IDEM_TABLE_SHAPE_H

#include "utils/relcache.h"

/* The tables.  All but the history are read without a statement, too. */
typedef enum IdemTable
{
	IDEM_TABLE_KEY,
	IDEM_TABLE_SCOPE,
	IDEM_TABLE_MACHINE,
	IDEM_TABLE_EDGE,
	IDEM_TABLE_HISTORY,
	IDEM_TABLE_CONSUMER,
	IDEM_TABLE_MESSAGE,
	IDEM_TABLE_OFFSET,
	IDEM_TABLE_SAGA,
	IDEM_TABLE_SAGA_STEP,
	IDEM_TABLE_OUTBOX,
	IDEM_TABLE_OUTBOX_ERA,
	IDEM_TABLE_OUTBOX_POSITION,
	IDEM_TABLE_KEY_RANGE
} IdemTable;

#define IDEM_TABLES		(IDEM_TABLE_KEY_RANGE + 1)

/* Types that are not the same in all tables, or in all databases. */
typedef struct IdemOwnTypes
{
	Oid			outcome;		/* idem_outcome */
	Oid			role;			/* idem_role */
	Oid			scope;			/* of the scope of keys: text, or, in a store,
								 * that of the tenants */
} IdemOwnTypes;

extern const char *idem_table_shape_name(IdemTable table);
extern bool idem_table_shape_fits(IdemTable table, Relation rel,
								  const IdemOwnTypes *types);
extern bool idem_table_shape_named(IdemTable table, Relation rel);
extern Oid	idem_table_shape_key(IdemTable table, Relation rel);

#endif							/* IDEM_TABLE_SHAPE_H */
