/*
 * unique_index.h
 *	  Unique indexes, as what tells one row from another.
 */
#ifndef IDEM_UNIQUE_INDEX_H
#define IDEM_UNIQUE_INDEX_H

#include "utils/relcache.h"

/* The columns by which an index tells rows apart. */
typedef struct IdemUniqueIndex
{
	Oid			index;
	int			ncolumns;
	AttrNumber	columns[INDEX_MAX_KEYS];
	Oid			equality[INDEX_MAX_KEYS];	/* operators, as the index has it */
	Oid			collation[INDEX_MAX_KEYS];	/* the index's; may be InvalidOid */
	bool		nulls_equal;	/* is one null the same as another? */
} IdemUniqueIndex;

extern bool idem_unique_index_read(IdemUniqueIndex *unique, Relation index);
extern Relation idem_unique_index_open_primary(Relation rel);
extern bool idem_unique_index_primary(IdemUniqueIndex *unique, Relation rel);
extern void idem_unique_index_need_primary(IdemUniqueIndex *unique, Relation rel);
extern const char *idem_unique_index_operator(const IdemUniqueIndex *unique, int column);

#endif							/* IDEM_UNIQUE_INDEX_H */
