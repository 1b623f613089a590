/*
 * change.c
 *	  A change of a row's state, as a transition makes it.
 *
 * Most transitions are good, and one UPDATE makes them: in its condition stands
 * idem_change_met(), which judges the row version that was found.  The server
 * evaluates that anew when it has to wait for somebody else's change, so the
 * last version that was judged is the one that is replaced.  Where the UPDATE
 * touches nothing, the row is locked by a statement of its own, and judged by
 * what it is then: nobody can change it between that and what is said of it.
 *
 * The statements are what a person would write and run with the caller's
 * rights.  They run under the caller's search_path, hence every name in them is
 * qualified.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "change.h"
#include "error.h"
#include "follow.h"
#include "intent.h"
#include "machine.h"
#include "query.h"
#include "unique.h"

PG_FUNCTION_INFO_V1(idem_change_met);

/* The statements, and their parameters: the key's columns, then the state. */
typedef enum Statement
{
	LOCK_ROW,
	UPDATE_ROW
} Statement;

/* What there is to say of a change. */
typedef enum Verdict
{
	GOOD,
	THERE_ALREADY,
	WRONG_VERSION,
	NO_EDGE
} Verdict;

typedef struct Table
{
	Relation	rel;
	IdemLifecycle lifecycle;
	IdemUnique	key;
	Oid			types[INDEX_MAX_KEYS + 1];
	Datum		args[INDEX_MAX_KEYS + 1];
} Table;

/* An UPDATE under way. */
typedef struct Attempt
{
	IdemIntent	intent;
	const Table *table;
	const IdemWish *wish;
	MemoryContext memory;		/* of the call */
	const char *from;			/* state of the row version met last */
} Attempt;

/* That of the innermost change being made, or NULL. */
static Attempt *attempt = NULL;

static void
check_relation(Relation rel, bool keyed)
{
	const char *name = RelationGetRelationName(rel);
	char		relkind = rel->rd_rel->relkind;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot follow a state machine", name),
				 errdetail_relkind_not_supported(relkind),
				 errhint("Name the table itself.")));
	if (keyed && rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use a key on temporary table \"%s\"", name),
				 errdetail("The key would outlive the row, and no other session could retry.")));
}

/* The table must follow the machine wanted, now and with its triggers on. */
static void
check_lifecycle(Table *table, const char *machine)
{
	bool		attached = idem_follow_find(&table->lifecycle, table->rel);
	const char *name = RelationGetRelationName(table->rel);

	if (attached && strcmp(table->lifecycle.machine, machine) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" does not follow state machine \"%s\"",
					name, machine),
			 attached ?
			 errdetail("It follows state machine \"%s\".",
					   table->lifecycle.machine) :
			 errhint("Call idem_attach(), or enable the triggers it made.")));
}

/*
 * Opens the target, to be closed by the caller, and checks it against what is
 * wanted of it.
 */
static void
open_table(Table *table, const IdemWish *wish)
{
	Form_pg_attribute att;
	Oid			function;
	Oid			ioparam;

	/* the lock that the update takes, lest it be a stronger one than ours */
	table->rel = try_relation_open(wish->target, RowExclusiveLock);
	if (table->rel == NULL)
		idem_error_no_relation(wish->target);
	check_relation(table->rel, wish->key != NULL);
	check_lifecycle(table, wish->machine);
	if (!idem_unique_primary(&table->key, table->rel))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no primary key to find a row by",
						RelationGetRelationName(table->rel)),
				 errdetail("A deferrable primary key does not count.")));

	idem_rowid_bind(wish->id, table->rel, &table->key,
					table->types, table->args);
	att = TupleDescAttr(RelationGetDescr(table->rel),
						table->lifecycle.status - 1);
	table->types[table->key.ncolumns] = att->atttypid;
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	table->args[table->key.ncolumns] =
		OidInputFunctionCall(function, unconstify(char *, wish->to),
							 ioparam, -1);
}

static const char *
column_name(const Table *table, AttrNumber number)
{
	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(table->rel),
												  number - 1)->attname));
}

static char *
write_sql(const Table *table, Statement which)
{
	StringInfoData buf;
	const char *status = column_name(table, table->lifecycle.status);
	const char *only;
	const char *name;
	char	   *columns;

	/*
	 * The rows of tables that inherit from this one have neither its primary
	 * key nor its triggers.
	 */
	only = table->rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ";
	name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table->rel)),
									  RelationGetRelationName(table->rel));
	columns = psprintf("idem_row.%s, idem_row.%s::pg_catalog.int8",
					   status, column_name(table, table->lifecycle.version));

	initStringInfo(&buf);
	if (which == LOCK_ROW)
		appendStringInfo(&buf, "SELECT %s FROM %s%s AS idem_row WHERE ",
						 columns, only, name);
	else
		appendStringInfo(&buf, "UPDATE %s%s AS idem_row SET %s = $%d WHERE ",
						 only, name, status, table->key.ncolumns + 1);
	idem_rowid_condition(&buf, table->rel, &table->key);
	if (which == LOCK_ROW)
		appendStringInfoString(&buf, " FOR NO KEY UPDATE");
	else
		appendStringInfo(&buf, " AND %s.idem_change_met(%s) RETURNING %s",
						 idem_catalog()->schema, columns, columns);
	return buf.data;
}

/* A state as the trigger reads it: a type's owner may cast it to other texts. */
static const char *
state_text(const Table *table, Datum state)
{
	Oid			function;
	bool		isvarlena;

	getTypeOutputInfo(table->types[table->key.ncolumns], &function, &isvarlena);
	return OidOutputFunctionCall(function, state);
}

