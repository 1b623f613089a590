/*
 * state_counts.h
 *	  How many rows of a table are in which state.
 */
#ifndef IDEM_STATE_COUNTS_H
#define IDEM_STATE_COUNTS_H

#include "access/attnum.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

extern const char *idem_state_counts_within(Relation rel, AttrNumber status,
											List *states);
extern const char *idem_state_counts_beyond(Relation rel, AttrNumber status,
											List *states);

#endif							/* IDEM_STATE_COUNTS_H */
