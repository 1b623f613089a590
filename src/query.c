/*
 * query.c
 *	  Running SQL: the only room that calls SPI.
 *
 * Statements are of two kinds.  idem's own touch idem's tables only; they run
 * as the owner of those tables under security restriction, as ri_triggers.c
 * does with its checks, so that callers need no privilege on them.  The
 * caller's touch the tables that the caller names, and run just as if the
 * caller had sent them.  An ERROR needs no clean-up here: ending the
 * (sub)transaction restores the user and frees what SPI holds.
 *
 * Plans are kept for the session.  A plan that is no longer valid is thrown
 * away and made again from its text, rather than left to the plan cache, since
 * the text itself may depend on what has changed.  It may depend on what the
 * caller may read, too.  A change of a table's privileges invalidates the plans
 * that use it; one of a role's attributes or memberships does not, so it makes
 * all of the caller's plans stale.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "query.h"

/* Plans kept for the caller's statements; the least recently used goes first. */
#define MAX_PLANS	256

typedef struct PlanKey
{
	const char *signature;
	int			length;
} PlanKey;

struct IdemPlan
{
	PlanKey		key;			/* hash key, must be first */
	dlist_node	node;			/* in plans_used */
	SPIPlanPtr	plan;			/* owned, kept by SPI_keepplan */
	bool		stale;			/* have roles changed since it was made? */
	int			running;		/* executions under way: it must stay */
};

static HTAB *plans = NULL;
static int	nplans = 0;
static dlist_head plans_used = DLIST_STATIC_INIT(plans_used);	/* last first */

/* Have roles changed since a plan was last looked for? */
static bool roles_changed = false;

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_changed = true;
}

static uint32
plan_key_hash(const void *key, Size keysize)
{
	const PlanKey *k = key;

	return hash_bytes((const unsigned char *) k->signature, k->length);
}

static int
plan_key_compare(const void *a, const void *b, Size keysize)
{
	const PlanKey *ka = a;
	const PlanKey *kb = b;

	if (ka->length != kb->length)
		return 1;
	return memcmp(ka->signature, kb->signature, ka->length);
}

static bool
plan_is_current(const IdemPlan *entry)
{
	return !entry->stale && SPI_plan_is_valid(entry->plan);
}

static void
plan_forget(IdemPlan *entry)
{
	char	   *signature = unconstify(char *, entry->key.signature);

	dlist_delete(&entry->node);
	nplans--;
	SPI_freeplan(entry->plan);
	hash_search(plans, &entry->key, HASH_REMOVE, NULL);
	pfree(signature);
}

static void
connect_spi(void)
{
	int			rc = SPI_connect();

	if (rc != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect returned %s", SPI_result_code_string(rc));
}

static void
finish_spi(void)
{
	int			rc = SPI_finish();

	if (rc != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish returned %s", SPI_result_code_string(rc));
}

/* A plan that outlives the connection that made it. */
static SPIPlanPtr
make_plan(const char *sql, int nargs, Oid *argtypes)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, argtypes);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare returned %s for \"%s\"",
			 SPI_result_code_string(SPI_result), sql);
	SPI_keepplan(plan);
	return plan;
}

/*
 * Runs a plan and hands the first ncols columns of its first row, if it has
 * one, to the memory that was current before SPI was connected.
 */
static uint64
run_plan(SPIPlanPtr plan, Datum *args, const char *nulls,
		 int ncols, Datum *values, bool *isnull)
{
	int			rc = SPI_execute_plan(plan, args, nulls, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan returned %s", SPI_result_code_string(rc));

	if (SPI_processed > 0 && ncols > 0)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		HeapTuple	tuple = SPI_tuptable->vals[0];

		for (int i = 0; i < ncols; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			values[i] = SPI_getbinval(tuple, desc, i + 1, &isnull[i]);
			if (!isnull[i])
				values[i] = SPI_datumTransfer(values[i], att->attbyval,
											  att->attlen);
		}
	}
	return SPI_processed;
}

/* Puts the schema's name where the text has "@". */
static char *
place_schema(const char *text, const char *schema)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		if (*c == '@')
			appendStringInfoString(&buf, schema);
		else
			appendStringInfoChar(&buf, *c);
	}
	return buf.data;
}

/* Makes the statement's plan fit the catalog; needs a connection. */
static void
ready_own(IdemStatement *statement, const IdemCatalog *cat)
{
	char	   *sql;
	Oid			argtypes[IDEM_MAX_ARGS];

	if (statement->plan != NULL &&
		statement->generation == cat->generation &&
		SPI_plan_is_valid(statement->plan))
		return;

	if (statement->plan != NULL)
	{
		SPIPlanPtr	stale = statement->plan;

		statement->plan = NULL;
		SPI_freeplan(stale);
	}
	sql = place_schema(statement->text, cat->schema);
	for (int i = 0; i < statement->nargs; i++)
		argtypes[i] = OidIsValid(statement->argtypes[i]) ?
			statement->argtypes[i] : cat->outcome_type;
	statement->plan = make_plan(sql, statement->nargs, argtypes);
	statement->generation = cat->generation;
	pfree(sql);
}

/*
 * Runs a statement of idem's own as the owner of idem's tables.
 *
 * nulls is as SPI takes it ('n' marks a null), or NULL.  Returns the number of
 * rows, and the first ncols columns of the first row in the caller's memory.
 */
