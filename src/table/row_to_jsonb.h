/*
 * row_to_jsonb.h
 *	  A row as jsonb, quickly.
 */
#ifndef IDEM_ROW_TO_JSONB_H
#define IDEM_ROW_TO_JSONB_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

#include "base/compat.h"

extern bool idem_row_to_jsonb_same(const Jsonb *a, const Jsonb *b);
extern const char *idem_row_to_jsonb_type(const Jsonb *json);
pg_noreturn extern void idem_row_to_jsonb_error(const Jsonb *json,
												const char *argument,
												const char *wanted,
												const char *hint);
extern void idem_row_to_jsonb_name(IdemJsonbState *state, const char *name);
extern void idem_row_to_jsonb_push(IdemJsonbState *state, TupleDesc desc,
								   HeapTuple tuple);
extern void idem_row_to_jsonb_push_values(IdemJsonbState *state, TupleDesc desc,
										  const int *order, const Datum *values,
										  const bool *isnull);
extern int *idem_row_to_jsonb_order(TupleDesc desc);

#endif							/* IDEM_ROW_TO_JSONB_H */
