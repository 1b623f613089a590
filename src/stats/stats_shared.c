/*
 * stats_shared.c
 *	  The counters of all databases, in shared memory.
 *
 * Each database has a slot, which the first session that counts anything there
 * takes; those for which there is none share the slot 0.  A slot is given to
 * another database once its own is no more.  Only sessions of a database write to
 * its counters, so none does by then.
 *
 * A slot has several stripes of counters, of which a process uses one: sessions
 * that count at the same time seldom write to the same cache line.  What was
 * counted is the sum of all.
 *
 * AddinShmemInitLock is held where a slot is taken.  The counters take no lock.
 *
 * Where there is no memory (stats_memory.c), nothing is counted, and no call fails
 * for that.  A crash of a server process takes all of it, so all counters begin again
 * together.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "stats/stats_counter.h"
#include "stats/stats_memory.h"
#include "stats/stats_shared.h"

#define SLOTS			(64 + 1)
#define STRIPES			16
/* where only what the server has left over can be had */
#define FEW_SLOTS		(2 + 1)
#define FEW_STRIPES		4

typedef struct Slot
{
	pg_atomic_uint32 database;	/* InvalidOid: of none, or of the others */
	pg_atomic_uint32 used;		/* by anybody, of slot 0 */
	pg_atomic_uint64 reset_at;	/* TimestampTz */
	slock_t		lock;			/* of what follows */
	IdemStatsPass pass;
	IdemStatsLeases leases;
} Slot;

typedef struct Shared
{
	int			nslots;
	int			nstripes;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
	/* stripes of all slots follow */
} Shared;

#define STRIPE_SIZE \
	CACHELINEALIGN(sizeof(pg_atomic_uint64) * IDEM_COUNTERS)

static Shared *shared = NULL;
static bool unavailable = false;	/* has it turned out that there is none? */
static int	mine = 0;			/* slot of the current database */
static pg_atomic_uint64 * my_stripe = NULL; /* this process's in it */

static Size
stripes_offset(int nslots)
{
	return CACHELINEALIGN(offsetof(Shared, slots) + nslots * sizeof(Slot));
}

static Size
shared_size(int nslots, int nstripes)
{
	return stripes_offset(nslots) + nslots * nstripes * STRIPE_SIZE;
}

static pg_atomic_uint64 *
stripe_of(int slot, int stripe)
{
	Assert(slot < shared->nslots && stripe < shared->nstripes);
	return (pg_atomic_uint64 *) ((char *) shared +
								 stripes_offset(shared->nslots) +
								 (slot * shared->nstripes + stripe) * STRIPE_SIZE);
}

static void
fill(void *memory, bool all)
{
	Shared	   *new = memory;
	int			nslots = all ? SLOTS : FEW_SLOTS;
	int			nstripes = all ? STRIPES : FEW_STRIPES;

	memset(new, 0, shared_size(nslots, nstripes));
	new->nslots = nslots;
	new->nstripes = nstripes;
	for (int i = 0; i < nslots; i++)
	{
		Slot	   *slot = &new->slots[i];

		pg_atomic_init_u32(&slot->database, InvalidOid);
		pg_atomic_init_u32(&slot->used, 0);
		pg_atomic_init_u64(&slot->reset_at, (uint64) GetCurrentTimestamp());
		SpinLockInit(&slot->lock);
	}
	for (int i = 0; i < nslots * nstripes; i++)
	{
		pg_atomic_uint64 *stripe = (pg_atomic_uint64 *)
			((char *) new + stripes_offset(nslots) + i * STRIPE_SIZE);

		for (int c = 0; c < IDEM_COUNTERS; c++)
			pg_atomic_init_u64(&stripe[c], 0);
	}
}

/* The slot that a database has; 0: none. */
static int
find_slot(Oid database)
{
	for (int i = 1; i < shared->nslots; i++)
	{
		if (pg_atomic_read_u32(&shared->slots[i].database) == database)
			return i;
	}
	return 0;
}

static void
clear_slot(int number)
{
	Slot	   *slot = &shared->slots[number];

	for (int i = 0; i < shared->nstripes; i++)
	{
		pg_atomic_uint64 *stripe = stripe_of(number, i);

		for (int c = 0; c < IDEM_COUNTERS; c++)
			pg_atomic_write_u64(&stripe[c], 0);
	}
	pg_atomic_write_u64(&slot->reset_at, (uint64) GetCurrentTimestamp());
}

/* Gives a slot to the current database.  AddinShmemInitLock is held. */
static void
give_slot(int number)
{
	Slot	   *slot = &shared->slots[number];

	clear_slot(number);
	SpinLockAcquire(&slot->lock);
	memset(&slot->pass, 0, sizeof(IdemStatsPass));
	memset(&slot->leases, 0, sizeof(IdemStatsLeases));
	SpinLockRelease(&slot->lock);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->database, MyDatabaseId);
}

/* Has a database been dropped?  No session of it can be there any more, then. */
static bool
is_gone(Oid database)
{
	return OidIsValid(database) &&
		!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
}

/* Takes back a slot, by number, whose database has been dropped; 0: there is none. */
static int
find_abandoned(Oid *database)
{
	for (int i = 1; i < shared->nslots; i++)
	{
		*database = pg_atomic_read_u32(&shared->slots[i].database);
		if (is_gone(*database))
			return i;
	}
	return 0;
}

