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
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "check/constraint_modes.h"
#include "run/spi.h"
#include "run/subtransaction.h"

/* So often the constraints are looked for where others go on renaming some. */
#define MAX_LOOKS	3

/* A constraint that can be deferred. */
typedef struct Deferrable
{
	Oid			id;
	Oid			schema;
	NameData	name;
	bool		deferred;		/* as a transaction begins, be it a
								 * partition's below it alone */
} Deferrable;

/* Adds the constraint that another is a partition's of, and what that is one of. */
static List *
add_ancestors(List *ancestors, Oid parent)
{
	while (OidIsValid(parent))
	{
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(parent));

		ancestors = list_append_unique_oid(ancestors, parent);
		parent = InvalidOid;
		if (HeapTupleIsValid(tuple))
		{
			parent = ((Form_pg_constraint) GETSTRUCT(tuple))->conparentid;
			ReleaseSysCache(tuple);
		}
	}
	return ancestors;
}

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
	List	   *above_deferred = NIL;
	HeapTuple	tuple;
	ListCell   *lc;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);
		Deferrable *constraint;

		if (!form->condeferrable)
			continue;
		constraint = palloc(sizeof(Deferrable));
		constraint->id = form->oid;
		constraint->schema = form->connamespace;
		constraint->name = form->conname;
		constraint->deferred = form->condeferred;
		found = lappend(found, constraint);
		if (form->condeferred)
			above_deferred = add_ancestors(above_deferred, form->conparentid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	foreach(lc, found)
	{
		Deferrable *constraint = lfirst(lc);

		constraint->deferred |= list_member_oid(above_deferred, constraint->id);
	}
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

/* Names of constraints, as they stand in a command. */
typedef struct Names
{
	char	  **names;
	int			count;
} Names;

/* Adds the name of a constraint, if the caller may name what is in the schema. */
static void
add_name(Names *names, const Deferrable *constraint)
{
	const char *schema = get_namespace_name(constraint->schema);

	if (schema == NULL || isOtherTempNamespace(constraint->schema) ||
		!IDEM_MAY_USE_SCHEMA(constraint->schema, GetUserId()))
		return;
	names->names[names->count++] =
		quote_qualified_identifier(schema, NameStr(constraint->name));
}

/*
 * The names of the constraints that are not deferred as a transaction begins.  A name
 * may be that of several in a schema, and sets those of partitions, too: if one of them
 * is to be deferred, so are all, but for partitions with a name of their own.
 */
static Names
immediate_names(void)
{
	List	   *constraints = find_constraints();
	const Deferrable *former = NULL;
	Names		names = {palloc(sizeof(char *) * list_length(constraints))};
	ListCell   *lc;

	list_sort(constraints, compare_constraints);
	foreach(lc, constraints)
	{
		const Deferrable *constraint = lfirst(lc);
		bool		is_named = former != NULL &&
			former->schema == constraint->schema &&
			strcmp(NameStr(former->name), NameStr(constraint->name)) == 0;

		former = constraint;
		if (!is_named && !constraint->deferred)
			add_name(&names, constraint);
	}
	return names;
}

static bool
set_named(void *arg)
{
	const Names *names = arg;
	StringInfoData command;

	initStringInfo(&command);
	for (int i = 0; i < names->count; i++)
		appendStringInfo(&command, "%s %s", i == 0 ? "SET CONSTRAINTS" : ",",
						 names->names[i]);
	appendStringInfoString(&command, " IMMEDIATE");
	idem_spi_command(command.data);
	pfree(command.data);
	return true;
}

/* Does an error say that a constraint cannot be named any more? */
static bool
is_outdated(int sqlstate)
{
	return sqlstate == ERRCODE_UNDEFINED_OBJECT ||
		sqlstate == ERRCODE_UNDEFINED_SCHEMA ||
		sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/*
 * Sets constraints, but for those that cannot be named any more, which it comes to by
 * halves.  Have all been set?
 */
static bool
set_immediate(Names names)
{
	ErrorData  *error;

	if (names.count == 0)
		return true;
	CHECK_FOR_INTERRUPTS();
	error = idem_subtransaction_try(set_named, &names);
	if (error == NULL)
		return true;
	if (!is_outdated(error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	if (names.count > 1)
	{
		Names		lower = {names.names, names.count / 2};
		Names		upper = {names.names + lower.count, names.count - lower.count};

		(void) set_immediate(lower);
		(void) set_immediate(upper);
	}
	return false;
}

/*
 * Sets each constraint as a transaction begins with it.  Others may drop one before it
 * is set, or rename it, or take the right to name it: then they are looked for again.
 * One that others rename without end stays deferred.  Raises no error for any of them.
 */
void
idem_constraint_modes_reset(void)
{
	for (int looks = 0; looks < MAX_LOOKS; looks++)
	{
		Names		names = immediate_names();

		idem_spi_command("SET CONSTRAINTS ALL DEFERRED");
		if (set_immediate(names))
			break;
	}
}

/* Has this transaction written to a table? */
static bool
is_written(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return IDEM_LOCK_HELD(&tag, RowExclusiveLock);
}

/*
 * The tables with triggers or constraints that are put off.  Be they deferrable or not:
 * what a statement that has not ended has put off of others could become so.
 */
static List *
pending_tables(void)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *written = NIL;
	List	   *pending = NIL;
	HeapTuple	tuple;
	ListCell   *lc;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			relid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;

		if (is_written(relid))
			written = list_append_unique_oid(written, relid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	/* looks at all that is put off, so once a table, not a trigger */
	foreach(lc, written)
	{
		if (AfterTriggerPendingOnRel(lfirst_oid(lc)))
			pending = lappend_oid(pending, lfirst_oid(lc));
	}
	return pending;
}

/*
 * Does what has been put off to the end of the transaction.  A trigger may put off
 * others in turn, which a commit does, too, but not without end here.  Returns the
 * tables of which more is put off by then.  They may be so, too, because of a statement
 * that has not ended, or of a trigger that is at work, which this one is part of.
 */
List *
idem_constraint_modes_fire(void)
{
	for (int i = 0; i < IDEM_CONSTRAINT_ROUNDS; i++)
		idem_spi_command("SET CONSTRAINTS ALL IMMEDIATE");
	return pending_tables();
}
