/*
 * field.h
 *	  Columns of a table as fields of a JSON object, and the other way round.
 */
#ifndef IDEM_FIELD_H
#define IDEM_FIELD_H

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

extern List *idem_field_names(Jsonb *object, const char *argument);
extern void idem_field_value(StringInfo buf, Form_pg_attribute att);
extern void idem_field_stored(StringInfo buf, Form_pg_attribute att);
extern const char *idem_field_collate(Oid collation);
extern void idem_field_row(StringInfo buf, Relation rel);

#endif							/* IDEM_FIELD_H */
