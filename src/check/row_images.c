/*
 * row_images.c
 *	  The rows of one table that were written, as they were before and after.
 *
 * They are sorted by primary key, or as a whole where there is none, so that
 * those that belong together meet; what does not fit into work_mem is on disk.
 * Keys and rows are compared by image: that runs no code of anybody's, as it
 * must not on rows that the caller may not read, and takes no difference for
 * none.
 *
 * Nothing here refers to the table itself once its rows were added: it may be
 * gone when what has become of it is reported.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/compat.h"
#include "base/unique_index.h"
#include "check/row_images.h"

/* The columns of what is sorted. */
enum
{
	ENTRY_KEY,					/* record: the key, or else the whole row */
	ENTRY_AFTER,				/* boolean: is it the row as it is after? */
	ENTRY_ROW,					/* record: the row; null if it is the key */
	ENTRY_COLUMNS
};

/* Has the column a value of its own, in the table's file? */
static bool
holds_value(Form_pg_attribute att)
{
	return !att->attisdropped &&
		att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL;
}

/* A descriptor of some columns, which outlives their table. */
static TupleDesc
describe(TupleDesc desc, const int *columns, int ncolumns)
{
	List	   *names = NIL;
	List	   *types = NIL;
	List	   *typmods = NIL;
	List	   *collations = NIL;

	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, columns[i]);

		names = lappend(names, makeString(pstrdup(NameStr(att->attname))));
		types = lappend_oid(types, att->atttypid);
		typmods = lappend_int(typmods, att->atttypmod);
		collations = lappend_oid(collations, att->attcollation);
	}
	return BlessTupleDesc(BuildDescFromLists(names, types, typmods, collations));
}

/* Takes the primary key, if there is one that tells rows apart at any time. */
static void
describe_key(IdemRowImages *images, Relation rel, const int *columns)
{
	IdemUniqueIndex unique;

	if (!idem_unique_index_primary(&unique, rel))
		return;
	for (int i = 0; i < unique.ncolumns; i++)
	{
		int			place = 0;

		/* a column of the key is neither dropped nor computed when read */
		while (columns[place] != unique.columns[i] - 1)
			place++;
		Assert(place < images->row->natts);
		images->keys[i] = place;
	}
	images->key = describe(images->row, images->keys, unique.ncolumns);
}

/*
 * Makes ready for rows of a table, which is reported under this name.  Its
 * columns and its key are those of rel.
 */
IdemRowImages *
idem_row_images_open(const char *table, Relation rel)
{
	IdemRowImages *images = palloc0(sizeof(IdemRowImages));
	TupleDesc	desc = RelationGetDescr(rel);
	int		   *columns = palloc(sizeof(int) * (desc->natts + 1));
	int			ncolumns = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		if (holds_value(TupleDescAttr(desc, i)))
			columns[ncolumns++] = i;
	}
	images->table = table;
	images->row = describe(desc, columns, ncolumns);
	describe_key(images, rel, columns);
	pfree(columns);
	return images;
}

/* May the caller read all of each row of rel by naming it in a SELECT? */
static bool
may_read(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Oid			user = GetUserId();

	if (pg_class_aclcheck(relid, user, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, user, ACL_SELECT,
								  ACLMASK_ALL) != ACLCHECK_OK)
		return false;
	return DatumGetBool(DirectFunctionCall2(has_schema_privilege_id,
											ObjectIdGetDatum(RelationGetNamespace(rel)),
											CStringGetTextDatum("USAGE")));
}

/* Hides the rows if the caller may not read each of them from rel. */
void
idem_row_images_restrict(IdemRowImages *images, Relation rel)
{
	if (!may_read(rel))
		images->hidden = "rows of a table that you may not read";
	else if (check_enable_rls(RelationGetRelid(rel), InvalidOid,
							  true) == RLS_ENABLED)
		images->hidden = "rows of a table with row security";
}

/*
 * Where in rel, the table or one of its partitions, the columns are.  One that
 * is not there, or is of another type there, counts as null.
 */
AttrNumber *
idem_row_images_map(const IdemRowImages *images, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	AttrNumber *map = palloc0(sizeof(AttrNumber) * (images->row->natts + 1));

	for (int i = 0; i < images->row->natts; i++)
	{
		Form_pg_attribute wanted = TupleDescAttr(images->row, i);

		for (int j = 0; j < desc->natts; j++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, j);

			if (holds_value(att) && att->atttypid == wanted->atttypid &&
				strcmp(NameStr(att->attname), NameStr(wanted->attname)) == 0)
				map[i] = att->attnum;
		}
	}
	return map;
}

static void
begin_sort(IdemRowImages *images)
{
	AttrNumber	columns[2] = {ENTRY_KEY + 1, ENTRY_AFTER + 1};
	Oid			operators[2];
	Oid			collations[2] = {InvalidOid, InvalidOid};
	bool		nulls_first[2] = {false, false};

	images->entry =
		BuildDescFromLists(list_make3(makeString("key"), makeString("after"),
									  makeString("row")),
						   list_make3_oid(RECORDOID, BOOLOID, RECORDOID),
						   list_make3_int(-1, -1, -1),
						   list_make3_oid(InvalidOid, InvalidOid, InvalidOid));
	operators[0] = OpernameGetOprid(list_make2(makeString("pg_catalog"),
											   makeString("*<")),
									RECORDOID, RECORDOID);
	operators[1] = OpernameGetOprid(list_make2(makeString("pg_catalog"),
											   makeString("<")),
									BOOLOID, BOOLOID);
	images->sort = tuplesort_begin_heap(images->entry, 2, columns,
										operators, collations, nulls_first,
										work_mem, NULL, TUPLESORT_NONE);
	images->slot = MakeSingleTupleTableSlot(images->entry,
											&TTSOpsMinimalTuple);
	fmgr_info(F_RECORD_IMAGE_NE, &images->image_ne);
	images->scratch = AllocSetContextCreate(CurrentMemoryContext,
											"idem image",
											ALLOCSET_DEFAULT_SIZES);
}

