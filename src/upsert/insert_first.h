/*
 * insert_first.h
 *	  May an upsert be tried as an insert that does nothing where there is a row?
 */
#ifndef IDEM_INSERT_FIRST_H
#define IDEM_INSERT_FIRST_H

#include "upsert/upsert_target.h"

extern bool idem_insert_first_allowed(const IdemUpsertTarget *target);

#endif							/* IDEM_INSERT_FIRST_H */
