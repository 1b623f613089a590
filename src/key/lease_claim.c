/*
 * lease_claim.c
 *	  Claims of keys: how a session gets one, and how one shows.
 *
 * What a claim is, and which caller holds it, stands in lease.c.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "key/checkpoints.h"
#include "key/key_lock.h"
#include "key/key_write.h"
#include "key/lease_claim.h"
#include "stats/stats_counter.h"

/* May the caller know of this claim, and is it of the same request? */
static void
check_request(const IdemKey *key, const IdemKeyRow *row)
{
	idem_key_table_check_owner(row, key->name);
	idem_key_table_check_request(row, key->name,
								 idem_key_table_is_claim(row) &&
								 (row->fingerprint_isnull ||
								  key->fingerprint_isnull ||
								  idem_key_table_is_of(row, &key->fingerprint)));
}

/*
 * Makes a row what it shows: as long as a claim is not answered, its last checkpoint
 * is the response; and one without a lease shows none, also if it took over.
 */
static void
make_shown(IdemKeyRow *row)
{
	if (row->outcome == IDEM_IN_PROGRESS || row->outcome == IDEM_ABANDONED)
		row->response = idem_checkpoints_last(row, &row->response_isnull);
	else
		row->leased = false;
}

/* Makes what was found of a key into the row of a new claim. */
static void
begin_claim(const IdemKey *key, IdemKeyState found, IdemKeyRow *row)
{
	if (found != IDEM_KEY_LAPSED)
	{
		row->fingerprint_isnull = true;
		row->response_isnull = true;
		row->request_isnull = true;
		row->refused = false;
		row->checkpoints_isnull = true;
		row->leased = false;
	}
	if (!key->fingerprint_isnull)
	{
		row->fingerprint = key->fingerprint;
		row->fingerprint_isnull = false;
	}
	Assert(row->fence == row->version.fence);
	/* which no claims have come to, so others have written it there */
	if (row->fence == PG_INT64_MAX)
		idem_answer_error("a claim");
	row->fence++;
	row->claimed_by = key->role;
	row->created_at = key->now;
	row->expires_at = key->expires_at;
	if (key->lease != NULL)
	{
		row->outcome = IDEM_IN_PROGRESS;
		row->leased = true;
		row->ever_leased = true;
		row->lease_until = key->lease_until;
		row->expires_at = Max(row->expires_at, row->lease_until);
		if (!key->fingerprint_isnull)
		{
			row->request = key->request;
			row->request_isnull = false;
		}
	}
	else
		row->outcome = IDEM_COMPLETED;
}

/* Is a row that could not be locked another by now, or elsewhere? */
static bool
has_moved(const IdemKey *key, const IdemKeyRow *row)
{
	IdemKeyRow	now;

	return idem_key_read(key, 0, 0, &now) != IDEM_KEY_BUSY &&
		!idem_key_table_same_version(&row->version, &now.version);
}

/*
 * Claims a key, or finds out how it stands.
 *
 * True: row says how, with "claimed" as outcome if the caller has the key now, and
 * then what the last holder left as a checkpoint.  False, unless wait is true:
 * another transaction uses the key.
 *
 * Raises 42501 when the key is another role's, ID001 when it was used for a
 * different request, 27000 when a trigger keeps its row from being written, and
 * what idem_key_find does.
 */
bool
idem_lease_claim(IdemKey *key, bool wait, IdemKeyRow *row)
{
	for (;;)
	{
		IdemKeyState found = idem_key_find(key, wait, row);
		bool		ours;

		if (found == IDEM_KEY_BUSY)
			break;
		if (found == IDEM_KEY_LIVE || found == IDEM_KEY_LAPSED)
			check_request(key, row);
		if (found == IDEM_KEY_LIVE)
		{
			make_shown(row);
			idem_stats_counter_hit(row->outcome == IDEM_IN_PROGRESS ?
								   IDEM_COUNT_KEY_IN_PROGRESS :
								   IDEM_COUNT_KEY_REPLAYED);
			return true;
		}

		/* a purge takes no lock of the key, and may be deleting the row */
		if (found != IDEM_KEY_ABSENT && !wait && !idem_key_write_lock_row(key, row))
		{
			idem_key_lock_release(key);
			if (!has_moved(key, row))
				break;
			CHECK_FOR_INTERRUPTS();
			continue;
		}

		Assert(idem_key_lock_is_held(key));
		begin_claim(key, found, row);
		if (found == IDEM_KEY_ABSENT)
		{
			idem_key_write_insert(key, row);
			ours = true;
		}
		else
			ours = idem_key_write_replace(key, row, found == IDEM_KEY_EXPIRED ?
										  IDEM_NEW_VALUES :
										  key->fingerprint_isnull ? 0 :
										  IDEM_NEW_REQUEST);
		idem_key_lock_release(key);
		if (ours)
		{
			row->outcome = IDEM_CLAIMED;
			row->leased = (key->lease != NULL);
			row->response = idem_checkpoints_last(row, &row->response_isnull);
			idem_stats_counter_hit(found == IDEM_KEY_LAPSED ?
								   IDEM_COUNT_KEY_TAKEOVER : IDEM_COUNT_KEY_NEW);
			return true;
		}
		idem_key_missed(key, row);
	}
	idem_stats_counter_hit(IDEM_COUNT_KEY_IN_PROGRESS);
	return false;
}

/*
 * How a key stands, without waiting and without writing; what the row shows only
 * with IDEM_WITH_VALUES.  Raises 42501 when the key is another role's, 40001 when it
 * was used after the transaction's snapshot was taken.
 */
IdemKeyState
idem_lease_claim_look_up(IdemKey *key, int options, IdemKeyRow *row)
{
	IdemKeyState found = idem_key_probe(key, options, row);

	if (found == IDEM_KEY_LIVE || found == IDEM_KEY_LAPSED)
	{
		idem_key_table_check_owner(row, key->name);
		if ((options & IDEM_WITH_VALUES) != 0)
			make_shown(row);
	}
	if (found == IDEM_KEY_LAPSED)
		row->outcome = IDEM_ABANDONED;
	return found;
}

/* Is a key, as it was found, one whose work is in progress? */
bool
idem_lease_claim_is_pending(IdemKeyState found, const IdemKeyRow *row)
{
	return found == IDEM_KEY_BUSY ||
		(found == IDEM_KEY_LIVE && row->outcome == IDEM_IN_PROGRESS);
}
