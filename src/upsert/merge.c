/*
 * merge.c
 *	  What becomes of a column of which both the row and the data have a value.
 *
 * Every rule m is such that m(m(old, new), new) = m(old, new), so that an upsert
 * may be repeated.  All but "set", and "union" of objects, also take a repeat that
 * comes late, when another session has changed the row since, for none at all.
 * They are written as SQL that no search_path and no function of a user's can capture: key
 * words of the language, which go by the type's default operator class, and one
 * function of idem's own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "base/catalog.h"
#include "table/row_to_jsonb.h"
#include "upsert/merge.h"

static const char *const rule_names[] = {
	[IDEM_MERGE_SET] = "set",
	[IDEM_MERGE_MAX] = "max",
	[IDEM_MERGE_MIN] = "min",
	[IDEM_MERGE_UNION] = "union",
	[IDEM_MERGE_KEEP] = "keep"
};

/* The rule of a column, as the value of its field in merge. */
static IdemMergeRule
read_rule(const char *column, const JsonbValue *v)
{
	for (int rule = IDEM_MERGE_SET; rule < lengthof(rule_names); rule++)
	{
		if (v->type == jbvString &&
			v->val.string.len == strlen(rule_names[rule]) &&
			strncmp(v->val.string.val, rule_names[rule], v->val.string.len) == 0)
			return (IdemMergeRule) rule;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown merge rule for column \"%s\"", column),
			 errhint("The rules are \"set\", \"max\", \"min\", \"union\" and \"keep\".")));
}

/*
 * The rule (IdemMergeRule) of each of the fields (char *) of the data, as merge
 * says.  Raises 22023 for one that is not an object, names what is no field, or
 * gives a rule that there is not.
 */
List *
idem_merge_rules(Jsonb *merge, const List *fields)
{
	List	   *rules = NIL;
	ListCell   *lc;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *column = NULL;

	if (!JB_ROOT_IS_OBJECT(merge))
		idem_row_to_jsonb_error(merge, "merge", "object",
								_("Name columns with their rules: {\"seen_at\": \"max\", \"tags\": \"union\"}."));

	foreach(lc, fields)
		rules = lappend_int(rules, IDEM_MERGE_NONE);

	it = JsonbIteratorInit(&merge->root);
	(void) JsonbIteratorNext(&it, &v, false);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		int			i = 0;

		if (token == WJB_KEY)
			column = pnstrdup(v.val.string.val, v.val.string.len);
		if (token != WJB_VALUE)
			continue;

		foreach(lc, fields)
		{
			if (strcmp(lfirst(lc), column) == 0)
				break;
			i++;
		}
		if (lc == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" of \"merge\" is not in data", column),
					 errhint("Give each column of \"merge\" a value in \"data\".")));
		lfirst_int(list_nth_cell(rules, i)) = read_rule(column, &v);
	}
	return rules;
}

/* Raises 42804 unless columns of this type can be merged by the rule. */
void
idem_merge_check(IdemMergeRule rule, Relation rel, Form_pg_attribute att)
{
	Oid			type = getBaseType(att->atttypid);
	Oid			element = get_element_type(type);
	bool		ordered = rule == IDEM_MERGE_MAX || rule == IDEM_MERGE_MIN;
	bool		good;

	/* int2vector and the like have elements, but are no arrays */
	if (OidIsValid(element) && get_array_type(element) != type)
		element = InvalidOid;
	if (ordered || (rule == IDEM_MERGE_UNION && OidIsValid(element)))
		good = OidIsValid(lookup_type_cache(ordered ? type : element,
											TYPECACHE_CMP_PROC)->cmp_proc);
	else
		good = rule != IDEM_MERGE_UNION || type == JSONBOID;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" cannot be merged by rule \"%s\"",
						NameStr(att->attname), RelationGetRelationName(rel),
						rule_names[rule]),
				 errdetail("Its type is %s.", format_type_be(att->atttypid)),
				 ordered ?
				 errhint("The rule is for types with an order.") :
				 errhint("The rule is for jsonb, and for arrays of a type with an order.")));
}

/* Appends the merged value of a column, given the expressions of the two. */
void
idem_merge_values(StringInfo buf, IdemMergeRule rule, Form_pg_attribute att,
				  const char *old, const char *new)
{
	switch (rule)
	{
		case IDEM_MERGE_NONE:
		case IDEM_MERGE_SET:
			appendStringInfoString(buf, new);
			break;
		case IDEM_MERGE_MAX:
			appendStringInfo(buf, "GREATEST(%s, %s)", old, new);
			break;
		case IDEM_MERGE_MIN:
			appendStringInfo(buf, "LEAST(%s, %s)", old, new);
			break;
		case IDEM_MERGE_UNION:
			/* the cast matters to domains, of which it returns the base type */
			appendStringInfo(buf, "CAST(%s._idem_upsert_union(%s, %s) AS %s)",
							 idem_catalog()->schema, old, new,
							 format_type_extended(att->atttypid, att->atttypmod,
												  FORMAT_TYPE_TYPEMOD_GIVEN |
												  FORMAT_TYPE_FORCE_QUALIFY));
			break;
		case IDEM_MERGE_KEEP:
			appendStringInfo(buf, "COALESCE(%s, %s)", old, new);
			break;
	}
}
