/*
 * named_objects.c
 *	  What a query names, and whose that is.
 *
 * Names are looked up when a query is analysed, and what they lead to may be of
 * any role's making.  Which of that a statement may use is for others to say
 * (own_names.c, usercontext.c); here it is found.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/syscache.h"

#include "run/named_objects.h"

/* A walk through a query. */
typedef struct Walk
{
	int			kinds;			/* those to be found */
	IdemNamedObjectCheck check;
	void	   *context;
} Walk;

/* Has an object checked, unless it has been dropped meanwhile. */
static void
visit(int kind, Oid oid, const Walk *walk)
{
	int			cache = kind == IDEM_NAMED_RELATION ? RELOID :
		kind == IDEM_NAMED_DOMAIN ? TYPEOID : PROCOID;
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));
	IdemNamedObject object = {.kind = kind, .oid = oid};

	if (!HeapTupleIsValid(tuple))
		return;
	if (kind == IDEM_NAMED_RELATION)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		object.name = NameStr(form->relname);
		object.schema = form->relnamespace;
		object.owner = form->relowner;
	}
	else if (kind == IDEM_NAMED_DOMAIN)
	{
		Form_pg_type form = (Form_pg_type) GETSTRUCT(tuple);

		object.name = NameStr(form->typname);
		object.schema = form->typnamespace;
		object.owner = form->typowner;
	}
	else
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		object.name = NameStr(form->proname);
		object.schema = form->pronamespace;
		object.owner = form->proowner;
	}
	walk->check(&object, walk->context);
	ReleaseSysCache(tuple);
}

static bool
visit_function(Oid function, void *walk)
{
	visit(IDEM_NAMED_FUNCTION, function, walk);
	return false;
}

static void
visit_entry(const RangeTblEntry *entry, const Walk *walk)
{
	/* a subquery that was a view has the view's OID */
	if ((entry->rtekind == RTE_RELATION || entry->rtekind == RTE_SUBQUERY) &&
		OidIsValid(entry->relid))
		visit(IDEM_NAMED_RELATION, entry->relid, walk);
}

static bool
visit_node(Node *node, void *context)
{
	const Walk *walk = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		if ((walk->kinds & IDEM_NAMED_RELATION) != 0)
			visit_entry((RangeTblEntry *) node, walk);
		return false;
	}
	if ((walk->kinds & IDEM_NAMED_DOMAIN) != 0 && IsA(node, CoerceToDomain))
		visit(IDEM_NAMED_DOMAIN, ((CoerceToDomain *) node)->resulttype, walk);
	if ((walk->kinds & IDEM_NAMED_FUNCTION) != 0)
		(void) check_functions_in_node(node, visit_function, context);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, visit_node, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, visit_node, context);
}

/*
 * Has what a query names, in its subqueries, too, checked: all of those kinds.  An
 * object and its name are good for the time of the check.
 */
void
idem_named_objects_check(Query *query, int kinds, IdemNamedObjectCheck check,
						 void *context)
{
	Walk		walk = {.kinds = kinds, .check = check, .context = context};

	(void) visit_node((Node *) query, &walk);
}

/* The same for what an entry of a range table names. */
void
idem_named_objects_check_entry(const RangeTblEntry *entry,
							   IdemNamedObjectCheck check, void *context)
{
	Walk		walk = {.check = check, .context = context};

	visit_entry(entry, &walk);
}

/* The same for one relation, whatever names it. */
void
idem_named_objects_check_relation(Oid relid, IdemNamedObjectCheck check,
								  void *context)
{
	Walk		walk = {.check = check, .context = context};

	visit(IDEM_NAMED_RELATION, relid, &walk);
}