/* Runs a statement; false if it touched no row. */
static bool
run(Table *table, Statement which, const char **state, int64 *version)
{
	struct
	{
		char		kind;
		char		which;
		Oid			user;
		Oid			target;
	}			signature;
	int			nargs = table->key.ncolumns + (which == UPDATE_ROW ? 1 : 0);
	IdemPlan   *plan;
	Datum		values[2];
	bool		isnull[2];

	/* Row security is planned for a role, hence a plan for each. */
	memset(&signature, 0, sizeof(signature));
	signature.kind = 't';
	signature.which = (char) which;
	signature.user = GetUserId();
	signature.target = RelationGetRelid(table->rel);
	plan = idem_query_find((char *) &signature, sizeof(signature));
	if (plan == NULL)
		plan = idem_query_keep((char *) &signature, sizeof(signature),
							   write_sql(table, which), nargs, table->types);

	if (idem_query_caller(plan, table->args, NULL, 2, values, isnull) == 0)
		return false;
	*state = isnull[0] ? NULL : state_text(table, values[0]);
	*version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	return true;
}

static Verdict
judge(const IdemWish *wish, const char *from, int64 version)
{
	const IdemMachine *machine = idem_machine_find(wish->machine);
	bool		allowed = idem_machine_allows(machine, from, wish->to);
	bool		there = !allowed && from != NULL && strcmp(from, wish->to) == 0;

	/* one past it, in the wanted state: our own lost acknowledgement */
	if (wish->versioned && version != wish->expected_version &&
		!(there && version - 1 == wish->expected_version))
		return WRONG_VERSION;
	if (there)
		return THERE_ALREADY;
	return allowed ? GOOD : NO_EDGE;
}

/* Updates the row if that is good; false if nothing was touched. */
static bool
update(Table *table, const IdemWish *wish, IdemChange *change)
{
	Attempt		ours = {0};
	Attempt    *outer = attempt;
	volatile bool updated;

	ours.intent.scope = wish->scope;
	ours.intent.key = wish->key;
	ours.intent.note = wish->note;
	ours.table = table;
	ours.wish = wish;
	ours.memory = CurrentMemoryContext;

	idem_intent_begin(&ours.intent);
	attempt = &ours;
	PG_TRY();
	{
		updated = run(table, UPDATE_ROW, &change->to, &change->version);
	}
	PG_FINALLY();
	{
		attempt = outer;
		idem_intent_end(&ours.intent);
	}
	PG_END_TRY();

	if (!updated)
		return false;
	change->outcome = IDEM_APPLIED;
	change->from = ours.from;
	return true;
}

/*
 * Locks the row, and raises what is to be said against a change; true if there
 * is nothing to be said, and nothing to be done either.
 */
static bool
lock_there(Table *table, const IdemWish *wish, IdemChange *change)
{
	if (!run(table, LOCK_ROW, &change->from, &change->version))
		idem_error_no_row(wish->target, wish->id->text, NULL);

	switch (judge(wish, change->from, change->version))
	{
		case GOOD:
			break;
		case THERE_ALREADY:
			change->outcome = IDEM_NOOP;
			change->to = change->from;
			return true;
		case WRONG_VERSION:
			idem_error_version(wish->target, wish->id->text,
							   &change->version, wish->expected_version);
		case NO_EDGE:
			idem_machine_refuse(idem_machine_find(wish->machine), table->rel,
								change->from, wish->to);
	}
	return false;
}

/*
 * Brings a row into the wanted state.
 *
 * Raises 42P01 and 42809 for what is not a table, 0A000 for a temporary one
 * under a key, 55000 for one that does not follow the machine, 42P10 for want
 * of a primary key, what idem_rowid_bind raises for an id that does not fit it;
 * then, in this order, ID205, ID203 and ID201; then 27000 where the update was
 * suppressed, and whatever it raises itself.
 */
void
idem_change_make(const IdemWish *wish, IdemChange *change)
{
	Table		table;

	open_table(&table, wish);
	if (!update(&table, wish, change) &&
		!lock_there(&table, wish, change) &&
		!update(&table, wish, change))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("row %s of \"%s\" was kept from being updated",
						wish->id->text, RelationGetRelationName(table.rel)),
				 errhint("A trigger or rule of the table suppresses the update.")));
	relation_close(table.rel, NoLock);
}

/*
 * idem_change_met(state any, version bigint, relid oid, place tid) -> boolean
 *
 * Stands in the condition of the UPDATE.  Tells whether the row that was found
 * may be brought into the state that the innermost change wants, and notes it.
 * The last two arguments are for idem_place() to fill in.  Raises 55000 when
 * there is no change that it could be about.
 */
Datum
idem_change_met(PG_FUNCTION_ARGS)
{
	MemoryContext former;
	const Table *table;

	if (attempt == NULL ||
		get_fn_expr_argtype(fcinfo->flinfo, 0) !=
		attempt->table->types[attempt->table->key.ncolumns])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" was not called by a transition",
						"idem_change_met"),
				 errhint("It is for the statements of idem's transitions only.")));

	table = attempt->table;
	former = MemoryContextSwitchTo(attempt->memory);
	attempt->from = PG_ARGISNULL(0) ? NULL :
		state_text(table, PG_GETARG_DATUM(0));
	MemoryContextSwitchTo(former);
	if (!PG_ARGISNULL(2) && !PG_ARGISNULL(3))
		idem_intent_meet(PG_GETARG_OID(2), (ItemPointer) PG_GETARG_POINTER(3));

	PG_RETURN_BOOL(judge(attempt->wish, attempt->from,
						 PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1)) == GOOD);
}
