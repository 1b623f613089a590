/*
 * rights.c
 *	  Which roles may call the functions that are not for all.
 *
 * Those that have a certain right on a table of idem's: its owner, to begin with,
 * which is the role that created the extension.  EXECUTE alone would not do, since
 * it can be granted by the function's owner only, and that must be a superuser;
 * and if the script granted it to the role that creates the extension, it would
 * stay behind when that role hands over what it owns.  So PUBLIC has it, as
 * functions are made; but a superuser that grants it to a role means that role.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/rights.h"

/* Has EXECUTE on a function been granted to a role whose rights the user has? */
static bool
is_granted(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Datum		acl;
	bool		isnull;
	bool		granted = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	acl = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proacl, &isnull);
	if (!isnull)
	{
		Acl		   *rights = DatumGetAclPCopy(acl);
		const AclItem *items = ACL_DAT(rights);

		for (int i = 0; i < ACL_NUM(rights); i++)
		{
			/* what the owner has is what every function comes with */
			if (items[i].ai_grantee != ACL_ID_PUBLIC &&
				items[i].ai_grantee != ((Form_pg_proc) GETSTRUCT(tuple))->proowner &&
				(ACLITEM_GET_PRIVS(items[i]) & ACL_EXECUTE) != 0 &&
				has_privs_of_role(GetUserId(), items[i].ai_grantee))
				granted = true;
		}
	}
	ReleaseSysCache(tuple);
	return granted;
}

pg_noreturn static void
refuse(const char *function, const char *privilege, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for function %s", function),
			 errdetail("It takes the right to %s %s.%s.",
					   privilege, idem_catalog()->schema, table),
			 errhint("The owner of the table can grant it, or a superuser EXECUTE on the function.")));
}

/* May the caller delete keys, whose ever they are? */
bool
idem_rights_delete_keys(void)
{
	return pg_class_aclcheck(idem_catalog()->key_table, GetUserId(),
							 ACL_DELETE) == ACLCHECK_OK;
}

/* Raises 42501 unless the caller may delete keys, or has been let call this. */
void
idem_rights_purge(FunctionCallInfo fcinfo, const char *function)
{
	if (!idem_rights_delete_keys() && !is_granted(fcinfo->flinfo->fn_oid))
		refuse(function, "DELETE from", "idem_key");
}

/*
 * Raises 42501 unless the caller may insert into that column, which holds the names
 * of what a table defines: machines, consumers, scopes.  A role that may insert just
 * that can define, but write no row itself: there is more in a row that must not be
 * null.
 */
void
idem_rights_define(FunctionCallInfo fcinfo, const char *function, Oid table,
				   AttrNumber column)
{
	if (pg_class_aclcheck(table, GetUserId(), ACL_INSERT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(table, column, GetUserId(),
							  ACL_INSERT) == ACLCHECK_OK ||
		is_granted(fcinfo->flinfo->fn_oid))
		return;
	refuse(function, psprintf("INSERT the %s into",
							  get_attname(table, column, false)),
		   get_rel_name(table));
}

/* Raises 42501 unless the caller may read that table, or has been let call this. */
void
idem_rights_read(FunctionCallInfo fcinfo, const char *function, Oid table)
{
	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		!is_granted(fcinfo->flinfo->fn_oid))
		refuse(function, "SELECT from", get_rel_name(table));
}