uint64
idem_query_own(IdemStatement *statement, Datum *args, const char *nulls,
			   int ncols, Datum *values, bool *isnull)
{
	const IdemCatalog *cat = idem_catalog();
	Oid			user;
	int			context;
	uint64		rows;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(cat->owner, context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	connect_spi();
	ready_own(statement, cat);
	rows = run_plan(statement->plan, args, nulls, ncols, values, isnull);
	finish_spi();
	SetUserIdAndSecContext(user, context);
	return rows;
}

/* Locks the tables that a plan names, as running it would. */
static void
lock_tables(SPIPlanPtr plan)
{
	ListCell   *lc;

	foreach(lc, SPI_plan_get_plan_sources(plan))
	{
		CachedPlanSource *source = lfirst(lc);
		ListCell   *lq;

		foreach(lq, source->query_list)
		{
			ListCell   *lt;

			foreach(lt, lfirst_node(Query, lq)->rtable)
			{
				RangeTblEntry *rte = lfirst_node(RangeTblEntry, lt);

				if (rte->rtekind == RTE_RELATION)
					LockRelationOid(rte->relid, rte->rellockmode);
			}
		}
	}
}

/*
 * Makes the table of plans, if there is none, and listens for changes of roles
 * from then on.
 */
static void
make_table(void)
{
	HASHCTL		ctl = {0};

	if (plans != NULL)
		return;
	ctl.keysize = sizeof(PlanKey);
	ctl.entrysize = sizeof(IdemPlan);
	ctl.hash = plan_key_hash;
	ctl.match = plan_key_compare;
	plans = hash_create("idem plans", 64, &ctl,
						HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, role_changed, (Datum) 0);
}

/*
 * The plan kept under a signature, or NULL if none is or it is out of date.
 * The pointer is good until the next call of this room.
 *
 * Its tables are locked before it is judged.  Otherwise running it might wait
 * for somebody who alters one of them, and the plan cache would then make the
 * plan anew from a text that no longer fits, and call it valid from then on.
 */
IdemPlan *
idem_query_find(const char *signature, int length)
{
	PlanKey		key = {signature, length};
	IdemPlan   *entry;

	make_table();
	entry = hash_search(plans, &key, HASH_FIND, NULL);
	if (entry == NULL || !plan_is_current(entry))
		return NULL;
	lock_tables(entry->plan);

	if (roles_changed)
	{
		dlist_iter	iter;

		roles_changed = false;
		dlist_foreach(iter, &plans_used)
			dlist_container(IdemPlan, node, iter.cur)->stale = true;
	}
	if (!plan_is_current(entry))
		return NULL;
	dlist_move_head(&plans_used, &entry->node);
	return entry;
}

/* Of the plans that are not being run; NULL if all are. */
static IdemPlan *
least_recently_used(void)
{
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &plans_used)
	{
		IdemPlan   *entry = dlist_container(IdemPlan, node, iter.cur);

		if (entry->running == 0)
			return entry;
	}
	return NULL;
}

/*
 * Frees plans that are out of date or over the limit, except those that are
 * being run: a statement may call idem again from a trigger.
 */
static void
make_room(void)
{
	dlist_mutable_iter iter;
	IdemPlan   *entry;

	dlist_foreach_modify(iter, &plans_used)
	{
		entry = dlist_container(IdemPlan, node, iter.cur);
		if (entry->running == 0 && !plan_is_current(entry))
			plan_forget(entry);
	}
	while (nplans >= MAX_PLANS && (entry = least_recently_used()) != NULL)
		plan_forget(entry);
}

/*
 * Prepares a statement of the caller's and keeps its plan under a signature,
 * which must tell it from every other statement.  The plan is the caller's to
 * run until the next call of this room.
 */
IdemPlan *
idem_query_keep(const char *signature, int length,
				const char *sql, int nargs, Oid *argtypes)
{
	PlanKey		key = {signature, length};
	SPIPlanPtr	plan;
	IdemPlan   *entry;
	char	   *copy;
	bool		found;

	make_table();
	connect_spi();
	plan = make_plan(sql, nargs, argtypes);
	finish_spi();

	make_room();
	entry = hash_search(plans, &key, HASH_FIND, NULL);
	if (entry != NULL)
	{
		/*
		 * Out of date, yet not freed, so one of its executions is under way
		 * below us.  That one holds on to the old plan, which is left behind:
		 * this takes a table that is altered by its own trigger.
		 */
		entry->plan = plan;
		entry->stale = false;
		return entry;
	}

	copy = MemoryContextAlloc(TopMemoryContext, length);
	memcpy(copy, signature, length);
	key.signature = copy;
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	entry->plan = plan;
	entry->stale = false;
	entry->running = 0;
	dlist_push_head(&plans_used, &entry->node);
	nplans++;
	return entry;
}

/*
 * Runs a kept plan with the caller's rights.  Arguments and result as in
 * idem_query_own.
 */
uint64
idem_query_caller(IdemPlan *plan, Datum *args, const char *nulls,
				  int ncols, Datum *values, bool *isnull)
{
	uint64		rows;

	connect_spi();
	plan->running++;
	PG_TRY();
	{
		rows = run_plan(plan->plan, args, nulls, ncols, values, isnull);
	}
	PG_FINALLY();
	{
		plan->running--;
	}
	PG_END_TRY();
	finish_spi();

	return rows;
}

/* Runs a utility command with the caller's rights. */
void
idem_query_command(const char *sql)
{
	int			rc;

	connect_spi();
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute returned %s", SPI_result_code_string(rc));
	finish_spi();
}
