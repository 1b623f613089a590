/*
 * rights.h
 *	  Who may call the functions that are not for everybody.
 */
#ifndef IDEM_RIGHTS_H
#define IDEM_RIGHTS_H

extern void idem_rights_purge(const char *function);
extern void idem_rights_define(const char *function);
extern void idem_rights_define_consumer(const char *function);
extern void idem_rights_define_scope(const char *function);

#endif							/* IDEM_RIGHTS_H */
