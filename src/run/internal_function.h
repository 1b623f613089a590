/*
 * internal_function.h
 *	  The functions that only idem's own statements call.
 */
#ifndef IDEM_INTERNAL_FUNCTION_H
#define IDEM_INTERNAL_FUNCTION_H

#include "nodes/parsenodes.h"

extern const char *idem_internal_function_begin(const char *text);
extern void idem_internal_function_end(const char *outer);
extern void idem_internal_function_check(Query *query, const char *text);

#endif							/* IDEM_INTERNAL_FUNCTION_H */
