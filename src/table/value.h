/*
 * value.h
 *	  A JSON value as a value of an SQL type.
 */
#ifndef IDEM_VALUE_H
#define IDEM_VALUE_H

#include "utils/jsonb.h"

#include "base/compat.h"

extern bool idem_value_may_vary(const JsonbValue *v);
extern bool idem_value_varies(JsonbValue *v, Oid type);
extern const char *idem_value_uuid(const char *text, int length);
extern void idem_value_push(IdemJsonbState *state, JsonbIteratorToken token,
							JsonbValue *v, Oid type);
extern Datum idem_value_read(JsonbValue *v, const char *name,
							 Oid type, int32 typmod, bool *isnull);

#endif							/* IDEM_VALUE_H */
