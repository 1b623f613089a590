/*
 * sql_name.c
 *	  Tables and columns by name, as SQL has them: quoted where they have to be,
 *	  and tables qualified, whatever the search_path is.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "table/sql_name.h"

/* A table; a temporary one of this session by the alias of its schema. */
const char *
idem_sql_name(Relation rel)
{
	char	   *schema = get_namespace_name_or_temp(RelationGetNamespace(rel));

	return quote_qualified_identifier(schema, RelationGetRelationName(rel));
}

/*
 * A table without those that inherit from it, whose rows have neither its primary
 * key nor its triggers; partitions are part of it.
 */
const char *
idem_sql_name_only(Relation rel)
{
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		return idem_sql_name(rel);
	return psprintf("ONLY %s", idem_sql_name(rel));
}

/* A table of any session's, by its OID; NULL if there is none. */
char *
idem_sql_name_find(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = name == NULL ? NULL :
		get_namespace_name(get_rel_namespace(relid));

	return schema == NULL ? NULL : quote_qualified_identifier(schema, name);
}

/* A column, by itself. */
const char *
idem_sql_name_column(Relation rel, AttrNumber number)
{
	Form_pg_attribute att;

	Assert(number > 0 && number <= RelationGetNumberOfAttributes(rel));
	att = TupleDescAttr(RelationGetDescr(rel), number - 1);
	Assert(!att->attisdropped);
	return quote_identifier(NameStr(att->attname));
}
