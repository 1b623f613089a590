/*
 * key.c
 *	  The key store: which call does the work of a key, and what came of it.
 *
 * A call takes the heavyweight lock of the key, looks the key up as it is
 * committed now, and either returns the answer or keeps the lock until the work is
 * done and the key's row inserted.  From then on that row, although not committed
 * yet, blocks other sessions by itself: they find it, and wait for the transaction
 * that inserted it.  So locks are held only while work is being done, and a
 * statement may use any number of keys.  A session that changes the row of a key
 * later on has the lock as well, from finding it to writing it.
 *
 * None of this is what correctness rests on.  A session that gets past it, by
 * writing to the table directly, say, still meets the primary key.
 *
 * Rolling back, also to a savepoint, gives up the lock and the row together;
 * nothing about keys is remembered in the session's own memory.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "base/interval.h"
#include "base/settings.h"
#include "key/current_key.h"
#include "key/key.h"
#include "key/key_lock.h"
#include "key/key_store.h"
#include "key/key_write.h"
#include "stats/stats_counter.h"

/* So often a row may be found as it was, and not be written. */
#define MAX_MISSES		3

/* So many keys in succession tell that they keep being live. */
#define ALL_LIVE		4

/* The moment so long after the clock. */
static TimestampTz
later(TimestampTz now, int64 us, const char *name)
{
	idem_settings_check_ttl(us, name);
	return idem_interval_end(now, us);
}

/*
 * Reads the clock, and works out what counts from it.  Raises 22023 for times that
 * are not positive, or too long.
 */
void
idem_key_set_clock(IdemKey *key)
{
	key->now = GetCurrentTimestamp();
	if (key->forever)
		key->expires_at = DT_NOEND;
	else if (key->ttl != NULL)
		key->expires_at = later(key->now, idem_interval_us(key->ttl, "ttl"), "ttl");
	else if (key->claims)
		key->expires_at = later(key->now, idem_settings_ttl_us(), "idem.ttl");
	if (key->lease != NULL)
		key->lease_until = later(key->now, idem_interval_us(key->lease, "lease"),
								 "lease");
	Assert(!key->claims || key->expires_at > key->now);
	Assert(key->lease == NULL || key->lease_until > key->now);
}

/* Finds the row of a key, if there is one, where it is kept. */
IdemKeyState
idem_key_read(const IdemKey *key, TimestampTz now, int options, IdemKeyRow *row)
{
	return key->store != NULL ? idem_key_store_find(key, now, options, row) :
		idem_key_table_find(key->scope, key->key, now, options, row);
}

/*
 * The same as of now.
 *
 * Raises 40001 when it was committed after the transaction's snapshot was taken: a
 * transaction that keeps one snapshot must not act on what that cannot see, since
 * the rows written with the key would seem to be missing.  Raises 42501 when it is
 * busy and another role's, so that no role waits for what is not its own.
 */
static IdemKeyState
find_row(IdemKey *key, int options, IdemKeyRow *row)
{
	IdemKeyState found;

	idem_key_set_clock(key);
	found = idem_key_read(key, key->now, options, row);
	if (row->unseen)
		idem_error_serialization(key->name);
	if (found == IDEM_KEY_BUSY && row->claimer_known && !key->any_role)
		idem_key_table_check_owner(row, key->name);
	return found;
}

/*
 * Keys that were live, in succession.  Where they keep being that, a key is looked for
 * before it is locked, since a live row stands for itself.  Any other is locked, and
 * looked for again.
 */
static int	live_streak = 0;

/*
 * Finds out how a key stands, and locks it where something is to be done about
 * that: the lock is held on return if the key is absent, expired or lapsed, and is
 * not if it is live, since a live row stands for itself.
 *
 * Waits for other sessions that use the key, or, unless wait is true, returns that
 * it is busy; then the lock is not held.
 *
 * Raises 40001 when the row was committed after the transaction's snapshot was
 * taken, 42501 when it is busy and another role's, 55006 when a call that this one
 * runs inside of has the key, 55P03 when the wait takes too long, 22023 for times
 * that are not valid.
 */
