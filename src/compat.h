/*
 * compat.h
 *	  What differs between the supported versions of PostgreSQL, 15 to 19.
 *
 * This is the only place that looks at PG_VERSION_NUM.
 */
#ifndef IDEM_COMPAT_H
#define IDEM_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "idem needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn			pg_attribute_noreturn()
#endif

/*
 * Says, in the RETURNING list of an INSERT ... ON CONFLICT DO UPDATE, whether
 * the row was inserted.  Before RETURNING knew old rows, the update path left
 * its own row lock in xmax of the new version and the insert path left none.
 */
#if PG_VERSION_NUM >= 180000
#define IDEM_RETURNING		"RETURNING WITH (OLD AS idem_old) "
#define IDEM_WAS_INSERTED	"(idem_old.tableoid IS NULL)"
#else
#define IDEM_RETURNING		"RETURNING "
#define IDEM_WAS_INSERTED \
	"(idem_row.xmax OPERATOR(pg_catalog.=) '0'::pg_catalog.xid)"
#endif

#endif							/* IDEM_COMPAT_H */
