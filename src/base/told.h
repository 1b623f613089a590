/*
 * told.h
 *	  Telling all sessions of changes of a table, and whether they are told.
 */
#ifndef IDEM_TOLD_H
#define IDEM_TOLD_H

#include "fmgr.h"

extern Datum idem_told_tell(FunctionCallInfo fcinfo, const char *function);
extern bool idem_told_of(Oid relid);

#endif							/* IDEM_TOLD_H */
