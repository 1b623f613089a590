/*
 * table.c
 *	  Tables as calls write to them: which they may be, and which column holds the
 *	  version of a row.
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "rewrite/prs2lock.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "follow.h"
#include "table.h"

/* In the order of IdemTableUse: "cannot ... table". */
static const char *const uses[] = {"upsert into", "update"};

/* Do rules make something else of the statement? */
static bool
is_rewritten(Relation rel, IdemTableUse use)
{
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
	{
		CmdType		event = rel->rd_rules->rules[i]->event;

		if (event == CMD_UPDATE ||
			(event == CMD_INSERT && use == IDEM_TABLE_UPSERT))
			return true;
	}
	return false;
}

/*
 * Refuses what cannot be written to, or not be answered truthfully, under a key
 * or without one: raises 42809, 42501 or 0A000.
 */
void
idem_table_check(Relation rel, IdemTableUse use, bool keyed)
{
	char		relkind = rel->rd_rel->relkind;
	const char *name = RelationGetRelationName(rel);

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot %s \"%s\"", uses[use], name),
				 errdetail_relkind_not_supported(relkind),
				 errhint("Name the table itself.")));
	if (IsCatalogRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied: \"%s\" is a system catalog", name)));
	if (keyed && rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s temporary table \"%s\"", uses[use], name),
				 errdetail("The key would outlive the row, and no other session could retry.")));
	if (is_rewritten(rel, use))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s \"%s\"", uses[use], name),
				 errdetail("It has a rule for %s, so what becomes of the row cannot be told.",
						   use == IDEM_TABLE_UPSERT ? "INSERT or UPDATE" : "UPDATE"),
				 errhint("Use triggers instead of rules.")));
}

/*
 * The column with the version: the one that a trigger raises on every update, or
 * else one named "version", if it can hold one; InvalidAttrNumber if there is
 * none, which raises 42703 or 42804 if a version is expected.  unraised tells
 * that there is one, but no trigger.
 */
AttrNumber
idem_table_version(Relation rel, bool expected, bool *unraised)
{
	AttrNumber	column = idem_follow_version(rel);
	Oid			type;

	*unraised = false;
	if (column != InvalidAttrNumber)
		return column;

	column = get_attnum(RelationGetRelid(rel), "version");
	if (column == InvalidAttrNumber)
	{
		if (expected)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" has no version to expect",
							RelationGetRelationName(rel)),
					 errhint("Add a column \"version bigint NOT NULL DEFAULT 1\", or leave \"expected_version\" out.")));
		return InvalidAttrNumber;
	}

	if (expected)
		idem_follow_check_version(rel, column);
	type = getBaseType(get_atttype(RelationGetRelid(rel), column));
	*unraised = type == INT2OID || type == INT4OID || type == INT8OID;
	return *unraised ? column : InvalidAttrNumber;
}
