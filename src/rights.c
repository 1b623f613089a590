/*
 * rights.c
 *	  Who may call the functions that are not for everybody.
 *
 * Whoever has a certain right on a table of idem's: its owner, to begin with,
 * who is the role that created the extension.  EXECUTE would not do, since it can
 * be granted by the function's owner only, and that must be a superuser; and if
 * the script granted it to the role that creates the extension, it would stay
 * behind when that role hands over what it owns.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "catalog.h"
#include "compat.h"
#include "rights.h"

/* The columns that the right to define machines, consumers or scopes is about. */
#define MACHINE_NAME	1
#define CONSUMER_NAME	2
#define SCOPE_NAME		1

pg_noreturn static void
refuse(const char *function, const char *privilege, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for function %s", function),
			 errdetail("It takes the right to %s %s.%s.",
					   privilege, idem_catalog()->schema, table),
			 errhint("The owner of the table can grant it.")));
}

/* Raises 42501 unless the caller may delete keys. */
void
idem_rights_purge(const char *function)
{
	if (pg_class_aclcheck(idem_catalog()->key_table, GetUserId(),
						  ACL_DELETE) != ACLCHECK_OK)
		refuse(function, "DELETE from", "idem_key");
}

static bool
may_insert(Oid table, AttrNumber column)
{
	return pg_class_aclcheck(table, GetUserId(), ACL_INSERT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(table, column, GetUserId(),
							  ACL_INSERT) == ACLCHECK_OK;
}

/*
 * Raises 42501 unless the caller may insert the name of a machine.  Whoever may
 * insert just that can define machines, but write no row himself: there is more
 * in a row that must not be null.
 */
void
idem_rights_define(const char *function)
{
	if (!may_insert(idem_catalog()->machine_table, MACHINE_NAME))
		refuse(function, "INSERT the name into", "idem_machine");
}

/*
 * The same of consumers: whoever defines one keeps all others from it, so that
 * not everybody may.
 */
void
idem_rights_define_consumer(const char *function)
{
	if (!may_insert(idem_catalog()->consumer_table, CONSUMER_NAME))
		refuse(function, "INSERT the name into", "idem_consumer");
}

/* The same of scopes. */
void
idem_rights_define_scope(const char *function)
{
	if (!may_insert(idem_catalog()->scope_table, SCOPE_NAME))
		refuse(function, "INSERT the scope into", "idem_scope");
}
