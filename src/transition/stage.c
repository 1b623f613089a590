/*
 * stage.c
 *	  A table in which transitions bring rows into a state.
 *
 * Its statements are what a person would write, and run with the caller's
 * rights.  They run under the caller's search_path, hence every name in them is
 * qualified.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rewrite/prs2lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/error.h"
#include "machine/machine.h"
#include "run/query.h"
#include "table/table.h"
#include "transition/stage.h"

/* The name of the table, for messages. */
const char *
idem_stage_name(const IdemStage *stage)
{
	return RelationGetRelationName(stage->rel);
}

static void
check_relation(Relation rel, bool keyed)
{
	const char *name = RelationGetRelationName(rel);
	char		relkind = rel->rd_rel->relkind;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot follow a state machine", name),
				 errdetail_relkind_not_supported(relkind),
				 errhint("Name the table itself.")));
	if (keyed && rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use a key on temporary table \"%s\"", name),
				 errdetail("The key would outlive the row, and no other session could retry.")));
}

/*
 * The statements check privileges by themselves, but where there is no row to
 * run one for, nobody is to lock a table that they may not update.
 */
static void
check_privilege(Oid target)
{
	char		relkind = get_rel_relkind(target);

	if (relkind != '\0' &&
		pg_class_aclcheck(target, GetUserId(), ACL_UPDATE) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(target, GetUserId(), ACL_UPDATE,
								  ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(relkind),
					   get_rel_name(target));
}

/* The table must follow the machine wanted, now and with its triggers on. */
static void
check_lifecycle(IdemStage *stage, const char *machine)
{
	bool		attached = idem_follow_find(&stage->lifecycle, stage->rel);
	const char *hint = "Call idem_attach(), or enable the triggers it made.";

	if (!attached && machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow a state machine",
						idem_stage_name(stage)),
				 errhint("%s", hint)));
	if (machine != NULL &&
		(!attached || strcmp(stage->lifecycle.machine, machine) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not follow state machine \"%s\"",
						idem_stage_name(stage), machine),
				 attached ?
				 errdetail("It follows state machine \"%s\".",
						   stage->lifecycle.machine) :
				 errhint("%s", hint)));
}

/*
 * A rule would make something else of the statements, or of the answer.  (Those
 * of a partition do not count when the table is written to.)
 */
static void
check_rules(Relation rel)
{
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
	{
		if (rel->rd_rules->rules[i]->event == CMD_UPDATE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot make transitions in \"%s\"",
							RelationGetRelationName(rel)),
					 errdetail("It has a rule for UPDATE, so what becomes of the row cannot be told."),
					 errhint("Use triggers instead of rules.")));
	}
}

/*
 * Rows of a table that inherits from this one are updated with it, and validated
 * by its own triggers only.
 */
static void
check_heirs(Relation rel)
{
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_RELATION || !rel->rd_rel->relhassubclass)
		return;
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), NoLock, NULL))
	{
		Relation	heir;
		IdemLifecycle lifecycle;

		if (lfirst_oid(lc) == RelationGetRelid(rel))
			continue;
		heir = try_relation_open(lfirst_oid(lc), AccessShareLock);
		if (heir == NULL)
			continue;
		if (!idem_follow_find(&lifecycle, heir))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot make transitions in \"%s\"",
							RelationGetRelationName(rel)),
					 errdetail("Table \"%s\" inherits from it and does not follow a state machine, so UPDATE of \"%s\" changes its rows unseen.",
							   RelationGetRelationName(heir),
							   RelationGetRelationName(rel)),
					 errhint("Call idem_attach() for that table, too, or use partitions.")));
		relation_close(heir, NoLock);
	}
}

/* The machine must have the state. */
static void
check_state(const IdemStage *stage)
{
	const IdemMachine *machine = idem_machine_find(stage->lifecycle.machine);
	StringInfoData names;
	ListCell   *lc;

	if (idem_machine_knows(machine, stage->to))
		return;

	initStringInfo(&names);
	foreach(lc, idem_machine_states(machine))
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
						 (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state machine \"%s\" has no state \"%s\"",
					stage->lifecycle.machine, stage->to),
			 errdetail("Its states are %s.", names.data)));
}

/*
 * Opens a table to bring rows into a state, to be closed by the caller.  A
 * machine of NULL stands for the one that it follows; keyed tells that a key
 * will remember what is done.
 *
 * Raises 42P01 and 42809 for what is not a table, 42501 for one of which the
 * caller may update nothing, 0A000 for a temporary one under a key, for one with
 * a rule for UPDATE, and for one from which others inherit that follow no
 * machine, 55000 for one that does not follow the machine, 42P10 for want of a
 * primary key, 22023 for a state that the machine has not, and what the input
 * function of the column's type raises.
 */
