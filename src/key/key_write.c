/*
 * key_write.c
 *	  The rows of idem_key, written by statements of idem's own.
 *
 * A session holds the lock of a key from finding its row to writing it.  Where a
 * row was found, the very version that was found is written over, or else nothing:
 * a session that writes to the table directly, or a purge, takes no lock of the
 * key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/error.h"
#include "key/key_lock.h"
#include "key/key_store.h"
#include "key/key_write.h"
#include "run/simple_dml.h"
#include "run/spi_own.h"
#include "run/usercontext.h"

#define ROW_ARGTYPES \
	InvalidOid, UUIDOID, JSONBOID, INT8OID, OIDOID, TIMESTAMPTZOID, \
	TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, TEXTOID

#define KEY_VALUES \
	" (outcome, fingerprint, response, fence, claimed_by, created_at," \
	" expires_at, lease_until, request, sqlstate, scope, key)" \
	" VALUES ($1, $2, $3, $4, $5::@.idem_role, $6, $7, $8, $9, $10, $11, $12)"

/*
 * The row of a key that has none, where the table is not as it was installed.
 * That needs no ON CONFLICT, whose speculative insertion costs a second look-up
 * and a WAL record.
 */
static IdemStatement insert_row = {
	.text = "INSERT INTO @.idem_key" KEY_VALUES,
	.nargs = IDEM_KEY_ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, key_table),
	.bare = true
};

/* The row of a key whose former row has expired and may be purged any time. */
static IdemStatement renew_row = {
	.text = "INSERT INTO @.idem_key AS k" KEY_VALUES IDEM_KEY_RENEWS,
	.nargs = IDEM_KEY_ROW_ARGS + 2,
	.argtypes = {ROW_ARGTYPES, TEXTOID, TEXTOID},
	.table = offsetof(IdemCatalog, key_table),
	.bare = true
};

/*
 * A row that was found, as long as it is the very version that was found: to
 * be read by its place in the table, since reading by the index would lock the
 * neighbours of the key for serializable conflict detection.
 *
 * Place and transaction do not suffice.  VACUUM FULL and CLUSTER put the rows of
 * one transaction in one another's places, so the key must be the one that was
 * found as well; called as a function, the comparison is none that the planner
 * could use an index for.
 */
#define IS_FOUND(ctid, xmin, key, scope) \
	" WHERE k.ctid OPERATOR(pg_catalog.=) " ctid \
	" AND k.xmin OPERATOR(pg_catalog.=) " xmin \
	" AND pg_catalog.texteq(k.key, " key ")" \
	" AND pg_catalog.texteq(k.scope, " scope ")"

#define FOUND_ARGS		4
#define FOUND_ARGTYPES	TIDOID, XIDOID, TEXTOID, TEXTOID

static IdemStatement lock_row = {
	.text = "SELECT FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4")
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table),
	.bare = true
};

/* A value that stays is not copied, which for a long one would cost. */
static IdemStatement replace_row = {
	.text = "UPDATE @.idem_key AS k SET outcome = $1, fingerprint = $2,"
	" response = CASE WHEN $11 THEN $3 ELSE k.response END, fence = $4,"
	" claimed_by = $5::@.idem_role, created_at = $6, expires_at = $7,"
	" lease_until = $8,"
	" request = CASE WHEN $12 THEN $9 ELSE k.request END, sqlstate = $10,"
	" checkpoints = CASE WHEN $13 THEN $14 ELSE k.checkpoints END"
	IS_FOUND("$15", "$16", "$17", "$18"),
	.nargs = IDEM_KEY_REPLACE_ARGS + FOUND_ARGS,
	.argtypes = {ROW_ARGTYPES, BOOLOID, BOOLOID, BOOLOID, JSONBOID, FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table),
	.bare = true
};

static IdemStatement remove_row = {
	.text = "DELETE FROM @.idem_key AS k" IS_FOUND("$1", "$2", "$3", "$4"),
	.nargs = FOUND_ARGS,
	.argtypes = {FOUND_ARGTYPES},
	.table = offsetof(IdemCatalog, key_table),
	.bare = true
};

/*
 * The value of lease_until.  Where there was a lease once, and is none, it is
 * -infinity: a purge keeps such a row for a while, since its fence may be back.
 */
static Datum
lease_of(const IdemKeyRow *row, bool *isnull)
{
	*isnull = !row->leased && !row->ever_leased;
	return TimestampTzGetDatum(row->leased ? row->lease_until : DT_NOBEGIN);
}

