/*
 * rights.h
 *	  Which roles may call the functions that are not for all.
 */
#ifndef IDEM_RIGHTS_H
#define IDEM_RIGHTS_H

#include "access/attnum.h"
#include "fmgr.h"

extern bool idem_rights_delete_keys(void);
extern void idem_rights_purge(FunctionCallInfo fcinfo, const char *function);
extern void idem_rights_read(FunctionCallInfo fcinfo, const char *function,
							 Oid table);
extern void idem_rights_define(FunctionCallInfo fcinfo, const char *function,
							   Oid table, AttrNumber column);

#endif							/* IDEM_RIGHTS_H */
