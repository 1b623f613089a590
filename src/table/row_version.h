/*
 * row_version.h
 *	  The version of a row: its column, and how it compares with one expected.
 */
#ifndef IDEM_ROW_VERSION_H
#define IDEM_ROW_VERSION_H

#include "access/htup.h"
#include "catalog/pg_attribute.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "base/fingerprint.h"

/* A version: that of a row, or one that a caller expects. */
typedef struct IdemRowVersion
{
	bool		exists;			/* has the row one, is one expected? */
	int64		number;			/* 0 if not */
} IdemRowVersion;

/* What the version of a row is beside the one expected. */
typedef enum IdemVersionMatch
{
	IDEM_VERSION_EXPECTED,		/* the same, or none was expected */
	IDEM_VERSION_NEXT,			/* one past it: of a row that is as wanted, an
								 * earlier try may have made it so */
	IDEM_VERSION_OTHER
} IdemVersionMatch;

extern bool idem_row_version_possible(Form_pg_attribute att);
extern void idem_row_version_check_column(Relation rel, AttrNumber column);

extern int64 idem_row_version_get(HeapTuple row, Relation rel,
								  AttrNumber column, bool *isnull);
extern int64 idem_row_version_next(Relation rel, AttrNumber column,
								   int64 version);
extern HeapTuple idem_row_version_set(HeapTuple row, Relation rel,
									  AttrNumber column, int64 version);

extern IdemRowVersion idem_row_version_argument(FunctionCallInfo fcinfo,
												int argument);
extern IdemRowVersion idem_row_version_value(Datum value, bool isnull);
extern void idem_row_version_fingerprint(const IdemRowVersion *expected,
										 IdemFingerprint *fp);
extern IdemVersionMatch idem_row_version_match(const IdemRowVersion *actual,
											   const IdemRowVersion *expected);
pg_noreturn extern void idem_row_version_error(Oid relid, const char *id,
											   const IdemRowVersion *actual,
											   const IdemRowVersion *expected);

extern void idem_row_version_append(StringInfo buf, Relation rel,
									AttrNumber column);
extern void idem_row_version_append_raise(StringInfo buf, Relation rel,
										  AttrNumber column);
extern void idem_row_version_append_test(StringInfo buf, Relation rel,
										 AttrNumber column, int parameter);

#endif							/* IDEM_ROW_VERSION_H */
