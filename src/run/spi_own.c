/*
 * spi_own.c
 *	  Running idem's own statements.
 *
 * They touch idem's tables only, and run as the owner of those, so that callers
 * need no privilege on them, and restricted (usercontext.c), since any role may
 * have been let put triggers on those tables.
 *
 * Plans are kept for the session.  A plan that is no longer valid is thrown
 * away and made again from its text, rather than left to the plan cache, since
 * what the text names may be another by now.
 */
#include "postgres.h"

#include "access/table.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/plancache.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "run/simple_dml.h"
#include "run/spi.h"
#include "run/spi_own.h"
#include "run/usercontext.h"

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

/*
 * Has a rule left nothing of a statement?  Its plan then depends on no table, and
 * stays valid when the rule is dropped.
 */
static bool
is_empty(const IdemPlan *plan)
{
	CachedPlanSource *source = linitial(idem_spi_sources(plan));

	return source->query_list == NIL;
}

/* Makes the statement's plan fit the catalog, and its table. */
static void
ready(IdemStatement *statement, Oid table)
{
	const IdemCatalog *cat = idem_catalog();
	IdemOwnNames own = {NULL, table, true};
	char	   *sql;
	Oid			argtypes[IDEM_MAX_ARGS];
	IdemPlan   *plan;

	Assert(statement->nargs <= IDEM_MAX_ARGS);
	if (statement->plan != NULL &&
		statement->reloads == cat->reloads &&
		statement->plan->own.table == table &&
		idem_spi_is_valid(statement->plan) && !is_empty(statement->plan))
		return;

	sql = place_schema(statement->text, cat->schema);
	for (int i = 0; i < statement->nargs; i++)
		argtypes[i] = OidIsValid(statement->argtypes[i]) ?
			statement->argtypes[i] : cat->outcome_type;
	plan = idem_spi_prepare(sql, statement->nargs, argtypes, 0, &own, NULL);
	pfree(sql);

	/* an execution of the former may be under way below this one */
	if (statement->plan != NULL)
		idem_spi_forget(statement->plan);
	statement->plan = plan;
	statement->reloads = cat->reloads;
}

/*
 * Becomes the owner of the table that a statement is about, and returns that
 * table.  It is locked first, so that neither its owner nor, where nothing is
 * attached to it, that changes before the statement has run.  The lock is the
 * statement's own: a weaker one, which has to become a stronger one, can deadlock.
 */
static Oid
enter(IdemUserContext *caller, const IdemStatement *statement)
{
	Oid			table = idem_catalog_table(statement->table);
	Relation	rel = table_open(table, statement->reads ? AccessShareLock :
								 RowExclusiveLock);
	Oid			owner = rel->rd_rel->relowner;
	bool		bare = statement->bare && idem_simple_dml_runs_nothing(rel);

	table_close(rel, NoLock);
	if (bare)
		idem_usercontext_enter_bare(caller, owner);
	else
		idem_usercontext_enter(caller, owner);
	Assert(GetUserId() == owner && InSecurityRestrictedOperation());
	return table;
}

static uint64
run(IdemStatement *statement, const IdemExecution *how)
{
	IdemUserContext caller;
	Oid			table = enter(&caller, statement);
	uint64		rows;

	ready(statement, table);
	rows = idem_spi_run(statement->plan, how);
	idem_usercontext_leave(&caller);
	return rows;
}

/*
 * Runs a statement of idem's own as the owner of idem's tables.
 *
 * arg_isnull tells which arguments are null; NULL stands for none.  Returns the
 * number of rows, and the first ncols columns of the first row in the caller's
 * memory.
 */
uint64
idem_spi_own(IdemStatement *statement, Datum *args, const bool *arg_isnull,
			 int ncols, Datum *values, bool *isnull)
{
	IdemExecution how = {
		.args = args, .arg_isnull = arg_isnull,
		.ncols = ncols, .values = values, .isnull = isnull
	};

	return run(statement, &how);
}

static ParamListInfo
bind_datums(int nargs, const Oid *types, void *datums)
{
	ParamListInfo params = makeParamList(nargs);

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = ((Datum *) datums)[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/*
 * Runs a statement of idem's own as the owner of idem's tables, with arguments
 * none of which is null, and sends its rows to dest.
 */
void
idem_spi_own_send(IdemStatement *statement, Datum *args, DestReceiver *dest)
{
	IdemExecution how = {.dest = dest, .bind = bind_datums, .state = args};

	(void) run(statement, &how);
}
