/*
 * machine_define.c
 *	  SQL: idem_machine_define() and idem_machine_drop().
 *
 * A session that defines or drops a machine locks it against others that do, and
 * against idem_attach(), so that no table begins to follow it unseen while the
 * change is not committed.  Transitions take no such lock, and go on by the old
 * definition until then.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/error.h"
#include "base/rights.h"
#include "base/role.h"
#include "machine/attached_tables.h"
#include "machine/machine.h"
#include "machine/machine_builtin.h"
#include "machine/machine_load.h"
#include "machine/machine_parse.h"
#include "run/spi_own.h"

PG_FUNCTION_INFO_V1(idem_machine_define);
PG_FUNCTION_INFO_V1(idem_machine_drop);

static IdemStatement write_machine = {
	.text = "INSERT INTO @.idem_machine (name, initial, states, owner)"
	" VALUES ($1, $2, $3, CAST($4 AS @.idem_role)) ON CONFLICT (name)"
	" DO UPDATE SET initial = excluded.initial, states = excluded.states",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TEXTARRAYOID, OIDOID},
	.table = offsetof(IdemCatalog, machine_table)
};

static IdemStatement delete_machine = {
	.text = "DELETE FROM @.idem_machine"
	" WHERE name OPERATOR(pg_catalog.=) $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.table = offsetof(IdemCatalog, machine_table)
};

static IdemStatement delete_edges = {
	.text = "DELETE FROM @.idem_machine_edge"
	" WHERE machine OPERATOR(pg_catalog.=) $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.table = offsetof(IdemCatalog, edge_table)
};

static IdemStatement insert_edges = {
	.text = "INSERT INTO @.idem_machine_edge (machine, from_state, to_state, guard)"
	" SELECT $1, e.f, e.t, e.g FROM ROWS FROM (pg_catalog.unnest($2),"
	" pg_catalog.unnest($3), pg_catalog.unnest($4)) AS e (f, t, g)",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
	.table = offsetof(IdemCatalog, edge_table)
};

static Datum
text_array(Datum *elements, bool *nulls, int count)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(elements, nulls, 1, &count,
											  &lower, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static Datum
states_array(const IdemMachineDefinition *definition)
{
	int			size = list_length(definition->states);
	Datum	   *states = palloc(sizeof(Datum) * size);
	int			count = 0;
	ListCell   *lc;

	foreach(lc, definition->states)
		states[count++] = CStringGetTextDatum(lfirst(lc));
	return text_array(states, NULL, count);
}

/* Writes a machine down, for a new owner or for the one that it has. */
static void
write_down(const IdemMachineDefinition *definition, Oid owner)
{
	int			size = list_length(definition->edges);
	Datum	   *from = palloc(sizeof(Datum) * size);
	Datum	   *to = palloc(sizeof(Datum) * size);
	Datum	   *guard = palloc0(sizeof(Datum) * size);
	bool	   *unguarded = palloc(sizeof(bool) * size);
	int			count = 0;
	Datum		args[4];
	ListCell   *lc;

	foreach(lc, definition->edges)
	{
		const IdemEdge *edge = lfirst(lc);

		from[count] = CStringGetTextDatum(edge->from);
		to[count] = CStringGetTextDatum(edge->to);
		unguarded[count] = (edge->guard == NULL);
		if (edge->guard != NULL)
			guard[count] = CStringGetTextDatum(edge->guard);
		count++;
	}
	args[0] = CStringGetTextDatum(definition->name);
	(void) idem_spi_own(&delete_edges, args, NULL, 0, NULL, NULL);

	args[1] = CStringGetTextDatum(definition->initial);
	args[2] = states_array(definition);
	args[3] = ObjectIdGetDatum(owner);
	(void) idem_spi_own(&write_machine, args, NULL, 0, NULL, NULL);

	if (count == 0)
		return;
	args[1] = text_array(from, NULL, count);
	args[2] = text_array(to, NULL, count);
	args[3] = text_array(guard, unguarded, count);
	(void) idem_spi_own(&insert_edges, args, NULL, 0, NULL, NULL);
}

/* A state that nothing leads to is legal, but often a slip. */
static void
notice_unreached(const IdemMachineDefinition *definition)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = definition->nreached; i < list_length(definition->states); i++)
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
						 (char *) list_nth(definition->states, i));
	if (names.len > 0)
		ereport(NOTICE,
				(errmsg("nothing leads from \"%s\" to some states of state machine \"%s\"",
						definition->initial, definition->name),
				 errdetail("These are %s.", names.data)));
}

