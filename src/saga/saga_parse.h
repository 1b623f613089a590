/*
 * saga_parse.h
 *	  The steps of a saga as its caller describes them.
 */
#ifndef IDEM_SAGA_PARSE_H
#define IDEM_SAGA_PARSE_H

#include "saga/saga.h"

extern void idem_saga_parse_steps(IdemSaga *saga, Jsonb *steps);
extern void idem_saga_parse_check_name(const char *argument, text *name);

#endif							/* IDEM_SAGA_PARSE_H */
