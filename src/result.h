/*
 * result.h
 *	  The rows that idem's functions return.
 */
#ifndef IDEM_RESULT_H
#define IDEM_RESULT_H

#include "fmgr.h"

extern Datum idem_result_form(FunctionCallInfo fcinfo, Datum *values,
							  bool *isnull);

#endif							/* IDEM_RESULT_H */
