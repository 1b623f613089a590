/*
 * argument.h
 *	  Arguments of functions that share a name and differ in their types, and
 *	  arrays.
 */
#ifndef IDEM_ARGUMENT_H
#define IDEM_ARGUMENT_H

#include "fmgr.h"
#include "utils/array.h"

extern void idem_argument_check_name(const char *argument, text *name, int most);
extern Oid	idem_argument_type(FunctionCallInfo fcinfo, int argument);
extern int	idem_argument_elements(ArrayType *array, const char *name, Oid type,
								   Datum **values, bool **nulls);

#endif							/* IDEM_ARGUMENT_H */