void
idem_stage_open(IdemStage *stage, Oid target, const char *machine,
				const char *to, bool keyed)
{
	Form_pg_attribute att;
	Oid			function;
	Oid			ioparam;

	check_privilege(target);
	/* the lock that the update takes, lest it be a stronger one than ours */
	stage->rel = try_relation_open(target, RowExclusiveLock);
	if (stage->rel == NULL)
		idem_error_no_relation(target);
	check_relation(stage->rel, keyed);
	check_rules(stage->rel);
	check_heirs(stage->rel);
	check_lifecycle(stage, machine);
	idem_unique_need_primary(&stage->key, stage->rel);
	stage->to = to;
	check_state(stage);

	att = TupleDescAttr(RelationGetDescr(stage->rel),
						stage->lifecycle.status - 1);
	stage->types[stage->key.ncolumns] = att->atttypid;
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	stage->args[stage->key.ncolumns] =
		OidInputFunctionCall(function, unconstify(char *, to), ioparam, -1);
}

/* Chooses the row that statements are about; raises what idem_rowid_bind does. */
void
idem_stage_aim(IdemStage *stage, const IdemRowId *id)
{
	idem_rowid_bind(id, stage->rel, &stage->key, stage->types, stage->args);
}

/* Gives the ticket by which the condition of the update knows it. */
void
idem_stage_show(IdemStage *stage, int64 ticket)
{
	int			last = stage->key.ncolumns + 1;

	stage->types[last] = INT8OID;
	stage->args[last] = Int64GetDatum(ticket);
}

/* Closes the table, which stays locked. */
void
idem_stage_close(IdemStage *stage)
{
	relation_close(stage->rel, NoLock);
}

/* The type of the column with the state. */
Oid
idem_stage_state_type(const IdemStage *stage)
{
	return stage->types[stage->key.ncolumns];
}

/* A state as the trigger reads it: a type's owner may cast it to other texts. */
const char *
idem_stage_state_text(const IdemStage *stage, Datum state)
{
	Oid			function;
	bool		isvarlena;

	getTypeOutputInfo(idem_stage_state_type(stage), &function, &isvarlena);
	return OidOutputFunctionCall(function, state);
}

static const char *
column_name(const IdemStage *stage, AttrNumber number)
{
	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(stage->rel),
												  number - 1)->attname));
}

static char *
write_sql(const IdemStage *stage, IdemStageStatement which)
{
	StringInfoData buf;
	const char *status = column_name(stage, stage->lifecycle.status);
	const char *only;
	const char *name;
	char	   *columns;

	/*
	 * The rows of tables that inherit from this one have neither its primary
	 * key nor its triggers.
	 */
	only = stage->rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ";
	name = idem_table_name(stage->rel);
	columns = psprintf("idem_row.%s, idem_row.%s::pg_catalog.int8",
					   status, column_name(stage, stage->lifecycle.version));

	initStringInfo(&buf);
	if (which == IDEM_STAGE_LOCK)
		appendStringInfo(&buf, "SELECT %s FROM %s%s AS idem_row WHERE ",
						 columns, only, name);
	else
		appendStringInfo(&buf, "UPDATE %s%s AS idem_row SET %s = $%d WHERE ",
						 only, name, status, stage->key.ncolumns + 1);
	idem_rowid_condition(&buf, stage->rel, &stage->key);
	if (which == IDEM_STAGE_LOCK)
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
	else
		appendStringInfo(&buf, " AND %s._idem_change_met($%d, %s) RETURNING %s",
						 idem_catalog()->schema, stage->key.ncolumns + 2,
						 columns, columns);
	return buf.data;
}

/*
 * Runs a statement for the row whose key is among the arguments; false if it
 * touched no row.  The state is NULL where the row has none; a version that is
 * null counts as 0.
 */
bool
idem_stage_run(IdemStage *stage, IdemStageStatement which,
			   const char **state, int64 *version)
{
	struct
	{
		char		kind;
		char		which;
		Oid			user;
		Oid			target;
	}			signature;
	int			nargs = stage->key.ncolumns + (which == IDEM_STAGE_UPDATE ? 2 : 0);
	IdemPlan   *plan;
	Datum		values[2];
	bool		isnull[2];

	/* Row security is planned for a role, hence a plan for each. */
	memset(&signature, 0, sizeof(signature));
	signature.kind = 't';
	signature.which = (char) which;
	signature.user = GetUserId();
	signature.target = RelationGetRelid(stage->rel);
	plan = idem_query_find((char *) &signature, sizeof(signature));
	if (plan == NULL)
		plan = idem_query_keep((char *) &signature, sizeof(signature),
							   write_sql(stage, which), nargs, stage->types);

	if (idem_query_caller(plan, stage->args, NULL, 2, values, isnull) == 0)
		return false;
	*state = isnull[0] ? NULL : idem_stage_state_text(stage, values[0]);
	*version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	return true;
}
