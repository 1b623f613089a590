/*
 * forget.c
 *	  SQL: idem_forget(), which erases a key whatever it remembers, and
 *	  idem_forget_scope(), which erases those of a scope.
 *
 * Where a key ever had a lease, a holder of before may come back, and must not find
 * its fence to be another's: the row stays, blank and expired, until a purge takes it,
 * idem.fence_retention later.
 *
 * Both are for the members of the role that used a key, and for those who may delete
 * from the table of keys: the operator, to whom no scope and no key is closed.  A key
 * that is in use stays: one that a transaction is writing, and a claim whose lease
 * runs.  A row that has expired counts as none for every other call, but what it
 * remembers is still there, so it is erased, too.
 *
 * The keys of a scope are found by reading the table, since no index begins with the
 * scope, and erased by their places: neither takes part in serializable conflict
 * detection, and no row is waited for.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "base/rights.h"
#include "base/role.h"
#include "base/settings.h"
#include "key/key_init.h"
#include "key/key_lock.h"
#include "key/key_write.h"
#include "key/scope.h"
#include "run/row_delete.h"
#include "run/spi_own.h"
#include "run/usercontext.h"

PG_FUNCTION_INFO_V1(idem_forget);
PG_FUNCTION_INFO_V1(idem_forget_scope);

/* Rows that are to stay for their fences: as idem_key_write_replace would do it. */
static IdemStatement blank_locked = {
	.text = "UPDATE ONLY @.idem_key AS k SET outcome = $3, fingerprint = NULL,"
	" response = NULL, request = NULL, checkpoints = NULL, sqlstate = NULL,"
	" expires_at = LEAST(k.expires_at, $2), lease_until = '-infinity'::pg_catalog.timestamptz"
	" WHERE k.ctid OPERATOR(pg_catalog.=) ANY ($1)",
	.nargs = 3,
	.argtypes = {TIDARRAYOID, TIMESTAMPTZOID, InvalidOid},
	.table = offsetof(IdemCatalog, key_table)
};

static IdemStatement delete_locked = IDEM_ROW_DELETE_STATEMENT("idem_key", key_table);

/* What came of the keys of a scope. */
typedef struct Forgetting
{
	Oid			caller;
	bool		is_operator;	/* may forget keys of any role */
	TimestampTz now;
	int64		max_rows;
	int64		forgotten;
	int64		in_use;			/* so many keys were left alone */
	Oid			member;			/* role whose rights the caller has; the last
								 * one that was asked for */
} Forgetting;

pg_noreturn static void
error_held(const IdemKey *key, const IdemKeyRow *row)
{
	char	   *claimed = pstrdup(timestamptz_to_str(row->created_at));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("key \"%s\" is held by a claim", key->name),
			 errdetail("Role \"%s\" claimed it at %s, with a lease until %s.",
					   idem_key_table_claimer(row), claimed,
					   timestamptz_to_str(row->lease_until)),
			 errhint("Complete, fail or release the claim, or forget the key once the lease has run out.")));
}

/* Has a row nothing left but its fence? */
static bool
is_blank(const IdemKeyRow *row)
{
	return row->fingerprint_isnull && row->response_isnull &&
		row->request_isnull && row->checkpoints_isnull;
}

/* Deletes a row that was found, or all of it but the fence.  False if it was missed. */
static bool
erase(const IdemKey *key, IdemKeyRow *row)
{
	if (!row->ever_leased || idem_fence_retention_s == 0)
		return idem_key_write_remove(key, row);
	row->outcome = IDEM_ABANDONED;
	row->fingerprint_isnull = true;
	row->response_isnull = true;
	row->request_isnull = true;
	row->checkpoints_isnull = true;
	row->refused = false;
	row->leased = false;
	row->expires_at = Min(row->expires_at, key->now);
	return idem_key_write_replace(key, row, IDEM_NEW_VALUES);
}

/*
 * Erases the row of a key; false if there is none, or none but a fence.  Waits for
 * other sessions that use the key.
 */
static bool
forget(IdemKey *key)
{
	for (;;)
	{
		IdemKeyRow	row;
		IdemKeyState found = idem_key_find_locked(key, 0, &row);
		bool		erased;

		/* one that has expired is there for its owner alone */
		if (found == IDEM_KEY_ABSENT ||
			(found == IDEM_KEY_EXPIRED &&
			 ((row.ever_leased && is_blank(&row) && idem_fence_retention_s != 0) ||
			  (!key->any_role &&
			   !idem_role_has_rights_of(key->role, row.claimed_by)))))
		{
			idem_key_lock_release(key);
			return false;
		}
		if (!key->any_role)
			idem_key_table_check_owner(&row, key->name);
		if (found == IDEM_KEY_LIVE && row.outcome == IDEM_IN_PROGRESS)
			error_held(key, &row);
		erased = erase(key, &row);
		idem_key_lock_release(key);
		if (erased)
			return true;
		idem_key_missed(key, &row);
	}
}

