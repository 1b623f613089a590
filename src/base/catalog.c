/*
 * catalog.c
 *	  Where idem's own objects are in the current database.
 *
 * The extension may stand in any schema, and may be dropped and created again
 * while a session goes on.  So the OIDs are looked up once and kept until an
 * invalidation says that one of them may have changed; the callbacks only
 * flag, since they run at places where nothing may be looked up.
 *
 * The tables are read without a statement, by the numbers and the types that
 * their columns were made with.  Their owner can alter them, so they are compared
 * with what was made, by whoever reads one first and then whenever it may have
 * changed.  A table is locked before it is asked for its key: what is found then
 * holds as long as the lock does.
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
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "storage/sinval.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/invalidation.h"
#include "base/unique_index.h"

/* Types of idem's own, where the list below has types. */
#define OUTCOME		((Oid) 1)
#define ROLE		((Oid) 2)

/* A column as it was made. */
typedef struct Column
{
	const char *name;
	Oid			type;
	bool		not_null;
	int			key;			/* which column of the primary key it is, from
								 * 1 */
} Column;

/* A table as it was made, whose columns are numbered in this order. */
typedef struct Table
{
	const char *name;
	size_t		oid;			/* where IdemCatalog has its OID */
	Column		columns[16];	/* ends with one that has no name */
} Table;

#define TABLE(name, field)	name, offsetof(IdemCatalog, field##_table)

static const Table tables[] = {
	{TABLE("idem_key", key), {
			{"created_at", TIMESTAMPTZOID, true},
			{"expires_at", TIMESTAMPTZOID, true},
			{"fence", INT8OID, true},
			{"lease_until", TIMESTAMPTZOID},
			{"fingerprint", UUIDOID},
			{"outcome", OUTCOME, true},
			{"claimed_by", ROLE, true},
			{"scope", TEXTOID, true, 2},
			{"key", TEXTOID, true, 1},
			{"response", JSONBOID},
			{"request", JSONBOID},
	}},
	{TABLE("idem_scope", scope), {
			{"scope", TEXTOID, true, 1},
			{"owner", ROLE, true},
	}},
	{TABLE("idem_machine", machine), {
			{"name", TEXTOID, true, 1},
			{"initial", TEXTOID, true},
			{"states", TEXTARRAYOID, true},
			{"owner", ROLE, true},
	}},
	{TABLE("idem_machine_edge", edge), {
			{"machine", TEXTOID, true, 1},
			{"from_state", TEXTOID, true, 2},
			{"to_state", TEXTOID, true, 3},
			{"guard", TEXTOID},
	}},
	{TABLE("idem_consumer", consumer), {
			{"ttl", INTERVALOID},
			{"consumer", TEXTOID, true, 1},
			{"late", TEXTOID, true},
			{"owner", ROLE, true},
	}},
	{TABLE("idem_message", message), {
			{"expires_at", TIMESTAMPTZOID, true},
			{"consumer", TEXTOID, true, 1},
			{"message_id", TEXTOID, true, 2},
	}},
	{TABLE("idem_offset", offset), {
			{"next_offset", INT8OID, true},
			{"previous_offset", INT8OID, true},
			{"first_offset", INT8OID, true},
			{"epoch", INT8OID},
			{"updated_at", TIMESTAMPTZOID, true},
			{"partition", INT4OID, true, 3},
			{"consumer", TEXTOID, true, 1},
			{"topic", TEXTOID, true, 2},
	}},
};

/* Of each: the index of its primary key, once it has been compared. */
static Oid	keys[lengthof(tables)];

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
			 errhint("Undo what was altered, or drop and create the extension.")));
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

/* Where the OID of a table is kept. */
static const Oid *
table_oid(const Table *table)
{
	return (const Oid *) ((const char *) &catalog + table->oid);
}

/* Are a table's columns what they were made? */
static bool
has_columns(const Table *table, TupleDesc desc)
{
	for (int i = 0; table->columns[i].name != NULL; i++)
	{
		const Column *column = &table->columns[i];
		Oid			type = column->type == OUTCOME ? catalog.outcome_type :
			column->type == ROLE ? catalog.role_type : column->type;
		Form_pg_attribute att;

		if (i >= desc->natts)
			return false;
		att = TupleDescAttr(desc, i);
		if (att->attisdropped || att->atttypid != type ||
			(column->not_null && !att->attnotnull))
			return false;
	}
	return true;
}

/* Does an index have just the columns of a table's primary key, in its order? */
static bool
is_key(const Table *table, Form_pg_index index)
{
	int			count = 0;

	for (int i = 0; table->columns[i].name != NULL; i++)
	{
		int			key = table->columns[i].key;

		if (key == 0)
			continue;
		count++;
		if (key > index->indnkeyatts || index->indkey.values[key - 1] != i + 1)
			return false;
	}
	return index->indnkeyatts == count && index->indimmediate &&
		index->indisvalid;
}

/* The index of a table's primary key, by whatever name; else InvalidOid. */
static Oid
find_key(const Table *table, Relation rel)
{
	Relation	index = idem_unique_index_open_primary(rel);
	Oid			found = InvalidOid;

	if (index == NULL)
		return InvalidOid;
	if (is_key(table, index->rd_index))
		found = RelationGetRelid(index);
	index_close(index, AccessShareLock);
	return found;
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		idem_catalog_error_altered("table", "idem_key");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
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
	/* dropped since we found the extension */
	if (name == NULL)
		idem_catalog_error_altered("schema", "?");
	new.schema_oid = schema;
	strlcpy(new.schema, quote_identifier(name), sizeof(new.schema));
	new.outcome_type = own_type(schema, "idem_outcome");
	new.role_type = own_type(schema, "idem_role");
	load_outcomes(&new);
	for (int i = 0; i < lengthof(tables); i++)
	{
		Oid			table = get_relname_relid(tables[i].name, schema);

		if (!OidIsValid(table))
			idem_catalog_error_altered("table", tables[i].name);
		*(Oid *) ((char *) &new + tables[i].oid) = table;
	}
	new.owner = relation_owner(new.key_table);
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
 * any did.  One that was not sent by anybody, as debug_discard_caches has them
 * all the time, tells nothing new.
 */
static bool
catalog_refresh(void)
{
	uint64		counter;

	if (catalog_valid)
		return true;
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

/*
 * The index of the primary key of a table of idem's, which is open and locked.
 * Raises 55000 unless the table is as it was made.
 */
Oid
idem_catalog_key_of(Relation rel)
{
	(void) idem_catalog();
	for (int i = 0; i < lengthof(tables); i++)
	{
		Oid			key;

		if (*table_oid(&tables[i]) != RelationGetRelid(rel))
			continue;
		if (OidIsValid(keys[i]))
			return keys[i];
		if (rel->rd_rel->relkind != RELKIND_RELATION ||
			!has_columns(&tables[i], RelationGetDescr(rel)))
			idem_catalog_error_altered("table", tables[i].name);
		key = find_key(&tables[i], rel);
		if (!OidIsValid(key))
			idem_catalog_error_altered("primary key of table", tables[i].name);
		/* what has come in meanwhile is for the next to heed */
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
	for (int i = 0; i < lengthof(tables); i++)
		idem_invalidation_watch(table_oid(&tables[i]), &catalog_valid);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}
