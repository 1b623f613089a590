/*
 * history_read.c
 *	  SQL: idem_history(), the states that a row has been in.
 *
 * A row's history is for those who may read the row.  So the row is looked for
 * first, by a statement of the caller's.  Where there is none, it has been
 * deleted, or row security hides it; whom row security holds for is not told
 * which.
 *
 * What is recorded of it may be recorded of several tables: of a partition while
 * that was a table by itself, of the table that is partitioned while it is, with
 * the partition beside.  So it is looked for in all that go together now, or did
 * when it was recorded.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "executor/tstoreReceiver.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "base/settings.h"
#include "base/unique_index.h"
#include "run/spi.h"
#include "run/usercontext.h"
#include "table/attachment.h"
#include "table/partition_root.h"
#include "table/pk_json.h"
#include "table/pk_value.h"
#include "table/tableref.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_history);

#define COLUMNS		8			/* of the result */

#define EQUAL		" OPERATOR(pg_catalog.=) "
#define PLACE		"@._idem_history_place(h.target, h.row_key)"
#define OID_OF(x)	"@._idem_table_oid(" x ")"
#define OF_ROW		" AND h.row_key" EQUAL "ANY ($4)"
#define LOW			"4294967295::pg_catalog.int8"	/* of a place: the row */

/* The types are ours, whatever those of the table are by now. */
#define ENTRY		"h.changed_at::pg_catalog.timestamptz AS changed_at," \
	" h.id::pg_catalog.int8 AS id, h.version::pg_catalog.int8 AS version," \
	" h.from_state::pg_catalog.text AS from_state," \
	" h.to_state::pg_catalog.text AS to_state," \
	" h.changed_by::pg_catalog.text AS changed_by," \
	" h.scope::pg_catalog.text AS scope, h.key::pg_catalog.text AS key," \
	" h.note::pg_catalog.jsonb AS note"

/* Is a table one of those of these OIDs, or of these names that led to none? */
#define AMONG(x, oids, names) \
	"(" OID_OF(x) EQUAL "ANY (" oids ")" \
	" OR " OID_OF(x) EQUAL "0::pg_catalog.oid" \
	" AND " x "::pg_catalog.text" EQUAL "ANY (" names "))"

/*
 * Every table that anything is recorded of: the first entry of each, by the
 * index, from table to table.
 */
#define RECORDED \
	"recorded AS (" \
	"(SELECT " PLACE " AS place FROM @.idem_history AS h ORDER BY 1 LIMIT 1)" \
	" UNION ALL SELECT (SELECT " PLACE " FROM @.idem_history AS h" \
	" WHERE " PLACE " OPERATOR(pg_catalog.>)" \
	" (r.place OPERATOR(pg_catalog.|) " LOW ") ORDER BY 1 LIMIT 1)" \
	" FROM recorded AS r WHERE r.place IS NOT NULL)"

/*
 * What is recorded of a row, by the keys $4, of some tables: of those themselves,
 * where its places are $1; under their names $3, which led to no table when it
 * came here, at the places $5; and of tables that they were partitions of, all up
 * to when the row was last in one of those.
 *
 * OFFSET 0 keeps the planner from anything but a look into the index for each
 * table, however little it knows of the rows.
 *
 * The order is nearly right.  Ids begin anew with another server, so they decide
 * only where the clock does not.
 */