/* May the caller delete from the table where the key is kept? */
static bool
may_delete(void)
{
	const IdemStore *store = idem_store_of(IDEM_TABLE_KEY);

	return store == NULL ? idem_rights_delete_keys() :
		pg_class_aclcheck(store->key_table, GetUserId(), ACL_DELETE) == ACLCHECK_OK;
}

/*
 * idem_forget(key text, scope text) -> boolean
 *
 * Erases what is remembered of a key, whatever that is; false if there is nothing.
 * Raises 55006 for a claim whose lease runs, 42501 where the key is another role's and
 * the caller may not delete from the table of keys, and what idem_key_find_locked and
 * idem_key_missed do.
 */
Datum
idem_forget(PG_FUNCTION_ARGS)
{
	IdemKey		key;

	if (may_delete())
		idem_key_init_any_role(&key, fcinfo, "idem_forget()", 0, 1);
	else
		idem_key_init(&key, fcinfo, "idem_forget()", 0, 1, -1);
	idem_scope_check_reserved(key.scope);
	PG_RETURN_BOOL(forget(&key));
}

/* Has the caller the rights of a role?  Asked of many rows, mostly of one role. */
static bool
is_member(Forgetting *call, Oid role)
{
	if (call->is_operator || (OidIsValid(role) && call->member == role))
		return true;
	if (!idem_role_has_rights_of(call->caller, role))
		return false;
	call->member = role;
	return true;
}

/* What is to become of a row. */
typedef enum Fate
{
	TO_BE_DELETED,
	TO_BE_BLANK,
	IS_BLANK,					/* and has expired */
	IS_HELD						/* by a claim whose lease runs */
} Fate;

static Fate
judge(const Forgetting *call, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		outcome = heap_getattr(tuple, IDEM_KEY_COLUMN_OUTCOME, desc, &isnull);
	Datum		expires_at = heap_getattr(tuple, IDEM_KEY_COLUMN_EXPIRES_AT, desc, &isnull);
	Datum		lease_until = heap_getattr(tuple, IDEM_KEY_COLUMN_LEASE_UNTIL, desc, &isnull);

	if (idem_catalog_outcome(DatumGetObjectId(outcome)) == IDEM_IN_PROGRESS &&
		(isnull || DatumGetTimestampTz(lease_until) > call->now))
		return IS_HELD;
	if (isnull || idem_fence_retention_s == 0)
		return TO_BE_DELETED;
	if (DatumGetTimestampTz(expires_at) <= call->now &&
		heap_attisnull(tuple, IDEM_KEY_COLUMN_FINGERPRINT, desc) &&
		heap_attisnull(tuple, IDEM_KEY_COLUMN_RESPONSE, desc) &&
		heap_attisnull(tuple, IDEM_KEY_COLUMN_REQUEST, desc) &&
		heap_attisnull(tuple, IDEM_KEY_COLUMN_CHECKPOINTS, desc))
		return IS_BLANK;
	return TO_BE_BLANK;
}

static void
run_delete(void *state, ItemPointer tids, int n)
{
	Datum		args[1];

	if (idem_row_delete_run(&delete_locked, args, tids, n) < n)
		idem_error_prevented("idem_key");
}

static void
run_blank(void *state, ItemPointer tids, int n)
{
	const Forgetting *call = state;
	Datum		args[3];

	args[1] = TimestampTzGetDatum(call->now);
	args[2] = ObjectIdGetDatum(idem_catalog()->outcome[IDEM_ABANDONED]);
	if (idem_row_delete_run(&blank_locked, args, tids, n) < n)
		idem_error_prevented("idem_key");
}

/*
 * Erases all of a row but its fence.  False if it is in use.
 *
 * As that is an update, it takes the lock of the key, as all do: a session that has the
 * lock would take the row for absent, and insert another, or lock the row's new
 * version and then wait for the key.
 */
static bool
blank(IdemRowDelete *rows, text *scope, HeapTuple tuple, TupleDesc desc)
{
	IdemKey		key = {0};
	bool		isnull;
	bool		done;

	key.hash = idem_key_lock_hash(scope,
								  DatumGetTextPP(heap_getattr(tuple, IDEM_KEY_COLUMN_KEY,
															  desc, &isnull)));
	/* a call that this one runs inside of may have it */
	if (idem_key_lock_is_held(&key) || !idem_key_lock_take(&key))
		return false;
	done = idem_row_delete(rows, &tuple->t_self);
	idem_row_delete_flush(rows);
	idem_key_lock_release(&key);
	return done;
}

