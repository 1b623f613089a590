/*
 * key_many.c
 *	  Keys whose work is done together.
 *
 * Each is locked and looked for as key.c does it, and its work done before the next
 * one is, but they share what that takes to set up, and their rows enter the table
 * together, at the end.  Only the plain cases are dealt with here: a key that has no
 * row, and one whose row answers the call of the very role that wrote it.  All others
 * are left to key.c, and so is any that has to be waited for.
 *
 * The keys come in order.  Until a key's row is written, its lock is in the way of
 * other sessions, as the row would be.  None is locked whose work has not begun, since
 * that of one before it may have to wait, for a row say.  So sessions wait for each
 * other as if each key was run alone.
 */
#include "postgres.h"

#include "storage/lmgr.h"

#include "key/key_lock.h"
#include "key/key_many.h"
#include "key/key_write.h"
#include "stats/stats_counter.h"

void
idem_key_many_begin(IdemKeyMany *many)
{
	many->looks_first = false;
	many->count = 0;
	many->done = 0;
	many->replays = 0;
	many->at = 0;
	idem_key_table_begin(&many->search, IDEM_WITH_VALUES);
}

static IdemKeyState
find(IdemKeyMany *many, IdemKey *key, IdemKeyRow *row)
{
	idem_key_set_clock(key);
	return idem_key_table_next(&many->search, key->scope, key->key, key->now,
							   row);
}

/* Is a live row the answer, without a question of rights or of snapshots? */
static bool
answers(const IdemKeyRow *row, const IdemKey *key)
{
	return !row->unseen && row->claimed_by == key->role &&
		idem_key_row_is_of(row, key);
}

/* Has one of the keys that name in the lock table? */
static bool
has_lock_of(const IdemKeyMany *many, const IdemKey *key)
{
	for (int i = 0; i < many->count; i++)
	{
		if (many->keys[i]->hash == key->hash)
			return true;
	}
	return false;
}

/*
 * Locks a key without waiting, and finds out whether it is absent still.  The first
 * has the table locked, too, as it is to write a row, and found to be as it was
 * installed: else what is attached to it could tell that the rows come together.
 */
static bool
lock_absent(IdemKeyMany *many, IdemKey *key, IdemKeyRow *row,
			IdemKeyState *found)
{
	Relation	rel = many->search.rel;
	bool		first = (many->count == 0);

	if (has_lock_of(many, key))
		return false;
	if (first)
		LockRelationOid(RelationGetRelid(rel), RowExclusiveLock);
	if ((!first || idem_key_write_is_plain(rel)) && idem_key_lock_take(key))
	{
		*found = find(many, key, row);
		if (*found == IDEM_KEY_ABSENT)
			return true;
		/* a live row stands for itself, others are for key.c to lock */
		idem_key_lock_release(key);
	}
	if (first)
		UnlockRelationOid(RelationGetRelid(rel), RowExclusiveLock);
	return false;
}

/*
 * Adds a key, which is to stay where it is until they are finished, and whose work,
 * if it is to be done, comes before the next is added.  Where it is likely that it
 * has been done, the key is looked for before it is locked: only a row that is found
 * counts then.
 *
 * Raises 55006 when a call that this one runs inside of has the key, 22023 for times
 * that are not valid.
 */
IdemKeyStand
idem_key_many_add(IdemKeyMany *many, IdemKey *key, bool may_work,
				  IdemAnswer *answer)
{
	IdemKeyRow	row;
	IdemKeyState found = IDEM_KEY_ABSENT;

	Assert(!may_work || many->count < IDEM_KEY_MANY_MAX);
	Assert(many->done == many->count);
	Assert(!key->no_wait && key->store == NULL);
	key->claims = true;
	if (many->looks_first || !may_work)
		found = find(many, key, &row);
	if (found == IDEM_KEY_ABSENT && may_work &&
		lock_absent(many, key, &row, &found))
	{
		many->looks_first = false;
		many->keys[many->count++] = key;
		return IDEM_KEY_TO_BE_DONE;
	}
	if (found != IDEM_KEY_LIVE || !answers(&row, key))
		return IDEM_KEY_BY_ITSELF;
	many->looks_first = true;
	many->replays++;
	answer->outcome = row.outcome;
	answer->response = row.response;
	answer->response_isnull = row.response_isnull;
	return IDEM_KEY_DONE;
}

/*
 * The work of the key that was added last is done; answer, which is to stay where it
 * is, is what came of it.  Raises 54000 when that is too long to be kept.
 */
void
idem_key_many_done(IdemKeyMany *many, const IdemAnswer *answer)
{
	Assert(many->done == many->count - 1);
	idem_key_fill_row(many->keys[many->done], answer, &many->rows[many->done]);
	many->done++;
}

/*
 * Remembers what came of the work of the keys, but for the last where that has not been
 * done, and gives back the locks of all.  Raises 27000 when a trigger or a rule on the
 * table of keys keeps a row out.
 */
void
idem_key_many_finish(IdemKeyMany *many)
{
	idem_key_table_end(&many->search, false);
	if (many->done > 0)
	{
		idem_key_write_insert_many(many->done, many->keys, many->rows, &many->at);
		idem_stats_counter_add(IDEM_COUNT_KEY_NEW, many->done);
	}
	for (int i = 0; i < many->count; i++)
		idem_key_lock_release(many->keys[i]);
	idem_stats_counter_add(IDEM_COUNT_KEY_REPLAYED, many->replays);
}