static IdemStatement select_history = {
	.text = "WITH RECURSIVE " RECORDED ", former AS MATERIALIZED ("
	"SELECT h.place, h.name, pg_catalog.max(h.changed_at) AS until FROM"
	" (SELECT (r.place OPERATOR(pg_catalog.-) (r.place OPERATOR(pg_catalog.&) " LOW "))"
	" OPERATOR(pg_catalog.+) u.place AS place"
	" FROM recorded AS r, pg_catalog.unnest($5) AS u (place)) AS o"
	" CROSS JOIN LATERAL (SELECT o.place, CASE WHEN " OID_OF("h.target") EQUAL "0::pg_catalog.oid"
	" THEN h.target::pg_catalog.text END AS name, h.changed_at::pg_catalog.timestamptz AS changed_at"
	" FROM @.idem_history AS h WHERE " PLACE EQUAL "o.place"
	OF_ROW " AND " AMONG("h.partition", "$2", "$3") " OFFSET 0) AS h"
	" WHERE h.place OPERATOR(pg_catalog.<>) ALL ($1) GROUP BY h.place, h.name)"
	" SELECT version, from_state, to_state, changed_at, changed_by, scope, key, note FROM ("
	"SELECT h.* FROM pg_catalog.unnest($1) AS t (place)"
	" CROSS JOIN LATERAL (SELECT " ENTRY " FROM @.idem_history AS h"
	" WHERE " PLACE EQUAL "t.place" OF_ROW " OFFSET 0) AS h"
	" UNION SELECT " ENTRY " FROM @.idem_history AS h"
	" WHERE " PLACE EQUAL "ANY ($5)" OF_ROW
	" AND h.target::pg_catalog.text" EQUAL "ANY ($3)"
	" UNION SELECT h.* FROM former AS f"
	" CROSS JOIN LATERAL (SELECT " ENTRY " FROM @.idem_history AS h"
	" WHERE " PLACE EQUAL "f.place" OF_ROW
	" AND h.changed_at OPERATOR(pg_catalog.<=) f.until"
	" AND (f.name IS NULL OR h.target::pg_catalog.text" EQUAL "f.name) OFFSET 0) AS h) AS a"
	" ORDER BY changed_at, id",
	.nargs = 5,
	.argtypes = {INT8ARRAYOID, OIDARRAYOID, TEXTARRAYOID, JSONBARRAYOID,
	INT8ARRAYOID}
};

/* Is anything recorded of these tables, or in them? */
static IdemStatement select_any = {
	.text = "SELECT 1 WHERE EXISTS (SELECT FROM @.idem_history AS h WHERE "
	AMONG("h.target", "$1", "$2") " OR " AMONG("h.partition", "$1", "$2") ")",
	.nargs = 2,
	.argtypes = {OIDARRAYOID, TEXTARRAYOID}
};

/* A transition that is to be sent. */
typedef struct Entry
{
	int64		version;
	const char *from;			/* NULL: there was no state */
	const char *to;
	MinimalTuple row;			/* the whole of it */
} Entry;

/*
 * The transitions of a row, as far as they have been put in order.  A run is of
 * one row and has rising versions.
 */
typedef struct Entries
{
	Entry	   *all;
	int			count;
	int			size;			/* of the array */
	int			former;			/* where the run before the last begins; last
								 * if there is none */
	int			last;			/* where the last run begins */
} Entries;

/* The table, or that of which a partition is named, to be closed by the caller. */
static Relation
open_target(Oid target)
{
	Relation	rel = try_relation_open(target, AccessShareLock);

	if (rel == NULL)
		idem_error_no_relation(target);
	if (rel->rd_rel->relispartition)
	{
		Oid			root = idem_partition_root(target);

		relation_close(rel, AccessShareLock);
		return relation_open(root, AccessShareLock);
	}
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot have a history",
						RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(rel->rd_rel->relkind),
				 errhint("Name the table itself.")));
	return rel;
}

static void
append_column(StringInfo buf, Relation rel, AttrNumber number)
{
	appendStringInfo(buf, "%sidem_row.%s", buf->len > 0 ? ", " : "",
					 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel),
															number - 1)->attname)));
}

/*
 * What it takes to see a row's history: its key, state and version; the whole
 * row where the table no longer follows a machine.
 */
