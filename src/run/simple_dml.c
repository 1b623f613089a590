/*
 * simple_dml.c
 *	  Inserting a row into one of idem's own tables, or deleting one, without a
 *	  statement.
 *
 * Setting the executor up for a single row, and taking it down, costs about as
 * much as inserting that row.  This is how the apply worker of logical
 * replication inserts the rows it receives: the table's constraints are checked
 * and its indexes kept, without a plan.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "run/simple_dml.h"

/* Does a trigger fire, and be it for a foreign key, where rows are written? */
static bool
has_triggers(Relation rel)
{
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		int16		type = triggers->triggers[i].tgtype;

		if (TRIGGER_FOR_INSERT(type) || TRIGGER_FOR_UPDATE(type) ||
			TRIGGER_FOR_DELETE(type))
			return true;
	}
	return false;
}

/*
 * Is it a table that no code is attached to, but for TRUNCATE?  Its owner may have
 * added triggers and rules, or let other tables refer to it.
 */
bool
idem_simple_dml_is_plain(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		!rel->rd_rel->relispartition &&
		!has_triggers(rel) && rel->rd_rules == NULL;
}

/* Does a new row take checks or values that only code can tell? */
static bool
has_conditions(Relation rel)
{
	const TupleConstr *constr = rel->rd_att->constr;

	return constr != NULL &&
		(constr->num_check > 0 || constr->num_defval > 0 ||
		 constr->has_generated_stored);
}

/*
 * Does an index of the table run code that is not the server's?  The catalog's row
 * tells.  To have the relation cache read what it says, as opening the indexes for
 * inserting does, is to run some of that already: what is constant in it is
 * evaluated.
 */
static bool
has_expressions(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		found = false;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		/* the lock on the table keeps it from being dropped */
		Relation	index = RelationIdGetRelation(lfirst_oid(lc));
		HeapTuple	row = index->rd_indextuple;

		if (index->rd_index->indisexclusion ||
			!heap_attisnull(row, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(row, Anum_pg_index_indpred, NULL))
			found = true;
		RelationClose(index);
	}
	list_free(indexes);
	return found;
}

/*
 * Is a column that was added of a domain?  One that a statement leaves null is
 * checked, too.
 */
static bool
has_domains(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
			return true;
	}
	return false;
}

/* Do tables inherit from it?  That some once did stays in the catalog for a while. */
static bool
has_children(Relation rel)
{
	return rel->rd_rel->relhassubclass &&
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL;
}

/*
 * Does what is attached to a table run code?  Of tables that inherit from it,
 * statements read the rows, and may run what is attached to those.
 */
static bool
has_code(Relation rel)
{
	return !idem_simple_dml_is_plain(rel) ||
		has_children(rel) || has_conditions(rel) ||
		has_domains(rel) || has_expressions(rel);
}

/* Does writing to a table, which is open and locked, run no code but the server's? */
bool
idem_simple_dml_is_bare(Relation rel)
{
	return !rel->rd_rel->relrowsecurity && !has_code(rel);
}

/*
 * The same of a table of idem's, whose policies do not count: a statement would run as
 * its owner, whom they do not bind.  What is found of a few tables is kept until one of
 * idem's may have changed.
 */
bool
idem_simple_dml_runs_nothing(Relation rel)
{
	static struct
	{
		Oid			table;
		uint64		reloads;	/* of the catalog, when it was looked at */
		bool		answer;
	}			known[8];
	uint64		reloads = idem_catalog()->reloads;
	int			i = RelationGetRelid(rel) % lengthof(known);

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	if (known[i].table != RelationGetRelid(rel) || known[i].reloads != reloads)
	{
		known[i].answer = !has_code(rel);
		known[i].table = RelationGetRelid(rel);
		/* of before, so that what has come in meanwhile is not lost */
		known[i].reloads = reloads;
	}
	return known[i].answer;
}

/* A slot with a row, to be dropped. */
static TupleTableSlot *
make_slot(Relation rel, const Datum *values, const bool *isnull)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													table_slot_callbacks(rel));
	Size		natts = RelationGetNumberOfAttributes(rel);

	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, isnull, natts * sizeof(bool));
	return ExecStoreVirtualTuple(slot);
}

/* Raises 23502 for a null where none may be. */
static void
check_nulls(ResultRelInfo *result, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		if (slot->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			/* which says more about it */
			ExecConstraints(result, slot, CreateExecutorState());
	}
}

/*
 * Adds a row, given by its values, to the indexes of its table, as
 * ExecInsertIndexTuples() does.  They have no expressions and no conditions, and what
 * is unique in them is so at once.
 */
