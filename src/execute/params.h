/*
 * params.h
 *	  The parameters of a command, given as JSON.
 */
#ifndef IDEM_PARAMS_H
#define IDEM_PARAMS_H

#include "nodes/params.h"
#include "utils/jsonb.h"

extern void idem_params_check(Jsonb *params);
extern ParamListInfo idem_params_bind(int nargs, const Oid *types,
									  void *params);

#endif							/* IDEM_PARAMS_H */