static char *
write_sql(Relation rel, const IdemAttachment *attachment, const IdemUniqueIndex *key)
{
	StringInfoData columns;
	StringInfoData sql;

	initStringInfo(&columns);
	for (int i = 0; i < key->ncolumns; i++)
		append_column(&columns, rel, key->columns[i]);
	if (attachment != NULL)
	{
		append_column(&columns, rel, attachment->status);
		append_column(&columns, rel, attachment->version);
	}
	else
		appendStringInfoString(&columns, ", idem_row.*");

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s%s AS idem_row WHERE ",
					 columns.data,
					 rel->rd_rel->relkind == RELKIND_RELATION ? "ONLY " : "",
					 idem_target_check_name(rel));
	idem_pk_value_condition(&sql, rel, key);
	return sql.data;
}

/*
 * Reads the key of the row that the caller means, as the row has it.  False: he
 * sees no such row.  Raises 42501 if he may not read the table.
 */
static bool
find_row(Relation rel, const IdemAttachment *attachment, const IdemUniqueIndex *key,
		 Oid *types, Datum *values)
{
	struct
	{
		char		kind;
		Oid			user;
		Oid			target;
	}			signature;
	IdemPlan   *plan;
	Datum		found[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	memset(&signature, 0, sizeof(signature));
	signature.kind = 'h';
	signature.user = GetUserId();
	signature.target = RelationGetRelid(rel);
	plan = idem_spi_find((char *) &signature, sizeof(signature));
	if (plan == NULL)
		plan = idem_spi_keep((char *) &signature, sizeof(signature),
							 write_sql(rel, attachment, key),
							 key->ncolumns, types);
	if (idem_spi_caller(plan, values, NULL, key->ncolumns, found, isnull) == 0)
		return false;
	memcpy(values, found, sizeof(Datum) * key->ncolumns);
	return true;
}

/* A row, and the tables whose records of it go together. */
typedef struct Tables
{
	Datum		places;			/* of the row in each */
	Datum		oids;
	Datum		names;
	Datum		rows;			/* the keys that it can have been recorded by */
	Datum		unknown;		/* its places where no table is known */
} Tables;

static Datum
array_of(Datum *elements, int count, Oid type)
{
	int16		length;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &length, &byval, &align);
	return PointerGetDatum(construct_array(elements, count, type, length, byval,
										   align));
}

/* Can a column of the key have held the state? */
static bool
can_be_state(Relation rel, AttrNumber number)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(getBaseType(TupleDescAttr(RelationGetDescr(rel),
														  number - 1)->atttypid),
								&category, &preferred);
	return category == TYPCATEGORY_STRING || category == TYPCATEGORY_ENUM;
}

/*
 * The keys that a row can have been recorded by.  Of a table that follows no
 * machine any more, nothing says whether a column of its key was the state, which
 * is left out: so each that can have been is, too.
 */
static List *
find_keys(Relation rel, const IdemAttachment *followed, const IdemUniqueIndex *key,
		  const Datum *values)
{
	List	   *keys = list_make1(idem_pk_json_form(rel, followed, key, values));

	for (int i = 0;
		 followed == NULL && key->ncolumns > 1 && i < key->ncolumns; i++)
	{
		IdemAttachment former = {0};

		former.status = key->columns[i];
		if (can_be_state(rel, former.status))
			keys = lappend(keys, idem_pk_json_form(rel, &former, key, values));
	}
	return keys;
}

/*
 * The table, what is partitioned by it or is a partition of it now, and asked,
 * which may be half detached.
 */
