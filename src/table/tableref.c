/*
 * tableref.c
 *	  SQL: the type idem_table, a table as the history keeps it.
 *
 * It is kept by its OID, as a regclass is, so history follows a table that is
 * renamed, and is not inherited by another that takes its name.  OIDs mean
 * nothing to another server, so it travels by name: as the table is called at
 * that moment, in binary form, too.  There the name leads to the table that has
 * it.  Unlike that of a regclass, such a name need not be that of any table:
 * then it is kept as it is, and neither a restore nor a subscription stops at it.
 *
 * A table that is dropped is written with its last known name and its OID,
 * which cannot be taken for the name of a table.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "table/sql_name.h"
#include "table/tableref.h"

PG_FUNCTION_INFO_V1(idem_table_in);
PG_FUNCTION_INFO_V1(idem_table_out);
PG_FUNCTION_INFO_V1(idem_table_recv);
PG_FUNCTION_INFO_V1(idem_table_send);
PG_FUNCTION_INFO_V1(idem_table_oid);
PG_FUNCTION_INFO_V1(idem_table_of);

#define HEADER	offsetof(IdemTableref, name)

static IdemTableref *
make(Oid relid, const char *name)
{
	int			length = strlen(name);
	IdemTableref *ref = palloc(HEADER + length);

	SET_VARSIZE(ref, HEADER + length);
	ref->relid = relid;
	memcpy(ref->name, name, length);
	return ref;
}

/* A table that exists, allocated in the current memory context. */
IdemTableref *
idem_tableref_make(Oid relid)
{
	char	   *name = idem_sql_name_find(relid);

	return make(relid, name == NULL ? "" : name);
}

/*
 * The table that has a qualified name here, if that is written just as
 * idem_sql_name_find() does.  No temporary table: that of another session or
 * server is not meant.
 */
static Oid
resolve(const char *name)
{
	List	   *parts;
	Oid			schema;

	if (!SplitIdentifierString(pstrdup(name), '.', &parts) ||
		list_length(parts) != 2 ||
		strcmp(name, quote_qualified_identifier(linitial(parts),
												lsecond(parts))) != 0)
		return InvalidOid;
	schema = get_namespace_oid(linitial(parts), true);
	if (!OidIsValid(schema) || isAnyTempNamespace(schema))
		return InvalidOid;
	return get_relname_relid(lsecond(parts), schema);
}

static IdemTableref *
read_name(const char *name)
{
	return make(resolve(name), name);
}

static char *
write_name(const IdemTableref *ref)
{
	char	   *then = pnstrdup(ref->name, VARSIZE(ref) - HEADER);
	char	   *now;

	if (!OidIsValid(ref->relid))
		return then;
	now = idem_sql_name_find(ref->relid);
	return now != NULL ? now :
		psprintf("%s (dropped, %u)", then, ref->relid);
}

/* A value of the type; raises XX001 where it cannot be one. */
static IdemTableref *
read_value(Datum value)
{
	IdemTableref *ref = (IdemTableref *) PG_DETOAST_DATUM(value);

	if (VARSIZE(ref) < HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("invalid value of type idem_table")));
	return ref;
}

/* The OID of a table; InvalidOid where its name led to none. */
Oid
idem_tableref_relid(Datum value)
{
	return read_value(value)->relid;
}

Datum
idem_table_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(read_name(PG_GETARG_CSTRING(0)));
}

Datum
idem_table_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(write_name(read_value(PG_GETARG_DATUM(0))));
}

Datum
idem_table_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			length;

	PG_RETURN_POINTER(read_name(pq_getmsgtext(message,
											  message->len - message->cursor,
											  &length)));
}

Datum
idem_table_send(PG_FUNCTION_ARGS)
{
	StringInfoData message;
	char	   *name = write_name(read_value(PG_GETARG_DATUM(0)));

	pq_begintypsend(&message);
	pq_sendtext(&message, name, strlen(name));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* The table's OID; 0 where the name led to none. */
Datum
idem_table_oid(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(idem_tableref_relid(PG_GETARG_DATUM(0)));
}

Datum
idem_table_of(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(idem_tableref_make(PG_GETARG_OID(0)));
}
