/*
 * history_write.c
 *	  The record of what state rows have been in: one row of idem_history for
 *	  each transition, and for the state that a row begins in, in its transaction.
 *
 * Whether a table keeps one is said by a trigger of its own, like the machine
 * that it follows.  Rows of partitions are recorded as those of the table that
 * is partitioned, since they may move, with the partition that they are in
 * beside it, since that may be detached.
 *
 * It is written as the owner of idem's tables, by whatever role the transition
 * is made, and is never read on the way.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/invalidation.h"
#include "history/history_write.h"
#include "key/current_key.h"
#include "run/spi_own.h"
#include "table/partition_root.h"
#include "table/tableref.h"

static IdemStatement insert_history = {
	.text = "INSERT INTO @.idem_history (changed_at, version, target, row_key,"
	" from_state, to_state, changed_by, scope, key, note, partition, status_column)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	.nargs = 12,
	/* with idem_table filled in for each generation of the catalog */
	.argtypes = {TIMESTAMPTZOID, INT8OID, InvalidOid, JSONBOID,
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID,
	InvalidOid, TEXTOID},
	.table = offsetof(IdemCatalog, history_table)
};

/* The table last recorded, and what it is recorded as. */
static struct
{
	bool		valid;			/* has neither changed since? */
	Oid			relid;
	Oid			root;			/* of the partition that it is, or itself */
	IdemTableref *target;		/* the root; NULL: not known yet */
	IdemTableref *partition;	/* NULL: it is none */
}			known;

static void
keep(IdemTableref **kept, const IdemTableref *ref)
{
	if (*kept != NULL)
		pfree(*kept);
	*kept = NULL;
	if (ref != NULL)
		*kept = memcpy(MemoryContextAlloc(TopMemoryContext, VARSIZE(ref)), ref,
					   VARSIZE(ref));
}

static void
know(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);

	keep(&known.target, NULL);
	/* this comes first, lest an invalidation during the look-ups be lost */
	known.relid = relid;
	known.root = relid;
	known.valid = true;
	if (rel->rd_rel->relispartition)
	{
		known.root = idem_partition_root(relid);
		keep(&known.partition, idem_tableref_make(relid));
	}
	else
		keep(&known.partition, NULL);
	keep(&known.target, idem_tableref_make(known.root));
}

static Datum
copy_or_null(const IdemTableref *ref, bool *isnull)
{
	*isnull = (ref == NULL);
	return ref == NULL ? (Datum) 0 :
		PointerGetDatum(memcpy(palloc(VARSIZE(ref)), ref, VARSIZE(ref)));
}

/* Lets the statement take values of the type that the extension has now. */
static void
know_type(void)
{
	static uint64 generation = 0;
	const IdemCatalog *cat = idem_catalog();
	Oid			type;

	if (generation == cat->generation)
		return;
	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("idem_table"),
						   ObjectIdGetDatum(cat->schema_oid));
	if (!OidIsValid(type))
		idem_catalog_error_altered("type", "idem_table");
	insert_history.argtypes[2] = type;
	insert_history.argtypes[10] = type;
	generation = cat->generation;
}

static Datum
text_or_null(const char *value, bool *isnull)
{
	*isnull = (value == NULL);
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* A row is known by its primary key; raises 55000 where there is none. */
static void
check_key(Relation rel, const Jsonb *row)
{
	if (JB_ROOT_COUNT(row) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has no primary key to keep a history by",
					RelationGetRelationName(rel)),
			 errdetail("Columns that hold the state or the version do not count."),
			 errhint("Add a primary key, or drop the trigger that keeps the history.")));
}

/*
 * Records what has become of a row of a table, or of a partition.  Raises 55000
 * where the table has no primary key, 27000 when a trigger keeps the record from
 * being written.
 */
void
idem_history_write(Relation rel, const IdemHistoryEntry *entry)
{
	const IdemKey *key = entry->key == NULL ? idem_current_key() : NULL;
	Datum		args[12];
	bool		isnull[12] = {false};

	Assert(entry->row != NULL && entry->to != NULL && entry->column != NULL);
	Assert(insert_history.nargs == lengthof(args));
	check_key(rel, entry->row);
	if (!known.valid || known.relid != RelationGetRelid(rel) ||
		known.target == NULL)
		know(rel);
	know_type();

	/*
	 * The clock, not the time the transaction began: under the lock of the
	 * row it goes the same way as the version.
	 */
	args[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[1] = Int64GetDatum(entry->version);
	args[2] = copy_or_null(known.target, &isnull[2]);
	args[3] = JsonbPGetDatum(entry->row);
	args[4] = text_or_null(entry->from, &isnull[4]);
	args[5] = CStringGetTextDatum(entry->to);
	args[6] = CStringGetTextDatum(GetUserNameFromId(OidIsValid(entry->role) ?
													entry->role : GetUserId(),
													false));
	if (key != NULL)
	{
		args[7] = PointerGetDatum(key->scope);
		args[8] = PointerGetDatum(key->key);
	}
	else
	{
		args[7] = text_or_null(entry->scope, &isnull[7]);
		args[8] = text_or_null(entry->key, &isnull[8]);
	}
	isnull[9] = (entry->note == NULL);
	args[9] = JsonbPGetDatum(entry->note);
	args[10] = copy_or_null(known.partition, &isnull[10]);
	args[11] = CStringGetTextDatum(entry->column);
	if (idem_spi_own(&insert_history, args, isnull, 0, NULL, NULL) == 0)
		idem_error_prevented("idem_history");
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_history_write_init(void)
{
	idem_invalidation_watch(&known.relid, &known.valid);
	idem_invalidation_watch(&known.root, &known.valid);
}
