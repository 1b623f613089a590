/*
 * result.h
 *	  The rows that idem's functions return.
 */
#ifndef IDEM_RESULT_H
#define IDEM_RESULT_H

#include "fmgr.h"

extern Datum idem_result_form(FunctionCallInfo fcinfo, int ncolumns,
							  Datum *values, bool *isnull);
extern void idem_result_begin_set(FunctionCallInfo fcinfo, int ncolumns);

#endif							/* IDEM_RESULT_H */
