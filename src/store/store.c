/*
 * store.c
 *	  Stores: tables like idem's own, in a schema of the user's.
 *
 * The setting idem.store names the schema, whoever sets it.  A store is used by
 * statements that run with the caller's rights.  So who has rights on its tables can
 * write there what is to be believed; but nobody else, and no code of others runs:
 * a store with triggers, rules, row security or expressions is refused, and so is
 * one whose columns are not what they were made.
 *
 * What is found of a store is kept until a table of it, or any schema, may have
 * changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/invalidation.h"
#include "base/routed.h"
#include "base/settings.h"
#include "run/simple_dml.h"
#include "store/store.h"

/* What is kept of a store, in the place that its name gives it. */
typedef struct Known
{
	bool		valid;
	char		name[NAMEDATALEN];
	uint64		reloads;		/* of the catalog then */
	IdemStore	store;
} Known;

static Known known[16];

/* How often something that was known may have changed. */
static uint64 changes = 0;

/* Types that the scope of keys may have. */
bool
idem_store_takes(Oid scope_type)
{
	return scope_type == TEXTOID || scope_type == INT8OID ||
		scope_type == INT4OID || scope_type == UUIDOID;
}

pg_noreturn static void
error_altered(Relation rel, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" of store \"%s\" cannot be used",
					RelationGetRelationName(rel),
					get_namespace_name(RelationGetNamespace(rel))),
			 errdetail_internal("%s", detail),
			 errhint("Undo what was altered, or make another with idem_store_create().")));
}

/*
 * Raises 55000 unless a table is as idem_store_create() makes it: by its columns, and
 * by having nothing attached that runs code.
 */
static void
check_table(IdemTable table, Relation rel, const IdemStore *store)
{
	const IdemCatalog *cat = idem_catalog();
	IdemOwnTypes types = {
		.outcome = cat->outcome_type, .role = cat->role_type,
		.scope = store->scope_type
	};

	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		error_altered(rel, _("It does not survive a crash, or the session."));
	if (!idem_table_shape_fits(table, rel, &types) ||
		!idem_table_shape_named(table, rel) ||
		!OidIsValid(idem_table_shape_key(table, rel)))
		error_altered(rel, _("It is no table, or has other columns or another primary key."));
	if (!idem_simple_dml_is_bare(rel))
		error_altered(rel, _("A trigger, a rule, a policy, a check, a default, an expression or a table that inherits is attached to it."));
}

/* The type of the scope of keys; text where there is no such column to tell. */
static Oid
scope_type_of(Oid key_table)
{
	AttrNumber	column = OidIsValid(key_table) ? get_attnum(key_table, "scope") :
		InvalidAttrNumber;
	Oid			type = column > 0 ? get_atttype(key_table, column) : InvalidOid;

	return idem_store_takes(type) ? type : TEXTOID;
}

/* The table of a store, which it may lack, checked. */
static Oid
find_table(IdemTable table, Oid schema, IdemStore *store)
{
	Oid			relid = get_relname_relid(idem_table_shape_name(table), schema);
	Relation	rel;

	if (!OidIsValid(relid))
		return InvalidOid;
	if (get_rel_relkind(relid) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" of store \"%s\" is not a table",
						get_rel_name(relid), get_namespace_name(schema)),
				 errdetail_relkind_not_supported(get_rel_relkind(relid))));
	if (table == IDEM_TABLE_KEY)
		store->scope_type = scope_type_of(relid);
	rel = table_open(relid, AccessShareLock);
	check_table(table, rel, store);
	table_close(rel, NoLock);
	return relid;
}

static void
load(Known *entry)
{
	Oid			schema = get_namespace_oid(entry->name, true);

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("store \"%s\" does not exist", entry->name),
				 errhint("Make it with idem_store_create(), or set idem.store to another schema.")));
	memset(&entry->store, 0, sizeof(IdemStore));
	strlcpy(entry->store.name, entry->name, NAMEDATALEN);
	strlcpy(entry->store.schema, quote_identifier(entry->name),
			sizeof(entry->store.schema));
	/* the tables of the extension are no store */
	entry->store.is_own = (schema == idem_catalog()->schema_oid);
	if (entry->store.is_own)
		return;
	entry->store.scope_type = TEXTOID;
	entry->store.key_table = find_table(IDEM_TABLE_KEY, schema, &entry->store);
	entry->store.message_table = find_table(IDEM_TABLE_MESSAGE, schema, &entry->store);
	entry->store.offset_table = find_table(IDEM_TABLE_OFFSET, schema, &entry->store);
}

/* What is known of the store of that name, up to date. */
static const IdemStore *
find_store(const char *name)
{
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));
	Known	   *entry = &known[hash % lengthof(known)];
	uint64		reloads = idem_catalog()->reloads;

	if (entry->valid && entry->reloads == reloads && strcmp(entry->name, name) == 0)
		return &entry->store;
	/* changes of what has had the place go unnoticed from now on */
	if (strcmp(entry->name, name) != 0)
		changes++;
	strlcpy(entry->name, name, NAMEDATALEN);
	/* first, so that a change that comes in meanwhile is not lost */
	entry->valid = true;
	entry->reloads = reloads;
	PG_TRY();
	{
		load(entry);
	}
	PG_CATCH();
	{
		entry->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	return &entry->store;
}

/*
 * A function that runs with its owner's rights has not chosen the store, if it does
 * not set it: raises 42501 there for one that another role would have put in its way.
 * A role that can act as the function's owner anyway gains nothing by that.  That the
 * owner can act as the other says nothing: others may have granted it that.
 */
