/*
 * plans.c
 *	  The plans that a session keeps for the caller's statements.
 *
 * A table of a bounded size, ordered by use.  What the plans are, whether they
 * still hold and how they are freed is the business of query.c, the only room
 * that may call this one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "plans.h"

/*
 * So many plans are kept, and so many bytes of signatures, since a statement
 * may be written by the caller and its plan is the larger the longer it is.
 */
#define MAX_PLANS		256
#define MAX_SIGNATURES	(1024 * 1024)

static HTAB *plans = NULL;
static int	nplans = 0;
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
	const IdemSignature *signature = key;

	return hash_bytes((const unsigned char *) signature->data,
					  signature->length);
}

static int
signature_compare(const void *a, const void *b, Size keysize)
{
	const IdemSignature *sa = a;
	const IdemSignature *sb = b;

	if (sa->length != sb->length)
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

	if (plans != NULL)
		return;
	ctl.keysize = sizeof(IdemSignature);
	ctl.entrysize = sizeof(IdemPlan);
	ctl.hash = signature_hash;
	ctl.match = signature_compare;
	plans = hash_create("idem plans", 64, &ctl,
						HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, role_changed, (Datum) 0);
}

/*
 * What is kept under a signature, or NULL.  The pointer is good until the
 * entry is removed.
 */
IdemPlan *
idem_plans_find(IdemSignature signature)
{
	IdemPlan   *entry;

	make_table();
	entry = hash_search(plans, &signature, HASH_FIND, NULL);
	if (entry != NULL)
		dlist_move_head(&by_use, &entry->node);
	return entry;
}

/*
 * Makes stale what was planned before roles changed.  To be called when a plan
 * is about to be used, not when one is made: it may be made of what was read
 * before.
 */
void
idem_plans_heed_roles(void)
{
	dlist_iter	iter;

	if (!roles_changed)
		return;
	roles_changed = false;
	dlist_foreach(iter, &by_use)
		dlist_container(IdemPlan, node, iter.cur)->stale = true;
}

/* Keeps a plan under a signature that has none. */
IdemPlan *
idem_plans_add(IdemSignature signature, SPIPlanPtr plan)
{
	char	   *copy;
	IdemPlan   *entry;

	make_table();
	copy = MemoryContextAlloc(TopMemoryContext, signature.length);
	memcpy(copy, signature.data, signature.length);
	signature.data = copy;
	entry = hash_search(plans, &signature, HASH_ENTER, NULL);
	entry->plan = plan;
	entry->stale = false;
	entry->running = 0;
	entry->note = 0;
	dlist_push_head(&by_use, &entry->node);
	nplans++;
	signatures += signature.length;
	return entry;
}

/* Forgets an entry, whose plan is the caller's to free. */
void
idem_plans_remove(IdemPlan *entry)
{
	char	   *data = unconstify(char *, entry->signature.data);

	dlist_delete(&entry->node);
	nplans--;
	signatures -= entry->signature.length;
	hash_search(plans, &entry->signature, HASH_REMOVE, NULL);
	pfree(data);
}

/* Must something go before a plan is added? */
bool
idem_plans_full(void)
{
	return nplans >= MAX_PLANS || signatures > MAX_SIGNATURES;
}

/*
 * The entry used next after this one, or the least recently used of all for
 * NULL; NULL when there is none.
 */
IdemPlan *
idem_plans_next(IdemPlan *entry)
{
	if (entry == NULL)
		return dlist_is_empty(&by_use) ? NULL :
			dlist_tail_element(IdemPlan, node, &by_use);
	return dlist_has_prev(&by_use, &entry->node) ?
		dlist_container(IdemPlan, node, dlist_prev_node(&by_use, &entry->node)) :
		NULL;
}

/* A subquery that was a view has the view's OID. */
static void
lock_table(RangeTblEntry *rte)
{
	if ((rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY) &&
		OidIsValid(rte->relid))
		LockRelationOid(rte->relid, rte->rellockmode);
}

/* Locks the tables that a query names, also in its subqueries. */
static bool
lock_tables(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		lock_table((RangeTblEntry *) node);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, lock_tables, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, lock_tables, context);
}

/*
 * Locks the tables that a plan of these sources uses, as running it would.
 * Where a generic plan is kept, it has them all in one list.
 */
void
idem_plans_lock(List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
	{
		CachedPlanSource *source = lfirst(lc);
		ListCell   *statement;

		if (source->gplan == NULL)
		{
			(void) lock_tables((Node *) source->query_list, NULL);
			continue;
		}
		foreach(statement, source->gplan->stmt_list)
		{
			ListCell   *table;

			foreach(table, lfirst_node(PlannedStmt, statement)->rtable)
				lock_table(lfirst(table));
		}
	}
}
