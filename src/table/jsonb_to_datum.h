/*
 * jsonb_to_datum.h
 *	  A JSON value as a value of an SQL type.
 */
#ifndef IDEM_JSONB_TO_DATUM_H
#define IDEM_JSONB_TO_DATUM_H

#include "utils/jsonb.h"

#include "base/compat.h"

extern bool idem_jsonb_to_datum_may_vary(const JsonbValue *v);
extern bool idem_jsonb_to_datum_varies(JsonbValue *v, Oid type);
extern void idem_jsonb_to_datum_check(const JsonbValue *v, const char *name,
									  Oid type);
extern const char *idem_jsonb_to_datum_uuid(const char *text, int length);
extern void idem_jsonb_to_datum_push(IdemJsonbState *state,
									 JsonbIteratorToken token, JsonbValue *v,
									 Oid type);
extern Datum idem_jsonb_to_datum_read(JsonbValue *v, const char *name,
									  Oid type, int32 typmod, bool *isnull);

#endif							/* IDEM_JSONB_TO_DATUM_H */
