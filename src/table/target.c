/*
 * target.c
 *	  A table that a call writes to.
 *
 * It is opened with the lock that the call's statements take: what is read of it
 * then is so until they have run, and no weaker lock has to become a stronger one,
 * which can deadlock.
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/error.h"
#include "table/attachment.h"
#include "table/row_version.h"
#include "table/target.h"

/*
 * Opens a table to be written to, under a key or without one; to be closed by the
 * caller.  Raises 42P01 for a relation that is gone, and what idem_target_check
 * raises.
 */
void
idem_target_open(IdemTarget *target, Oid relid, IdemTargetUse use, bool keyed)
{
	memset(target, 0, sizeof(IdemTarget));
	target->rel = try_relation_open(relid, RowExclusiveLock);
	if (target->rel == NULL)
		idem_error_no_relation(relid);
	idem_target_check(target->rel, use, keyed);
}

/*
 * Finds the column with the version: the one that a trigger raises on every update,
 * or else, if a version is expected, one named "version", which is then for the
 * statement to raise.  Raises 42703 and 42804 where a version is expected of a table
 * that has none.
 */
void
idem_target_find_version(IdemTarget *target, bool expected)
{
	Relation	rel = target->rel;

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	target->version = idem_attachment_version(rel);
	if (target->version == InvalidAttrNumber && expected)
	{
		target->version = get_attnum(RelationGetRelid(rel), "version");
		if (target->version == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" has no version to expect",
							RelationGetRelationName(rel)),
					 errhint("Add a column \"version bigint NOT NULL DEFAULT 1\", or leave \"expected_version\" out.")));
		idem_row_version_check_column(rel, target->version);
		target->raise_version = true;
	}
}

/* Closes the table, which stays locked. */
void
idem_target_close(IdemTarget *target)
{
	Assert(CheckRelationLockedByMe(target->rel, RowExclusiveLock, true));
	relation_close(target->rel, NoLock);
}

/* Raises 27000: the row named by id was not updated, though it could be. */
void
idem_target_error_kept(const IdemTarget *target, const char *id,
					   const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row %s of \"%s\" was kept from being updated",
					id, RelationGetRelationName(target->rel)),
			 errhint("%s", hint),
			 errtable(target->rel)));
}

/* The attribute of a column. */
Form_pg_attribute
idem_target_attribute(const IdemTarget *target, AttrNumber number)
{
	Form_pg_attribute att;

	Assert(number > 0 && number <= RelationGetNumberOfAttributes(target->rel));
	att = TupleDescAttr(RelationGetDescr(target->rel), number - 1);
	Assert(!att->attisdropped);
	return att;
}

/* The column of that name.  Raises 42703 if there is none but the system's. */
AttrNumber
idem_target_need_column(const IdemTarget *target, const char *name)
{
	Oid			relid = RelationGetRelid(target->rel);
	AttrNumber	number = get_attnum(relid, name);

	if (number <= 0)
		idem_error_no_column(relid, name);
	return number;
}

/* Is a column one of those that tell rows apart? */
bool
idem_target_has_key_column(const IdemTarget *target, AttrNumber number)
{
	Assert(target->key.ncolumns > 0);
	for (int i = 0; i < target->key.ncolumns; i++)
	{
		if (target->key.columns[i] == number)
			return true;
	}
	return false;
}
