/*
 * history_order.h
 *	  The transitions of a row in the order in which they were made.
 */
#ifndef IDEM_HISTORY_ORDER_H
#define IDEM_HISTORY_ORDER_H

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

extern bool idem_history_order(Tuplestorestate *found, TupleDesc desc,
							   Tuplestorestate *ordered);

#endif							/* IDEM_HISTORY_ORDER_H */
