/*
 * row_version.c
 *	  The version of a row, which a trigger raises.
 *
 * Its column is of an integer type, or of a domain over one, as
 * idem_attachment_check_version() sees to.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "table/row_version.h"

static int
length_of(Relation rel, AttrNumber column)
{
	return TupleDescAttr(RelationGetDescr(rel), column - 1)->attlen;
}

/* The version of a row; isnull tells that it has none. */
int64
idem_row_version_get(HeapTuple row, Relation rel, AttrNumber column, bool *isnull)
{
	Datum		value = heap_getattr(row, column, RelationGetDescr(rel), isnull);

	if (*isnull)
		return 0;
	switch (length_of(rel, column))
	{
		case sizeof(int16):
			return DatumGetInt16(value);
		case sizeof(int32):
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/* The version that follows; 22003 where the column cannot hold it. */
int64
idem_row_version_next(Relation rel, AttrNumber column, int64 version)
{
	int			length = length_of(rel, column);
	int64		greatest = length == sizeof(int16) ? PG_INT16_MAX :
		length == sizeof(int32) ? PG_INT32_MAX : PG_INT64_MAX;

	if (version >= greatest)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("version of a row of \"%s\" is out of range",
						RelationGetRelationName(rel)),
				 errhint("Give the column \"%s\" a larger integer type.",
						 NameStr(TupleDescAttr(RelationGetDescr(rel), column - 1)->attname))));
	return version + 1;
}

/* The row with its version set, in a tuple of its own. */
HeapTuple
idem_row_version_set(HeapTuple row, Relation rel, AttrNumber column, int64 version)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);
	int			number = column;
	bool		isnull = false;
	Datum		value;

	if (att->attlen == sizeof(int16))
		value = Int16GetDatum((int16) version);
	else if (att->attlen == sizeof(int32))
		value = Int32GetDatum((int32) version);
	else
		value = Int64GetDatum(version);

	/* The executor checks a domain on values it assigns, not on ours. */
	if (get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
		domain_check(value, false, att->atttypid, NULL, NULL);
	return heap_modify_tuple_by_cols(row, RelationGetDescr(rel), 1,
									 &number, &value, &isnull);
}
