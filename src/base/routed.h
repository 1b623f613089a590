/*
 * routed.h
 *	  Tables whose rows an engine keeps elsewhere.
 */
#ifndef IDEM_ROUTED_H
#define IDEM_ROUTED_H

extern bool idem_routed_possible(void);
extern bool idem_routed(Oid relid);
extern void idem_routed_refuse(Oid relid, const char *what);
extern void idem_routed_check_local(const char *table, bool in_store);
extern void idem_routed_init(void);

#endif							/* IDEM_ROUTED_H */
