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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/routed.h"
#include "machine/machine.h"
#include "run/spi_caller.h"
#include "table/attachment_choice.h"
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
check_children(Relation rel, const char *column)
{
	Oid			child = idem_attachment_find_stray(rel, NULL, column);

	if (OidIsValid(child))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot make transitions in \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Table \"%s\" inherits from it and does not follow a state machine, so UPDATE of \"%s\" changes its rows unseen.",
						   get_rel_name(child), RelationGetRelationName(rel)),
				 errhint("Call idem_attach() for that table, too, or use partitions.")));
}

/* The machine must have the state: raises 22023. */
void
idem_transition_target_check_state(const IdemTransitionTarget *target,
								   const char *state)
{
	const IdemMachine *machine = idem_machine_find(target->attachment.machine);
	StringInfoData names;
	ListCell   *lc;

	if (idem_machine_knows(machine, state))
		return;

	initStringInfo(&names);
	foreach(lc, idem_machine_states(machine))
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
						 (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state machine \"%s\" has no state \"%s\"",
					target->attachment.machine, state),
			 errdetail("Its states are %s.", names.data)));
}

/* The one whose machine has the state; raises an error unless just one has. */
static const IdemAttachment *
attachment_with(List *attachments, Relation rel, const char *state)
{
	List	   *found = NIL;
	ListCell   *lc;

	if (list_length(attachments) == 1)
		return linitial(attachments);	/* whatever its states are */
	foreach(lc, attachments)
	{
		const IdemAttachment *attachment = lfirst(lc);
		const IdemMachine *machine = idem_machine_seek(attachment->machine);

		if (machine != NULL && idem_machine_knows(machine, state))
			found = lappend(found, lfirst(lc));
	}
	if (found == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no state machine of table \"%s\" has a state \"%s\"",
						RelationGetRelationName(rel), state),
				 errdetail("It follows %s.",
						   idem_attachment_choice_list(attachments))));
	if (list_length(found) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("state \"%s\" is one of several state machines of table \"%s\"",
						state, RelationGetRelationName(rel)),
				 errdetail("These are %s.", idem_attachment_choice_list(found)),
				 errhint("Say which column is meant, as by status => %s.",
						 quote_literal_cstr(((const IdemAttachment *)
											 linitial(found))->column))));
	return linitial(found);
}

/*
 * Opens a table to bring rows into a state, to be closed by the caller.  A
 * machine of NULL stands for any; a column of NULL for that whose machine has the
 * state; keyed is whether a key will remember what is done.
 *
 * Raises 42P01 and 42809 for what is not a table, 42501 for one of which the
 * caller may update nothing, 0A000 for a temporary one under a key, for one with
 * a rule for UPDATE, and for one from which others inherit that follow no
 * machine, 55000 for one that does not follow the machine, 42703 for a column that
 * does not, 42702 where it is not said which is meant, 42P10 for want of a primary
 * key, 22023 for a state that the machine has not, and what the input function of
 * the column's type raises.
 */
void
idem_transition_target_open(IdemTransitionTarget *target, Oid relid,
							const char *machine, const char *column,
							const char *to, bool keyed)
{
	Form_pg_attribute att;
	List	   *attachments;
	Oid			function;
	Oid			ioparam;

	check_privilege(relid);
	idem_target_open(&target->table, relid, IDEM_TARGET_TRANSITION, keyed);
	attachments = idem_attachment_choice_need(target->table.rel, machine);
	target->attachment = column != NULL ?
		*idem_attachment_choice_named(attachments, target->table.rel, machine,
									  column) :
		*attachment_with(attachments, target->table.rel, to);
	check_children(target->table.rel, target->attachment.column);
	target->routed = idem_routed(relid);
	target->table.version = target->attachment.version;
	idem_unique_index_need_primary(&target->table.key, target->table.rel);
	target->to = to;
	idem_transition_target_check_state(target, to);

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

/* A statement for one column with a state, as signatures tell them apart. */
static int
statement_of(const IdemTransitionTarget *target, IdemTransitionStatement which)
{
	return (target->attachment.status * (IDEM_TRANSITION_UPDATE + 1) + which) * 2 +
		target->routed;
}

static const IdemOperation operation = {gettext_noop("transition of")};

static const char *
write_sql(const void *state, int which)
{
	const IdemTransitionTarget *target = state;
	bool		lock = which == statement_of(target, IDEM_TRANSITION_LOCK);
	StringInfoData buf;
	StringInfoData columns;
	const char *name = idem_sql_name_only(target->table.rel);
	const char *status = idem_sql_name_column(target->table.rel,
											  target->attachment.status);

	initStringInfo(&columns);
	appendStringInfo(&columns, "idem_row.%s, ", status);
	idem_row_version_append(&columns, target->table.rel, target->table.version);

	initStringInfo(&buf);
	if (lock)
		appendStringInfo(&buf, "SELECT %s FROM %s AS idem_row WHERE ",
						 columns.data, name);
	else
		appendStringInfo(&buf, "UPDATE %s AS idem_row SET %s = $%d WHERE ",
						 name, status, target->table.key.ncolumns + 1);
	idem_pk_value_condition(&buf, target->table.rel, &target->table.key);
	if (lock)
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
	else
	{
		if (!target->routed)
			appendStringInfo(&buf, " AND %s._idem_change_met($%d, %s)",
							 idem_catalog()->schema,
							 target->table.key.ncolumns + 2, columns.data);
		appendStringInfo(&buf, " RETURNING %s", columns.data);
	}
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
		.signature = {&signature, sizeof(signature), statement_of(target, which)},
		.write_sql = write_sql, .state = target,
		.nargs = target->table.key.ncolumns +
		(which == IDEM_TRANSITION_LOCK ? 0 : target->routed ? 1 : 2),
		.argtypes = target->types,
		.table = RelationGetRelid(target->table.rel), .operation = &operation
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
