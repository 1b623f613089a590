/*
 * sql_name.h
 *	  Tables and columns by name, as SQL has them.
 */
#ifndef IDEM_SQL_NAME_H
#define IDEM_SQL_NAME_H

#include "access/attnum.h"
#include "utils/relcache.h"

extern const char *idem_sql_name(Relation rel);
extern const char *idem_sql_name_only(Relation rel);
extern char *idem_sql_name_find(Oid relid);
extern const char *idem_sql_name_column(Relation rel, AttrNumber number);

#endif							/* IDEM_SQL_NAME_H */
