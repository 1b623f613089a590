/*
 * guard_signature.h
 *	  How the guard of a transition is written down, and found again.
 */
#ifndef IDEM_GUARD_SIGNATURE_H
#define IDEM_GUARD_SIGNATURE_H

#include "catalog/pg_proc.h"

extern bool idem_guard_signature_fits(Form_pg_proc form);
extern const char *idem_guard_signature_resolve(const char *name);
extern Oid	idem_guard_signature_read(const char *signature);
extern const char *idem_guard_signature_name(const char *signature);

#endif							/* IDEM_GUARD_SIGNATURE_H */
