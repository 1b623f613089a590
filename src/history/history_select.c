/*
 * history_select.c
 *	  Finding what is recorded of a row.
 *
 * It may be recorded of several tables: of a partition while that was a table by
 * itself, of the table that is partitioned while it is, with the partition
 * beside.  So it is looked for in all that go together now, or did when it was
 * recorded.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "history/history_select.h"
#include "run/spi_own.h"
#include "run/usercontext.h"
#include "table/pk_json.h"
#include "table/sql_name.h"
#include "table/state_column.h"
#include "table/tableref.h"

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
	" h.note::pg_catalog.jsonb AS note," \
	" h.status_column::pg_catalog.text AS status_column," \
	" h.row_key::pg_catalog.jsonb AS row_key"

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
 * The first key is the row's.  Another one leaves out a column, named in $8, and
 * counts if states in that column are recorded by it: else it may have been all of
 * another row's key, before the table was given the one that it has.
 *
 * What is wanted is what is recorded of the columns $6, or all if $7 says so.
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
	", found AS MATERIALIZED ("
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
	" AND (f.name IS NULL OR h.target::pg_catalog.text" EQUAL "f.name) OFFSET 0) AS h)"
	" SELECT a.version, a.from_state, a.to_state, a.changed_at, a.changed_by,"
	" a.scope, a.key, a.note, a.status_column FROM found AS a"
	" WHERE ($7 OR a.status_column" EQUAL "ANY ($6))"
	" AND (a.row_key" EQUAL "($4)[1] OR EXISTS (SELECT FROM found AS f,"
	" ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($8)) AS k (row_key, left_out)"
	" WHERE k.row_key" EQUAL "a.row_key AND f.row_key" EQUAL "a.row_key"
	" AND f.status_column" EQUAL "k.left_out))"
	" ORDER BY a.changed_at, a.id",
	.nargs = 8,
	.table = offsetof(IdemCatalog, history_table),
	.reads = true,
	.argtypes = {INT8ARRAYOID, OIDARRAYOID, TEXTARRAYOID, JSONBARRAYOID,
	INT8ARRAYOID, TEXTARRAYOID, BOOLOID, TEXTARRAYOID}
};

/* Is anything recorded of these tables, or in them? */
static IdemStatement select_any = {
	.text = "SELECT 1 WHERE EXISTS (SELECT FROM @.idem_history AS h WHERE "
	AMONG("h.target", "$1", "$2") " OR " AMONG("h.partition", "$1", "$2") ")",
	.nargs = 2,
	.table = offsetof(IdemCatalog, history_table),
	.reads = true,
	.argtypes = {OIDARRAYOID, TEXTARRAYOID}
};

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

/*
 * The keys that a row can have been recorded by.  Columns of the key that hold
 * states are left out; which those were then, nothing says for sure.  So each that
 * can have been one, and is not now, is left out, too, in a key of its own; its name
 * is put into left_out, at the number of the key.
 */
static List *
find_keys(Relation rel, const Bitmapset *managed, const IdemUniqueIndex *key,
		  const Datum *values, Datum *left_out)
{
	List	   *keys = list_make1(idem_pk_json_form(rel, managed, key, values));

	left_out[0] = CStringGetTextDatum("");
	for (int i = 0; key->ncolumns > 1 && i < key->ncolumns; i++)
	{
		AttrNumber	column = key->columns[i];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);
		Bitmapset  *former;

		if (bms_is_member(column, managed) || !idem_state_column_possible(att))
			continue;
		former = bms_add_member(bms_copy(managed), column);
		left_out[list_length(keys)] = CStringGetTextDatum(NameStr(att->attname));
		keys = lappend(keys, idem_pk_json_form(rel, former, key, values));
	}
	return keys;
}

/*
 * The table, what is partitioned by it or is a partition of it now, and asked,
 * which may be half detached.
 */
void
idem_history_select_tables(Relation rel, Oid asked,
						   const Bitmapset *managed,
						   const IdemUniqueIndex *key, const Datum *values,
						   IdemHistoryTables *tables)
{
	Datum		left_out[INDEX_MAX_KEYS + 1];
	List	   *keys = find_keys(rel, managed, key, values, left_out);
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
		char	   *name = idem_sql_name_find(lfirst_oid(lc));

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
	tables->left_out = array_of(left_out, keyed, TEXTOID);
}

/* What is wanted is the history in these columns (char *); NIL: in all. */
void
idem_history_select_columns(IdemHistoryTables *tables, List *names)
{
	Datum	   *columns = palloc(sizeof(Datum) * Max(list_length(names), 1));
	int			count = 0;
	ListCell   *lc;

	foreach(lc, names)
		columns[count++] = CStringGetTextDatum(lfirst(lc));
	tables->columns = array_of(columns, count, TEXTOID);
	tables->all = BoolGetDatum(names == NIL);
}

/* Is anything recorded of these tables? */
bool
idem_history_select_any(const IdemHistoryTables *tables)
{
	Datum		args[2] = {tables->oids, tables->names};

	return idem_spi_own(&select_any, args, NULL, 0, NULL, NULL) > 0;
}

/*
 * Finds what is recorded of a row.  By a plan made once, for the index even if
 * the table is small by then, and not compiled: what the planner takes it to
 * cost has little to do with the few looks into the index that it makes.
 */
void
idem_history_select_rows(const IdemHistoryTables *tables, DestReceiver *dest)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"jit", "off"},
		{"plan_cache_mode", "force_generic_plan"},
	};
	Datum		args[8] = {tables->places, tables->oids, tables->names,
		tables->rows, tables->unknown, tables->columns, tables->all,
	tables->left_out};
	int			nestlevel = idem_usercontext_set(settings, lengthof(settings));

	idem_spi_own_send(&select_history, args, dest);
	idem_usercontext_reset(nestlevel);
}
