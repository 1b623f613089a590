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

#if PG_VERSION_NUM < 160000
#define IDEM_OWNS_RELATION(relid, role)		pg_class_ownercheck(relid, role)
#else
#define IDEM_OWNS_RELATION(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#endif

#endif							/* IDEM_COMPAT_H */
