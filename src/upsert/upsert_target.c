/*
 * upsert_target.c
 *	  What an upsert has to know of the table it writes to.
 *
 * Which rows are the same row is for a unique index to say; which column holds
 * the version, for the table's triggers or, where one is expected, the column's
 * name.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_index.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/rel.h"

#include "upsert/upsert_target.h"

/* Does the data name the column? */
bool
idem_upsert_target_has_field(const IdemUpsertTarget *target, AttrNumber number)
{
	for (int i = 0; i < target->nfields; i++)
	{
		if (target->fields[i] == number)
			return true;
	}
	return false;
}

/*
 * Is the column one to be updated where the row is there?  What the data says of
 * the version counts for new rows only.
 */
bool
idem_upsert_target_updates(const IdemUpsertTarget *target, AttrNumber number)
{
	return number != target->table.version &&
		!idem_target_has_key_column(&target->table, number);
}

/*
 * Can the index arbitrate an ON CONFLICT over exactly the columns wanted?  None
 * stand for the primary key.
 */
static bool
can_arbitrate(IdemUniqueIndex *unique, Relation index, const List *wanted)
{
	if (wanted == NIL && !index->rd_index->indisprimary)
		return false;
	if (!idem_unique_index_read(unique, index))
		return false;
	if (wanted != NIL && unique->ncolumns != list_length(wanted))
		return false;

	for (int i = 0; i < unique->ncolumns && wanted != NIL; i++)
	{
		if (!list_member_int(wanted, unique->columns[i]))
			return false;
	}
	return true;
}

/* Does the index compare as the columns themselves do? */
static bool
has_own_collations(const IdemUpsertTarget *target,
				   const IdemUniqueIndex *unique)
{
	for (int i = 0; i < unique->ncolumns; i++)
	{
		Form_pg_attribute att = idem_target_attribute(&target->table,
													  unique->columns[i]);

		if (unique->collation[i] != att->attcollation)
			return false;
	}
	return true;
}

/*
 * Takes the index that arbitrates an ON CONFLICT over exactly the columns wanted,
 * none standing for the primary key; false if there is none.  Where several do,
 * all of them arbitrate, and one with collations of its own takes more values for
 * equal than the columns do, so that it finds whatever the others find.
 */
static bool
take_arbiter(IdemUpsertTarget *target, const List *wanted)
{
	List	   *indexes = RelationGetIndexList(target->table.rel);
	ListCell   *lc;
	bool		found = false;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		IdemUniqueIndex unique;
		bool		good = can_arbitrate(&unique, index, wanted);

		index_close(index, AccessShareLock);
		if (!good || target->collated)
			continue;
		target->collated = !has_own_collations(target, &unique);
		if (found && !target->collated)
			continue;
		target->table.key = unique;
		found = true;
	}
	list_free(indexes);
	return found;
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

/* The columns of conflict, which the data names or the table knows. */
static List *
conflict_columns(IdemUpsertTarget *target)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, target->spec->conflict)
	{
		const char *name = lfirst(lc);
		AttrNumber	column = idem_target_need_column(&target->table, name);

		if (!idem_upsert_target_has_field(target, column) &&
			makes_new(target->table.rel, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("conflict column \"%s\" is not in data", name),
					 errhint("Give the column a value in \"data\".")));
		columns = list_append_unique_int(columns, column);
	}
	return columns;
}

/*
 * Without a key nothing but the row tells a repeat: raises 22004 where the table
 * makes a new one of it, or may leave out what tells it from others.
 */
static void
check_unkeyed(const IdemUpsertTarget *target)
{
	for (int i = 0; i < target->table.key.ncolumns; i++)
	{
		AttrNumber	column = target->table.key.columns[i];

		if (target->has_arbiter &&
			(idem_upsert_target_has_field(target, column) ||
			 target->table.key.nulls_equal ||
			 idem_target_attribute(&target->table, column)->attnotnull))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"key\" must not be null"),
				 errdetail("The table makes up a key column that is not in data, so nothing else would tell a repeat."),
				 target->spec->by_primary_key ?
				 errhint("Give \"key\", or all columns of the primary key.") :
				 errhint("Give \"key\", or all columns of \"conflict\".")));
	}
}

