/*
 * constraint_modes.c
 *	  When the constraints of a transaction are checked.
 *
 * There is no command that has each constraint checked as when a transaction begins.
 * So all are deferred, and then those named that are not deferred by then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "check/constraint_modes.h"
#include "run/spi.h"

/* A constraint that can be deferred. */
typedef struct Deferrable
{
	Oid			schema;
	NameData	name;
	bool		deferred;		/* as a transaction begins */
} Deferrable;

/*
 * All of them.  As they are now, as the command finds them, too, and not as the
 * snapshot of a statement sees them: others may have dropped some since.
 */
static List *
find_constraints(void)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *found = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);
		Deferrable *constraint;

		if (!form->condeferrable)
			continue;
		constraint = palloc(sizeof(Deferrable));
		constraint->schema = form->connamespace;
		constraint->name = form->conname;
		constraint->deferred = form->condeferred;
		found = lappend(found, constraint);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* By name, and those first that are deferred. */
static int
compare_constraints(const ListCell *a, const ListCell *b)
{
	const Deferrable *ca = lfirst(a);
	const Deferrable *cb = lfirst(b);
	int			names;

	if (ca->schema != cb->schema)
		return ca->schema < cb->schema ? -1 : 1;
	names = strcmp(NameStr(ca->name), NameStr(cb->name));
	return names != 0 ? names : cb->deferred - ca->deferred;
}

/* May the caller name what is in a schema? */
static bool
may_name(Oid schema)
{
	return !isOtherTempNamespace(schema) && get_namespace_name(schema) != NULL &&
		IDEM_MAY_USE_SCHEMA(schema, GetUserId());
}

/*
 * The names of the constraints that are not deferred as a transaction begins.  A name
 * may be that of several in a schema: if one of them is to be deferred, so are all.
 */
static char *
immediate_names(void)
{
	List	   *constraints = find_constraints();
	const Deferrable *former = NULL;
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	list_sort(constraints, compare_constraints);
	foreach(lc, constraints)
	{
		const Deferrable *constraint = lfirst(lc);
		bool		is_named = former != NULL &&
			former->schema == constraint->schema &&
			strcmp(NameStr(former->name), NameStr(constraint->name)) == 0;

		former = constraint;
		if (!is_named && !constraint->deferred && may_name(constraint->schema))
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 quote_qualified_identifier(get_namespace_name(constraint->schema),
														NameStr(constraint->name)));
	}
	return names.data;
}

/* Sets each constraint as a transaction begins with it. */
void
idem_constraint_modes_reset(void)
{
	const char *names = immediate_names();

	idem_spi_command("SET CONSTRAINTS ALL DEFERRED");
	if (*names != '\0')
		idem_spi_command(psprintf("SET CONSTRAINTS %s IMMEDIATE", names));
}

/* Does what has been put off to the end of the transaction. */
void
idem_constraint_modes_fire(void)
{
	idem_spi_command("SET CONSTRAINTS ALL IMMEDIATE");
}
