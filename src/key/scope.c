/*
 * scope.c
 *	  Scopes that are some role's own.
 *	  SQL: idem_scope_define(), idem_scope_drop().
 *
 * A scope is a name that calls give.  A role may define it, and from then on only
 * that role's members may use keys there; one that nobody has defined is for all.
 * That is looked at before anything else of a call is, so others wait for nobody,
 * and learn of no key.
 *
 * Definitions are rows of idem_scope, kept and read as those of consumers are
 * (consumer.c).  Most databases have none: that is kept, too, so that calls need
 * not look for their scope.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/invalidation.h"
#include "base/rights.h"
#include "base/role.h"
#include "base/settings.h"
#include "key/key.h"
#include "key/scope.h"
#include "run/committed_row.h"
#include "run/spi_own.h"

PG_FUNCTION_INFO_V1(idem_scope_define);
PG_FUNCTION_INFO_V1(idem_scope_drop);

/* Columns of idem_scope. */
enum
{
	COLUMN_SCOPE = 1,
	COLUMN_OWNER
};

/* So many are kept: a scope that nobody has defined is the caller's invention. */
#define MAX_SCOPES		1024

/* So often others may be in the way of a definition, or a trigger is. */
#define MAX_TRIES		10

typedef struct Scope
{
	char		name[IDEM_MAX_KEY_LENGTH + 1];
	bool		defined;
	Oid			owner;			/* role, if defined */
} Scope;

static HTAB *scopes = NULL;
static MemoryContext scopes_context = NULL;
static bool scopes_valid = false;	/* reset by invalidations */
static bool any_scopes;			/* are there any, while that is valid? */
static uint64 scopes_generation;	/* of the catalog they were read by */
static Oid	scope_table = InvalidOid;	/* where they were read from */

static IdemStatement define = {
	.text = "INSERT INTO @.idem_scope (scope, owner)"
	" VALUES ($1, $2::@.idem_role) ON CONFLICT (scope) DO NOTHING",
	.nargs = 2,
	.argtypes = {TEXTOID, OIDOID}
};

/* The row that was found: by its place, and its key lest it has been moved. */
static IdemStatement drop = {
	.text = "DELETE FROM @.idem_scope"
	" WHERE ctid OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.texteq(scope, $2)",
	.nargs = 2,
	.argtypes = {TIDOID, TEXTOID}
};

/* Reads the definition of a scope; a copy of the row, or NULL. */
static HeapTuple
read_definition(Scope *scope)
{
	Relation	rel = table_open(idem_catalog()->scope_table, AccessShareLock);
	ScanKeyData key;
	HeapTuple	tuple;
	Datum		value;
	bool		isnull;

	ScanKeyInit(&key, COLUMN_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(scope->name));
	/* the index is asked for now that the table is locked: it may be replaced */
	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 1, &key);
	scope->defined = HeapTupleIsValid(tuple);
	if (scope->defined)
	{
		value = heap_getattr(tuple, COLUMN_OWNER, RelationGetDescr(rel), &isnull);
		scope->owner = isnull ? InvalidOid : DatumGetObjectId(value);
	}
	table_close(rel, AccessShareLock);
	return tuple;
}

