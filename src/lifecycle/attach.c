/*
 * attach.c
 *	  SQL: idem_attach() and idem_detach(), the triggers by which a table
 *	  follows state machines.
 *
 * They run CREATE TRIGGER and DROP TRIGGER as the caller, so that the triggers
 * are what plain DDL would have made: dumped, dropped and passed on to
 * partitions with the table.  What is added is that a table which could not
 * live under the machine is refused beforehand.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/objectaddress.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/routed.h"
#include "base/unique_index.h"
#include "lifecycle/attach_ddl.h"
#include "machine/guard.h"
#include "machine/machine.h"
#include "machine/state_counts.h"
#include "run/spi.h"
#include "table/attachment.h"
#include "table/row_version.h"
#include "table/sql_name.h"
#include "table/state_column.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_attach);
PG_FUNCTION_INFO_V1(idem_detach);

/*
 * Opens a table of the caller's, with the lock that CREATE TRIGGER takes, so
 * that no row slips in between the checks and the trigger.
 */
static Relation
open_own_table(Oid relid)
{
	char		relkind = get_rel_relkind(relid);
	Relation	rel = NULL;

	/* Before the lock: nobody is to lock what is not theirs. */
	if (relkind != '\0' && !IDEM_OWNS_RELATION(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(relkind),
					   get_rel_name(relid));
	if (relkind != '\0')
		rel = try_relation_open(relid, ShareRowExclusiveLock);
	if (rel == NULL)
		idem_error_no_relation(relid);

	idem_target_check_kind(rel, IDEM_TARGET_ATTACH);
	return rel;
}

/* The column of that name; definition is how the hint would add it. */
static Form_pg_attribute
need_column(Relation rel, const char *name, const char *definition)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);
	Form_pg_attribute att;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(rel)),
				 errhint("Add it: ALTER TABLE %s ADD COLUMN %s %s.",
						 idem_sql_name(rel), quote_identifier(name),
						 definition)));
	att = TupleDescAttr(RelationGetDescr(rel), number - 1);
	if (att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of relation \"%s\" is a generated column",
						name, RelationGetRelationName(rel)),
				 errdetail("State and version are set, not computed.")));
	return att;
}

static void
check_status(Relation rel, Form_pg_attribute att, const char *name,
			 List *states)
{
	const char *complaint = idem_state_column_complaint(rel, att->attnum, states);

	if (complaint != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" cannot hold the states of state machine \"%s\"",
						NameStr(att->attname), RelationGetRelationName(rel), name),
				 errdetail_internal("%s", complaint),
				 idem_state_column_possible(att) ? 0 :
				 errhint("Use text, character varying or an enum.")));
}

static void
check_version(Relation rel, Form_pg_attribute att)
{
	idem_row_version_check_column(rel, att->attnum);
	if (!att->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of relation \"%s\" must be NOT NULL to hold a version",
						NameStr(att->attname), RelationGetRelationName(rel)),
				 errhint("Give the rows a version, then ALTER TABLE %s ALTER COLUMN %s SET NOT NULL.",
						 idem_sql_name(rel),
						 idem_sql_name_column(rel, att->attnum))));
}

/*
 * Refuses a table with rows that are in no state of the machine, and could not
 * leave it.
 */
static void
check_rows(Relation rel, AttrNumber status, const char *name, List *states)
{
	const char *found = idem_state_counts_beyond(rel, status, states);

	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("table \"%s\" has rows in no state of state machine \"%s\"",
						RelationGetRelationName(rel), name),
				 errdetail("Rows by state: %s.", found),
				 errhint("Bring all rows into states of the machine first.")));
}

/* Refuses a table with children that do not follow the machine themselves. */
static void
check_children(Relation rel, const char *machine, const char *status)
{
	Oid			child = idem_attachment_find_stray(rel, machine, status);

	if (OidIsValid(child))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" cannot follow a state machine before its children do",
						RelationGetRelationName(rel)),
				 errdetail("Table %s inherits from it. Who updates \"%s\" updates rows of both, but triggers fire for its own rows only.",
						   idem_sql_name_find(child), RelationGetRelationName(rel)),
				 errhint("Call idem_attach() for the children first, or make them partitions.")));
}

/*
 * Raises 42710 if the column has its machine already, unless that is the one wanted
 * and only lacks the history that is wanted, too: then true.
 */
static bool
check_attached(Relation rel, const IdemAttachWish *wanted)
{
	const IdemAttachment *attachment;

	if (idem_attach_ddl_triggers(rel, wanted->status) == NIL)
		return false;
	attachment = idem_attachment_by(idem_attachment_all(rel, true),
									wanted->status);
	if (!wanted->history || attachment == NULL ||
		strcmp(attachment->machine, wanted->machine) != 0 ||
		attachment->version != get_attnum(RelationGetRelid(rel), wanted->version) ||
		idem_attachment_records(rel, wanted->status))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("column \"%s\" of table \"%s\" follows a state machine already",
						wanted->status, RelationGetRelationName(rel)),
				 errhint("Call idem_detach() first, or name another column.")));
	return true;
}