/*
 * Adds a row as it is in one of the states and not in the other, or as it is in
 * both.  map is from idem_row_images_map.
 */
void
idem_row_images_add(IdemRowImages *images, TupleTableSlot *slot,
					const AttrNumber *map, bool after)
{
	int			ncolumns = images->row->natts;
	MemoryContext old;
	Datum	   *values;
	bool	   *nulls;
	Datum		row;
	TupleTableSlot *entry;

	Assert(!images->sorted);
	if (images->sort == NULL)
		begin_sort(images);
	old = MemoryContextSwitchTo(images->scratch);

	values = palloc(sizeof(Datum) * (ncolumns + 1));
	nulls = palloc(sizeof(bool) * (ncolumns + 1));
	slot_getallattrs(slot);
	for (int i = 0; i < ncolumns; i++)
	{
		nulls[i] = map[i] == 0 || slot->tts_isnull[map[i] - 1];
		values[i] = nulls[i] ? (Datum) 0 : slot->tts_values[map[i] - 1];
	}
	row = HeapTupleGetDatum(heap_form_tuple(images->row, values, nulls));

	entry = ExecClearTuple(images->slot);
	memset(entry->tts_isnull, false, sizeof(bool) * ENTRY_COLUMNS);
	entry->tts_values[ENTRY_AFTER] = BoolGetDatum(after);
	if (images->key == NULL)
	{
		entry->tts_values[ENTRY_KEY] = row;
		entry->tts_isnull[ENTRY_ROW] = true;
	}
	else
	{
		Datum		key_values[INDEX_MAX_KEYS];
		bool		key_nulls[INDEX_MAX_KEYS];

		for (int i = 0; i < images->key->natts; i++)
		{
			key_values[i] = values[images->keys[i]];
			key_nulls[i] = nulls[images->keys[i]];
		}
		entry->tts_values[ENTRY_KEY] =
			HeapTupleGetDatum(heap_form_tuple(images->key, key_values,
											  key_nulls));
		entry->tts_values[ENTRY_ROW] = row;
	}
	tuplesort_puttupleslot(images->sort, ExecStoreVirtualTuple(entry));

	ExecClearTuple(entry);
	MemoryContextSwitchTo(old);
	MemoryContextReset(images->scratch);
}

/* Reads the next entry, in the order of the keys. */
static bool
fetch(IdemRowImages *images)
{
	CHECK_FOR_INTERRUPTS();
	images->fetched = tuplesort_gettupleslot(images->sort, true, false,
											 images->slot, NULL);
	if (images->fetched)
		slot_getallattrs(images->slot);
	return images->fetched;
}

static bool
differ(IdemRowImages *images, Datum a, Datum b)
{
	return DatumGetBool(FunctionCall2(&images->image_ne, a, b));
}

/* Takes the entry that was read into a group. */
static void
join_group(const IdemRowImages *images, IdemImageGroup *group)
{
	TupleTableSlot *entry = images->slot;
	bool		after = DatumGetBool(entry->tts_values[ENTRY_AFTER]);
	Datum		row = entry->tts_values[images->key == NULL ?
										ENTRY_KEY : ENTRY_ROW];

	if (after && group->nafter++ == 0)
		group->after = datumCopy(row, false, -1);
	else if (!after && group->nbefore++ == 0)
		group->before = datumCopy(row, false, -1);
}

/*
 * Reads the next group of rows, which is good until the next call; no more can
 * be added then.  False if there are no more.
 */
bool
idem_row_images_next(IdemRowImages *images, IdemImageGroup *group)
{
	MemoryContext old;

	if (images->sort == NULL)
		return false;
	if (!images->sorted)
	{
		tuplesort_performsort(images->sort);
		images->sorted = true;
		(void) fetch(images);
	}
	if (!images->fetched)
		return false;

	MemoryContextReset(images->scratch);
	old = MemoryContextSwitchTo(images->scratch);
	memset(group, 0, sizeof(IdemImageGroup));
	group->key = datumCopy(images->slot->tts_values[ENTRY_KEY], false, -1);
	do
		join_group(images, group);
	while (fetch(images) &&
		   !differ(images, group->key, images->slot->tts_values[ENTRY_KEY]));
	/* without a primary key the rows of a group are the same */
	group->differ = images->key != NULL &&
		group->nbefore > 0 && group->nafter > 0 &&
		differ(images, group->before, group->after);
	MemoryContextSwitchTo(old);
	return true;
}

/* Frees what was kept of the rows. */
void
idem_row_images_close(IdemRowImages *images)
{
	if (images->sort == NULL)
		return;
	ExecDropSingleTupleTableSlot(images->slot);
	tuplesort_end(images->sort);
	MemoryContextDelete(images->scratch);
	images->sort = NULL;
}
