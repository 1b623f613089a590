/*
 * purge_leases.h
 *	  Claims whose lease has run out, looked for a part of the table at a time.
 */
#ifndef IDEM_PURGE_LEASES_H
#define IDEM_PURGE_LEASES_H

extern void idem_purge_leases_look(void);

#endif							/* IDEM_PURGE_LEASES_H */