static void
insert_index_entries(ResultRelInfo *result, ItemPointer place, const Datum *values,
					 const bool *isnull)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation	index = result->ri_IndexRelationDescs[i];
		IndexInfo  *info = result->ri_IndexRelationInfo[i];
		Datum		entry[INDEX_MAX_KEYS];
		bool		entry_isnull[INDEX_MAX_KEYS];

		/* one that is being built takes no rows yet, and may be of any kind */
		if (!info->ii_ReadyForInserts)
			continue;
		Assert(info->ii_Expressions == NIL && info->ii_Predicate == NIL &&
			   info->ii_ExclusionOps == NULL && index->rd_index->indimmediate);
		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
		{
			AttrNumber	column = info->ii_IndexAttrNumbers[k];

			Assert(column > 0);
			entry[k] = values[column - 1];
			entry_isnull[k] = isnull[column - 1];
		}
		(void) index_insert(index, entry, entry_isnull, place,
							result->ri_RelationDesc,
							info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
							false, info);
	}
}

static void
insert_row(Relation rel, const Datum *values, const bool *isnull)
{
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = make_slot(rel, values, isnull);

	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, false);
	check_nulls(result, slot);
	simple_table_tuple_insert(rel, slot);
	insert_index_entries(result, &slot->tts_tid, values, isnull);
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * The same for many rows: they enter the table's pages together, which is one record
 * in the log for each page, and then the indexes one by one.
 */
static void
insert_rows(Relation rel, int count, const Datum *values, const bool *isnull,
			int *at)
{
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * count);
	int			natts = RelationGetNumberOfAttributes(rel);

	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, false);
	for (*at = 0; *at < count; (*at)++)
	{
		slots[*at] = make_slot(rel, values + *at * natts, isnull + *at * natts);
		check_nulls(result, slots[*at]);
	}
	table_multi_insert(rel, slots, count, GetCurrentCommandId(true), 0, NULL);
	for (*at = 0; *at < count; (*at)++)
	{
		insert_index_entries(result, &slots[*at]->tts_tid, values + *at * natts,
							 isnull + *at * natts);
		ExecDropSingleTupleTableSlot(slots[*at]);
	}
	ExecCloseIndices(result);
}

/*
 * Inserts a row, given by the values of all natts columns, into a table of
 * idem's own.  False if the table is not as it was installed: then it takes a
 * statement, which runs as the owner, restricted.  Here only the server's code
 * runs, so the user does not matter.  Raises what INSERT raises, 25006 where
 * nothing may be written included: what the caller has done meanwhile may have
 * made the transaction read-only.
 */
bool
idem_simple_dml_insert(Oid table, int natts, Datum *values, bool *isnull)
{
	return idem_simple_dml_insert_many(table, natts, 1, values, isnull, NULL);
}

/*
 * The same for many rows, whose values follow one another; *at is the number of the
 * one that an error is about, or count where it is about none in particular.
 */
bool
idem_simple_dml_insert_many(Oid table, int natts, int count, Datum *values,
							bool *isnull, int *at)
{
	Relation	rel = table_open(table, RowExclusiveLock);

	/* the defaults of columns that were added are the planner's business */
	bool		plain = RelationGetNumberOfAttributes(rel) == natts &&
		idem_simple_dml_runs_nothing(rel);

	if (plain)
	{
		(void) idem_catalog_key_of(rel);	/* raises, if it was altered */
		PreventCommandIfReadOnly("INSERT");
		if (count == 1)
			insert_row(rel, values, isnull);
		else
			insert_rows(rel, count, values, isnull, at);
		/* as after a statement, so that what follows sees the row */
		CommandCounterIncrement();
	}
	/* the lock is kept, as any writer's is */
	table_close(rel, NoLock);
	return plain;
}

/*
 * Deletes a row of a table of idem's own by its place.  Waits for transactions
 * that are writing it, and reads nothing that a serializable transaction would be
 * held to.
 *
 * To be called with the lock on the table, and under the active snapshot, under
 * which the row was found: they keep anything else from coming into its place.
 */
IdemDeletion
idem_simple_dml_delete_row(Oid table, ItemPointer place)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	IdemDeletion deletion = IDEM_NEEDS_STATEMENT;

	Assert(ItemPointerIsValid(place) && ActiveSnapshotSet());
	if (idem_simple_dml_is_plain(rel))
	{
		TM_FailureData failure;

		CheckCmdReplicaIdentity(rel, CMD_DELETE);
		deletion = IDEM_TUPLE_DELETE(rel, place, GetCurrentCommandId(true),
									 GetActiveSnapshot(), true,
									 &failure) == TM_Ok ?
			IDEM_DELETED : IDEM_NOT_DELETED;
		/* as after a statement, so that what follows does not see it */
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
	return deletion;
}
