/*
 * census.h
 *	  How many rows of a table are in which state.
 */
#ifndef IDEM_CENSUS_H
#define IDEM_CENSUS_H

#include "access/attnum.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

extern const char *idem_census_within(Relation rel, AttrNumber status,
									  List *states);
extern const char *idem_census_beyond(Relation rel, AttrNumber status,
									  List *states);

#endif							/* IDEM_CENSUS_H */
