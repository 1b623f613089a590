/*
 * invalidation.h
 *	  Telling all sessions of changes of a table, and whether they are told.
 */
#ifndef IDEM_INVALIDATION_H
#define IDEM_INVALIDATION_H

#include "fmgr.h"

extern Datum idem_invalidation_send(FunctionCallInfo fcinfo, const char *function);
extern bool idem_invalidation_covers(Oid relid);

#endif							/* IDEM_INVALIDATION_H */
