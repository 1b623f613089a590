/*
 * rowid.h
 *	  A row as a caller names it: by the value of its primary key.
 */
#ifndef IDEM_ROWID_H
#define IDEM_ROWID_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "base/fingerprint.h"
#include "base/unique.h"

/* An id as it was given. */
typedef struct IdemRowId
{
	const char *text;			/* for people */
	int			count;			/* of values */
	const char **names;			/* of the columns, if named; else NULL */
	const char **values;		/* as a literal would give them */
	bool	   *strings;		/* is the value a JSON string? */
} IdemRowId;

extern IdemRowId *idem_rowid_jsonb(Jsonb *id);
extern const IdemRowId *idem_rowid_argument(FunctionCallInfo fcinfo,
											 int argument);
extern void idem_rowid_fingerprint(const IdemRowId *id, Oid relid,
								   IdemFingerprint *fp);
extern void idem_rowid_bind(const IdemRowId *id, Relation rel,
							const IdemUnique *key, Oid *types, Datum *values);
extern void idem_rowid_condition(StringInfo buf, Relation rel,
								 const IdemUnique *key);

#endif							/* IDEM_ROWID_H */
