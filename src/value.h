/*
 * value.h
 *	  A JSON value as a value of an SQL type.
 */
#ifndef IDEM_VALUE_H
#define IDEM_VALUE_H

#include "utils/jsonb.h"

extern Datum idem_value_read(JsonbValue *v, const char *name,
							 Oid type, int32 typmod, bool *isnull);

#endif							/* IDEM_VALUE_H */
