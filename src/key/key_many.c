/*
 * key_many.c
 *	  Keys whose work is done together.
 *
 * Each is locked, looked for and written as key.c does it, but they share what that
 * takes to set up, and their rows enter the table together.  Only the plain cases
 * are dealt with here: a key that has no row, and one whose row answers the call of
 * the very role that wrote it.  All others are left to key.c, and so is any that has
 * to be waited for: nothing is waited for here, where other keys are held whose work
 * has not even begun.
 *
 * The keys come in order.  Those whose work is done are finished before a later one
 * is waited for, so that sessions wait for each other in that order, as if each key
 * was run alone.
 */
#include "postgres.h"

#include "key/key_lock.h"
#include "key/key_many.h"
#include "key/key_write.h"
#include "stats/stats_counter.h"

void
idem_key_many_begin(IdemKeyMany *many)
{
	many->looks_first = false;
	many->count = 0;
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

/* Locks a key without waiting, and finds out whether it is absent still. */
static bool
lock_absent(IdemKeyMany *many, IdemKey *key, IdemKeyRow *row,
			IdemKeyState *found)
{
	if (!idem_key_lock_take(key))
		return false;
	*found = find(many, key, row);
	if (*found == IDEM_KEY_ABSENT)
		return true;
	/* a live row stands for itself, others are for key.c to lock */
	idem_key_lock_release(key);
	return false;
}

/*
 * Adds a key, which is to stay where it is until they are finished.  Where it is
 * likely that its work has been done, it is looked for before it is locked: only a
 * row that is found counts then.
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
	Assert(!key->no_wait);
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
	answer->outcome = row.outcome;
	answer->response = row.response;
	answer->response_isnull = row.response_isnull;
	return IDEM_KEY_DONE;
}

/* To be called when the last has been added, before any work is done. */
void
idem_key_many_ready(IdemKeyMany *many)
{
	idem_key_table_end(&many->search);
}

/*
 * Remembers what came of the work of the first so many keys, gives back the locks of
 * all, and counts so many that were done before.  Raises 54000 when a response is too
 * long to be kept, 27000 when a trigger or a rule on the table of keys keeps a row out.
 */
void
idem_key_many_finish(IdemKeyMany *many, int count, IdemAnswer *const *answers,
					 int replays)
{
	Assert(count <= many->count);
	if (count > 0)
	{
		IdemKeyRow *rows = palloc(sizeof(IdemKeyRow) * count);

		for (many->at = 0; many->at < count; many->at++)
			idem_key_fill_row(many->keys[many->at], answers[many->at],
							  &rows[many->at]);
		idem_key_write_insert_many(count, many->keys, rows, &many->at);
		pfree(rows);
		idem_stats_counter_add(IDEM_COUNT_KEY_NEW, count);
	}
	for (int i = 0; i < many->count; i++)
		idem_key_lock_release(many->keys[i]);
	idem_stats_counter_add(IDEM_COUNT_KEY_REPLAYED, replays);
}
