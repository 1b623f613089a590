/*
 * store_run.c
 *	  Running statements about the tables of a store, with the caller's rights.
 *
 * The rights are the caller's, since Citus refuses that two users write to shards
 * that belong together in one transaction.  The table is locked, as the statement
 * locks it, before it is looked at: what was found of it, that no code is attached
 * to it above all, holds until the statement has run.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "base/catalog.h"
#include "base/routed.h"
#include "run/spi_caller.h"
#include "store/store_run.h"

/* A statement, and the store that it is for. */
typedef struct Call
{
	const IdemStore *store;
	const IdemStoreStatement *statement;
} Call;

static const char *
write_sql(const void *state, int which)
{
	const Call *call = state;
	const char *text = call->statement->text;
	bool		only = strncmp(text, "INSERT", strlen("INSERT")) != 0 &&
		!idem_routed(idem_store_table(call->store, call->statement->table));
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		/*
		 * a table may come to inherit from it while it is being written to,
		 * with code attached
		 */
		if (*c == '@')
			appendStringInfo(&buf, "%s%s", only ? "ONLY " : "",
							 call->store->schema);
		else
			appendStringInfoChar(&buf, *c);
	}
	return buf.data;
}

static Oid
type_of(const IdemStore *store, Oid type)
{
	return type == IDEM_STORE_OUTCOME ? idem_catalog()->outcome_type :
		type == IDEM_STORE_ROLE ? idem_catalog()->role_type :
		type == IDEM_STORE_SCOPE ? store->scope_type : type;
}

/*
 * Runs a statement about a table of a store.  Arguments and result as in
 * idem_spi_own.
 */
uint64
idem_store_run(const IdemStore *store, const IdemStoreStatement *statement,
			   Datum *args, const bool *arg_isnull, int ncols, Datum *values,
			   bool *isnull)
{
	Call		call = {store, statement};
	Oid			table = idem_store_lock(store, statement->table, statement->reads);
	struct
	{
		IdemTableSignature table;
		Oid			scope_type;
	}			signature = {{IDEM_PLAN_STORE, GetUserId(), table}, store->scope_type};
	Oid			argtypes[IDEM_STORE_MAX_ARGS];
	IdemCallerStatement caller = {
		.signature = {&signature, sizeof(signature), statement->number},
		.write_sql = write_sql, .state = &call,
		.nargs = statement->nargs, .argtypes = argtypes,
		.table = table, .looks = true, .runs_nothing = true
	};

	Assert(statement->nargs <= IDEM_STORE_MAX_ARGS);
	for (int i = 0; i < statement->nargs; i++)
		argtypes[i] = type_of(store, statement->argtypes[i]);
	return idem_spi_caller(idem_spi_caller_plan(&caller), args, arg_isnull, ncols,
						   values, isnull);
}