/* Has any scope been defined? */
static bool
find_any(void)
{
	Relation	rel = table_open(idem_catalog()->scope_table, AccessShareLock);
	HeapTuple	tuple = idem_committed_row_find(rel, idem_catalog_key_of(rel), 0, NULL);

	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* Makes a place to keep scopes in, if there is none that is up to date. */
static void
ready_scopes(void)
{
	const IdemCatalog *cat = idem_catalog();
	HASHCTL		info = {0};

	if (scopes_valid && scopes_generation == cat->generation &&
		hash_get_num_entries(scopes) < MAX_SCOPES)
		return;

	scopes_valid = false;
	if (scopes_context == NULL)
		scopes_context = AllocSetContextCreate(TopMemoryContext, "idem scopes",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(scopes_context);
	info.keysize = sizeof(((Scope *) NULL)->name);
	info.entrysize = sizeof(Scope);
	info.hcxt = scopes_context;
	scopes = hash_create("idem scopes", 32, &info,
						 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	scopes_generation = cat->generation;
	scope_table = cat->scope_table;
	any_scopes = true;
	/* news that come in from here on reset it; of what came before, we read */
	scopes_valid = idem_invalidation_covers(scope_table);
	any_scopes = find_any();
}

/*
 * Raises 42501 unless a scope is for us to use.  A role that has been dropped since
 * leaves its scopes to superusers.
 */
static void
check_owner(const Scope *scope)
{
	static const IdemRoleError error = {
		.message = "permission denied for scope \"%s\"",
		.detail = "Role \"%s\" has defined it.",
		.hint = "Become a member of that role, or use another scope.",
		.detail_dropped = "The role that has defined it is gone.",
		.hint_dropped = "Have a superuser drop it, or use another scope."
	};

	if (scope->defined)
		idem_role_check(scope->owner, scope->name, &error);
}

static void
init_scope(Scope *scope, text *name)
{
	memset(scope, 0, sizeof(Scope));
	memcpy(scope->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* Raises 42501 unless a scope, of a length that may be, is for us to use. */
void
idem_scope_check(text *name)
{
	Scope		scope;
	Scope	   *known;

	/* in a transaction under way, news of a change may not have come in yet */
	AcceptInvalidationMessages();
	ready_scopes();
	if (!any_scopes)
		return;

	init_scope(&scope, name);
	known = scopes_valid ?
		hash_search(scopes, scope.name, HASH_FIND, NULL) : NULL;
	if (known != NULL)
		scope = *known;
	else
	{
		(void) read_definition(&scope);

		/* not if news came in meanwhile, which may be of this very one */
		if (scopes_valid)
		{
			known = hash_search(scopes, scope.name, HASH_ENTER, NULL);
			*known = scope;
		}
	}
	check_owner(&scope);
}

/* Takes the scope that is to be defined, or not any more, from the argument. */
static text *
begin(FunctionCallInfo fcinfo, const char *function, const char *call,
	  Scope *scope)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	idem_rights_define_scope(fcinfo, function);
	PreventCommandDuringRecovery(call);
	PreventCommandIfReadOnly(call);
	if (name == NULL)
		idem_error_null("scope");
	if (VARSIZE_ANY_EXHDR(name) > IDEM_MAX_KEY_LENGTH)
		idem_error_length("scope", VARSIZE_ANY_EXHDR(name), 0,
						  IDEM_MAX_KEY_LENGTH);
	init_scope(scope, name);
	return name;
}

/*
 * Raises 40001 for a definition that our snapshot does not see, and that we cannot
 * write therefore.
 */
static void
check_seen(const Scope *scope, HeapTuple row)
{
	if (idem_committed_row_is_unseen(HeapTupleHeaderGetXmin(row->t_data)))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent definition of scope \"%s\"",
						scope->name),
				 errdetail("It was defined after this transaction's snapshot was taken."),
				 errhint("The transaction might succeed if retried.")));
}

/*
 * idem_scope_define(scope text) -> void
 *
 * Makes a scope the caller's: from then on only members of that role may use keys
 * there.  Raises 42501 when it is another role's or the caller may define none,
 * 22004 and 22023 for what is no scope, 25006 in a read-only transaction and on a
 * standby, 27000 when a trigger keeps the definition from being written.
 */
Datum
idem_scope_define(PG_FUNCTION_ARGS)
{
	Scope		scope;
	text	   *name = begin(fcinfo, "idem_scope_define", "idem_scope_define()",
							 &scope);
	Datum		args[2];

	args[0] = PointerGetDatum(name);
	args[1] = ObjectIdGetDatum(GetUserId());
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		if (read_definition(&scope) != NULL)
		{
			check_owner(&scope);
			PG_RETURN_VOID();
		}
		/* waits for another who defines it, and then finds that it is there */
		if (idem_spi_own(&define, args, NULL, 0, NULL, NULL) > 0)
			PG_RETURN_VOID();
	}
	idem_error_prevented("idem_scope");
}

/*
 * idem_scope_drop(scope text) -> boolean
 *
 * Takes a definition back: the scope is everybody's again, and its keys stay.
 * False if it is not defined.  Raises 40001 when it was defined after our snapshot
 * was taken, and what idem_scope_define raises.
 */
Datum
idem_scope_drop(PG_FUNCTION_ARGS)
{
	Scope		scope;
	text	   *name = begin(fcinfo, "idem_scope_drop", "idem_scope_drop()",
							 &scope);
	Datum		args[2];

	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		HeapTuple	row;

		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		row = read_definition(&scope);
		if (row == NULL)
			PG_RETURN_BOOL(false);
		check_owner(&scope);
		check_seen(&scope, row);
		args[0] = PointerGetDatum(&row->t_self);
		args[1] = PointerGetDatum(name);
		if (idem_spi_own(&drop, args, NULL, 0, NULL, NULL) > 0)
			PG_RETURN_BOOL(true);
	}
	idem_error_prevented("idem_scope");
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_scope_init(void)
{
	idem_invalidation_watch(&scope_table, &scopes_valid);
}
