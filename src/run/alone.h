/*
 * alone.h
 *	  Whether a call is all that its transaction does.
 */
#ifndef IDEM_ALONE_H
#define IDEM_ALONE_H

#include "fmgr.h"

extern bool idem_alone(FunctionCallInfo fcinfo);

#endif							/* IDEM_ALONE_H */
