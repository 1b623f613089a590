/*
 * invalidation.h
 *	  What a session keeps of tables, and when that is no longer good.
 */
#ifndef IDEM_INVALIDATION_H
#define IDEM_INVALIDATION_H

/* Called with the OID of a table that may have changed, or InvalidOid for all. */
typedef void (*IdemInvalidationListener) (Oid relid);

extern void idem_invalidation_listen(IdemInvalidationListener listener);
extern void idem_invalidation_watch(const Oid *relid, bool *valid);
extern bool idem_invalidation_covers(Oid relid);
extern void idem_invalidation_init(void);

#endif							/* IDEM_INVALIDATION_H */
