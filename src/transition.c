/*
 * transition.c
 *	  SQL: order_transition(), a change of a row's state, once per key if wanted.
 *
 * The row is locked first, by a statement of its own, and judged by what it is
 * then: nobody can change it between that and the update.  Both statements are
 * what a person would write and run with the caller's rights.  They run under
 * the caller's search_path, hence every name in them is qualified.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "error.h"
#include "fingerprint.h"
#include "key.h"
#include "machine.h"
#include "query.h"
#include "result.h"
#include "rowid.h"

PG_FUNCTION_INFO_V1(order_transition_text);
PG_FUNCTION_INFO_V1(order_transition_bigint);
PG_FUNCTION_INFO_V1(order_transition_uuid);
PG_FUNCTION_INFO_V1(order_transition_jsonb);

/* The machine of order_status, made by the installation. */
#define ORDER_MACHINE	"order"

/* One transition, as it was asked for. */
typedef struct Transition
{
	Oid			target;
	const IdemRowId *id;
	const char *machine;		/* that the target has to follow */
	const char *to;
	bool		versioned;		/* is a version expected? */
	int64		expected_version;
} Transition;

/* What came of it. */
typedef struct Change
{
	IdemOutcome outcome;
	const char *from;			/* NULL: the row had no state */
	const char *to;
	int64		version;
} Change;

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
	bool		attached = idem_machine_attached(&table->lifecycle, table->rel);
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
open_table(Table *table, const Transition *transition, bool keyed)
{
	Form_pg_attribute att;
	Oid			function;
	Oid			ioparam;

	/* the lock that the update takes, lest it be a stronger one than ours */
	table->rel = try_relation_open(transition->target, RowExclusiveLock);
	if (table->rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist",
						transition->target)));
	check_relation(table->rel, keyed);
	check_lifecycle(table, transition->machine);
	if (!idem_unique_primary(&table->key, table->rel))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("table \"%s\" has no primary key to find a row by",
						RelationGetRelationName(table->rel)),
				 errdetail("A deferrable primary key does not count.")));

	idem_rowid_bind(transition->id, table->rel, &table->key,
					table->types, table->args);
	att = TupleDescAttr(RelationGetDescr(table->rel),
						table->lifecycle.status - 1);
	table->types[table->key.ncolumns] = att->atttypid;
	getTypeInputInfo(att->atttypid, &function, &ioparam);
	table->args[table->key.ncolumns] =
		OidInputFunctionCall(function, unconstify(char *, transition->to),
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
	columns = psprintf("idem_row.%s::pg_catalog.text, idem_row.%s::pg_catalog.int8",
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
		appendStringInfo(&buf, " RETURNING %s", columns);
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
	*state = isnull[0] ? NULL : TextDatumGetCString(values[0]);
	*version = isnull[1] ? 0 : DatumGetInt64(values[1]);
	return true;
}

/* Locks the row, judges it, and brings it into the wanted state. */
static void
change_state(const Transition *transition, bool keyed, Change *change)
{
	Table		table;
	const IdemMachine *machine;
	bool		allowed;
	bool		there;

	open_table(&table, transition, keyed);
	if (!run(&table, LOCK_ROW, &change->from, &change->version))
		idem_error_no_row(transition->target, transition->id->text, NULL);

	machine = idem_machine_find(transition->machine);
	allowed = idem_machine_allows(machine, change->from, transition->to);
	there = !allowed && change->from != NULL &&
		strcmp(change->from, transition->to) == 0;

	/* one past it, in the wanted state: our own lost acknowledgement */
	if (transition->versioned &&
		change->version != transition->expected_version &&
		(!there || change->version - 1 != transition->expected_version))
		idem_error_version(transition->target, transition->id->text,
						   change->version, transition->expected_version);

	if (there)
	{
		change->outcome = IDEM_NOOP;
		change->to = change->from;
	}
	else
	{
		if (!allowed)
			idem_machine_refuse(machine, table.rel, change->from,
								transition->to);
		if (!run(&table, UPDATE_ROW, &change->to, &change->version))
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("row %s of \"%s\" was kept from being updated",
							transition->id->text,
							RelationGetRelationName(table.rel)),
					 errhint("A trigger or rule of the table suppresses the update.")));
		change->outcome = IDEM_APPLIED;
	}
	relation_close(table.rel, NoLock);
}

static void
append_field(StringInfo buf, const char *name, const char *value)
{
	appendStringInfo(buf, "\"%s\": ", name);
	if (value != NULL)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ", ");
}

/* What a key remembers of a change. */
static void
write_answer(const Change *change, IdemAnswer *answer)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	append_field(&buf, "from", change->from);
	append_field(&buf, "to", change->to);
	appendStringInfo(&buf, "\"version\": " INT64_FORMAT "}", change->version);

	answer->outcome = change->outcome;
	answer->response = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	answer->response_isnull = false;
}

