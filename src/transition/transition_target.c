/*
 * transition_target.c
 *	  A table in which transitions bring rows into a state.
 *
 * Its statements are what a person would write, and run with the caller's
 * rights.  They run under the caller's search_path, hence every name in them is
 * qualified.
 */
#include "postgres.h"

#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "machine/machine.h"
#include "run/spi_caller.h"
#include "table/row_version.h"
#include "table/sql_name.h"
#include "transition/transition_target.h"

/* The name of the table, for messages. */
const char *
idem_transition_target_name(const IdemTransitionTarget *target)
{
	return RelationGetRelationName(target->table.rel);
}

/*
 * The statements check privileges by themselves, but where there is no row to
 * run one for, no caller is to lock a table that the caller may not update.
 */
static void
check_privilege(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (relkind != '\0' &&
		pg_class_aclcheck(relid, GetUserId(), ACL_UPDATE) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_UPDATE,
								  ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(relkind),
					   get_rel_name(relid));
}

/* Refuses a table with children whose rows are updated with it, unvalidated. */
static void
check_children(Relation rel)
{
	Oid			child = idem_attachment_find_stray(rel, NULL, NULL);

	if (OidIsValid(child))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot make transitions in \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Table \"%s\" inherits from it and does not follow a state machine, so UPDATE of \"%s\" changes its rows unseen.",
						   get_rel_name(child), RelationGetRelationName(rel)),
				 errhint("Call idem_attach() for that table, too, or use partitions.")));
}

/* The machine must have the state. */
static void
check_state(const IdemTransitionTarget *target)
{
	const IdemMachine *machine = idem_machine_find(target->attachment.machine);
	StringInfoData names;
	ListCell   *lc;

	if (idem_machine_knows(machine, target->to))
		return;

	initStringInfo(&names);
	foreach(lc, idem_machine_states(machine))
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
						 (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state machine \"%s\" has no state \"%s\"",
					target->attachment.machine, target->to),
			 errdetail("Its states are %s.", names.data)));
}

/*
 * Opens a table to bring rows into a state, to be closed by the caller.  A
 * machine of NULL stands for the one that it follows; keyed is whether a key will
 * remember what is done.
 *
 * Raises 42P01 and 42809 for what is not a table, 42501 for one of which the
 * caller may update nothing, 0A000 for a temporary one under a key, for one with
 * a rule for UPDATE, and for one from which others inherit that follow no
 * machine, 55000 for one that does not follow the machine, 42P10 for want of a
 * primary key, 22023 for a state that the machine has not, and what the input
 * function of the column's type raises.
 */
void
idem_transition_target_open(IdemTransitionTarget *target, Oid relid,
							const char *machine, const char *to, bool keyed)
{
	Form_pg_attribute att;
	Oid			function;
	Oid			ioparam;

	check_privilege(relid);
	idem_target_open(&target->table, relid, IDEM_TARGET_TRANSITION, keyed);
	check_children(target->table.rel);
	idem_attachment_need(&target->attachment, target->table.rel, machine);
	target->table.version = target->attachment.version;
	idem_unique_index_need_primary(&target->table.key, target->table.rel);
	target->to = to;
	check_state(target);

	att = idem_target_attribute(&target->table, target->attachment.status);
	target->types[target->table.key.ncolumns] = att->atttypid;
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	target->values[target->table.key.ncolumns] =
		OidInputFunctionCall(function, unconstify(char *, to), ioparam, -1);
}

/*
 * Chooses the row that statements are about.  Raises what idem_pk_value_bind
 * raises.
 */
void
idem_transition_target_bind_row(IdemTransitionTarget *target,
								const IdemPkValue *id)
{
	idem_pk_value_bind(id, target->table.rel, &target->table.key,
					   target->types, target->values);
}

/* Gives the ticket by which the condition of the update knows it. */
void
idem_transition_target_show(IdemTransitionTarget *target, int64 ticket)
{
	int			last = target->table.key.ncolumns + 1;

	Assert(last < lengthof(target->types));
	target->types[last] = INT8OID;
	target->values[last] = Int64GetDatum(ticket);
}

/* Closes the table, which stays locked. */
void
idem_transition_target_close(IdemTransitionTarget *target)
{
	idem_target_close(&target->table);
}

/* The type of the column with the state. */
Oid
idem_transition_target_state_type(const IdemTransitionTarget *target)
{
	return target->types[target->table.key.ncolumns];
}

/* A state as the trigger reads it: a type's owner may cast it to other texts. */
const char *
idem_transition_target_state_text(const IdemTransitionTarget *target,
								  Datum state)
{
	Oid			function;
	bool		isvarlena;

	getTypeOutputInfo(idem_transition_target_state_type(target), &function,
					  &isvarlena);
	return OidOutputFunctionCall(function, state);
}

static const char *
write_sql(const void *state, int which)
{
	const IdemTransitionTarget *target = state;
	StringInfoData buf;
	StringInfoData columns;
	const char *name = idem_sql_name_only(target->table.rel);
	const char *status = idem_sql_name_column(target->table.rel,
											  target->attachment.status);

	initStringInfo(&columns);
	appendStringInfo(&columns, "idem_row.%s, ", status);
	idem_row_version_append(&columns, target->table.rel, target->table.version);

	initStringInfo(&buf);
	if (which == IDEM_TRANSITION_LOCK)
		appendStringInfo(&buf, "SELECT %s FROM %s AS idem_row WHERE ",
						 columns.data, name);
	else
		appendStringInfo(&buf, "UPDATE %s AS idem_row SET %s = $%d WHERE ",
						 name, status, target->table.key.ncolumns + 1);
	idem_pk_value_condition(&buf, target->table.rel, &target->table.key);
	if (which == IDEM_TRANSITION_LOCK)
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
	else
		appendStringInfo(&buf, " AND %s._idem_change_met($%d, %s) RETURNING %s",
						 idem_catalog()->schema, target->table.key.ncolumns + 2,
						 columns.data, columns.data);
	return buf.data;
}

/*
 * Runs a statement for the row whose key is among the arguments; false if it
 * touched no row.  The state is NULL where the row has none; a version that is
 * null counts as 0.
 */
bool
idem_transition_target_run(IdemTransitionTarget *target,
						   IdemTransitionStatement which, const char **state,
						   int64 *version)
{
	IdemTableSignature signature = {
		IDEM_PLAN_TRANSITION, GetUserId(), RelationGetRelid(target->table.rel)
	};
	IdemCallerStatement statement = {
		.signature = {&signature, sizeof(signature), which},
		.write_sql = write_sql, .state = target,
		.nargs = target->table.key.ncolumns +
		(which == IDEM_TRANSITION_UPDATE ? 2 : 0),
		.argtypes = target->types,
		.table = RelationGetRelid(target->table.rel)
	};
	Datum		values[2];
	bool		isnull[2];

	if (idem_spi_caller(idem_spi_caller_plan(&statement), target->values, NULL,
						2, values, isnull) == 0)
		return false;
	*state = isnull[0] ? NULL :
		idem_transition_target_state_text(target, values[0]);
	*version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	return true;
}
