/*
 * catalog.c
 *	  Where idem's own objects are in the current database.
 *
 * The extension may stand in any schema, and may be dropped and created again
 * while a session goes on.  So the OIDs are looked up once and kept until an
 * invalidation says that one of them may have changed; the callbacks only
 * flag, since they run at places where nothing may be looked up.
 *
 * A table is compared with what was made (table_shape.c) when it is first read,
 * and then whenever it may have changed.  It is locked before it is asked for its
 * key: what is found then holds as long as the lock does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/invalidation.h"
#include "base/table_shape.h"

/* Where IdemCatalog has the OID of each table. */
static const size_t table_fields[] = {
	[IDEM_TABLE_KEY] = offsetof(IdemCatalog, key_table),
	[IDEM_TABLE_SCOPE] = offsetof(IdemCatalog, scope_table),
	[IDEM_TABLE_MACHINE] = offsetof(IdemCatalog, machine_table),
	[IDEM_TABLE_EDGE] = offsetof(IdemCatalog, edge_table),
	[IDEM_TABLE_HISTORY] = offsetof(IdemCatalog, history_table),
	[IDEM_TABLE_CONSUMER] = offsetof(IdemCatalog, consumer_table),
	[IDEM_TABLE_MESSAGE] = offsetof(IdemCatalog, message_table),
	[IDEM_TABLE_OFFSET] = offsetof(IdemCatalog, offset_table),
	[IDEM_TABLE_SAGA] = offsetof(IdemCatalog, saga_table),
	[IDEM_TABLE_SAGA_STEP] = offsetof(IdemCatalog, saga_step_table),
	[IDEM_TABLE_OUTBOX] = offsetof(IdemCatalog, outbox_table),
	[IDEM_TABLE_OUTBOX_ERA] = offsetof(IdemCatalog, outbox_era_table),
	[IDEM_TABLE_OUTBOX_POSITION] = offsetof(IdemCatalog, outbox_position_table),
	[IDEM_TABLE_KEY_RANGE] = offsetof(IdemCatalog, key_range_table),
};

StaticAssertDecl(lengthof(table_fields) == IDEM_TABLES,
				 "each table needs a field");

/* Of each: the index of its primary key, once it has been compared. */
static Oid	keys[IDEM_TABLES];

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

/* Raises 55000: an object of idem's own is not there, or not what was made. */
void
idem_catalog_error_altered(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s \"%s\" is not as extension \"idem\" has made it",
					kind, name),
			 errhint("If the library is newer, run ALTER EXTENSION idem UPDATE.  Else undo what was altered, or drop and create the extension.")));
}

/* The trigger function of that name. */
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
		idem_catalog_error_altered("function", name);
	return function;
}

static Oid
own_type(Oid schema, const char *name)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									   CStringGetDatum(name),
									   ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		idem_catalog_error_altered("type", name);
	return type;
}

/* Where a catalog has the OID of a table. */
static Oid *
table_oid(IdemCatalog *cat, IdemTable table)
{
	return (Oid *) ((char *) cat + table_fields[table]);
}

static void
load_outcomes(IdemCatalog *cat)
{
	for (int i = 0; i < IDEM_OUTCOMES; i++)
	{
		const char *name = idem_outcome_name((IdemOutcome) i);

		cat->outcome[i] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
										  ObjectIdGetDatum(cat->outcome_type),
										  CStringGetDatum(name));
		if (!OidIsValid(cat->outcome[i]))
			idem_catalog_error_altered("type", "idem_outcome");
	}
}

