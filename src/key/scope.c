/*
 * scope.c
 *	  Scopes that are some role's own.
 *	  SQL: idem_scope_define(), idem_scope_drop().
 *
 * A scope is a name that calls give.  A role may define it, and from then on only
 * that role's members may use keys there; one that no role has defined is for all.
 * That is looked at before anything else of a call is, so that other roles wait for
 * no key there, and learn of none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/settings.h"
#include "key/scope.h"
#include "run/definition.h"

PG_FUNCTION_INFO_V1(idem_scope_define);
PG_FUNCTION_INFO_V1(idem_scope_drop);

StaticAssertDecl(IDEM_MAX_KEY_LENGTH == IDEM_DEFINITION_LENGTH,
				 "just the scopes that a key may have can be defined");

/* Columns of idem_scope. */
enum
{
	COLUMN_SCOPE = 1,
	COLUMN_OWNER
};

static const IdemRoleError denied = {
	.message = "permission denied for scope \"%s\"",
	.detail = "Role \"%s\" has defined it.",
	.hint = "Become a member of that role, or use another scope.",
	.detail_dropped = "The role that has defined it is gone.",
	.hint_dropped = "Have a superuser drop it, or use another scope."
};

static IdemDefinitionKind scopes = {
	.name = "scope",
	.table_name = "idem_scope",
	.table = offsetof(IdemCatalog, scope_table),
	.name_column = COLUMN_SCOPE,
	.owner_column = COLUMN_OWNER,
	.size = sizeof(IdemDefinition),
	.denied = &denied,
	/* there is nothing of a scope to change, whoever owns it: $3 is not used */
	.define = {
		.text = "INSERT INTO @.idem_scope (scope, owner)"
		" VALUES ($1, $2::@.idem_role) ON CONFLICT (scope) DO NOTHING",
		.nargs = IDEM_DEFINITION_ARGS,
		.argtypes = {TEXTOID, OIDOID, OIDOID},
		.table = offsetof(IdemCatalog, scope_table)
	},
	.drop = {
		.text = "DELETE FROM @.idem_scope"
		" WHERE ctid OPERATOR(pg_catalog.=) $1"
		" AND pg_catalog.texteq(scope, $2)",
		.nargs = 2,
		.argtypes = {TIDOID, TEXTOID},
		.table = offsetof(IdemCatalog, scope_table)
	}
};

/*
 * The scope that an argument of a function gives, or else the setting.  Raises 22023
 * for one of a wrong length.
 */
text *
idem_scope_argument(FunctionCallInfo fcinfo, int argument)
{
	text	   *scope = PG_ARGISNULL(argument) ? cstring_to_text(idem_scope) :
		PG_GETARG_TEXT_PP(argument);

	if (VARSIZE_ANY_EXHDR(scope) > IDEM_MAX_KEY_LENGTH)
		idem_error_length("scope", VARSIZE_ANY_EXHDR(scope), 0, IDEM_MAX_KEY_LENGTH);
	return scope;
}

/* Raises 42501 unless a scope, of a length that may be, is for the caller to use. */
void
idem_scope_check(text *name)
{
	IdemDefinition scope;

	if (!idem_definition_any(&scopes))
		return;
	idem_definition_name(&scopes, &scope, name);
	idem_definition_find(&scopes, &scope);
}

/* Is a scope one of idem's own? */
bool
idem_scope_is_reserved(text *name)
{
	const char *reserved = IDEM_SCOPE_RESERVED;
	int			length = strlen(reserved);

	return VARSIZE_ANY_EXHDR(name) >= length &&
		memcmp(VARDATA_ANY(name), reserved, length) == 0;
}

/*
 * Raises 42939 for a scope whose keys are idem's own to claim and to end: callers
 * reach them by the functions that they are there for.
 */
void
idem_scope_check_reserved(text *name)
{
	if (!idem_scope_is_reserved(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RESERVED_NAME),
			 errmsg("scope \"%s\" is reserved", text_to_cstring(name)),
			 errdetail("Scopes that begin with \"%s\" are for keys of extension \"idem\" itself.",
					   IDEM_SCOPE_RESERVED),
			 errhint("Claims of sagas are ended by idem_saga_done() and idem_saga_fail(). For keys of your own choose another scope.")));
}

/*
 * idem_scope_define(scope text) -> void
 *
 * Makes a scope the caller's: from then on only members of that role may use keys
 * there.  Raises 42501 when it is another role's or the caller may define none,
 * 22004 and 22023 for what is no scope, 42939 for one of idem's own, 25006 in a read-only transaction and on a
 * standby, 27000 when a trigger keeps the definition from being written.
 */
Datum
idem_scope_define(PG_FUNCTION_ARGS)
{
	IdemDefinition scope;
	Datum		args[IDEM_DEFINITION_ARGS];

	if (!PG_ARGISNULL(0))
		idem_scope_check_reserved(PG_GETARG_TEXT_PP(0));
	idem_definition_begin(&scopes, fcinfo, "idem_scope_define", &scope);
	idem_definition_define(&scopes, &scope, args, NULL);
	PG_RETURN_VOID();
}

/*
 * idem_scope_drop(scope text) -> boolean
 *
 * Takes a definition back: the scope is for all again, and its keys stay.  False if
 * it is not defined.  Raises 40001 when it was defined after the transaction's
 * snapshot was taken, and what idem_scope_define raises.
 */
Datum
idem_scope_drop(PG_FUNCTION_ARGS)
{
	IdemDefinition scope;

	idem_definition_begin(&scopes, fcinfo, "idem_scope_drop", &scope);
	PG_RETURN_BOOL(idem_definition_drop(&scopes, &scope));
}

/* Registers for changes of definitions.  To be called once, from _PG_init. */
void
idem_scope_init(void)
{
	idem_definition_init(&scopes);
}