static void
check_owner(Oid relid, const char *name)
{
	HeapTuple	tuple;
	Oid			owner;

	if (!OidIsValid(relid) || GetUserId() == GetOuterUserId())
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (superuser_arg(owner) || is_member_of_role_nosuper(owner, GetUserId()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for store \"%s\"", name),
			 errdetail("A function runs with the rights of role \"%s\" here, and the store belongs to a role that is no member of it.",
					   GetUserNameFromId(GetUserId(), false)),
			 errhint("Create the function with SET idem.store = '...', and have the store owned by its owner, or by a superuser.")));
}

/*
 * The store that idem.store names, in the current memory; NULL if it names none, or
 * the extension's own schema.
 * Raises 3F000 for a schema that does not exist, 55000 and 42809 for tables that will
 * not do, 42501 where the store is not for a function that runs with its owner's
 * rights.
 */
const IdemStore *
idem_store_current(void)
{
	const IdemStore *found;
	IdemStore  *store;
	const char *name = idem_store_name;
	uint64		before = changes;

	if (*name == '\0')
		return NULL;
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("store \"%s\" does not exist", name)));
	found = find_store(name);
	if (found->is_own)
		return NULL;
	store = palloc(sizeof(IdemStore));
	*store = *found;
	/* what came in while one table was looked at may be about another */
	store->changes = before;
	check_owner(store->key_table, name);
	check_owner(store->message_table, name);
	check_owner(store->offset_table, name);
	return store;
}

/* The table of a store.  Raises 42P01 if it has none such. */
Oid
idem_store_table(const IdemStore *store, IdemTable table)
{
	Oid			relid = table == IDEM_TABLE_KEY ? store->key_table :
		table == IDEM_TABLE_MESSAGE ? store->message_table : store->offset_table;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("store \"%s\" has no table \"%s\"", store->name,
						idem_table_shape_name(table)),
				 errhint("Make it with idem_store_create().")));
	return relid;
}

/*
 * Locks the table of a store as a statement that only reads it, or writes to it, does,
 * and returns it.  Raises 55000 where something has been attached to it since it was
 * looked at; from now on nothing will be.
 */
Oid
idem_store_lock(const IdemStore *store, IdemTable table, bool reads)
{
	Oid			relid = idem_store_table(store, table);
	Relation	rel = try_table_open(relid, reads ? AccessShareLock :
									 RowExclusiveLock);

	if (rel == NULL)
		idem_error_no_relation(relid);
	if (store->changes != changes)
		check_table(table, rel, store);
	table_close(rel, NoLock);
	return relid;
}

/*
 * The store where rows of one of idem's tables are kept, or NULL: in that table.
 * Raises what idem_store_current and idem_store_table raise, and 0A000 where that
 * table must not be used.
 */
const IdemStore *
idem_store_of(IdemTable table)
{
	const IdemStore *store = idem_store_current();

	/* a store that is not distributed is no better than the tables of idem */
	if (store == NULL || !idem_routed(idem_store_table(store, table)))
		idem_routed_check_local(idem_table_shape_name(table), true);
	return store;
}

/*
 * A scope as a value of the type that the store's column has.  Raises 22P02, or what
 * the type raises, for one that is none.
 */
Datum
idem_store_scope_value(const IdemStore *store, text *scope)
{
	Oid			input;
	Oid			param;

	if (store->scope_type == TEXTOID)
		return PointerGetDatum(scope);
	if (VARSIZE_ANY_EXHDR(scope) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the scope of a key in store \"%s\" must not be empty",
						store->name),
				 errdetail("Its scopes are of type %s.",
						   format_type_be(store->scope_type)),
				 errhint("Give \"scope\", or set idem.scope.")));
	getTypeInputInfo(store->scope_type, &input, &param);
	return OidInputFunctionCall(input, text_to_cstring(scope), param, -1);
}

/* A scope as the type of the store's column writes it: one spelling of a value. */
text *
idem_store_scope(const IdemStore *store, text *scope)
{
	Oid			output;
	bool		varlena;

	if (store->scope_type == TEXTOID)
		return scope;
	getTypeOutputInfo(store->scope_type, &output, &varlena);
	return cstring_to_text(OidOutputFunctionCall(output,
												 idem_store_scope_value(store, scope)));
}

/* Only flags, since it is called where nothing may be looked up. */
static void
table_changed(Oid relid)
{
	for (int i = 0; i < lengthof(known); i++)
	{
		const IdemStore *store = &known[i].store;

		if (!OidIsValid(relid) || relid == store->key_table ||
			relid == store->message_table || relid == store->offset_table)
		{
			known[i].valid = false;
			changes++;
		}
	}
}

static void
schema_changed(Datum arg, int cacheid, uint32 hash)
{
	table_changed(InvalidOid);
}

/* A table that a store has lacked so far changes no table that it has. */
static void
name_changed(Datum arg, int cacheid, uint32 hash)
{
	for (int i = 0; i < lengthof(known); i++)
	{
		const IdemStore *store = &known[i].store;

		if (!OidIsValid(store->key_table) || !OidIsValid(store->message_table) ||
			!OidIsValid(store->offset_table))
			known[i].valid = false;
	}
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_store_init(void)
{
	idem_invalidation_listen(table_changed);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(RELNAMENSP, name_changed, (Datum) 0);
}