/* All machines of a table share its version: raises 42P16 for another column. */
static void
check_one_version(Relation rel, const IdemAttachWish *wanted)
{
	List	   *attachments = idem_attachment_all(rel, false);
	const char *version;

	if (attachments == NIL)
		return;
	version = get_attname(RelationGetRelid(rel),
						  ((const IdemAttachment *) linitial(attachments))->version,
						  false);
	if (strcmp(version, wanted->version) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the version of \"%s\" is in column \"%s\"",
						RelationGetRelationName(rel), version),
				 errdetail("All state machines that a table follows share its version."),
				 errhint("Say version => %s.", quote_literal_cstr(version))));
}

/* Refuses a table that could not live under the machine. */
static void
check_table(Relation rel, const IdemAttachWish *wanted)
{
	const IdemMachine *machine = idem_machine_find(wanted->machine);
	char	   *initial = pstrdup(idem_machine_initial(machine));
	List	   *states = idem_machine_states(machine);
	List	   *edges = idem_machine_edges(machine);
	Form_pg_attribute att;
	AttrNumber	column;

	check_one_version(rel, wanted);
	check_children(rel, wanted->machine, wanted->status);
	att = need_column(rel, wanted->status,
					  psprintf("text NOT NULL DEFAULT %s",
							   quote_literal_cstr(initial)));
	column = att->attnum;
	check_status(rel, att, wanted->machine, states);
	check_version(rel, need_column(rel, wanted->version,
								   "bigint NOT NULL DEFAULT 1"));
	idem_guard_accept(rel, edges);
	check_rows(rel, column, wanted->machine, states);
}

static void
run_commands(List *commands)
{
	ListCell   *lc;

	foreach(lc, commands)
		idem_spi_command(lfirst(lc));
}

/* Reads the arguments of idem_attach(). */
static void
read_arguments(FunctionCallInfo fcinfo, IdemAttachWish *wanted)
{
	static const char *const arguments[] = {
		"target", "machine", "status", "version", "history"
	};

	for (int i = 0; i < lengthof(arguments); i++)
	{
		if (PG_ARGISNULL(i))
			idem_error_null(arguments[i]);
	}
	wanted->machine = text_to_cstring(PG_GETARG_TEXT_PP(1));
	wanted->status = NameStr(*PG_GETARG_NAME(2));
	wanted->version = NameStr(*PG_GETARG_NAME(3));
	wanted->history = PG_GETARG_BOOL(4);
}

/*
 * idem_attach(target regclass, machine text, status name, version name,
 *			   history boolean) -> void
 *
 * Lets a table follow a machine, or one that does so already also keep a
 * history; or a further machine, by another column.  Raises 42501 unless the caller
 * owns the table, 42809 for what is not a table, or has children that do not follow
 * the machine, 42710 if the column follows one already, 42704 for a machine that
 * does not exist, 42P10 for want of a primary key, 42703, 42804 and 42P16 for
 * columns that cannot serve, 42883 and 42804 for guards that do not take its rows,
 * 23514 for rows that are in no state of the machine.
 */
Datum
idem_attach(PG_FUNCTION_ARGS)
{
	IdemAttachWish wanted;
	List	   *commands;
	IdemUniqueIndex key;
	Relation	rel;
	bool		attached;

	read_arguments(fcinfo, &wanted);

	/* Against a change of the machine until our triggers can be seen. */
	idem_machine_lock(wanted.machine, ShareLock);
	rel = open_own_table(PG_GETARG_OID(0));
	/* its rows would be written on the node of the rows that they are about */
	if (wanted.history)
		idem_routed_refuse(RelationGetRelid(rel), "a history");
	attached = check_attached(rel, &wanted);

	(void) idem_machine_find(wanted.machine);
	idem_unique_index_need_primary(&key, rel);
	if (!attached)
		check_table(rel, &wanted);

	commands = idem_attach_ddl_create(rel, &wanted, attached);
	relation_close(rel, NoLock);	/* CREATE TRIGGER wants it unused */
	run_commands(commands);
	PG_RETURN_VOID();
}

/*
 * idem_detach(target regclass, status name) -> void
 *
 * Undoes idem_attach, for the column named, or all.  Raises 42501 unless the caller
 * owns the table, 42704 if it does not follow a machine, by that column.
 */
Datum
idem_detach(PG_FUNCTION_ARGS)
{
	const char *column = PG_ARGISNULL(1) ? NULL : NameStr(*PG_GETARG_NAME(1));
	Relation	rel;
	List	   *commands;

	if (PG_ARGISNULL(0))
		idem_error_null("target");

	rel = open_own_table(PG_GETARG_OID(0));
	commands = idem_attach_ddl_drop(rel, column);
	if (commands == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 column == NULL ?
				 errmsg("table \"%s\" does not follow a state machine",
						RelationGetRelationName(rel)) :
				 errmsg("column \"%s\" of table \"%s\" does not follow a state machine",
						column, RelationGetRelationName(rel))));
	relation_close(rel, NoLock);	/* DROP TRIGGER wants it unused */
	run_commands(commands);
	PG_RETURN_VOID();
}
