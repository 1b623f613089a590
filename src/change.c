/*
 * change.c
 *	  A change of a row's state, as a transition makes it.
 *
 * The row is locked first, by a statement of its own, and judged by what it is
 * then: nobody can change it between that and the update.  Both statements are
 * what a person would write and run with the caller's rights.  They run under
 * the caller's search_path, hence every name in them is qualified.  The update
 * tells by way of idem_change_met() which row version it is about, so that the
 * row's triggers find the call's note and key.
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

typedef struct Table
{
	Relation	rel;
	IdemLifecycle lifecycle;
	IdemUnique	key;
	Oid			types[INDEX_MAX_KEYS + 1];
	Datum		args[INDEX_MAX_KEYS + 1];
} Table;

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
	Oid			function;
	bool		isvarlena;

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

	/* Read as the trigger does: a type's owner may cast it to other texts. */
	getTypeOutputInfo(table->types[table->key.ncolumns], &function, &isvarlena);
	*state = isnull[0] ? NULL : OidOutputFunctionCall(function, values[0]);
	*version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	return true;
}

/* Updates the row; false if it was not touched. */
static bool
update(Table *table, const IdemWish *wish, IdemChange *change)
{
	IdemIntent	intent = {.scope = wish->scope,.key = wish->key,.note = wish->note};
	volatile bool updated;

	idem_intent_begin(&intent);
	PG_TRY();
	{
		updated = run(table, UPDATE_ROW, &change->to, &change->version);
	}
	PG_FINALLY();
	{
		idem_intent_end(&intent);
	}
	PG_END_TRY();
	return updated;
}

/*
 * Locks the row, judges it, and brings it into the wanted state.
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
	const IdemMachine *machine;
	bool		allowed;
	bool		there;

	open_table(&table, wish);
	if (!run(&table, LOCK_ROW, &change->from, &change->version))
		idem_error_no_row(wish->target, wish->id->text, NULL);

	machine = idem_machine_find(wish->machine);
	allowed = idem_machine_allows(machine, change->from, wish->to);
	there = !allowed && change->from != NULL &&
		strcmp(change->from, wish->to) == 0;

	/* one past it, in the wanted state: our own lost acknowledgement */
	if (wish->versioned &&
		change->version != wish->expected_version &&
		(!there || change->version - 1 != wish->expected_version))
		idem_error_version(wish->target, wish->id->text,
						   &change->version, wish->expected_version);

	if (there)
	{
		change->outcome = IDEM_NOOP;
		change->to = change->from;
	}
	else
	{
		if (!allowed)
			idem_machine_refuse(machine, table.rel, change->from, wish->to);
		if (!update(&table, wish, change))
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("row %s of \"%s\" was kept from being updated",
							wish->id->text,
							RelationGetRelationName(table.rel)),
					 errhint("A trigger or rule of the table suppresses the update.")));
		change->outcome = IDEM_APPLIED;
	}
	relation_close(table.rel, NoLock);
}

/*
 * idem_change_met(state any, version bigint, relid oid, place tid) -> boolean
 *
 * Stands in the condition of the update, which is evaluated anew when somebody
 * else has changed the row meanwhile, so that the last row version it is told
 * of is the one to be replaced.  Always true.  The last two arguments are for
 * idem_place() to fill in.
 */
Datum
idem_change_met(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(2) && !PG_ARGISNULL(3))
		idem_intent_meet(PG_GETARG_OID(2), (ItemPointer) PG_GETARG_POINTER(3));
	PG_RETURN_BOOL(true);
}
