/*
 * routed.c
 *	  Tables whose rows an engine keeps elsewhere.
 *
 * Citus leaves an empty table on each node, and has its planner send statements to
 * where the rows are.  So such a table is reached by statements only, and by those
 * that can be evaluated elsewhere.  It has a row in pg_catalog.pg_dist_partition.
 *
 * What is found of a table is kept until the relation cache says that it may have
 * changed, and whether there is an engine at all, until a relation of that name
 * comes or goes.  Where there is none, asking costs a test of a flag.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/invalidation.h"
#include "base/routed.h"

#define ENGINE_TABLE	"pg_dist_partition"
#define ENGINE_INDEX	"pg_dist_partition_logical_relid_index"

/* Its first column, of type regclass. */
#define COLUMN_TABLE	1

/* The engine's table of tables; InvalidOid: there is no engine. */
static Oid	engine = InvalidOid;
static bool engine_valid = false;
static uint32 engine_hash;		/* of its name, once the flag has been set */

/*
 * What is known of a few tables, each in the place that its OID gives it; of none,
 * where looking ended in an error.
 */
static struct
{
	Oid			relid;
	bool		valid;
	bool		routed;
}			known[64];

static void
find_engine(void)
{
	engine_hash = GetSysCacheHashValue2(RELNAMENSP,
										CStringGetDatum(ENGINE_TABLE),
										ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
	memset(known, 0, sizeof(known));
	/* first, so that a change that comes in meanwhile is not lost */
	engine_valid = true;
	PG_TRY();
	{
		engine = get_relname_relid(ENGINE_TABLE, PG_CATALOG_NAMESPACE);
	}
	PG_CATCH();
	{
		engine_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Is there an engine in this database? */
bool
idem_routed_possible(void)
{
	if (!engine_valid)
		find_engine();
	return OidIsValid(engine);
}

/* Is there a row of the engine's about a table, or, for InvalidOid, about any? */
static bool
has_row(Oid relid)
{
	Relation	rel = table_open(engine, AccessShareLock);
	Oid			index = get_relname_relid(ENGINE_INDEX, PG_CATALOG_NAMESPACE);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, COLUMN_TABLE, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, index, OidIsValid(index) && OidIsValid(relid),
							  NULL, OidIsValid(relid) ? 1 : 0, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Does an engine route the statements on a table? */
bool
idem_routed(Oid relid)
{
	int			i = relid % lengthof(known);

	if (!idem_routed_possible() || !OidIsValid(relid))
		return false;
	if (!known[i].valid || known[i].relid != relid)
	{
		known[i].relid = relid;
		known[i].valid = true;
		PG_TRY();
		{
			known[i].routed = has_row(relid);
		}
		PG_CATCH();
		{
			/* or a cancelled look would be taken for an answer */
			known[i].valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	return known[i].routed;
}

/* Raises 0A000 for a routed table, which that cannot be done with. */
void
idem_routed_refuse(Oid relid, const char *what)
{
	if (!idem_routed(relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not possible for distributed table \"%s\"",
					what, get_rel_name(relid)),
			 errdetail("Its rows are on other nodes, and the call runs on this one.")));
}

/*
 * Raises 0A000 where rows of an own table, by its name, would be on another node
 * than what they are written with.  Then a crash between the two commits would
 * leave the one without the other.  in_store is whether a store may have such a table.
 */
void
idem_routed_check_local(const char *table, bool in_store)
{
	if (!idem_routed_possible() || !has_row(InvalidOid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" cannot be used in a database with distributed tables",
					table),
			 errdetail("Its rows would be on this node, and those that are written with them on others: after a crash there may be the one without the other."),
			 in_store ?
			 errhint("Make a store with idem_store_create(), distribute it with your tables, and name it with idem.store.") : 0));
}

/* Only flags, since it is called where nothing may be looked up. */
static void
table_changed(Oid relid)
{
	if (OidIsValid(relid))
	{
		int			i = relid % lengthof(known);

		if (known[i].relid == relid)
			known[i].valid = false;
		return;
	}
	for (int i = 0; i < lengthof(known); i++)
		known[i].valid = false;
}

static void
name_changed(Datum arg, int cacheid, uint32 hash)
{
	if (hash == 0 || hash == engine_hash)
		engine_valid = false;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_routed_init(void)
{
	idem_invalidation_listen(table_changed);
	CacheRegisterSyscacheCallback(RELNAMENSP, name_changed, (Datum) 0);
}
