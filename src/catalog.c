/*
 * catalog.c
 *	  Where idem's own objects are in the current database.
 *
 * The extension may stand in any schema, and may be dropped and created again
 * while a session goes on.  So the OIDs are looked up once and kept until an
 * invalidation says that one of them may have changed; the callbacks only
 * flag, since they run at places where nothing may be looked up.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"

static const char *const outcome_names[IDEM_OUTCOMES] = {
	"inserted", "updated", "unchanged", "executed", "claimed",
	"in_progress", "completed", "failed", "applied", "noop"
};

static IdemCatalog catalog;
static bool catalog_valid = false;

/* Schema of the extension as committed now; InvalidOid when there is none. */
static Oid
extension_schema(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("idem"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return schema;
}

/* The trigger function of that name, which an installed extension has. */
static Oid
trigger_function(Oid schema, const char *name)
{
	oidvector  *noargs = buildoidvector(NULL, 0);
	Oid			function;

	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							   CStringGetDatum(name),
							   PointerGetDatum(noargs),
							   ObjectIdGetDatum(schema));
	if (!OidIsValid(function))
		elog(ERROR, "idem has no function \"%s\"", name);
	return function;
}

/* A relation of idem's own, which an installed extension always has. */
static Oid
relation(Oid schema, const char *name)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		elog(ERROR, "idem has no relation \"%s\"", name);
	return relid;
}

static void
catalog_load(Oid schema)
{
	static uint64 generations = 0;
	char	   *name = get_namespace_name(schema);
	HeapTuple	tuple;

	/* dropped since we found the extension */
	if (name == NULL)
		elog(ERROR, "cache lookup failed for schema %u", schema);
	catalog.schema_oid = schema;
	strlcpy(catalog.schema, quote_identifier(name), sizeof(catalog.schema));
	catalog.key_table = relation(schema, "idem_key");
	catalog.key_index = relation(schema, "idem_key_pkey");
	catalog.machine_table = relation(schema, "idem_machine");
	catalog.machine_index = relation(schema, "idem_machine_pkey");
	catalog.edge_table = relation(schema, "idem_machine_edge");
	catalog.edge_index = relation(schema, "idem_machine_edge_pkey");
	catalog.consumer_table = relation(schema, "idem_consumer");
	catalog.consumer_index = relation(schema, "idem_consumer_pkey");
	catalog.message_table = relation(schema, "idem_message");
	catalog.message_index = relation(schema, "idem_message_pkey");
	catalog.offset_table = relation(schema, "idem_offset");
	catalog.offset_index = relation(schema, "idem_offset_pkey");
	catalog.lifecycle = trigger_function(schema, "idem_lifecycle");
	catalog.version = trigger_function(schema, "idem_version");

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(catalog.key_table));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", catalog.key_table);
	catalog.owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	catalog.outcome_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										   CStringGetDatum("idem_outcome"),
										   ObjectIdGetDatum(schema));
	for (int i = 0; i < IDEM_OUTCOMES; i++)
	{
		catalog.outcome[i] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
											 ObjectIdGetDatum(catalog.outcome_type),
											 CStringGetDatum(outcome_names[i]));
		if (!OidIsValid(catalog.outcome[i]))
			elog(ERROR, "idem_outcome has no value \"%s\"", outcome_names[i]);
	}

	catalog.generation = ++generations;
}

/*
 * Brings the catalog up to date.  The flag is set before the look-ups, so that
 * an invalidation that arrives during them is not lost.
 */
static bool
catalog_refresh(void)
{
	while (!catalog_valid)
	{
		Oid			schema;

		catalog_valid = true;
		PG_TRY();
		{
			schema = extension_schema();
			if (OidIsValid(schema))
				catalog_load(schema);
		}
		PG_CATCH();
		{
			catalog_valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();

		if (!OidIsValid(schema))
		{
			catalog_valid = false;
			return false;
		}
	}
	return true;
}

/*
 * idem's objects.  The pointer stays good, but what it points to is that of
 * the latest call.  Raises 42704 when the extension is not installed.
 */
const IdemCatalog *
idem_catalog(void)
{
	if (!catalog_refresh())
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"idem\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION idem.")));
	return &catalog;
}

/* Is the extension installed in this database? */
bool
idem_catalog_installed(void)
{
	return catalog_refresh();
}

/* The outcome that a value of idem_outcome stands for. */
IdemOutcome
idem_catalog_outcome(Oid value)
{
	const IdemCatalog *cat = idem_catalog();

	for (int i = 0; i < IDEM_OUTCOMES; i++)
	{
		if (cat->outcome[i] == value)
			return (IdemOutcome) i;
	}
	elog(ERROR, "value %u is not of idem_outcome", value);
	return IDEM_NOOP;			/* keep compiler quiet */
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == catalog.key_table ||
		relid == catalog.machine_table || relid == catalog.edge_table ||
		relid == catalog.consumer_table || relid == catalog.message_table ||
		relid == catalog.offset_table)
		catalog_valid = false;
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	catalog_valid = false;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_catalog_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}
