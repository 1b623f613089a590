/*
 * column_sql.h
 *	  Columns of a table as fields of a JSON object, and the other way round.
 */
#ifndef IDEM_COLUMN_SQL_H
#define IDEM_COLUMN_SQL_H

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/*
 * Fields whose values may have other spellings than their columns would give them.
 * To a fingerprint numbers are the same in any spelling; other values are not.
 */
typedef struct IdemSpelling
{
	List	   *names;			/* of all of them (char *) */
	bool		matters;		/* are some of them not numbers? */
} IdemSpelling;

extern List *idem_column_sql_names(Jsonb *object, const char *argument,
								   IdemSpelling *spelling);
extern Jsonb *idem_column_sql_spell(Jsonb *object, Oid relid,
									const IdemSpelling *spelling);
extern void idem_column_sql_value(StringInfo buf, Form_pg_attribute att);
extern void idem_column_sql_stored(StringInfo buf, Form_pg_attribute att);
extern const char *idem_column_sql_collate(Oid collation);
extern void idem_column_sql_row(StringInfo buf, Relation rel);

#endif							/* IDEM_COLUMN_SQL_H */
