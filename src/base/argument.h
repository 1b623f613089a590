/*
 * argument.h
 *	  Arguments of functions that share a name and differ in their types.
 */
#ifndef IDEM_ARGUMENT_H
#define IDEM_ARGUMENT_H

#include "fmgr.h"

extern Oid	idem_argument_type(FunctionCallInfo fcinfo, int argument);

#endif							/* IDEM_ARGUMENT_H */