IdemKeyState
idem_key_find(IdemKey *key, bool wait, IdemKeyRow *row)
{
	bool		locked;

	key->claims = true;
	if (live_streak == ALL_LIVE &&
		find_row(key, IDEM_WITH_VALUES, row) == IDEM_KEY_LIVE)
		return IDEM_KEY_LIVE;
	locked = idem_key_lock_take(key);
	for (;;)
	{
		IdemKeyState found = find_row(key, IDEM_WITH_VALUES |
									  (locked ? IDEM_TO_INSERT : 0), row);

		if (found == IDEM_KEY_LIVE || found == IDEM_KEY_BUSY)
		{
			/* no other session needs to queue for it */
			if (locked)
				idem_key_lock_release(key);
			if (found == IDEM_KEY_LIVE)
				live_streak = Min(live_streak + 1, ALL_LIVE);
			if (found == IDEM_KEY_LIVE || !wait)
				return found;
			idem_key_lock_wait(key, row);
			locked = idem_key_lock_take(key);
		}
		else if (locked)
		{
			live_streak = 0;
			return found;
		}
		else if (wait)
		{
			idem_key_lock_wait(key, NULL);
			locked = true;
		}
		else
			return IDEM_KEY_BUSY;
	}
}

/*
 * Finds out how a key stands, for a caller that will write its row if it is live:
 * the lock is held on return, and the key is not busy.  Raises what idem_key_find
 * does.
 */
IdemKeyState
idem_key_find_locked(IdemKey *key, int options, IdemKeyRow *row)
{
	for (;;)
	{
		IdemKeyState found;

		if (!idem_key_lock_take(key))
			idem_key_lock_wait(key, NULL);
		found = find_row(key, options | IDEM_TO_WRITE, row);
		if (found != IDEM_KEY_BUSY)
			return found;
		idem_key_lock_release(key);
		idem_key_lock_wait(key, row);
	}
}

/*
 * To be called where a row that was found was not written, before it is looked for
 * again: another session has changed or moved it since.  Raises 27000 where the
 * very version that was found is missed again and again, since then a trigger or a
 * rule keeps it from being written.
 */
void
idem_key_missed(IdemKey *key, const IdemKeyRow *row)
{
	Assert(!idem_key_lock_is_held(key));
	Assert(key->misses < MAX_MISSES);
	CHECK_FOR_INTERRUPTS();
	if (!idem_key_table_same_version(&key->missed, &row->version))
		key->misses = 0;
	key->missed = row->version;
	if (++key->misses == MAX_MISSES)
		idem_error_prevented("idem_key");
}

/* Has a key no row that counts? */
static bool
is_free(IdemKeyState found)
{
	return found == IDEM_KEY_ABSENT || found == IDEM_KEY_EXPIRED;
}

/*
 * Finds out how a key stands, for a caller that only wants to know: does not wait,
 * and takes no lock that another session could meet.  It is as the key stood at
 * some moment of the call.  Raises 40001 and 42501 as idem_key_find does.
 *
 * Where there is no row, or one that has expired, the work may be under way, which
 * the key's lock tells.  If no session has it, a row that comes later is found,
 * unless it is being updated at the very moment at which it is looked for: that one
 * has been committed before.
 */
IdemKeyState
idem_key_probe(IdemKey *key, int options, IdemKeyRow *row)
{
	IdemKeyState found = find_row(key, options, row);

	if (is_free(found) && !RecoveryInProgress())
	{
		bool		locked = idem_key_lock_is_taken(key);

		found = find_row(key, options, row);
		if (is_free(found) && locked)
		{
			/* what an expired row says is nothing about that work */
			memset(row, 0, sizeof(IdemKeyRow));
			return IDEM_KEY_BUSY;
		}
		if (found == IDEM_KEY_ABSENT)
			found = find_row(key, options | IDEM_COMMITTED, row);
	}
	/* an expired row that is being deleted counts as none */
	return found == IDEM_KEY_BUSY && row->leaving ? IDEM_KEY_EXPIRED : found;
}

/* How the work of a key stands. */
typedef enum Work
{
	TO_BE_DONE,
	UNDER_WAY,					/* in another transaction */
	DONE
} Work;

/*
 * Is a row that of this request?  One without a fingerprint was brought from a
 * table of the user's own, which has not told the request (docs/migrating.md).
 */
bool
idem_key_row_is_of(const IdemKeyRow *row, const IdemKey *key)
{
	if (row->fingerprint_isnull)
		return !idem_key_table_is_claim(row);
	return idem_key_table_is_of(row, &key->fingerprint);
}

/*
 * Begins the work of a key, whose lock is held on return.  If it has been done, or
 * others are doing it and the call does not wait, answer is what came of it, and the
 * lock is not held.
 */