/*
 * The machine, for its owner; NULL if there is none of that name.  Raises 42501
 * when it is another role's.
 */
static const IdemMachine *
own_machine(const char *name)
{
	static const IdemRoleError error = {
		.message = "must be owner of state machine \"%s\"",
		.detail = "Its owner is role \"%s\".",
		.detail_dropped = "The role that owned it has been dropped."
	};
	const IdemMachine *machine = idem_machine_seek(name);

	if (machine != NULL)
		idem_role_check(idem_machine_owner(machine), name, &error);
	return machine;
}

/*
 * idem_machine_define(name text, initial text, transitions jsonb,
 *					   force boolean) -> boolean
 *
 * Makes a machine, or changes it; false if it is as described already.  Raises
 * what idem_machine_parse raises for a description that will not do, 42939 for a
 * machine that idem's own tables follow, 42501
 * unless the caller may define machines and owns this one; then, unless forced,
 * what idem_attached_tables_check raises for the tables that follow it.
 */
Datum
idem_machine_define(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {
		"name", "initial", "transitions", "force"
	};
	IdemMachineDefinition *definition;
	const IdemMachine *machine;
	Oid			owner;

	idem_rights_define(fcinfo, "idem_machine_define",
					   idem_catalog()->machine_table, IDEM_MACHINE_COLUMN_NAME);
	PreventCommandIfReadOnly("idem_machine_define()");
	for (int i = 0; i < lengthof(arguments); i++)
	{
		if (PG_ARGISNULL(i))
			idem_error_null(arguments[i]);
	}
	definition = idem_machine_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									text_to_cstring(PG_GETARG_TEXT_PP(1)),
									PG_GETARG_JSONB_P(2));

	idem_machine_builtin_check(definition->name);

	/* Without the lock first: nothing to do is what there is to do mostly. */
	machine = own_machine(definition->name);
	if (machine != NULL && idem_machine_parse_equals(definition, machine))
		PG_RETURN_BOOL(false);
	idem_machine_lock(definition->name, ExclusiveLock);
	machine = own_machine(definition->name);
	if (machine != NULL && idem_machine_parse_equals(definition, machine))
		PG_RETURN_BOOL(false);

	owner = machine != NULL ? idem_machine_owner(machine) : GetUserId();

	if (!PG_GETARG_BOOL(3))
		idem_attached_tables_check(definition, machine);
	write_down(definition, owner);
	notice_unreached(definition);
	PG_RETURN_BOOL(true);
}

/*
 * idem_machine_drop(name text) -> boolean
 *
 * Drops a machine; false if there is none of that name.  Raises 42501 unless the
 * caller owns it, 2BP01 if tables follow it, or if it came with idem, 40001 where
 * another transaction has defined it since this one's snapshot.
 */
Datum
idem_machine_drop(PG_FUNCTION_ARGS)
{
	const char *name;
	List	   *followers;
	Datum		args[1];

	idem_rights_define(fcinfo, "idem_machine_drop",
					   idem_catalog()->machine_table, IDEM_MACHINE_COLUMN_NAME);
	PreventCommandIfReadOnly("idem_machine_drop()");
	if (PG_ARGISNULL(0))
		idem_error_null("name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	idem_machine_lock(name, ExclusiveLock);
	if (own_machine(name) == NULL)
		PG_RETURN_BOOL(false);
	if (idem_machine_builtin_find(name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("state machine \"%s\" cannot be dropped", name),
				 errdetail("It comes with extension idem.")));
	followers = idem_attached_tables_working(name);
	if (followers != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("state machine \"%s\" cannot be dropped because tables follow it",
						name),
				 errdetail("These are %s.", idem_attached_tables_names(followers)),
				 errhint("Call idem_detach() for each of them first.")));

	args[0] = CStringGetTextDatum(name);
	(void) idem_spi_own(&delete_edges, args, NULL, 0, NULL, NULL);
	if (idem_spi_own(&delete_machine, args, NULL, 0, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent change of state machine \"%s\"",
						name),
				 errdetail("It was defined after this transaction's snapshot was taken."),
				 errhint("The transaction might succeed if retried.")));
	PG_RETURN_BOOL(true);
}
