/*
 * pk_value.h
 *	  A row as a caller names it: by the value of its primary key.
 */
#ifndef IDEM_PK_VALUE_H
#define IDEM_PK_VALUE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "base/fingerprint.h"
#include "base/unique_index.h"

/* An id as it was given. */
typedef struct IdemPkValue
{
	const char *text;			/* for people */
	int			count;			/* of values */
	const char **names;			/* of the columns, if named; else NULL */
	const char **values;		/* as a literal would give them */
	bool	   *strings;		/* is the value a JSON string? */
} IdemPkValue;

extern const char *idem_pk_value_clip(const char *text);
extern IdemPkValue *idem_pk_value_text(const char *value);
extern IdemPkValue *idem_pk_value_jsonb(Jsonb *id);
extern void idem_pk_value_fingerprint(const IdemPkValue *id, Oid relid,
									  IdemFingerprint *fp);
extern void idem_pk_value_bind(const IdemPkValue *id, Relation rel,
							   const IdemUniqueIndex *key, Oid *types,
							   Datum *values);
extern void idem_pk_value_condition(StringInfo buf, Relation rel,
									const IdemUniqueIndex *key);

#endif							/* IDEM_PK_VALUE_H */
