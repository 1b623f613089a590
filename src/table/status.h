/*
 * status.h
 *	  What a column must be like to hold the states of a machine.
 */
#ifndef IDEM_STATUS_H
#define IDEM_STATUS_H

#include "catalog/pg_attribute.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

extern bool idem_status_possible(Form_pg_attribute att);
extern const char *idem_status_complaint(Relation rel, AttrNumber status,
										 List *states);

#endif							/* IDEM_STATUS_H */
