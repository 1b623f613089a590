/*
 * sole_call.h
 *	  Whether a call is all that its transaction does.
 */
#ifndef IDEM_SOLE_CALL_H
#define IDEM_SOLE_CALL_H

#include "fmgr.h"

extern bool idem_sole_call(FunctionCallInfo fcinfo);

#endif							/* IDEM_SOLE_CALL_H */
