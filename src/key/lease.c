/*
 * lease.c
 *	  Claims of keys: until when one is held, by which caller, and how it ends.
 *
 * A claim under a lease is a row in progress.  The caller that has its fence holds
 * it, also past the lease, as long as no other has taken it over; taking over
 * raises the fence, and a call with the fence of before fails.  The fence must
 * therefore never go back while a former holder may come back: a released claim
 * stays where it is, as abandoned, which its fence holds no more.  A claim whose
 * lease is over shows as abandoned as well.
 *
 * A claim without a lease is held by its transaction.  Its row is written as it is
 * to be found if the transaction commits without another word: completed, without
 * a response.
 *
 * Where a claim without a lease takes over, lease_until stays a time until it is
 * completed, which tells that the row was there before: if the claim is released,
 * the row is left to the next one, with its checkpoints.
 *
 * A session that writes a row has held the lock of its key since finding it, and
 * writes over the very version that was found.
 */
#include "postgres.h"

#include "common/int.h"

#include "base/error.h"
#include "base/settings.h"
#include "key/checkpoints.h"
#include "key/key_lock.h"
#include "key/key_write.h"
#include "key/lease.h"
#include "stats/stats_counter.h"

/* How a claim stands towards a caller that has its fence. */
typedef enum Standing
{
	HELD_BY_FENCE,				/* in progress */
	HELD_BY_TRANSACTION,		/* by this one, without a lease, not ended yet */
	ENDED
} Standing;

pg_noreturn static void
error_lost(const IdemKey *key, const char *detail)
{
	idem_stats_counter_hit(IDEM_COUNT_KEY_STALE_FENCE);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_LEASE_LOST),
			 errmsg("claim of key \"%s\" is lost", key->name),
			 errdetail_internal("%s", detail),
			 errhint("Roll back what was written under the claim, then claim the key again to learn how it stands.")));
}

/*
 * Finds the claim that a caller says to hold, and locks its key.
 *
 * Raises ID003 when there is none, ID002 when its fence is another or it was
 * released, 42501 when it is another role's, 55000 when the key belongs to no
 * claim, 22004 when a fence is needed and none is given, and what
 * idem_key_find_locked, which takes the options, does.
 */
static Standing
find_claim(IdemKey *key, const int64 *fence, int options, IdemKeyRow *row)
{
	IdemKeyState found = idem_key_find_locked(key, options, row);

	if (found == IDEM_KEY_ABSENT || found == IDEM_KEY_EXPIRED)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_NO_CLAIM),
				 errmsg("key \"%s\" is not claimed", key->name),
				 errdetail("It was never claimed in this scope, or has expired."),
				 errhint("Roll back what was written under the claim, then claim the key again; a ttl should be longer than the work ever takes.")));
	idem_key_table_check_owner(row, key->name);
	if (!idem_key_table_is_claim(row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key \"%s\" is not that of a claim", key->name),
				 errdetail("It was used for %s, with outcome \"%s\".",
						   idem_outcome_call(row->outcome),
						   idem_outcome_name(row->outcome)),
				 errhint("Only what idem_claim() began is completed, failed, released or extended.")));
	if (fence != NULL && *fence != row->fence)
		error_lost(key, psprintf(_("Its fence is %lld, not %lld: role \"%s\" claimed it at %s."),
								 (long long) row->fence, (long long) *fence,
								 idem_key_table_claimer(row),
								 timestamptz_to_str(row->created_at)));
	if (row->outcome == IDEM_IN_PROGRESS || row->outcome == IDEM_ABANDONED)
	{
		if (fence == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"fence\" must not be null"),
					 errdetail("The claim of key \"%s\" has a lease.", key->name),
					 errhint("Give the fence that idem_claim() returned.")));
		if (row->outcome == IDEM_ABANDONED)
			error_lost(key, psprintf(_("It was released at %s."),
									 timestamptz_to_str(row->lease_until)));
		return HELD_BY_FENCE;
	}
	if (row->outcome == IDEM_COMPLETED && row->ours && row->response_isnull)
		return HELD_BY_TRANSACTION;
	return ENDED;
}

/* Finds a claim that has to be in progress; otherwise raises ID002, too. */
static void
find_lease(IdemKey *key, int64 fence, int options, IdemKeyRow *row)
{
	if (find_claim(key, &fence, options, row) != HELD_BY_FENCE)
		error_lost(key, _("The claim has ended, or has no lease."));
}

/*
 * Writes a row that was found back, with the values that are new, and gives back the
 * lock of its key.  False if it has to be found again; raises what idem_key_missed
 * raises.
 */
static bool
write_back(IdemKey *key, const IdemKeyRow *row, int news)
{
	bool		written = idem_key_write_replace(key, row, news);

	idem_key_lock_release(key);
	if (!written)
		idem_key_missed(key, row);
	return written;
}

