/*
 * target_check.c
 *	  Which relations a call may be made for, and what their triggers may do to
 *	  a row.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "rewrite/prs2lock.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "table/target_check.h"

/* How a relation is refused: messages with its name. */
typedef struct Refusal
{
	const char *kind;			/* it is not a table */
	const char *hint;			/* for that; NULL: none */
	bool		catalogs;		/* are system catalogs refused, too? */
	const char *temporary;		/* it is temporary, but there is a key */
	const char *rule;			/* it has a rule for the statement */
} Refusal;

static const Refusal refusals[] = {
	[IDEM_TARGET_UPSERT] = {
		.kind = "cannot upsert into \"%s\"",
		.hint = "Name the table itself.",
		.catalogs = true,
		.temporary = "cannot upsert into temporary table \"%s\"",
		.rule = "cannot upsert into \"%s\""
	},
	[IDEM_TARGET_UPDATE] = {
		.kind = "cannot update \"%s\"",
		.hint = "Name the table itself.",
		.catalogs = true,
		.temporary = "cannot update temporary table \"%s\"",
		.rule = "cannot update \"%s\""
	},
	/* no catalog follows a state machine, which is then said */
	[IDEM_TARGET_TRANSITION] = {
		.kind = "\"%s\" cannot follow a state machine",
		.hint = "Name the table itself.",
		.temporary = "cannot use a key on temporary table \"%s\"",
		.rule = "cannot make transitions in \"%s\""
	},
	[IDEM_TARGET_ATTACH] = {
		.kind = "\"%s\" cannot follow a state machine",
		.catalogs = true
	},
	[IDEM_TARGET_ALLOWED] = {
		.kind = "\"%s\" cannot follow a state machine"
	},
	[IDEM_TARGET_HISTORY] = {
		.kind = "\"%s\" cannot have a history",
		.hint = "Name the table itself."
	}
};

/*
 * Refuses what is not a table, with 42809, and a system catalog, with 42501.
 */
void
idem_target_check_kind(Relation rel, IdemTargetUse use)
{
	const Refusal *refusal = &refusals[use];
	const char *name = RelationGetRelationName(rel);
	char		relkind = rel->rd_rel->relkind;

	Assert(use < lengthof(refusals) && refusal->kind != NULL);
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg(refusal->kind, name),
				 errdetail_relkind_not_supported(relkind),
				 refusal->hint ? errhint("%s", refusal->hint) : 0));
	if (refusal->catalogs && IsCatalogRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied: \"%s\" is a system catalog", name)));
}

/*
 * Do rules make something else of the statement, or of the answer?  (Those of a
 * partition do not count when the table is written to.)
 */
static bool
is_rewritten(Relation rel, IdemTargetUse use)
{
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
	{
		CmdType		event = rel->rd_rules->rules[i]->event;

		if (event == CMD_UPDATE ||
			(event == CMD_INSERT && use == IDEM_TARGET_UPSERT))
			return true;
	}
	return false;
}

/*
 * Refuses what cannot be written to, or not be answered truthfully, under a key
 * or without one: raises 42809, 42501 or 0A000.
 */
void
idem_target_check(Relation rel, IdemTargetUse use, bool keyed)
{
	const Refusal *refusal = &refusals[use];
	const char *name = RelationGetRelationName(rel);

	Assert(refusal->temporary != NULL && refusal->rule != NULL);
	idem_target_check_kind(rel, use);
	if (keyed && rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg(refusal->temporary, name),
				 errdetail("The key would outlive the row, and no other session could retry.")));
	if (is_rewritten(rel, use))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg(refusal->rule, name),
				 errdetail("It has a rule for %s, so what becomes of the row cannot be told.",
						   use == IDEM_TARGET_UPSERT ? "INSERT or UPDATE" : "UPDATE"),
				 errhint("Use triggers instead of rules.")));
}

/* Has a table a trigger, none of idem's, that an updated row is given to first? */
static bool
has_altering_trigger(Relation rel)
{
	Oid			lifecycle = idem_catalog()->lifecycle;
	Oid			version = idem_catalog()->version;
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgfoid != lifecycle && trigger->tgfoid != version &&
			TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE))
			return true;
	}
	return false;
}

/*
 * May a trigger that is not idem's make something else of an updated row?  What is
 * said is to hold as long as a plan: a partition may get triggers of its own, which
 * does not make plans for the whole table invalid.
 */
bool
idem_target_check_alters(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		has_altering_trigger(rel);
}

/*
 * The same as it is now, for an update that is to follow.  Partitions are looked at,
 * and locked as the update locks them, before any of their rows is: a weaker lock
 * that has to become a stronger one deadlocks with REINDEX.
 */
bool
idem_target_check_alters_now(Relation rel)
{
	List	   *tables;
	bool		alters = false;
	ListCell   *lc;

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return has_altering_trigger(rel);
	tables = find_all_inheritors(RelationGetRelid(rel), RowExclusiveLock, NULL);
	foreach(lc, tables)
	{
		Relation	table = table_open(lfirst_oid(lc), NoLock);

		alters = alters || has_altering_trigger(table);
		table_close(table, NoLock);
	}
	list_free(tables);
	return alters;
}

/*
 * May a trigger make something else of an inserted row?  Partitions may have
 * triggers of their own, which are looked at if so wanted.
 */
bool
idem_target_check_fills(Relation rel, bool partitions)
{
	List	   *tables;
	ListCell   *lc;
	bool		fills = rel->trigdesc != NULL &&
		rel->trigdesc->trig_insert_before_row;

	if (fills || !partitions ||
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return fills;
	tables = find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL);
	foreach(lc, tables)
	{
		Relation	table = table_open(lfirst_oid(lc), NoLock);

		fills = fills || idem_target_check_fills(table, false);
		table_close(table, NoLock);
	}
	return fills;
}
