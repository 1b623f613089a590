/*
 * history.c
 *	  The record of what state rows have been in: one row of idem_history for
 *	  each transition, in its transaction.
 *
 * Whether a table keeps one is said by a trigger of its own, like the machine
 * that it follows.  Rows of partitions are recorded as those of the table that
 * is partitioned, since they may move.
 *
 * It is written as the owner of idem's tables, whoever makes the transition, and
 * is never read on the way.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "history.h"
#include "keyed.h"
#include "partition.h"
#include "query.h"

static IdemStatement insert_history = {
	.text = "INSERT INTO @.idem_history (changed_at, version, target, row_key,"
	" from_state, to_state, changed_by, scope, key, note)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	.nargs = 10,
	.argtypes = {TIMESTAMPTZOID, INT8OID, REGCLASSOID, JSONBOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID}
};

/* The partition last asked for, and the table it is of; reset by invalidations. */
static Oid	known_partition = InvalidOid;
static Oid	known_root;

static Oid
root_of(Relation rel)
{
	Oid			partition = RelationGetRelid(rel);
	Oid			root;

	if (!rel->rd_rel->relispartition)
		return partition;
	if (known_partition == partition && OidIsValid(known_root))
		return known_root;

	/* flagged first, lest an invalidation during the look-up be lost */
	known_partition = partition;
	known_root = InvalidOid;
	root = idem_partition_root(partition);
	known_root = root;
	return root;
}

static Datum
text_or_null(const char *value, char *null)
{
	*null = value == NULL ? 'n' : ' ';
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* Records what has become of a row of a table, or of a partition. */
void
idem_history_write(Relation rel, const IdemPassage *passage)
{
	const IdemKey *key = passage->key == NULL ? idem_keyed_current() : NULL;
	Datum		args[10];
	char		nulls[] = "          ";

	/*
	 * The clock, not the time the transaction began: under the lock of the row
	 * it goes the same way as the version.
	 */
	args[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[1] = Int64GetDatum(passage->version);
	args[2] = ObjectIdGetDatum(root_of(rel));
	args[3] = JsonbPGetDatum(passage->row);
	args[4] = text_or_null(passage->from, &nulls[4]);
	args[5] = CStringGetTextDatum(passage->to);
	args[6] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	if (key != NULL)
	{
		args[7] = PointerGetDatum(key->scope);
		args[8] = PointerGetDatum(key->key);
	}
	else
	{
		args[7] = text_or_null(passage->scope, &nulls[7]);
		args[8] = text_or_null(passage->key, &nulls[8]);
	}
	nulls[9] = passage->note == NULL ? 'n' : ' ';
	args[9] = JsonbPGetDatum(passage->note);
	(void) idem_query_own(&insert_history, args, nulls, 0, NULL, NULL);
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == known_partition)
		known_partition = InvalidOid;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_history_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}
