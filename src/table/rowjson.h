/*
 * rowjson.h
 *	  A row as jsonb, quickly.
 */
#ifndef IDEM_ROWJSON_H
#define IDEM_ROWJSON_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

#include "base/compat.h"

extern bool idem_rowjson_same(const Jsonb *a, const Jsonb *b);
extern const char *idem_rowjson_type(const Jsonb *json);
extern void idem_rowjson_name(IdemJsonbState *state, const char *name);
extern void idem_rowjson_push(IdemJsonbState *state, TupleDesc desc,
							  HeapTuple tuple);

#endif							/* IDEM_ROWJSON_H */