/* What a row says, as parameters. */
void
idem_key_write_bind(const IdemKeyRow *row, Datum *args, bool *isnull)
{
	args[IDEM_KEY_ARG_OUTCOME] = ObjectIdGetDatum(idem_catalog()->outcome[row->outcome]);
	args[IDEM_KEY_ARG_FINGERPRINT] = UUIDPGetDatum(&row->fingerprint);
	isnull[IDEM_KEY_ARG_FINGERPRINT] = row->fingerprint_isnull;
	args[IDEM_KEY_ARG_RESPONSE] = row->response;
	isnull[IDEM_KEY_ARG_RESPONSE] = row->response_isnull;
	args[IDEM_KEY_ARG_FENCE] = Int64GetDatum(row->fence);
	args[IDEM_KEY_ARG_CLAIMED_BY] = ObjectIdGetDatum(row->claimed_by);
	args[IDEM_KEY_ARG_CREATED_AT] = TimestampTzGetDatum(row->created_at);
	args[IDEM_KEY_ARG_EXPIRES_AT] = TimestampTzGetDatum(row->expires_at);
	args[IDEM_KEY_ARG_LEASE_UNTIL] = lease_of(row, &isnull[IDEM_KEY_ARG_LEASE_UNTIL]);
	args[IDEM_KEY_ARG_REQUEST] = row->request;
	isnull[IDEM_KEY_ARG_REQUEST] = row->request_isnull;
	args[IDEM_KEY_ARG_SQLSTATE] = row->sqlstate;
	isnull[IDEM_KEY_ARG_SQLSTATE] = !row->refused;
}

static uint64
run_insert(IdemStatement *statement, const IdemKey *key, const IdemKeyRow *row)
{
	Datum		args[IDEM_KEY_ROW_ARGS + 2];
	bool		isnull[IDEM_KEY_ROW_ARGS + 2] = {false};

	Assert(idem_key_lock_is_held(key));
	idem_key_write_bind(row, args, isnull);
	args[IDEM_KEY_ROW_ARGS] = PointerGetDatum(key->scope);
	args[IDEM_KEY_ROW_ARGS + 1] = PointerGetDatum(key->key);
	return idem_spi_own(statement, args, isnull, 0, NULL, NULL);
}

/*
 * Runs a statement on a row that was found, whose last parameters, from first
 * on, say which one that is.  The planner would rather read the whole of a
 * small table, which locks it for serializable conflict detection.
 */
static bool
run_found(IdemStatement *statement, Datum *args, const bool *isnull, int first,
		  const IdemKey *key, const IdemKeyRow *row)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_tidscan", "on"},
	};
	int			nestlevel = idem_usercontext_set(settings, lengthof(settings));
	uint64		rows;

	Assert(idem_key_lock_is_held(key));
	Assert(statement->nargs == first + FOUND_ARGS);
	args[first] = PointerGetDatum(&row->version.ctid);
	args[first + 1] = TransactionIdGetDatum(row->version.xmin);
	args[first + 2] = PointerGetDatum(key->key);
	args[first + 3] = PointerGetDatum(key->scope);
	rows = idem_spi_own(statement, args, isnull, 0, NULL, NULL);
	idem_usercontext_reset(nestlevel);
	return rows > 0;
}

/* What a new row says, column by column; all of isnull is false. */
static void
fill_columns(const IdemKey *key, const IdemKeyRow *row, Datum *values,
			 bool *isnull)
{
	Assert(idem_key_lock_is_held(key));
	Assert(row->fence == 1);
	values[IDEM_KEY_COLUMN_CREATED_AT - 1] = TimestampTzGetDatum(row->created_at);
	values[IDEM_KEY_COLUMN_EXPIRES_AT - 1] = TimestampTzGetDatum(row->expires_at);
	values[IDEM_KEY_COLUMN_FENCE - 1] = Int64GetDatum(row->fence);
	values[IDEM_KEY_COLUMN_FINGERPRINT - 1] = UUIDPGetDatum(&row->fingerprint);
	isnull[IDEM_KEY_COLUMN_FINGERPRINT - 1] = row->fingerprint_isnull;
	values[IDEM_KEY_COLUMN_LEASE_UNTIL - 1] =
		lease_of(row, &isnull[IDEM_KEY_COLUMN_LEASE_UNTIL - 1]);
	values[IDEM_KEY_COLUMN_OUTCOME - 1] =
		ObjectIdGetDatum(idem_catalog()->outcome[row->outcome]);
	values[IDEM_KEY_COLUMN_SCOPE - 1] = PointerGetDatum(key->scope);
	values[IDEM_KEY_COLUMN_KEY - 1] = PointerGetDatum(key->key);
	values[IDEM_KEY_COLUMN_CLAIMED_BY - 1] = ObjectIdGetDatum(row->claimed_by);
	values[IDEM_KEY_COLUMN_RESPONSE - 1] = row->response;
	isnull[IDEM_KEY_COLUMN_RESPONSE - 1] = row->response_isnull;
	values[IDEM_KEY_COLUMN_REQUEST - 1] = row->request;
	isnull[IDEM_KEY_COLUMN_REQUEST - 1] = row->request_isnull;
	values[IDEM_KEY_COLUMN_SQLSTATE - 1] = row->sqlstate;
	isnull[IDEM_KEY_COLUMN_SQLSTATE - 1] = !row->refused;
	isnull[IDEM_KEY_COLUMN_CHECKPOINTS - 1] = true;
}

/*
 * Are rows inserted without a statement, so that no code but the server's runs?  The
 * table is open, with the lock of who writes.
 */