static const char *
string_field(Jsonb *response, const char *name)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(&response->root, name, strlen(name),
									 &v) == NULL || v.type != jbvString)
		return NULL;
	return pnstrdup(v.val.string.val, v.val.string.len);
}

static void
read_answer(const IdemAnswer *answer, Change *change)
{
	Jsonb	   *response = DatumGetJsonbP(answer->response);
	JsonbValue	v;

	change->outcome = answer->outcome;
	change->from = string_field(response, "from");
	change->to = string_field(response, "to");
	if (getKeyJsonValueFromContainer(&response->root, "version",
									 strlen("version"), &v) == NULL ||
		v.type != jbvNumeric)
		elog(ERROR, "response of a transition has no version");
	change->version = DatumGetInt64(DirectFunctionCall1(numeric_int8,
														NumericGetDatum(v.val.numeric)));
}

static int64
fingerprint(const Transition *transition)
{
	IdemFingerprint fp;

	idem_fingerprint_init(&fp, "transition");
	idem_fingerprint_relation(&fp, transition->target);
	idem_rowid_fingerprint(transition->id, &fp);
	idem_fingerprint_string(&fp, transition->to);
	if (transition->versioned)
		idem_fingerprint_int8(&fp, transition->expected_version);
	else
		idem_fingerprint_null(&fp);
	idem_fingerprint_null(&fp); /* no note */
	return idem_fingerprint_value(&fp);
}

static Datum
make_row(FunctionCallInfo fcinfo, const Change *change, bool replayed)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = ObjectIdGetDatum(idem_catalog()->outcome[change->outcome]);
	values[1] = BoolGetDatum(replayed);
	nulls[2] = (change->from == NULL);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(change->from);
	nulls[3] = (change->to == NULL);
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(change->to);
	values[4] = Int64GetDatum(change->version);
	return idem_result_form(fcinfo, values, nulls);
}

/*
 * order_transition(target regclass, id, new_status order_status,
 *					expected_version bigint, key text, scope text,
 *					ttl interval, note jsonb)
 *		-> outcome idem_outcome, replayed boolean, from_state text,
 *		   to_state text, version bigint
 *
 * Brings the row into the state, or tells that it is there already, or what the
 * key remembers.  Errors, in this order: those of idem_key_claim, ID205 where
 * there is no such row, ID203 for a version expected in vain, ID201 where the
 * machine has no such transition, and whatever the statements raise.
 */
static Datum
transit(FunctionCallInfo fcinfo, const IdemRowId *id)
{
	Transition	transition = {0};
	Change		change = {0};
	bool		keyed = !PG_ARGISNULL(4);
	bool		replayed = false;
	IdemKey		key;
	IdemAnswer	answer = {0};

	PreventCommandIfReadOnly("order_transition()");
	if (PG_ARGISNULL(0))
		idem_error_null("target");
	if (PG_ARGISNULL(2))
		idem_error_null("new_status");
	if (!PG_ARGISNULL(7))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"note\" is for the history of a table, which is not kept"),
				 errhint("Leave \"note\" out.")));

	transition.target = PG_GETARG_OID(0);
	transition.id = id;
	transition.machine = ORDER_MACHINE;
	transition.to = DatumGetCString(DirectFunctionCall1(enum_out,
														PG_GETARG_DATUM(2)));
	transition.versioned = !PG_ARGISNULL(3);
	if (transition.versioned)
		transition.expected_version = PG_GETARG_INT64(3);

	if (keyed)
	{
		idem_key_init(&key, "order_transition()", PG_GETARG_TEXT_PP(4),
					  PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5),
					  PG_ARGISNULL(6) ? NULL : PG_GETARG_INTERVAL_P(6));
		key.fingerprint = fingerprint(&transition);
		replayed = !idem_key_claim(&key, &answer);
	}

	if (replayed)
		read_answer(&answer, &change);
	else
		change_state(&transition, keyed, &change);

	if (keyed && !replayed)
	{
		write_answer(&change, &answer);
		idem_key_finish(&key, &answer);
	}
	return make_row(fcinfo, &change, replayed);
}

Datum
order_transition_text(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo, idem_rowid_value(text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

Datum
order_transition_bigint(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo, idem_rowid_value(psprintf(INT64_FORMAT,
													 PG_GETARG_INT64(1))));
}

Datum
order_transition_uuid(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo, idem_rowid_value(DatumGetCString(DirectFunctionCall1(uuid_out,
																				 PG_GETARG_DATUM(1)))));
}

Datum
order_transition_jsonb(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		idem_error_null("id");
	return transit(fcinfo, idem_rowid_jsonb(PG_GETARG_JSONB_P(1)));
}