/* Looks everything up anew; the generation changes only if something else did. */
static void
catalog_load(Oid schema)
{
	static uint64 generations = 0;
	char	   *name = get_namespace_name(schema);
	IdemCatalog new;

	memset(&new, 0, sizeof(new));	/* the padding, too */
	/* dropped since the extension was found */
	if (name == NULL)
		idem_catalog_error_altered("schema", "?");
	new.schema_oid = schema;
	strlcpy(new.schema, quote_identifier(name), sizeof(new.schema));
	new.outcome_type = own_type(schema, "idem_outcome");
	new.role_type = own_type(schema, "idem_role");
	load_outcomes(&new);
	for (int i = 0; i < IDEM_TABLES; i++)
	{
		const char *table = idem_table_shape_name(i);
		Oid			relid = get_relname_relid(table, schema);

		if (!OidIsValid(relid))
			idem_catalog_error_altered("table", table);
		*table_oid(&new, i) = relid;
	}
	new.lifecycle = trigger_function(schema, "idem_lifecycle");
	new.version = trigger_function(schema, "idem_version");

	/* what was compared may have changed */
	memset(keys, 0, sizeof(keys));
	new.generation = catalog.generation;
	new.reloads = ++catalog.reloads;
	if (new.generation != 0 && memcmp(&new, &catalog, sizeof(new)) == 0)
		return;
	new.generation = ++generations;
	catalog = new;
}

/*
 * Brings the catalog up to date.  The flag is set before the look-ups, so that
 * an invalidation that arrives during them is not lost: they are made again if
 * any did.  One that no session has sent, as debug_discard_caches makes them all
 * the time, tells nothing new.
 */
static bool
catalog_read(void)
{
	uint64		counter;

	Assert(IsTransactionState());
	do
	{
		Oid			schema;

		counter = SharedInvalidMessageCounter;
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
	} while (!catalog_valid && counter != SharedInvalidMessageCounter);
	return true;
}

/*
 * Is the catalog up to date, or can it be brought so?  What is kept may be asked for
 * anywhere, to look it up takes a transaction.
 */
static inline bool
catalog_refresh(void)
{
	return catalog_valid || catalog_read();
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

/* The table whose OID stands in that field of IdemCatalog. */
Oid
idem_catalog_table(size_t field)
{
	Assert(field >= offsetof(IdemCatalog, key_table) &&
		   field < offsetof(IdemCatalog, role_type));
	return *(const Oid *) ((const char *) idem_catalog() + field);
}

/* Is the extension installed in this database? */
bool
idem_catalog_installed(void)
{
	return catalog_refresh();
}

/* Raises 55000 unless a table is as it was made; returns the index of its key. */
static Oid
compare(IdemTable table, Relation rel)
{
	IdemOwnTypes types = {
		.outcome = catalog.outcome_type, .role = catalog.role_type,
		.scope = TEXTOID
	};
	const char *name = idem_table_shape_name(table);
	Oid			key;

	if (!idem_table_shape_fits(table, rel, &types))
		idem_catalog_error_altered("table", name);
	if (table == IDEM_TABLE_KEY_RANGE)
		return InvalidOid;		/* it has none */
	key = idem_table_shape_key(table, rel);
	if (!OidIsValid(key))
		idem_catalog_error_altered("primary key of table", name);
	return key;
}

/*
 * The index of the primary key of a table of idem's, which is open and locked.
 * Raises 55000 unless the table is as it was made.
 */
Oid
idem_catalog_key_of(Relation rel)
{
	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	(void) idem_catalog();
	for (int i = 0; i < IDEM_TABLES; i++)
	{
		Oid			key;

		if (*table_oid(&catalog, i) != RelationGetRelid(rel))
			continue;
		if (OidIsValid(keys[i]))
			return keys[i];
		key = compare(i, rel);
		/* a change that has come in meanwhile is for the next call */
		if (catalog_valid)
			keys[i] = key;
		return key;
	}
	elog(ERROR, "relation \"%s\" is not idem's", RelationGetRelationName(rel));
	return InvalidOid;			/* keep compiler quiet */
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
	idem_catalog_error_altered("type", "idem_outcome");
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
	for (int i = 0; i < IDEM_TABLES; i++)
		idem_invalidation_watch(table_oid(&catalog, i), &catalog_valid);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}