/* Forgets the keys of a scope whose rows are visible to a snapshot. */
static void
forget_scope(Forgetting *call, Relation rel, Snapshot snapshot, text *scope)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData scankey;
	SysScanDesc scan;
	IdemRowDelete deleted;
	IdemRowDelete blanked;
	HeapTuple	tuple;

	ScanKeyInit(&scankey, IDEM_KEY_COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(scope));

	/*
	 * not by the snapshot, under which the whole table would be noticed as
	 * read
	 */
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 1, &scankey);
	idem_row_delete_begin(&deleted, rel, snapshot, run_delete, NULL);
	idem_row_delete_begin_statement(&blanked, rel, snapshot, run_blank, call);
	while (call->forgotten < call->max_rows &&
		   HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		role = heap_getattr(tuple, IDEM_KEY_COLUMN_CLAIMED_BY, desc, &isnull);
		Fate		fate;

		CHECK_FOR_INTERRUPTS();
		if (!table_tuple_satisfies_snapshot(rel, scan->slot, snapshot) ||
			!is_member(call, DatumGetObjectId(role)))
			continue;
		fate = judge(call, tuple, desc);
		if (fate == IS_BLANK)
			continue;
		if (fate == TO_BE_BLANK ? blank(&blanked, scope, tuple, desc) :
			fate == TO_BE_DELETED && idem_row_delete(&deleted, &tuple->t_self))
			call->forgotten++;
		else
			call->in_use++;
	}
	idem_row_delete_end(&deleted);
	idem_row_delete_end(&blanked);
	systable_endscan(scan);
}

/* Opens the table of keys, and locks it to the end of the transaction. */
static Relation
open_table(void)
{
	Relation	rel;

	AcceptInvalidationMessages();
	rel = table_open(idem_catalog()->key_table, RowExclusiveLock);
	/* is it still as it was made? */
	(void) idem_catalog_key_of(rel);
	return rel;
}

/*
 * idem_forget_scope(scope text, max_rows bigint)
 *		-> forgotten bigint, in_use bigint
 *
 * Deletes the keys of a scope that the caller may forget, no more than max_rows
 * unless that is NULL, and returns how many, and how many were in use.  Waits for no
 * transaction that uses a key.  Raises 42501 when the scope is another role's and the
 * caller may not delete from the table of keys, 22004 for a scope that is null, 22023
 * for one of a wrong length and for max_rows that is not positive, 25006 in a
 * read-only transaction and on a standby, 27000 when a trigger keeps rows.
 */
Datum
idem_forget_scope(PG_FUNCTION_ARGS)
{
	Forgetting	call = {
		.caller = GetUserId(),
		.is_operator = idem_rights_delete_keys(),
		.max_rows = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1)
	};
	text	   *scope = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Relation	rel;
	Snapshot	snapshot;
	IdemUserContext caller;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	PreventCommandDuringRecovery("idem_forget_scope()");
	PreventCommandIfReadOnly("idem_forget_scope()");
	if (scope == NULL)
		idem_error_null("scope");
	if (VARSIZE_ANY_EXHDR(scope) > IDEM_MAX_KEY_LENGTH)
		idem_error_length("scope", VARSIZE_ANY_EXHDR(scope), 0,
						  IDEM_MAX_KEY_LENGTH);
	idem_scope_check_reserved(scope);
	if (!call.is_operator)
		idem_scope_check(scope);
	if (idem_store_of(IDEM_TABLE_KEY) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the keys of a scope cannot be forgotten in a store"),
				 errhint("Delete them from the store's table idem_key.")));
	if (call.max_rows <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_rows\" must be positive"),
				 errdetail("It is %lld.", (long long) call.max_rows),
				 errhint("Leave \"max_rows\" out to forget all keys of the scope.")));

	rel = open_table();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	call.now = GetCurrentTimestamp();
	idem_usercontext_enter(&caller, rel->rd_rel->relowner);
	forget_scope(&call, rel, snapshot, scope);
	idem_usercontext_leave(&caller);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	/* as after a statement, so that what follows does not see them */
	CommandCounterIncrement();

	values[0] = Int64GetDatum(call.forgotten);
	values[1] = Int64GetDatum(call.in_use);
	PG_RETURN_DATUM(idem_result_tuple_form(fcinfo, lengthof(values), values, nulls));
}