bool
idem_key_write_is_plain(Relation rel)
{
	return RelationGetNumberOfAttributes(rel) == IDEM_KEY_COLUMNS &&
		idem_simple_dml_runs_nothing(rel);
}

static void
insert_by_statement(const IdemKey *key, const IdemKeyRow *row)
{
	if (run_insert(&insert_row, key, row) == 0)
		idem_error_prevented("idem_key");
}

/*
 * Inserts the row of a key that has none.  Raises 27000 when a trigger or a rule
 * kept it out, 40001 where a session of another node has written one to the store.
 */
void
idem_key_write_insert(const IdemKey *key, const IdemKeyRow *row)
{
	Datum		values[IDEM_KEY_COLUMNS];
	bool		isnull[IDEM_KEY_COLUMNS] = {false};

	if (key->store != NULL)
	{
		if (!idem_key_store_insert(key, row, false))
			idem_error_serialization(key->name);
		return;
	}
	fill_columns(key, row, values, isnull);
	if (!idem_simple_dml_insert(idem_catalog()->key_table, IDEM_KEY_COLUMNS, values,
								isnull))
		insert_by_statement(key, row);
}

/*
 * The same for the rows of many keys; *at is the number of the one that an error is
 * about, or count.
 */
void
idem_key_write_insert_many(int count, IdemKey *const *keys,
						   const IdemKeyRow *rows, int *at)
{
	Datum	   *values = palloc(sizeof(Datum) * IDEM_KEY_COLUMNS * count);
	bool	   *isnull = palloc0(sizeof(bool) * IDEM_KEY_COLUMNS * count);

	for (int i = 0; i < count; i++)
		fill_columns(keys[i], &rows[i], &values[i * IDEM_KEY_COLUMNS],
					 &isnull[i * IDEM_KEY_COLUMNS]);
	*at = 0;
	if (!idem_simple_dml_insert_many(idem_catalog()->key_table, IDEM_KEY_COLUMNS,
									 count, values, isnull, at))
	{
		for (; *at < count; (*at)++)
			insert_by_statement(keys[*at], &rows[*at]);
	}
	pfree(isnull);
	pfree(values);
}

/*
 * Inserts the row of a key, or puts it in the place of one that has expired,
 * with a fence one higher.  False if nothing was written: a row is there that has
 * not, or a trigger or a rule prevented it.
 */
bool
idem_key_write_renew(const IdemKey *key, const IdemKeyRow *row)
{
	if (key->store != NULL)
		return idem_key_store_insert(key, row, true);
	return run_insert(&renew_row, key, row) > 0;
}

/*
 * Locks a row that was found against all other sessions that might write it,
 * without waiting.  False if another session writes it, or has, or if it has
 * moved.
 */
bool
idem_key_write_lock_row(const IdemKey *key, const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	if (key->store != NULL)
		return idem_key_store_lock_row(key, row);
	return run_found(&lock_row, args, NULL, 0, key, row);
}

/*
 * Writes a row over what it was found as; of its values only those that are new.
 * False if nothing was written: the row has changed or moved since, or a trigger or
 * a rule prevented it.
 */
bool
idem_key_write_replace(const IdemKey *key, const IdemKeyRow *row, int news)
{
	Datum		args[IDEM_KEY_REPLACE_ARGS + FOUND_ARGS];
	bool		isnull[IDEM_KEY_REPLACE_ARGS + FOUND_ARGS] = {false};

	Assert(row->fence >= row->version.fence);
	/* which no claim is, and what is not written was not read */
	Assert(!row->refused);
	idem_key_write_bind(row, args, isnull);
	args[IDEM_KEY_ARG_NEW_RESPONSE] = BoolGetDatum((news & IDEM_NEW_RESPONSE) != 0);
	args[IDEM_KEY_ARG_NEW_REQUEST] = BoolGetDatum((news & IDEM_NEW_REQUEST) != 0);
	args[IDEM_KEY_ARG_NEW_CHECKPOINTS] = BoolGetDatum((news & IDEM_NEW_CHECKPOINTS) != 0);
	args[IDEM_KEY_ARG_CHECKPOINTS] = row->checkpoints;
	isnull[IDEM_KEY_ARG_RESPONSE] |= (news & IDEM_NEW_RESPONSE) == 0;
	isnull[IDEM_KEY_ARG_REQUEST] |= (news & IDEM_NEW_REQUEST) == 0;
	isnull[IDEM_KEY_ARG_CHECKPOINTS] = row->checkpoints_isnull ||
		(news & IDEM_NEW_CHECKPOINTS) == 0;
	if (key->store != NULL)
		return idem_key_store_replace(key, row, args, isnull);
	return run_found(&replace_row, args, isnull, IDEM_KEY_REPLACE_ARGS, key, row);
}

/* Deletes a row that was found.  False as idem_key_write_replace. */
bool
idem_key_write_remove(const IdemKey *key, const IdemKeyRow *row)
{
	Datum		args[FOUND_ARGS];

	if (key->store != NULL)
		return idem_key_store_remove(key, row);
	return run_found(&remove_row, args, NULL, 0, key, row);
}
