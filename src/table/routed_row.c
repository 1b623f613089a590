/*
 * routed_row.c
 *	  A row of a routed table, as its columns come back.
 *
 * A statement that runs on another node cannot make jsonb of the row there: what that
 * comes to depends on settings of the session, such as the time zone.  So the columns
 * come back, and jsonb is made of them here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "table/routed_row.h"
#include "table/row_to_jsonb.h"

/* May the caller read a column? */
static bool
is_readable(Oid relid, Form_pg_attribute att)
{
	return !att->attisdropped &&
		(pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		 pg_attribute_aclcheck(relid, att->attnum, GetUserId(),
							   ACL_SELECT) == ACLCHECK_OK);
}

/* Finds the columns of a table, which is open and locked. */
void
idem_routed_row_init(IdemRoutedRow *row, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	row->ncolumns = 0;
	row->columns = palloc(sizeof(AttrNumber) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		if (is_readable(RelationGetRelid(rel), TupleDescAttr(desc, i)))
			row->columns[row->ncolumns++] = i + 1;
	}
	row->desc = CreateTemplateTupleDesc(row->ncolumns);
	for (int i = 0; i < row->ncolumns; i++)
		TupleDescCopyEntry(row->desc, i + 1, desc, row->columns[i]);
	IDEM_FINISH_DESC(row->desc);
	row->values = palloc(sizeof(Datum) * idem_routed_row_width(row));
	row->isnull = palloc(sizeof(bool) * idem_routed_row_width(row));
}

/* How many values a statement returns. */
int
idem_routed_row_width(const IdemRoutedRow *row)
{
	return IDEM_ROUTED_EXTRA + row->ncolumns;
}

/* Appends the columns, each after a comma. */
void
idem_routed_row_append(StringInfo buf, const IdemRoutedRow *row)
{
	for (int i = 0; i < row->ncolumns; i++)
		appendStringInfo(buf, ", idem_row.%s",
						 quote_identifier(NameStr(TupleDescAttr(row->desc, i)->attname)));
}

/* The row that came back, as jsonb. */
Jsonb *
idem_routed_row_json(const IdemRoutedRow *row)
{
	HeapTuple	tuple = heap_form_tuple(row->desc, row->values + IDEM_ROUTED_EXTRA,
										row->isnull + IDEM_ROUTED_EXTRA);
	IdemJsonbState state = {0};

	idem_row_to_jsonb_push(&state, row->desc, tuple);
	return JsonbValueToJsonb(state.result);
}
