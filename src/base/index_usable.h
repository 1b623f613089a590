/*
 * index_usable.h
 *	  Whether an index may be read without a planner that asks.
 */
#ifndef IDEM_INDEX_USABLE_H
#define IDEM_INDEX_USABLE_H

#include "utils/relcache.h"

extern bool idem_index_usable(Relation index);

#endif							/* IDEM_INDEX_USABLE_H */
