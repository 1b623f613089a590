/*
 * role.c
 *	  Roles that what idem remembers belongs to.
 *	  SQL: the type idem_role.
 *
 * A role is remembered by its OID, and written by its name.  So one that is
 * renamed keeps what is its own, one that is dropped leaves it to no role, and a
 * new role of its name inherits nothing; and what is dumped, restored or
 * replicated finds the role of that name in the other cluster.
 *
 * PostgreSQL's own type regrole does as much, but its input function raises an
 * error for a name that there is no role of: a restore would lose the table, and
 * a subscriber stop at the row.  Here, such a row belongs to no role.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "base/role.h"

PG_FUNCTION_INFO_V1(idem_role_in);
PG_FUNCTION_INFO_V1(idem_role_out);
PG_FUNCTION_INFO_V1(idem_role_recv);
PG_FUNCTION_INFO_V1(idem_role_send);

/* Has a user the rights of a role?  Those of one that is gone, if a superuser. */
bool
idem_role_has_rights_of(Oid user, Oid role)
{
	if (SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return has_privs_of_role(user, role);
	return superuser_arg(user);
}

/*
 * Raises 42501 unless what belongs to a role, and has that name, is for the current
 * user: for one that has the rights of that role, or for a superuser once the role
 * has been dropped.
 */
void
idem_role_check(Oid owner, const char *name, const IdemRoleError *error)
{
	const char *role;
	const char *detail = error->detail;
	const char *hint = error->hint;

	if (idem_role_has_rights_of(GetUserId(), owner))
		return;
	role = idem_role_name(owner);
	if (role == NULL && error->detail_dropped != NULL)
	{
		detail = error->detail_dropped;
		hint = error->hint_dropped;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(error->message, name),
			 errdetail(detail, role),
			 hint != NULL ? errhint("%s", _(hint)) : 0));
}

/* The name of a role; NULL if there is none any more. */
const char *
idem_role_name(Oid role)
{
	return GetUserNameFromId(role, true);
}

/* The role of a name, which may be empty; InvalidOid if there is none. */
static Oid
role_of_name(const char *name)
{
	return *name == '\0' ? InvalidOid : get_role_oid(name, true);
}

/* idem_role_in(cstring) -> idem_role: none, where there is no such role */
Datum
idem_role_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(role_of_name(PG_GETARG_CSTRING(0)));
}

/* idem_role_out(idem_role) -> cstring: the name, empty for none */
Datum
idem_role_out(PG_FUNCTION_ARGS)
{
	const char *name = idem_role_name(PG_GETARG_OID(0));

	PG_RETURN_CSTRING(pstrdup(name != NULL ? name : ""));
}

/* idem_role_recv(internal) -> idem_role: the name as text */
Datum
idem_role_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			length;

	PG_RETURN_OID(role_of_name(pq_getmsgtext(buf, buf->len - buf->cursor,
											 &length)));
}

/* idem_role_send(idem_role) -> bytea: the name as text */
Datum
idem_role_send(PG_FUNCTION_ARGS)
{
	const char *name = idem_role_name(PG_GETARG_OID(0));
	StringInfoData buf;

	pq_begintypsend(&buf);
	if (name != NULL)
		pq_sendtext(&buf, name, strlen(name));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
