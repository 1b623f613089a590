/*
 * unique.h
 *	  Unique indexes, as what tells one row from another.
 */
#ifndef IDEM_UNIQUE_H
#define IDEM_UNIQUE_H

#include "utils/relcache.h"

/* The columns by which an index tells rows apart. */
typedef struct IdemUnique
{
	Oid			index;
	int			ncolumns;
	AttrNumber	columns[INDEX_MAX_KEYS];
	Oid			equality[INDEX_MAX_KEYS];	/* operators, as the index has it */
	Oid			collation[INDEX_MAX_KEYS];	/* the index's; may be InvalidOid */
	bool		nulls_equal;	/* is one null the same as another? */
} IdemUnique;

extern bool idem_unique_read(IdemUnique *unique, Relation index);
extern Relation idem_unique_open_primary(Relation rel);
extern bool idem_unique_primary(IdemUnique *unique, Relation rel);
extern void idem_unique_need_primary(IdemUnique *unique, Relation rel);
extern const char *idem_unique_operator(const IdemUnique *unique, int column);

#endif							/* IDEM_UNIQUE_H */