static Work
begin(IdemKey *key, IdemAnswer *answer)
{
	IdemKeyRow	row;
	IdemKeyState found = idem_key_find(key, !key->no_wait, &row);

	if (found == IDEM_KEY_BUSY)
	{
		Assert(key->no_wait);
		idem_stats_counter_hit(IDEM_COUNT_KEY_IN_PROGRESS);
		answer->outcome = IDEM_IN_PROGRESS;
		answer->response_isnull = true;
		return UNDER_WAY;
	}
	key->expired = (found == IDEM_KEY_EXPIRED);
	if (found == IDEM_KEY_ABSENT || found == IDEM_KEY_EXPIRED)
	{
		idem_current_key_begin(key);
		return TO_BE_DONE;
	}

	idem_key_table_check_owner(&row, key->name);
	idem_key_table_check_request(&row, key->name,
								 found == IDEM_KEY_LIVE &&
								 idem_key_row_is_of(&row, key));
	answer->outcome = row.outcome;
	answer->response = row.response;
	answer->response_isnull = row.response_isnull;
	idem_stats_counter_hit(IDEM_COUNT_KEY_REPLAYED);
	return DONE;
}

/*
 * Raises 40001 when another session renewed an expired key without taking the lock,
 * or else 27000.
 */
pg_noreturn static void
error_not_renewed(IdemKey *key)
{
	IdemKeyRow	row;

	if (find_row(key, 0, &row) == IDEM_KEY_EXPIRED)
		idem_error_prevented("idem_key");
	idem_error_serialization(key->name);
}

/*
 * The row that remembers what came of a key's work.  Raises 54000 where that is too
 * long.
 */
void
idem_key_fill_row(const IdemKey *key, const IdemAnswer *answer, IdemKeyRow *row)
{
	memset(row, 0, sizeof(IdemKeyRow));
	/* what says which rows are those of claims (idem_key_table_is_claim) */
	Assert(!idem_outcome_is_claim(answer->outcome) || answer->refused != NULL);
	Assert(answer->outcome != IDEM_CLAIMED);
	row->outcome = answer->outcome;
	row->fingerprint = key->fingerprint;
	row->response = answer->response;
	row->response_isnull = answer->response_isnull;
	if (key->withheld)
	{
		row->response = idem_answer_withheld();
		row->response_isnull = false;
	}
	else if (!row->response_isnull)
		idem_settings_check_response(toast_raw_datum_size(row->response),
									 "result");
	row->refused = (answer->refused != NULL);
	if (row->refused)
		row->sqlstate = CStringGetTextDatum(answer->refused);
	row->fence = 1;
	row->claimed_by = key->role;
	row->request_isnull = true;
	row->created_at = key->now;
	row->expires_at = key->expires_at;
}

/* Remembers what came of a key's work, and gives back the key's lock. */
static void
finish(IdemKey *key, const IdemAnswer *answer)
{
	IdemKeyRow	row;

	idem_current_key_end(key);
	idem_key_fill_row(key, answer, &row);
	if (!key->expired)
		idem_key_write_insert(key, &row);
	else if (!idem_key_write_renew(key, &row))
		error_not_renewed(key);
	idem_key_lock_release(key);
	idem_stats_counter_hit(IDEM_COUNT_KEY_NEW);
	if (row.refused)
		idem_stats_counter_hit(IDEM_COUNT_KEY_FAILED);
}

/*
 * Runs a call under its key: does the work, unless the key remembers that it has
 * been done.  In either case answer is what came of it.  Waits, as any lock does,
 * for another session that works under the same key, unless the call does not want
 * to: then answer is that the work is in progress.
 *
 * Returns whether the call is a replay.  Every call that does its work itself goes
 * through here, or with others through key_many.c; claims, whose work is done
 * elsewhere, have lease_claim.c and lease.c.
 *
 * Raises 42501 when the key is another role's, ID001 when it was used for a
 * different request, what idem_key_find does, and whatever the work raises, unless
 * that is to be remembered; 54000 when the response is too long to be kept, 40001
 * when another session renewed an expired key without taking the lock, 27000 when
 * a trigger or a rule on the table of keys keeps the row out.
 */
bool
idem_key_run(IdemKey *key, IdemKeyWork work, void *call, IdemAnswer *answer)
{
	Work		stands = begin(key, answer);

	if (stands == TO_BE_DONE)
	{
		if (key->refusals == NULL)
			work(call, answer);
		else
			idem_refusal_run(key->refusals, work, call, answer);
		finish(key, answer);
	}
	return stands == DONE;
}

/*
 * Begins the work of a key that ends with its transaction.  Returns whether it has
 * been done: then answer is what came of it.  If not, the lock of the key is held on
 * return, and the key has to stay where it is.  Raises what idem_key_run does.
 */
bool
idem_key_begin(IdemKey *key, IdemAnswer *answer)
{
	Assert(!key->no_wait);
	return begin(key, answer) == DONE;
}

/* Ends such work: remembers what came of it, and gives back the key's lock. */
void
idem_key_end(IdemKey *key, const IdemAnswer *answer)
{
	finish(key, answer);
}