/*
 * The slot of the current database: its own, or a free one, or that of a database
 * that is no more, or 0.
 */
static int
take_slot(void)
{
	int			number = find_slot(MyDatabaseId);
	Oid			former = InvalidOid;
	int			abandoned = 0;

	if (number != 0)
		return number;
	/* the catalog is not to be read under the lock */
	if (find_slot(InvalidOid) == 0)
		abandoned = find_abandoned(&former);

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	number = find_slot(MyDatabaseId);
	if (number == 0)
	{
		number = find_slot(InvalidOid);
		if (number == 0 && abandoned != 0 &&
			pg_atomic_read_u32(&shared->slots[abandoned].database) == former)
			number = abandoned;
		if (number != 0)
			give_slot(number);
	}
	LWLockRelease(AddinShmemInitLock);
	return number;
}

/* Finds the counters that this process is to use, unless there are none. */
static void
attach(void)
{
	Assert(CritSectionCount == 0);
	if (unavailable || !OidIsValid(MyDatabaseId) || !IsTransactionState())
		return;
	if (shared == NULL)
		shared = idem_stats_memory_open(shared_size(SLOTS, STRIPES),
										shared_size(FEW_SLOTS, FEW_STRIPES),
										fill);
	if (shared == NULL)
	{
		unavailable = true;
		return;
	}
	mine = take_slot();
	if (mine == 0)
		pg_atomic_write_u32(&shared->slots[0].used, 1);
	my_stripe = stripe_of(mine, IDEM_PROCESS_NUMBER % shared->nstripes);
}

/*
 * The counters of the current database that this process counts with; NULL: there
 * are none, or this is not the moment to look for them.
 */
pg_atomic_uint64 *
idem_stats_shared_stripe(void)
{
	if (unlikely(my_stripe == NULL))
		attach();
	return my_stripe;
}

/* Where the counters of the current database are. */
IdemStatsPlace
idem_stats_shared_place(void)
{
	if (idem_stats_shared_stripe() == NULL)
		return IDEM_STATS_OFF;
	return mine == 0 ? IDEM_STATS_COMMON : IDEM_STATS_OWN;
}

/* The number of the slot of the current database. */
int
idem_stats_shared_mine(void)
{
	return mine;
}

/* How many slots there are, used or not; 0 where nothing is counted. */
int
idem_stats_shared_slots(void)
{
	return idem_stats_shared_stripe() == NULL ? 0 : shared->nslots;
}

/* Whose a slot is, if it is anybody's. */
bool
idem_stats_shared_slot(int number, IdemStatsSlot *slot)
{
	Slot	   *found = &shared->slots[number];

	slot->database = pg_atomic_read_u32(&found->database);
	slot->reset_at = (TimestampTz) pg_atomic_read_u64(&found->reset_at);
	if (number == 0)
		return pg_atomic_read_u32(&found->used) != 0;
	return OidIsValid(slot->database);
}

/* What has been counted in a slot. */
uint64
idem_stats_shared_sum(int number, int counter)
{
	uint64		sum = 0;

	for (int i = 0; i < shared->nstripes; i++)
		sum += pg_atomic_read_u64(&stripe_of(number, i)[counter]);
	return sum;
}

/* Sets the counters of the current database to zero. */
void
idem_stats_shared_reset(void)
{
	if (idem_stats_shared_stripe() == NULL)
		return;
	clear_slot(mine);
}

/*
 * The slot of the current database, unless others share it: then nobody could tell
 * what was noted there of which.
 */
static Slot *
own_slot(void)
{
	return idem_stats_shared_place() == IDEM_STATS_OWN ? &shared->slots[mine] : NULL;
}

/* Keeps what a pass over the current database has found. */
void
idem_stats_shared_set_pass(const IdemStatsPass *pass)
{
	Slot	   *slot = own_slot();

	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->lock);
	slot->pass = *pass;
	SpinLockRelease(&slot->lock);
}

/*
 * What the last pass over the current database has found, all zero where there was
 * none, or nobody could note it.
 */
void
idem_stats_shared_get_pass(IdemStatsPass *pass)
{
	Slot	   *slot = own_slot();

	memset(pass, 0, sizeof(IdemStatsPass));
	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->lock);
	*pass = slot->pass;
	SpinLockRelease(&slot->lock);
}

/* Keeps what is known of the leases of the current database. */
void
idem_stats_shared_set_leases(const IdemStatsLeases *leases)
{
	Slot	   *slot = own_slot();

	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->lock);
	slot->leases = *leases;
	SpinLockRelease(&slot->lock);
}

/*
 * What is known of the leases of the current database.  False: nothing, and nobody
 * could note it.
 */
bool
idem_stats_shared_get_leases(IdemStatsLeases *leases)
{
	Slot	   *slot = own_slot();

	if (slot == NULL)
		return false;
	SpinLockAcquire(&slot->lock);
	*leases = slot->leases;
	SpinLockRelease(&slot->lock);
	return true;
}

/* Asks for the memory where that has to be done early.  To be called from _PG_init. */
void
idem_stats_shared_init(void)
{
	idem_stats_memory_init(shared_size(SLOTS, STRIPES));
}
