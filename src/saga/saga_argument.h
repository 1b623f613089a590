/*
 * saga_argument.h
 *	  What the functions of sagas are called with.
 */
#ifndef IDEM_SAGA_ARGUMENT_H
#define IDEM_SAGA_ARGUMENT_H

#include "fmgr.h"

extern text *idem_saga_argument_scope(FunctionCallInfo fcinfo, int argument);
extern void idem_saga_argument_init(FunctionCallInfo fcinfo, const char *function,
									int name, int scope_argument,
									text **saga, text **scope);
pg_noreturn extern void idem_saga_argument_error_absent(const char *name);

#endif							/* IDEM_SAGA_ARGUMENT_H */
