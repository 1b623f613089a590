/*
 * state_column.h
 *	  What a column must be like to hold the states of a machine.
 */
#ifndef IDEM_STATE_COLUMN_H
#define IDEM_STATE_COLUMN_H

#include "catalog/pg_attribute.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

extern bool idem_state_column_possible(Form_pg_attribute att);
extern const char *idem_state_column_complaint(Relation rel, AttrNumber status,
											   List *states);

#endif							/* IDEM_STATE_COLUMN_H */