static void
find_tables(Relation rel, Oid asked, List *keys, Tables *tables)
{
	List	   *relids = list_make1_oid(RelationGetRelid(rel));
	Datum	   *oids;
	Datum	   *names;
	Datum	   *rows;
	Datum	   *places;
	Datum	   *unknown;
	int			count = 0;
	int			named = 0;
	int			placed = 0;
	int			keyed = 0;
	ListCell   *lc;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		relids = find_all_inheritors(RelationGetRelid(rel), NoLock, NULL);
	relids = list_append_unique_oid(relids, asked);

	oids = palloc(sizeof(Datum) * list_length(relids));
	names = palloc(sizeof(Datum) * list_length(relids));
	foreach(lc, relids)
	{
		char	   *name = idem_tableref_name(lfirst_oid(lc));

		oids[count++] = ObjectIdGetDatum(lfirst_oid(lc));
		if (name != NULL)		/* not dropped meanwhile */
			names[named++] = CStringGetTextDatum(name);
	}

	rows = palloc(sizeof(Datum) * list_length(keys));
	unknown = palloc(sizeof(Datum) * list_length(keys));
	places = palloc(sizeof(Datum) * list_length(keys) * count);
	foreach(lc, keys)
	{
		Jsonb	   *row = lfirst(lc);

		for (int i = 0; i < count; i++)
			places[placed++] =
				Int64GetDatum(idem_pk_json_place(DatumGetObjectId(oids[i]), row));
		unknown[keyed] = Int64GetDatum(idem_pk_json_place(InvalidOid, row));
		rows[keyed++] = JsonbPGetDatum(row);
	}

	tables->places = array_of(places, placed, INT8OID);
	tables->oids = array_of(oids, count, OIDOID);
	tables->names = array_of(names, named, TEXTOID);
	tables->rows = array_of(rows, keyed, JSONBOID);
	tables->unknown = array_of(unknown, keyed, INT8OID);
}

/* Raises 55000 where no history is kept of a table, nor ever was. */
static void
need_history(Relation rel, const Tables *tables)
{
	Datum		args[2] = {tables->oids, tables->names};

	if (idem_attachment_records(rel) ||
		idem_spi_own(&select_any, args, NULL, 0, NULL, NULL) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" keeps no history", RelationGetRelationName(rel)),
			 errdetail("None of its rows has a recorded transition."),
			 errhint("Call idem_attach() with history => true.")));
}

static bool
same_state(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Where in the run before the last one that version has its place. */
static int
place_of(const Entries *entries, int64 version)
{
	int			low = entries->former;
	int			high = entries->last;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (entries->all[middle].version < version)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Makes one run of the last two, if they are of one row: if no version occurs
 * twice, and states lead on wherever, by version, one run follows on the other.
 * If not, another row has come under the key.
 */
static bool
join_runs(Entries *entries)
{
	int			place = place_of(entries, entries->all[entries->last].version);
	Entry	   *joined = palloc_extended(sizeof(Entry) * (entries->count - place),
										 MCXT_ALLOC_HUGE);
	const Entry *before = place > entries->former ?
		&entries->all[place - 1] : NULL;
	bool		before_is_last = false;
	int			former = place;
	int			last = entries->last;
	int			count = 0;

	while (former < entries->last || last < entries->count)
	{
		const Entry *a = former < entries->last ? &entries->all[former] : NULL;
		const Entry *b = last < entries->count ? &entries->all[last] : NULL;
		bool		is_last = a == NULL || (b != NULL && b->version < a->version);
		const Entry *next = is_last ? b : a;

		CHECK_FOR_INTERRUPTS();
		if ((a != NULL && b != NULL && a->version == b->version) ||
			(before != NULL && is_last != before_is_last &&
			 !same_state(before->to, next->from)))
		{
			pfree(joined);
			return false;
		}
		joined[count++] = *next;
		before = next;
		before_is_last = is_last;
		if (is_last)
			last++;
		else
			former++;
	}
	memcpy(&entries->all[place], joined, sizeof(Entry) * count);
	pfree(joined);
	return true;
}

/*
 * Ends the last run, which is complete.  More than one come about by rows that
 * were deleted and inserted anew; by the clock, which can have been set back, or
 * be another server's; and by a trigger that brings on a row which the same
 * statement has changed, since that is recorded before the statement's change.
 */
static void
end_run(Entries *entries)
{
	if (entries->former < entries->last && !join_runs(entries))
		entries->former = entries->last;
	entries->last = entries->count;
}

static void
add_entry(Entries *entries, const Entry *entry)
{
	if (entries->count > entries->last &&
		entries->all[entries->count - 1].version >= entry->version)
		end_run(entries);
	if (entries->count == entries->size)
	{
		entries->size = entries->size == 0 ? 16 : entries->size * 2;
		entries->all = entries->all == NULL ?
			palloc(sizeof(Entry) * entries->size) :
			repalloc_huge(entries->all, sizeof(Entry) * entries->size);
	}
	entries->all[entries->count++] = *entry;
}

static char *
text_of(TupleTableSlot *slot, AttrNumber number)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Reads the transitions that a statement has found, in order. */
static void
read_entries(Tuplestorestate *found, TupleDesc desc, Entries *entries)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(found, true, false, slot))
	{
		Entry		entry;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		entry.version = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		entry.from = text_of(slot, 2);
		entry.to = text_of(slot, 3);
		entry.row = ExecCopySlotMinimalTuple(slot);
		add_entry(entries, &entry);
	}
	if (entries->count > 0)
		end_run(entries);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Finds what is recorded of a row.  By a plan made once, for the index even if the
 * table is small by then, and not compiled: what the planner takes it to cost has
 * little to do with the few looks into the index that it comes to.
 */
static void
find_entries(const Tables *tables, DestReceiver *dest)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"jit", "off"},
		{"plan_cache_mode", "force_generic_plan"},
	};
	Datum		args[5] = {tables->places, tables->oids, tables->names,
	tables->rows, tables->unknown};
	int			nestlevel = idem_settings_begin(settings, lengthof(settings));

	idem_spi_own_send(&select_history, args, dest);
	idem_settings_end(nestlevel);
}

