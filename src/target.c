/*
 * target.c
 *	  What an upsert has to know of the table it writes to.
 *
 * Which rows are the same row is for a unique index to say; which column holds
 * the version, for the table's triggers or the column's name.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "error.h"
#include "table.h"
#include "target.h"

/* The attribute of a column. */
Form_pg_attribute
idem_target_attribute(const IdemTarget *target, AttrNumber number)
{
	return TupleDescAttr(RelationGetDescr(target->rel), number - 1);
}

/* The name of a column, quoted where it has to be. */
const char *
idem_target_name(const IdemTarget *target, AttrNumber number)
{
	return quote_identifier(NameStr(idem_target_attribute(target, number)->attname));
}

/* Does the data name the column? */
bool
idem_target_has_field(const IdemTarget *target, AttrNumber number)
{
	for (int i = 0; i < target->nfields; i++)
	{
		if (target->fields[i] == number)
			return true;
	}
	return false;
}

/* Is the column one of those that tell which row is the same? */
bool
idem_target_arbitrates(const IdemTarget *target, AttrNumber number)
{
	for (int i = 0; i < target->arbiter.ncolumns; i++)
	{
		if (target->arbiter.columns[i] == number)
			return true;
	}
	return false;
}

/* Number of the column of that name, which must be a user's. */
static AttrNumber
need_column(Relation rel, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);

	if (number <= 0)
		idem_error_no_column(RelationGetRelid(rel), name);
	return number;
}

/*
 * If the index can arbitrate an ON CONFLICT over exactly the columns wanted
 * (none given: if it is the primary key), takes it.
 */
static bool
try_arbiter(IdemTarget *target, Relation index, const List *wanted)
{
	ListCell   *lc;

	if (wanted == NIL && !index->rd_index->indisprimary)
		return false;
	if (!idem_unique_read(&target->arbiter, index))
		return false;
	if (wanted != NIL && target->arbiter.ncolumns != list_length(wanted))
		return false;

	foreach(lc, wanted)
	{
		if (!idem_target_arbitrates(target, lfirst_int(lc)))
			return false;
	}
	return true;
}

/*
 * Does a key column that is left out make a new row every time?  Then, were that
 * row to meet another, for a sequence that lags behind say, that other row is
 * not the one to update.  What a trigger may put into a column without any
 * default is not known, so it counts as new.
 */
static bool
makes_new(Relation rel, AttrNumber column)
{
	Node	   *value = build_column_default(rel, column);

	return value == NULL || contain_volatile_functions(value);
}

static void
find_arbiter(IdemTarget *target)
{
	const IdemShape *shape = target->shape;
	List	   *wanted = NIL;
	List	   *indexes;
	ListCell   *lc;
	bool		found = false;

	foreach(lc, shape->conflict)
	{
		AttrNumber	column = need_column(target->rel, lfirst(lc));

		if (!idem_target_has_field(target, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("conflict column \"%s\" is not in data",
							(char *) lfirst(lc)),
					 errhint("Give every column of \"conflict\" a value in \"data\".")));
		wanted = list_append_unique_int(wanted, column);
	}

	indexes = RelationGetIndexList(target->rel);
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		found = try_arbiter(target, index, wanted);
		index_close(index, AccessShareLock);
		if (found)
			break;
	}

	if (!found && shape->by_primary_key)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no primary key to upsert by",
						RelationGetRelationName(target->rel)),
				 errdetail("A deferrable primary key does not count."),
				 errhint("Add a primary key, or name the columns of a unique index with \"conflict\".")));
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no unique index on exactly the columns of \"conflict\"",
						RelationGetRelationName(target->rel)),
				 errdetail("Partial, deferrable and expression indexes do not count."),
				 errhint("Create a unique index on these columns, or name those of another.")));

	target->has_arbiter = true;
	for (int i = 0; i < target->arbiter.ncolumns; i++)
	{
		AttrNumber	column = target->arbiter.columns[i];

		if (!idem_target_has_field(target, column) && makes_new(target->rel, column))
			target->has_arbiter = false;
	}
	if (!target->has_arbiter && !shape->keyed)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"key\" must not be null"),
				 errdetail("The table makes up a key column that is not in data, so nothing else would tell a repeat."),
				 errhint("Give \"key\", or all columns of the primary key.")));
}

/* Takes the rules by which the fields are merged. */
static void
find_rules(IdemTarget *target)
{
	for (int i = 0; target->shape->rules != NIL && i < target->nfields; i++)
	{
		IdemMergeRule rule = list_nth_int(target->shape->rules, i);
		Form_pg_attribute att = idem_target_attribute(target, target->fields[i]);

		if (rule != IDEM_MERGE_NONE &&
			idem_target_arbitrates(target, target->fields[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot have a merge rule",
							NameStr(att->attname)),
					 errdetail("It tells which row is meant, and is the same in both.")));
		idem_merge_check(rule, target->rel, att);
		target->rules[i] = rule;
	}
}

/* Finds the column that holds the row's version, and who raises it. */
static void
find_version(IdemTarget *target)
{
	AttrNumber	column = idem_table_version(target->rel, true,
											&target->raise_version);

	target->version = idem_target_name(target, column);
	/* one that the data names is the data's */
	if (idem_target_has_field(target, column))
		target->raise_version = false;
}

/*
 * Opens the target of a shape, to be closed by the caller, and checks the shape
 * against it.  Raises 42809, 42501 or 0A000 for what is not a table to upsert
 * into, 42703 for unknown fields, 42P10 for want of a unique index.
 */
void
idem_target_open(IdemTarget *target, const IdemShape *shape)
{
	ListCell   *lc;

	memset(target, 0, sizeof(IdemTarget));
	target->shape = shape;
	/* the statement's own lock, so that what is read now is so until it runs */
	target->rel = table_open(shape->target, RowExclusiveLock);
	idem_table_check(target->rel, IDEM_TABLE_UPSERT, shape->keyed);

	target->fields = palloc(sizeof(AttrNumber) * (list_length(shape->fields) + 1));
	target->rules = palloc0(sizeof(IdemMergeRule) * (list_length(shape->fields) + 1));
	foreach(lc, shape->fields)
		target->fields[target->nfields++] = need_column(target->rel, lfirst(lc));

	find_arbiter(target);
	find_rules(target);
	if (shape->versioned)
		find_version(target);
}
