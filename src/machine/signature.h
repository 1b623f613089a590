/*
 * signature.h
 *	  How the guard of a transition is written down, and found again.
 */
#ifndef IDEM_SIGNATURE_H
#define IDEM_SIGNATURE_H

#include "catalog/pg_proc.h"

extern bool idem_signature_fits(Form_pg_proc form);
extern const char *idem_signature_resolve(const char *name);
extern Oid	idem_signature_read(const char *signature);
extern const char *idem_signature_name(const char *signature);

#endif							/* IDEM_SIGNATURE_H */