/* Sends the transitions of a row; false if there are none. */
static bool
send_history(FunctionCallInfo fcinfo, const Tables *tables)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Tuplestorestate *found = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);
	TupleTableSlot *slot;
	Entries		entries = {0};

	SetTuplestoreDestReceiverParams(dest, found, CurrentMemoryContext, false,
									NULL, NULL);
	find_entries(tables, dest);
	dest->rDestroy(dest);
	read_entries(found, rsinfo->setDesc, &entries);
	tuplestore_end(found);

	slot = MakeSingleTupleTableSlot(rsinfo->setDesc, &TTSOpsMinimalTuple);
	for (int i = 0; i < entries.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ExecStoreMinimalTuple(entries.all[i].row, slot, false);
		tuplestore_puttupleslot(rsinfo->setResult, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return entries.count > 0;
}

/*
 * idem_history(target regclass, id)
 *		-> setof (version bigint, from_state text, to_state text,
 *		   changed_at timestamptz, changed_by text, scope text, key text,
 *		   note jsonb)
 *
 * The transitions of a row, oldest first; none if the caller may not know of
 * it.  Errors: 42P01 and 42809 for what is not a table, 42P10 for want of a
 * primary key, what idem_pk_value_bind raises for an id that does not fit it, 42501
 * for want of the privilege to read the row, 55000 where no history is kept.
 */
static Datum
recall(FunctionCallInfo fcinfo, const IdemPkValue *id)
{
	Relation	rel;
	IdemAttachment attachment;
	const IdemAttachment *followed;
	IdemUniqueIndex key;
	Tables		tables;
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	IdemUserContext caller;
	bool		visible;

	if (PG_ARGISNULL(0))
		idem_error_null("target");
	idem_result_tuple_begin_set(fcinfo, COLUMNS);

	rel = open_target(PG_GETARG_OID(0));
	idem_unique_index_need_primary(&key, rel);
	/* the caller only looks: what the key's types check is the owner's code */
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	idem_pk_value_bind(id, rel, &key, types, values);
	idem_usercontext_leave(&caller);
	followed = idem_attachment_find_any(&attachment, rel) ? &attachment : NULL;
	visible = find_row(rel, followed, &key, types, values) ||
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED;
	find_tables(rel, PG_GETARG_OID(0),
				find_keys(rel, followed, &key, values), &tables);
	if (!visible || !send_history(fcinfo, &tables))
		need_history(rel, &tables);
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}

Datum
idem_history(PG_FUNCTION_ARGS)
{
	return recall(fcinfo, idem_pk_value_argument(fcinfo, 1));
}