static void
find_arbiter(IdemUpsertTarget *target)
{
	const IdemUpsertSpec *spec = target->spec;
	bool		found = take_arbiter(target, conflict_columns(target));

	if (!found && spec->by_primary_key)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no primary key to upsert by",
						RelationGetRelationName(target->table.rel)),
				 errdetail("A deferrable primary key does not count."),
				 errhint("Add a primary key, or name the columns of a unique index with \"conflict\"."),
				 errtable(target->table.rel)));
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no unique index on exactly the columns of \"conflict\"",
						RelationGetRelationName(target->table.rel)),
				 errdetail("Partial, deferrable and expression indexes do not count."),
				 errhint("Create a unique index on these columns, or name those of another."),
				 errtable(target->table.rel)));

	target->has_arbiter = true;
	target->named = true;
	for (int i = 0; i < target->table.key.ncolumns; i++)
	{
		AttrNumber	column = target->table.key.columns[i];

		if (idem_upsert_target_has_field(target, column))
			continue;
		target->named = false;
		if (makes_new(target->table.rel, column))
			target->has_arbiter = false;
	}
	if (!spec->keyed)
		check_unkeyed(target);
}

/* Takes the rules by which the fields are merged. */
static void
find_rules(IdemUpsertTarget *target)
{
	for (int i = 0; target->spec->rules != NIL && i < target->nfields; i++)
	{
		IdemMergeRule rule = list_nth_int(target->spec->rules, i);
		AttrNumber	column = target->fields[i];
		Form_pg_attribute att = idem_target_attribute(&target->table, column);

		if (rule != IDEM_MERGE_NONE &&
			idem_target_has_key_column(&target->table, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot have a merge rule",
							NameStr(att->attname)),
					 errdetail("It tells which row is meant, and is the same in both.")));
		if (rule != IDEM_MERGE_NONE && column == target->table.version)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot have a merge rule",
							NameStr(att->attname)),
					 errdetail("It holds the version, which every update raises by one.")));
		idem_merge_check(rule, target->table.rel, att);
		target->rules[i] = rule;
	}
}

/*
 * Opens the target of a spec, to be closed by the caller, and checks the spec
 * against it.  Raises 42703 for unknown fields, 42P10 for want of a unique index,
 * 22023 for columns of conflict or merge rules that will not do, 22004 where only a
 * key could tell a repeat, and what idem_target_open, idem_target_find_version and
 * idem_merge_check raise.
 */
void
idem_upsert_target_open(IdemUpsertTarget *target, const IdemUpsertSpec *spec)
{
	int			most;
	ListCell   *lc;

	Assert(spec->by_primary_key == (spec->conflict == NIL));
	Assert(spec->rules == NIL ||
		   list_length(spec->rules) == list_length(spec->fields));
	memset(target, 0, sizeof(IdemUpsertTarget));
	target->spec = spec;
	idem_target_open(&target->table, spec->target, IDEM_TARGET_UPSERT,
					 spec->keyed);

	most = list_length(spec->fields) + 1;
	target->fields = palloc(sizeof(AttrNumber) * most);
	target->rules = palloc0(sizeof(IdemMergeRule) * most);
	foreach(lc, spec->fields)
		target->fields[target->nfields++] =
		idem_target_need_column(&target->table, lfirst(lc));

	find_arbiter(target);
	idem_target_find_version(&target->table, spec->versioned);
	find_rules(target);
}

/* Does the unique index by which rows are told apart take nulls for equal? */
bool
idem_upsert_target_nulls_equal(const IdemUpsertSpec *spec)
{
	IdemUpsertTarget target;

	idem_upsert_target_open(&target, spec);
	idem_target_close(&target.table);
	return target.table.key.nulls_equal;
}

/* May a trigger, of a partition too, alter the key of a row that is inserted? */
bool
idem_upsert_target_fills(const IdemUpsertSpec *spec)
{
	IdemUpsertTarget target;
	bool		fills;

	idem_upsert_target_open(&target, spec);
	fills = idem_target_check_fills(target.table.rel, true);
	idem_target_close(&target.table);
	return fills;
}

static List *
add_name(List *names, const IdemUpsertTarget *target, AttrNumber number)
{
	Form_pg_attribute att = idem_target_attribute(&target->table, number);

	return lappend(names, pstrdup(NameStr(att->attname)));
}

/* The names (char *) of the columns by which rows are told apart. */
List *
idem_upsert_target_key(const IdemUpsertSpec *spec)
{
	IdemUpsertTarget target;
	List	   *names = NIL;

	idem_upsert_target_open(&target, spec);
	for (int i = 0; i < target.table.key.ncolumns; i++)
		names = add_name(names, &target, target.table.key.columns[i]);
	idem_target_close(&target.table);
	return names;
}

/* The names (char *) of the fields that are updated where the row is there. */
List *
idem_upsert_target_updated(const IdemUpsertSpec *spec)
{
	IdemUpsertTarget target;
	List	   *names = NIL;

	idem_upsert_target_open(&target, spec);
	for (int i = 0; i < target.nfields; i++)
	{
		if (idem_upsert_target_updates(&target, target.fields[i]))
			names = add_name(names, &target, target.fields[i]);
	}
	idem_target_close(&target.table);
	return names;
}
