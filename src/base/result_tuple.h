/*
 * result_tuple.h
 *	  The rows that idem's functions return.
 */
#ifndef IDEM_RESULT_TUPLE_H
#define IDEM_RESULT_TUPLE_H

#include "fmgr.h"

extern Datum idem_result_tuple_form(FunctionCallInfo fcinfo, int ncolumns,
									Datum *values, bool *isnull);
extern void idem_result_tuple_begin_set(FunctionCallInfo fcinfo, int ncolumns);

#endif							/* IDEM_RESULT_TUPLE_H */