/*
 * Until when to keep a response: for the time given with it, or else for as long
 * from now on as was meant at the claim, or longer where the lease was extended
 * beyond that, but not for longer than idem.max_ttl.
 */
static TimestampTz
kept_until(const IdemKey *key, const IdemKeyRow *row)
{
	TimestampTz until;

	if (key->ttl != NULL)
		return key->expires_at;
	if (TIMESTAMP_NOT_FINITE(row->expires_at) ||
		pg_add_s64_overflow(key->now,
							idem_settings_cap_ttl(row->expires_at - row->created_at),
							&until) ||
		!IS_VALID_TIMESTAMP(until))
		return row->expires_at;
	return until;
}

/*
 * Ends a claim as completed or failed, with a response that is not SQL's null.
 * False if it has ended already; then the first response stays.  Errors are
 * those of find_claim.
 */
bool
idem_lease_end(IdemKey *key, const int64 *fence, IdemOutcome outcome,
			   Datum response)
{
	IdemKeyRow	row;

	Assert(outcome == IDEM_COMPLETED || outcome == IDEM_FAILED);
	do
	{
		if (find_claim(key, fence, 0, &row) == ENDED)
		{
			idem_key_lock_release(key);
			idem_stats_counter_hit(IDEM_COUNT_KEY_REPLAYED);
			return false;
		}
		row.outcome = outcome;
		row.response = response;
		row.response_isnull = false;
		/* the time of one without a lease has only just begun */
		if (row.leased || key->ttl != NULL)
			row.expires_at = kept_until(key, &row);
		row.leased = false;
	} while (!write_back(key, &row, IDEM_NEW_RESPONSE));
	if (outcome == IDEM_FAILED)
		idem_stats_counter_hit(IDEM_COUNT_KEY_FAILED);
	return true;
}

/* Makes the row of a claim into that of one that was released. */
static void
abandon(const IdemKey *key, bool forget, IdemKeyRow *row)
{
	Assert(row->expires_at > key->now);
	row->outcome = IDEM_ABANDONED;
	row->leased = true;
	row->lease_until = key->now;
	if (forget)
	{
		row->fingerprint_isnull = true;
		row->response_isnull = true;
		row->request_isnull = true;
		row->checkpoints_isnull = true;
	}
}

/*
 * Gives up a claim, so that another caller can have the key at once: for the same
 * request, or for any, if this one is to be forgotten.  From then on its fence
 * holds nothing.  False if it has ended already.  Errors are those of find_claim.
 */
bool
idem_lease_release(IdemKey *key, const int64 *fence, bool forget)
{
	IdemKeyRow	row;
	bool		done;

	do
	{
		Standing	standing = find_claim(key, fence, 0, &row);

		if (standing == ENDED)
		{
			idem_key_lock_release(key);
			return false;
		}
		if (standing == HELD_BY_FENCE || row.leased)
		{
			abandon(key, forget, &row);
			done = write_back(key, &row, forget ? IDEM_NEW_VALUES : 0);
		}
		else if (row.fence > 1)
		{
			/* was there before, and expired; no other session sees the claim */
			row.expires_at = key->now;
			done = write_back(key, &row, 0);
		}
		else
		{
			done = idem_key_write_remove(key, &row);
			idem_key_lock_release(key);
			if (!done)
				idem_key_missed(key, &row);
		}
	} while (!done);
	idem_stats_counter_hit(IDEM_COUNT_KEY_RELEASED);
	return true;
}

/*
 * Prolongs a lease, from now on, and returns until when it is held; that is never
 * earlier than before.  Errors are those of find_claim, and ID002 when the claim
 * has ended.
 */
TimestampTz
idem_lease_extend(IdemKey *key, int64 fence)
{
	IdemKeyRow	row;

	do
	{
		find_lease(key, fence, 0, &row);
		row.lease_until = Max(row.lease_until, key->lease_until);
		row.expires_at = Max(row.expires_at, row.lease_until);
		Assert(row.outcome == IDEM_IN_PROGRESS && row.lease_until > key->now);
	} while (!write_back(key, &row, 0));
	return row.lease_until;
}

/*
 * Records a step that the holder of a lease has come to, with data unless that is
 * NULL.  Errors are those of idem_lease_extend, and of idem_checkpoints_add.
 */
void
idem_lease_checkpoint(IdemKey *key, int64 fence, text *name, Jsonb *data)
{
	IdemKeyRow	row;

	do
	{
		find_lease(key, fence, IDEM_WITH_VALUES, &row);
		row.checkpoints = idem_checkpoints_add(&row, name, data, key->now);
		row.checkpoints_isnull = false;
	} while (!write_back(key, &row, IDEM_NEW_CHECKPOINTS));
}
