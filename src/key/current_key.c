/*
 * current_key.c
 *	  The key whose work is being done, for the history of what it does.
 *
 * The work of a key may be anything, triggers and other calls included, and a
 * transition that comes about in it is the key's.  Calls may be nested; the
 * innermost one that has a key counts.
 *
 * The work may fail.  Then its subtransaction is aborted, and whatever keys were
 * begun in that are forgotten with it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "key/current_key.h"

typedef struct Keyed
{
	const IdemKey *key;			/* in the memory of the call that has it */
	int			level;			/* of the subtransaction that it began in */
	struct Keyed *outer;		/* the call that this one is part of */
} Keyed;

static Keyed *current = NULL;	/* in TopTransactionContext */

/* Begins the work of a key, which is to stay where it is until the end. */
void
idem_current_key_begin(const IdemKey *key)
{
	Keyed	   *keyed = MemoryContextAlloc(TopTransactionContext, sizeof(Keyed));

	keyed->key = key;
	keyed->level = GetCurrentTransactionNestLevel();
	keyed->outer = current;
	Assert(current == NULL || current->level <= keyed->level);
	current = keyed;
}

static void
end_last(void)
{
	Keyed	   *keyed = current;

	current = keyed->outer;
	pfree(keyed);
}

/* Ends the work of a key, if that is what began last. */
void
idem_current_key_end(const IdemKey *key)
{
	if (current != NULL && current->key == key)
		end_last();
}

/* The key whose work is being done; NULL: none. */
const IdemKey *
idem_current_key(void)
{
	return current == NULL ? NULL : current->key;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	/* what it points to goes with the transaction */
	current = NULL;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine,
					 SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	/* a transaction that has a key began with it in a savepoint, perhaps */
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Keyed *keyed = current; keyed != NULL && keyed->level == level;
			 keyed = keyed->outer)
			keyed->level--;
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (current != NULL &&
		   current->level >= level)
		end_last();
}

/* Registers for the ends of transactions.  To be called once, from _PG_init. */
void
idem_current_key_init(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}
