/*
 * row_version.c
 *	  The version of a row: its column, and how it compares with one expected.
 *
 * The column is of an integer type, or of a domain over one.  A trigger raises it
 * on every update, or else the statement that updates the row.  A caller who
 * expects a version is protected from overwriting what another session has written
 * since the caller read the row.
 *
 * In what is written here as SQL the row is called idem_row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "stats/stats_counter.h"
#include "table/row_version.h"
#include "table/sql_name.h"

/* Is a column of a type that can hold a version? */
bool
idem_row_version_possible(Form_pg_attribute att)
{
	Oid			type = getBaseType(att->atttypid);

	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Raises 42804 unless a column is of a type that can hold a version. */
void
idem_row_version_check_column(Relation rel, AttrNumber column)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);

	if (!idem_row_version_possible(att))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" must be of an integer type to hold a version",
						NameStr(att->attname), RelationGetRelationName(rel)),
				 errdetail("Its type is %s.", format_type_be(att->atttypid))));
}

static int
length_of(Relation rel, AttrNumber column)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);

	Assert(idem_row_version_possible(att));
	return att->attlen;
}

/* The version of a row; isnull: it has none. */
int64
idem_row_version_get(HeapTuple row, Relation rel, AttrNumber column,
					 bool *isnull)
{
	Datum		value = heap_getattr(row, column, RelationGetDescr(rel),
									 isnull);

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
						 get_attname(RelationGetRelid(rel), column, false))));
	return version + 1;
}

/* The row with its version set, in a tuple of its own. */
HeapTuple
idem_row_version_set(HeapTuple row, Relation rel, AttrNumber column,
					 int64 version)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);
	int			number = column;
	bool		isnull = false;
	Datum		value;

	Assert(idem_row_version_possible(att));
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

/* The version that a caller expects, as an argument of type bigint says. */
IdemRowVersion
idem_row_version_argument(FunctionCallInfo fcinfo, int argument)
{
	return idem_row_version_value(fcinfo->args[argument].value,
								  fcinfo->args[argument].isnull);
}

/* A version as a bigint of a statement or an array. */
IdemRowVersion
idem_row_version_value(Datum value, bool isnull)
{
	IdemRowVersion version = {0};

	version.exists = !isnull;
	if (!isnull)
		version.number = DatumGetInt64(value);
	return version;
}

/* Adds the version that is expected to a fingerprint. */
void
idem_row_version_fingerprint(const IdemRowVersion *expected,
							 IdemFingerprint *fp)
{
	if (expected->exists)
		idem_fingerprint_int8(fp, expected->number);
	else
		idem_fingerprint_null(fp);
}

/* Compares the version of a row with the one expected. */
IdemVersionMatch
idem_row_version_match(const IdemRowVersion *actual,
					   const IdemRowVersion *expected)
{
	if (!expected->exists)
		return IDEM_VERSION_EXPECTED;
	if (!actual->exists)
		return IDEM_VERSION_OTHER;
	if (actual->number == expected->number)
		return IDEM_VERSION_EXPECTED;
	return actual->number - 1 == expected->number ?
		IDEM_VERSION_NEXT : IDEM_VERSION_OTHER;
}

/*
 * Raises ID203: the row named by id (as text, for people) has another version than
 * expected, or none.
 */
void
idem_row_version_error(Oid relid, const char *id, const IdemRowVersion *actual,
					   const IdemRowVersion *expected)
{
	Assert(idem_row_version_match(actual, expected) != IDEM_VERSION_EXPECTED);
	idem_stats_counter_hit(IDEM_COUNT_VERSION_CONFLICT);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_VERSION_CONFLICT),
			 errmsg("version conflict on row %s of \"%s\"",
					id, get_rel_name(relid)),
			 actual->exists ?
			 errdetail("The row has version %lld, version %lld was expected.",
					   (long long) actual->number,
					   (long long) expected->number) :
			 errdetail("The row's version is null, version %lld was expected.",
					   (long long) expected->number),
			 actual->exists ?
			 errhint("Read the row again and decide anew.") :
			 errhint("Give the row a version, and make the column NOT NULL."),
			 idem_error_table(relid)));
}

/* Appends the version as a value of a statement; null if there is no column. */
void
idem_row_version_append(StringInfo buf, Relation rel, AttrNumber column)
{
	if (column == InvalidAttrNumber)
		appendStringInfoString(buf, "NULL::pg_catalog.int8");
	else
		appendStringInfo(buf, "idem_row.%s::pg_catalog.int8",
						 idem_sql_name_column(rel, column));
}

/* Appends the assignment that raises the version, after others. */
void
idem_row_version_append_raise(StringInfo buf, Relation rel, AttrNumber column)
{
	const char *name = idem_sql_name_column(rel, column);

	appendStringInfo(buf, ", %s = idem_row.%s OPERATOR(pg_catalog.+) 1", name,
					 name);
}

/*
 * Appends the condition that the version is that of a parameter, after another
 * condition.
 */
void
idem_row_version_append_test(StringInfo buf, Relation rel, AttrNumber column,
							 int parameter)
{
	appendStringInfo(buf, " AND idem_row.%s OPERATOR(pg_catalog.=) $%d",
					 idem_sql_name_column(rel, column), parameter);
}
