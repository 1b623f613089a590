/*
 * insert_first.c
 *	  May an upsert be tried as an insert that does nothing where there is a row?
 *
 * That costs less if there is none, since what is to be done with one need not
 * be made ready.  If there is one, the upsert's own statement follows, so it has
 * to be as if that had been run alone: no trigger, and no code in the values of
 * the row, may see a difference, and no caller may insert that way what the caller
 * could not upsert.
 *
 * What is read here holds as long as the plan of that insert does: a change of
 * the table, of privileges on it, of a function in its defaults, or of the
 * one that stands in the upsert's own statement makes the plan invalid.  One of a
 * function in a constraint or a generated column does not, since these are no
 * part of the plan.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/catalog.h"
#include "upsert/insert_values.h"
#include "upsert/insert_first.h"

/*
 * May the caller do all that the upsert's own statement might?  Where it depends
 * on the columns, or on the row, that statement is to check it.
 */
static bool
is_permitted(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Oid			user = GetUserId();

	return pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK &&
		pg_class_aclcheck(relid, user, ACL_UPDATE) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) == RLS_NONE;
}

/* Has it triggers that fire also where no row is inserted? */
static bool
has_trigger(Relation rel)
{
	const TriggerDesc *triggers = rel->trigdesc;

	return triggers != NULL &&
		(triggers->trig_insert_before_row ||
		 triggers->trig_insert_before_statement ||
		 triggers->trig_insert_after_statement ||
		 triggers->trig_update_before_statement ||
		 triggers->trig_update_after_statement);
}

/*
 * Is a value of the type made by its input function alone?  A domain has
 * conditions, and may be part of composite and range types.
 */
static bool
is_plain(Oid type)
{
	Oid			element = get_element_type(type);
	char		kind;

	if (OidIsValid(element))
		type = element;
	kind = get_typtype(type);
	return kind == TYPTYPE_BASE || kind == TYPTYPE_ENUM ||
		(kind != TYPTYPE_DOMAIN && type < FirstGenbkiObjectId);
}

/* Does the expression call functions that a user may declare anew? */
static bool
calls_users(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, idem_insert_values_is_of_users, context) ||
		expression_tree_walker(node, calls_users, context);
}

/* Is an expression that the plan knows nothing of the same at any time? */
static bool
is_settled(Node *node)
{
	return !contain_volatile_functions(node) && !calls_users(node, NULL);
}

/* May the caller call the function in the upsert's own statement? */
static bool
may_meet(void)
{
	static const Oid argtypes[] = {
		INT8OID, BOOLOID, JSONBOID, INT8OID, BOOLOID
	};
	char	   *schema = get_namespace_name(idem_catalog()->schema_oid);
	List	   *name = list_make2(makeString(schema),
								  makeString("_idem_upsert_met"));
	Oid			function = LookupFuncName(name, lengthof(argtypes), argtypes,
										  true);

	return OidIsValid(function) &&
		DatumGetBool(DirectFunctionCall2(has_function_privilege_id,
										 ObjectIdGetDatum(function),
										 CStringGetTextDatum("EXECUTE")));
}

/* Can the row be made twice without any effect that is seen? */
static bool
is_repeatable(const IdemUpsertTarget *target)
{
	TupleDesc	desc = RelationGetDescr(target->table.rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (!is_plain(att->atttypid))
			return false;
		if (att->attgenerated != '\0' &&
			!is_settled(build_column_default(target->table.rel, att->attnum)))
			return false;
		if (!idem_upsert_target_has_field(target, att->attnum) &&
			contain_volatile_functions(build_column_default(target->table.rel,
															att->attnum)))
			return false;
	}
	for (int i = 0; desc->constr != NULL && i < desc->constr->num_check; i++)
	{
		if (!is_settled(stringToNode(desc->constr->check[i].ccbin)))
			return false;
	}
	return true;
}

/* May it, by this caller and with data of this spec? */
bool
idem_insert_first_allowed(const IdemUpsertTarget *target)
{
	const IdemUpsertSpec *spec = target->spec;

	return target->has_arbiter && !spec->versioned && spec->rules == NIL &&
		target->table.rel->rd_rel->relkind == RELKIND_RELATION &&
		is_permitted(target->table.rel) && may_meet() &&
		!has_trigger(target->table.rel) && is_repeatable(target);
}
