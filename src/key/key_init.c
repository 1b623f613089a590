/*
 * key_init.c
 *	  A key, and how its work is to be done, from the arguments of a function.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/argument.h"
#include "base/error.h"
#include "base/routed.h"
#include "base/settings.h"
#include "key/key_init.h"
#include "key/key_lock.h"
#include "key/scope.h"

static void
check_length(const char *argument, text *value, int least)
{
	int			length = VARSIZE_ANY_EXHDR(value);

	if (length < least || length > IDEM_MAX_KEY_LENGTH)
		idem_error_length(argument, length, least, IDEM_MAX_KEY_LENGTH);
}

static void
check_writable(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("Call it on the primary. Here idem_lookup() tells how a key stands.")));
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s in a read-only transaction", function),
				 errhint("Call it in a transaction that may write. In this one idem_lookup() tells how a key stands.")));
}

/* A key that an argument gives, which is declared as text or uuid. */
static text *
read_name(FunctionCallInfo fcinfo, int argument)
{
	Datum		value = PG_GETARG_DATUM(argument);

	if (idem_argument_type(fcinfo, argument) == UUIDOID)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, value)));
	return DatumGetTextPP(value);
}

/*
 * The key that an argument of a function gives.  function is the name to complain
 * with where nothing may be written, or NULL for one that only reads.  Raises 22004
 * for a null key, 22023 for one of a wrong length, 25006 in a read-only transaction
 * and on a standby.
 */
text *
idem_key_init_name(FunctionCallInfo fcinfo, int name, const char *function)
{
	text	   *key;

	if (function != NULL)
		check_writable(function);
	if (PG_ARGISNULL(name))
		idem_error_null("key");
	key = read_name(fcinfo, name);
	check_length("key", key, 1);
	return key;
}

/*
 * Chooses where the row of a key is kept, whose scope has been set.  Keys in scopes of
 * idem's own are in no store.
 */
static void
choose_store(IdemKey *key)
{
	if (idem_scope_is_reserved(key->scope))
	{
		idem_routed_check_local("idem_key", false);
		return;
	}
	key->store = idem_store_of(IDEM_TABLE_KEY);
	if (key->store != NULL)
		key->scope = idem_store_scope(key->store, key->scope);
}

/* Takes all but the key from the arguments of a function, whatever the scope is. */
static void
init_all_but_key(IdemKey *key, FunctionCallInfo fcinfo, int scope, int ttl)
{
	memset(key, 0, sizeof(IdemKey));
	key->scope = idem_scope_argument(fcinfo, scope);
	choose_store(key);
	key->ttl = ttl < 0 || PG_ARGISNULL(ttl) ? NULL : PG_GETARG_INTERVAL_P(ttl);
	key->role = GetUserId();
}

static void
set_name(IdemKey *key, text *name)
{
	key->key = name;
	key->name = text_to_cstring(name);
	key->hash = idem_key_lock_hash(key->scope, key->key);
	/* keys of two stores are no more the same than those of two scopes */
	if (key->store != NULL)
		key->hash = hash_combine64(key->hash, key->store->key_table);
}

/*
 * Takes a key from the arguments of a function, by their numbers, whatever its scope
 * is.  A scope that is null is that of the setting; a function that takes no ttl gives
 * -1 for it.
 */
static void
init(IdemKey *key, FunctionCallInfo fcinfo, const char *function,
	 int name, int scope, int ttl)
{
	text	   *given = idem_key_init_name(fcinfo, name, function);

	init_all_but_key(key, fcinfo, scope, ttl);
	set_name(key, given);
}

/*
 * Takes a key from the arguments of a function, by their numbers.  A scope that is
 * null is that of the setting; a function that takes no ttl gives -1 for it.
 *
 * function is the name to complain with where nothing may be written, or NULL
 * for one that only reads.  Raises 22004 for a null key, 22023 for a key or scope
 * of a wrong length, 42939 for a scope of idem's own, 42501 for a scope that is another role's, 25006 in a read-only
 * transaction and on a standby.
 */
void
idem_key_init(IdemKey *key, FunctionCallInfo fcinfo, const char *function,
			  int name, int scope, int ttl)
{
	init(key, fcinfo, function, name, scope, ttl);
	idem_scope_check_reserved(key->scope);
	idem_scope_check(key->scope);
}

/*
 * The same of all keys that a function is given in an array: what they have in
 * common.
 */
void
idem_key_init_set(IdemKey *key, FunctionCallInfo fcinfo, const char *function,
				  int scope, int ttl)
{
	check_writable(function);
	init_all_but_key(key, fcinfo, scope, ttl);
	idem_scope_check_reserved(key->scope);
	idem_scope_check(key->scope);
}

/*
 * One of these keys, as an element of the array gives it.  Raises 22023 for one of a
 * wrong length.
 */
void
idem_key_init_member(IdemKey *key, const IdemKey *set, text *name)
{
	Assert(set->scope != NULL && set->key == NULL);
	check_length("key", name, 1);
	*key = *set;
	set_name(key, name);
}

/*
 * The same for a call that neither claims a key nor ends a claim: the holder of one
 * that is idem's own extends it and records checkpoints as any other.
 */
void
idem_key_init_held(IdemKey *key, FunctionCallInfo fcinfo, const char *function,
				   int name, int scope)
{
	init(key, fcinfo, function, name, scope, -1);
	idem_scope_check(key->scope);
}

/*
 * A key in a scope of idem's own, which belongs to a role and is there until idem
 * deletes it.
 */
void
idem_key_init_own(IdemKey *key, const char *scope, text *name, Oid role)
{
	memset(key, 0, sizeof(IdemKey));
	idem_routed_check_local("idem_key", false);
	key->scope = cstring_to_text(scope);
	key->key = name;
	key->name = text_to_cstring(name);
	key->role = role;
	key->forever = true;
	key->hash = idem_key_lock_hash(key->scope, key->key);
}

/*
 * The same for a caller to whom keys of any role, in any scope, are open, and that
 * keeps none.
 */
void
idem_key_init_any_role(IdemKey *key, FunctionCallInfo fcinfo,
					   const char *function, int name, int scope)
{
	init(key, fcinfo, function, name, scope, -1);
	key->any_role = true;
}

/*
 * Takes from three arguments of a function, by the number of the first, how its work
 * is to be done: remember_errors, wait, store_response.  Raises 22004 for a null
 * that says neither yes nor no, and what idem_refusal_list raises.
 */
void
idem_key_init_work(IdemKey *key, FunctionCallInfo fcinfo, int first)
{
	if (!PG_ARGISNULL(first))
		key->refusals = idem_refusal_list(PG_GETARG_ARRAYTYPE_P(first));
	if (PG_ARGISNULL(first + 1))
		idem_error_null("wait");
	key->no_wait = !PG_GETARG_BOOL(first + 1);
	if (PG_ARGISNULL(first + 2))
		idem_error_null("store_response");
	key->withheld = !PG_GETARG_BOOL(first + 2);
}

/*
 * A key that is given by other means than an argument, in the scope of the setting.
 * Raises what idem_key_init does.
 */
void
idem_key_init_setting(IdemKey *key, const char *name, const char *function)
{
	check_writable(function);
	memset(key, 0, sizeof(IdemKey));
	key->scope = cstring_to_text(idem_scope);
	check_length("scope", key->scope, 0);
	choose_store(key);
	key->role = GetUserId();
	set_name(key, cstring_to_text(name));
	check_length("key", key->key, 1);
	idem_scope_check_reserved(key->scope);
	idem_scope_check(key->scope);
}
