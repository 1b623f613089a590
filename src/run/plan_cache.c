/*
 * plan_cache.c
 *	  The plans of the caller's statements that a session keeps.
 *
 * They are in a table of a bounded size, ordered by use.  What they are of, and
 * whether they still hold, is the business of spi_caller.c, the only file that
 * calls this one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "run/plan_cache.h"
#include "run/spi.h"

/*
 * So many plans are kept, and so many bytes of signatures, since a statement
 * may be written by the caller and its plan is the larger the longer it is.
 */
#define MAX_PLANS		256
#define MAX_SIGNATURES	(1024 * 1024)

/* A plan in the table. */
typedef struct Entry
{
	IdemPlanSignature signature;	/* hash key, must be first; data is owned */
	dlist_node	node;			/* in the order of use */
	IdemPlan   *plan;
} Entry;

static HTAB *entries = NULL;
static int	nentries = 0;
static Size signatures = 0;		/* bytes of all of them */
static dlist_head by_use = DLIST_STATIC_INIT(by_use);	/* latest first */

/* Have roles changed since a plan was last about to be used? */
static bool roles_changed = false;

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_changed = true;
}

static uint32
signature_hash(const void *key, Size keysize)
{
	const IdemPlanSignature *signature = key;

	return hash_bytes((const unsigned char *) signature->data,
					  signature->length) + (uint32) signature->which;
}

static int
signature_compare(const void *a, const void *b, Size keysize)
{
	const IdemPlanSignature *sa = a;
	const IdemPlanSignature *sb = b;

	if (sa->length != sb->length || sa->which != sb->which)
		return 1;
	return memcmp(sa->data, sb->data, sa->length);
}

/*
 * Makes the table, if there is none, and listens for changes of roles from
 * then on.
 */
static void
make_table(void)
{
	HASHCTL		ctl = {0};

	if (entries != NULL)
		return;
	ctl.keysize = sizeof(IdemPlanSignature);
	ctl.entrysize = sizeof(Entry);
	ctl.hash = signature_hash;
	ctl.match = signature_compare;
	entries = hash_create("idem plans", 64, &ctl,
						  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, role_changed, (Datum) 0);
}

/*
 * What is kept under a signature, or NULL.  The pointer is good until a plan is
 * kept, or evicted.
 */
IdemPlan *
idem_plan_cache_find(IdemPlanSignature signature)
{
	Entry	   *entry;

	make_table();
	entry = hash_search(entries, &signature, HASH_FIND, NULL);
	if (entry == NULL)
		return NULL;
	dlist_move_head(&by_use, &entry->node);
	return entry->plan;
}

/*
 * Makes stale what was planned before roles changed.  To be called when a plan
 * is about to be used, not when one is made: it may be made of what was read
 * before.
 */
void
idem_plan_cache_heed_roles(void)
{
	dlist_iter	iter;

	if (!roles_changed)
		return;
	roles_changed = false;
	dlist_foreach(iter, &by_use)
		dlist_container(Entry, node, iter.cur)->plan->stale = true;
}

/* Keeps a plan under a signature, in the place of the one that it may have. */
void
idem_plan_cache_keep(IdemPlanSignature signature, IdemPlan *plan)
{
	Entry	   *entry;
	char	   *copy;

	Assert(signature.length > 0 && plan->running == 0 && !plan->stale);
	make_table();
	entry = hash_search(entries, &signature, HASH_FIND, NULL);
	if (entry != NULL)
	{
		idem_spi_forget(entry->plan);
		entry->plan = plan;
		return;
	}
	copy = MemoryContextAlloc(TopMemoryContext, signature.length);
	memcpy(copy, signature.data, signature.length);
	signature.data = copy;
	entry = hash_search(entries, &signature, HASH_ENTER, NULL);
	entry->plan = plan;
	dlist_push_head(&by_use, &entry->node);
	nentries++;
	signatures += signature.length;
}

static void
remove_entry(Entry *entry)
{
	void	   *data = unconstify(void *, entry->signature.data);

	Assert(nentries > 0 && signatures >= entry->signature.length);
	idem_spi_forget(entry->plan);
	dlist_delete(&entry->node);
	nentries--;
	signatures -= entry->signature.length;
	hash_search(entries, &entry->signature, HASH_REMOVE, NULL);
	pfree(data);
}

/*
 * Forgets plans that are not current, and where the table is full those that
 * have not been used for the longest time.
 */
void
idem_plan_cache_evict(bool (*is_current) (const IdemPlan *plan))
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &by_use)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (!is_current(entry->plan))
			remove_entry(entry);
	}
	Assert(nentries <= MAX_PLANS);
	while (nentries >= MAX_PLANS || signatures > MAX_SIGNATURES)
		remove_entry(dlist_tail_element(Entry, node, &by_use));
}
